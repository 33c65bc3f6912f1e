"""What is logged of training on groups: a row of figures a group, summed up, averaged over all processes."""

from __future__ import annotations

from typing import Any

import torch

from setwise import checks
from setwise.preference.losses import effective_negatives

#: What is logged, each a mean over groups; the first four under the names that TRL's trainers use.
METRICS = ("rewards/margins", "rewards/accuracies", "logps/chosen", "logps/rejected", "negatives/effective")

#: The columns of `of_groups`.
_COLUMNS = ("loss", *METRICS, "negatives")

#: Of a log-probability's size, in single precision: what the rest of a batch, which it was run in, changes.
ROUNDING = 2.0**-19

#: Over so many groups the gradient is to reach this many negatives on average, where there are more.
WATCHED, ENOUGH = 32, 2.0


def of_groups(
    loss: torch.Tensor,
    logps: torch.Tensor,
    implied: torch.Tensor,
    sizes: torch.Tensor,
    gradient: torch.Tensor,
    positive: torch.Tensor,
    negative: torch.Tensor,
) -> torch.Tensor:
    """Return the figures of each of B groups, shape (B, 7).

    Parameters
    ----------
    loss : tensor of shape (B,)
    logps, implied : tensor of shape (B, G)
        Log-probabilities, and the rewards that they imply.
    sizes : tensor of shape (B, G)
        Of those rewards before a reference's are taken off. Pairs that rounding keeps apart are ties, half in
        order: else it would be the batch that says how many of a model's own ratios to itself are.
    gradient : tensor of shape (B, G)
        Of the loss by the scores.
    positive, negative : bool tensor of shape (B, G)
    """
    pairs = positive[:, :, None] & negative[:, None, :]
    gap = implied[:, :, None] - implied[:, None, :]
    tied = gap.abs() <= ROUNDING * (sizes[:, :, None] + sizes[:, None, :])
    ranked = torch.where(tied, 0.5, (gap > 0).to(loss.dtype)) * pairs

    def average(values: torch.Tensor, members: torch.Tensor) -> torch.Tensor:
        return (values * members).sum(dim=1) / members.sum(dim=1)

    return torch.stack(
        [
            loss,
            average(implied, positive) - average(implied, negative),
            ranked.sum(dim=(1, 2)) / pairs.sum(dim=(1, 2)),
            average(logps, positive),
            average(logps, negative),
            effective_negatives(gradient, negative).to(loss.dtype),
            negative.sum(dim=1).to(loss.dtype),
        ],
        dim=1,
    )


class Metrics:
    """Sums of the figures of groups since they were last asked for.

    Parameters
    ----------
    accelerator : accelerate.Accelerator
    advice : str
        What to do where the gradient leaves most negatives alone.
    """

    def __init__(self, accelerator: Any, advice: str) -> None:
        self._accelerator, self._advice = accelerator, advice
        self._sums: dict[str, torch.Tensor] = {}
        self._watched, self._warned = self._zeros(), False

    def add(self, mode: str, figures: torch.Tensor) -> None:
        """Add the figures of a batch's groups.

        Parameters
        ----------
        mode : {"train", "eval"}
            In evaluation the figures of all processes are gathered now, since only now is it known which
            groups were repeated to give each process as many; in training they are summed up when asked for.
        figures : tensor of shape (B, 7)
        """
        if mode == "eval":
            figures = self._accelerator.gather_for_metrics(figures.contiguous())
        wide = figures.detach().to("cpu", torch.float64)
        sums = torch.cat([torch.tensor([float(len(wide))], dtype=torch.float64), wide.sum(dim=0)])
        self._sums[mode] = self._sums[mode] + sums if mode in self._sums else sums
        if mode == "train" and not self._warned:
            self._watch(sums)

    def drop(self, mode: str) -> None:
        """Forget what was added."""
        self._sums.pop(mode, None)

    def averages(self, mode: str, device: Any) -> dict[str, float]:
        """Return the means over the groups of all processes, and forget them."""
        sums = self._sums.pop(mode, None)
        if sums is None:
            return {}
        if mode == "train" and self._accelerator.num_processes > 1:
            sums = self._accelerator.reduce(sums.to(device), reduction="sum")
        count, *totals, _ = sums.tolist()
        return {name: total / count for name, total in zip(("loss", *METRICS), totals, strict=True)}

    def _watch(self, sums: torch.Tensor) -> None:
        """Warn, once, where the gradient has left all but one of many groups' negatives alone."""
        self._watched = self._watched + sums
        groups, *_, spread, held = self._watched.tolist()
        if groups < WATCHED:
            return
        self._watched = self._zeros()
        if spread / groups < ENOUGH < held / groups and self._accelerator.is_main_process:
            self._warned = True
            checks.warn(
                f"loss: of {held / groups:.1f} negatives a group, the gradient reaches {spread / groups:.2f} "
                f"(mean over {groups:.0f} groups); {self._advice}"
            )

    @staticmethod
    def _zeros() -> torch.Tensor:
        return torch.zeros(len(_COLUMNS) + 1, dtype=torch.float64)
