"""The losses on a group of responses, each as its paper has it, and which settings each takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.extras import needs

with needs("torch", "setwise.preference.losses"):
    import torch

REWARD_SCALES = ("minmax", "zscore", "none")
EOS_TERMS = ("target", "shorten", "budget", "mean")
PAIRS = ("best-vs-worst", "all")

#: A loss: from scores, rewards (zeros where there are none), and which are positive and negative, all of
#: shape (B, G), to one number a group.
Function = Callable[..., torch.Tensor]


def contrastive(
    s: torch.Tensor,
    rewards: torch.Tensor,
    positive: torch.Tensor,
    negative: torch.Tensor,
    *,
    gamma: float,
) -> torch.Tensor:
    """Return -log( Σ₊ eˢ / (Σ₊ eˢ + gamma Σ₋ eˢ) ): AMPO Eq. 4, REFA Eq. 6, MPO (REFA's Eq. 5)."""
    raised = torch.logsumexp(s.masked_fill(~positive, -math.inf), dim=1)
    lowered = torch.logsumexp(s.masked_fill(~negative, -math.inf), dim=1)
    return -torch.nn.functional.logsigmoid(raised - lowered - math.log(gamma))


def infonca(
    s: torch.Tensor,
    rewards: torch.Tensor,
    positive: torch.Tensor,
    negative: torch.Tensor,
    *,
    reward_temperature: float,
) -> torch.Tensor:
    """Return the cross-entropy of softmax(s) to softmax(rewards / temperature) (arXiv:2402.05369)."""
    there = positive | negative
    target = _softmax(rewards / reward_temperature, there)
    predicted = s.masked_fill(~there, -math.inf).log_softmax(dim=1)
    return -(target * predicted.masked_fill(~there, 0.0)).sum(dim=1)


def nca(
    s: torch.Tensor,
    rewards: torch.Tensor,
    positive: torch.Tensor,
    negative: torch.Tensor,
    *,
    reward_temperature: float,
) -> torch.Tensor:
    """Return -Σ (p log σ(s) + log σ(-s) / G), p = softmax(rewards / temperature) (arXiv:2402.05369, NCA)."""
    there = positive | negative
    target = _softmax(rewards / reward_temperature, there)
    likely = torch.nn.functional.logsigmoid(s)
    unlikely = torch.nn.functional.logsigmoid(-s) / there.sum(dim=1, keepdim=True)
    return -(target * likely + unlikely).masked_fill(~there, 0.0).sum(dim=1)


def plackett_luce(
    s: torch.Tensor, rewards: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor
) -> torch.Tensor:
    """Return -log of the probability of the order by reward, best first (DPO, Appendix A.3).

    Of equal rewards the earlier response counts as the better.
    """
    there = positive | negative
    order = rewards.masked_fill(~there, -math.inf).argsort(dim=1, descending=True, stable=True)
    ranked, kept = s.gather(1, order), there.gather(1, order)
    ranked = ranked.masked_fill(~kept, -math.inf)
    left = ranked.flip(1).logcumsumexp(dim=1).flip(1)  # of a response and all after it
    return (left.masked_fill(~kept, 0.0) - ranked.masked_fill(~kept, 0.0)).sum(dim=1)


def pairwise(
    s: torch.Tensor,
    rewards: torch.Tensor,
    positive: torch.Tensor,
    negative: torch.Tensor,
    *,
    margin: float,
    pairs: str,
) -> torch.Tensor:
    """Return -log σ(s⁺ - s⁻ - margin) of the best and the worst, or its mean over all pairs (SimPO, DPO)."""
    if pairs == "best-vs-worst":
        best = rewards.masked_fill(~positive, -math.inf).argmax(dim=1, keepdim=True)
        worst = rewards.masked_fill(~negative, math.inf).argmin(dim=1, keepdim=True)
        gap = s.gather(1, best) - s.gather(1, worst)
        return -torch.nn.functional.logsigmoid(gap - margin).squeeze(1)
    gap = s[:, :, None] - s[:, None, :]
    both = positive[:, :, None] & negative[:, None, :]
    each = -torch.nn.functional.logsigmoid(gap - margin).masked_fill(~both, 0.0)
    return each.sum(dim=(1, 2)) / both.sum(dim=(1, 2))


@dataclass(frozen=True)
class Loss:
    """A loss by name.

    Attributes
    ----------
    function : callable
    settings : mapping
        The settings it takes, with their defaults.
    own : tuple of str
        Those of the settings that are arguments of the function; the others make the scores.
    reference : bool
        Whether scores are ratios to a reference model's probabilities.
    rewards : bool
        Whether it needs rewards.
    """

    function: Function
    settings: Mapping[str, float | bool | str]
    own: tuple[str, ...] = ()
    reference: bool = False
    rewards: bool = False


def _group(
    beta: float, gamma: float, normalized: bool, *, alpha: float = 0.0, reference: bool = False
) -> Loss:
    settings = {"beta": beta, "gamma": gamma, "length_normalized": normalized, "alpha": alpha}
    return Loss(contrastive, settings, ("gamma",), reference)


def _pair(beta: float, margin: float, normalized: bool, *, reference: bool) -> Loss:
    settings: dict[str, float | bool | str] = {
        "beta": beta,
        "margin": margin,
        "length_normalized": normalized,
        "pairs": "best-vs-worst",
    }
    return Loss(pairwise, settings, ("margin", "pairs"), reference, rewards=True)


_NCA: dict[str, float | bool | str] = {"beta": 0.1, "length_normalized": False, "reward_temperature": 0.1}

#: The losses of `PreferenceConfig`. "refa" has the settings of AMPO's and REFA's experiments (beta 5 to 10,
#: gamma 2 to 4, means of log-probabilities), "swepo" is AMPO's Eq. 4 as it is written.
LOSSES: dict[str, Loss] = {
    "refa": _group(8.0, 2.0, True),
    "swepo": _group(1.0, 1.0, False),
    "mpo": _group(0.1, 1.0, False, alpha=1.0, reference=True),
    "infonca": Loss(infonca, _NCA, ("reward_temperature",), reference=True, rewards=True),
    "nca": Loss(nca, _NCA, ("reward_temperature",), reference=True, rewards=True),
    "listwise-dpo": Loss(
        plackett_luce, {"beta": 0.1, "length_normalized": False}, reference=True, rewards=True
    ),
    "simpo": _pair(2.5, 1.375, True, reference=False),
    "dpo": _pair(0.1, 0.0, False, reference=True),
}


def scale_rewards(rewards: NDArray[np.float64], scale: str) -> NDArray[np.float64]:
    """Return a group's rewards on a scale of its own.

    In float64, before they are of the losses' type: large ones, and small differences, are no float32.

    Parameters
    ----------
    rewards : ndarray of shape (G,)
        Finite.
    scale : {"minmax", "zscore", "none"}
        To [0, 1] by the least and the largest (all 0.5 where they are equal, as the selection has it); to
        mean 0 and deviation 1 (all 0 where they are equal); or as they are.
    """
    checks.choice("reward_scale", scale, REWARD_SCALES)
    if scale == "none":
        return rewards
    least, most = rewards.min(), rewards.max()
    unit: NDArray[np.float64] = np.full(len(rewards), 0.5)
    if most > least:
        unit = (rewards - least) / (most - least)
    if scale == "zscore":
        unit = (unit - unit.mean()) / (unit.std() or 1.0)
    return unit


def end_term(
    term: str,
    eos_logps: torch.Tensor,
    lengths: torch.Tensor,
    mask: torch.Tensor,
    *,
    each: torch.Tensor | None = None,
    target: int | None = None,
) -> torch.Tensor:
    """Return a group's term on the probability of ending, shape (B,), to be weighted and added to its loss.

    Parameters
    ----------
    term : {"target", "shorten", "budget", "mean"}
        REFA's three: Σ P(end at \\|y\\|) · max(0, target - \\|y\\|) (Eq. 7); -Σ log P(end at \\|y\\|)
        (Eq. 9); Σ_y of the mean probability of ending before the budget minus that after it (Eq. 10, which
        has the budget as the first mean's divisor). And one of our own, the plainest: the
        mean of P(end at \\|y\\|).
    eos_logps : tensor of shape (B, G)
        log P(end at \\|y\\|); NaN where a response was cut off and has no end.
    lengths : tensor of shape (B, G)
        Tokens of each response, its end included.
    mask : bool tensor of shape (B, G)
    each : tensor of shape (B, G, T), optional
        log P(end) at every token, NaN where there is none; needed by "budget".
    target : int, optional
        Tokens. Of "target", by default the longest of the group; "budget" needs it.
    """
    ends = mask & ~eos_logps.isnan()
    probability = torch.where(ends, eos_logps, -math.inf).exp()
    if term == "mean":
        return probability.sum(dim=1) / ends.sum(dim=1).clamp(min=1)
    if term == "shorten":
        return -torch.where(ends, eos_logps, 0.0).sum(dim=1)
    if term == "target":
        known = lengths.masked_fill(~mask, 0).to(probability.dtype)
        wanted = known.amax(dim=1, keepdim=True) if target is None else torch.full_like(known, target)
        return (probability * (wanted - known).clamp(min=0)).sum(dim=1)
    if each is None or target is None:
        raise ValueError(
            "eos_term: 'budget' needs the log-probabilities of ending at every token, and a target"
        )
    place = torch.arange(1, each.shape[2] + 1, device=each.device)
    likely = torch.where(mask[:, :, None] & ~each.isnan(), each, -math.inf).exp()
    before = likely.masked_fill(place >= target, 0.0).sum(dim=2) / target
    after = likely.masked_fill(place <= target, 0.0).sum(dim=2) / (lengths - target).clamp(min=1)
    return (before - after).masked_fill(~mask, 0.0).sum(dim=1)


def effective_negatives(gradient: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Return over how many negatives the gradient of each group's loss is spread, shape (B,).

    With the sizes w of the derivatives by the negatives' scores made to sum to 1, ``1 / Σ w²`` (the inverse
    participation ratio) is 1 where one negative has all of the gradient, and the number of negatives where
    all have the same share; 0 where none has any.

    Parameters
    ----------
    gradient : tensor of shape (B, G)
        Of the loss by the scores.
    negative : bool tensor of shape (B, G)
    """
    weights = gradient.abs().masked_fill(~negative, 0.0)
    total = weights.sum(dim=1)
    shares = weights / torch.where(total > 0, total, 1.0)[:, None]
    return torch.where(total > 0, 1.0 / torch.where(total > 0, shares.square().sum(dim=1), 1.0), 0.0)


def _softmax(values: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    return values.masked_fill(~there, -math.inf).softmax(dim=1)
