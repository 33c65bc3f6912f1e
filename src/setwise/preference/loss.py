"""The group-contrastive loss on the responses to a prompt (AMPO Eq. 4)."""

from __future__ import annotations

import math
from typing import Any

from setwise import checks
from setwise.extras import needs
from setwise.preference.losses import EOS_TERMS, contrastive, end_term

with needs("torch", "setwise.preference.loss"):
    import torch

REDUCTIONS = ("mean", "none", "sum")


def swepo_loss(
    logps: torch.Tensor,
    rewards: torch.Tensor | None,
    positive_mask: torch.Tensor,
    *,
    mask: torch.Tensor | None = None,
    lengths: torch.Tensor | None = None,
    alpha: float = 0.0,
    beta: float = 1.0,
    length_normalized: bool = False,
    gamma: float = 1.0,
    eos_regularizer: float = 0.0,
    eos_logps: torch.Tensor | None = None,
    eos_term: str = "mean",
    reduction: str = "mean",
) -> torch.Tensor:
    """Compute the loss that raises a group's positive responses against its negatives.

    For one prompt with positives S⁺, negatives S⁻ and scores s (see `scores`)::

        L = -log( Σ_{S⁺} e^s / (Σ_{S⁺} e^s + gamma Σ_{S⁻} e^s) )

    With one positive, one negative and no options it is ``-log sigmoid(s⁺ - s⁻)``; with one positive,
    InfoNCE over the group. Narrow types are computed in float32.

    Parameters
    ----------
    logps : tensor of shape (B, G)
        log P(y|x) of G responses to each of B prompts, summed over the response's tokens (or its difference
        to a reference model's). Finite.
    rewards : tensor of shape (B, G), or None
        Enter the scores by `alpha` alone, and may be None where that is 0.
    positive_mask : bool tensor of shape (B, G)
        True for S⁺. What is left is S⁻.
    mask : bool tensor of shape (B, G), optional
        False where a ragged group has no response; what stands there is not looked at.
    lengths : tensor of shape (B, G), optional
        Tokens of each response; needed by `length_normalized`.
    alpha : float, default 0
        Weight of a response's reward above the group's mean. The paper names it and gives it no value.
    beta : float, default 1
        Multiplies the log-probabilities.
    length_normalized : bool
        Take the mean log-probability of a token in place of the sum.
    gamma : float, default 1
        Weight of the negatives' terms, above 0. AMPO's best runs have `beta` 5 to 10 and `gamma` 2 to 4.
    eos_regularizer : float, default 0
        Weight of `eos_term`, which is added to the loss. It counters what length normalization invites: to
        end bad answers early instead of telling them apart.
    eos_logps : tensor of shape (B, G), optional
        Log-probability of the end-of-sequence token at each response's end; NaN where it was cut off and
        has no end. Needed by `eos_regularizer`.
    eos_term : {"mean", "target", "shorten"}
        The mean probability of ending where the group's responses end: under a weight above 0 answers grow
        longer, below 0 shorter. REFA's Eq. 7: each response's counts by how many tokens it is shorter than
        the longest (needs `lengths`). REFA's Eq. 9: minus the log-probabilities; answers grow shorter.
    reduction : {"mean", "none", "sum"}
        Over the B prompts.

    Returns
    -------
    Tensor of shape () or, with ``"none"``, (B,)
        float32, or float64 if `logps` is.

    Raises
    ------
    TypeError
        An argument is no tensor, or one of another type.
    ValueError
        A shape is not `logps`', an entry is NaN or infinite (the message has its row and column), a group has
        no positive or no negative, a parameter is out of range, or what an option needs is missing.

    References
    ----------
    .. [1] Gupta et al., "AMPO: Active Multi-Preference Optimization for Self-play Preference Selection",
       Eq. 4 and Algorithm 1.
    .. [2] Gupta et al., "REFA: Reference Free Alignment for multi-preference optimization",
       arXiv:2412.16378: length normalization, and control of the end-of-sequence token.
    """
    checks.choice("reduction", reduction, REDUCTIONS)
    checks.choice("eos_term", eos_term, [term for term in EOS_TERMS if term != "budget"])
    checks.flag("length_normalized", length_normalized)
    gamma = checks.positive("gamma", gamma)
    eos_regularizer = checks.finite("eos_regularizer", eos_regularizer)
    if eos_regularizer and eos_logps is None:
        raise ValueError(
            "eos_logps: needed by eos_regularizer; sequence_logps returns them with eos_token_id"
        )
    if eos_regularizer and eos_term == "target" and lengths is None:
        raise ValueError("lengths: needed by eos_term='target'; pass the responses' token counts")
    mask = _as_mask(logps, mask)
    positive = _as_group("positive_mask", positive_mask, mask)
    if positive.dtype != torch.bool:
        raise TypeError(f"positive_mask: expected a bool tensor, got {positive.dtype}")
    s = scores(
        logps,
        rewards,
        mask=mask,
        lengths=lengths,
        alpha=alpha,
        beta=beta,
        length_normalized=length_normalized,
    )
    positive, negative = positive & mask, ~positive & mask
    _refuse_rows(~positive.any(dim=1), "has no positive response")
    _refuse_rows(~negative.any(dim=1), "has no negative response")

    loss = contrastive(s, torch.zeros_like(s), positive, negative, gamma=gamma)
    if eos_regularizer:
        counts = mask if lengths is None else lengths
        loss = loss + eos_regularizer * end_term(eos_term, ending(eos_logps, mask, s.dtype), counts, mask)
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def scores(
    logps: torch.Tensor,
    rewards: torch.Tensor | None = None,
    *,
    mask: torch.Tensor | None = None,
    lengths: torch.Tensor | None = None,
    alpha: float = 0.0,
    beta: float = 1.0,
    length_normalized: bool = False,
    reference_logps: torch.Tensor | None = None,
) -> torch.Tensor:
    """Compute s_i = beta · log P(y_i|x) + alpha · (r_i - r̄), r̄ the mean reward of the group (AMPO Eq. 4).

    Parameters are those of `swepo_loss`. With `length_normalized`, log P(y_i|x) / \\|y_i\\| takes its place;
    `reference_logps` (B, G), where given, are taken off `logps` first.

    Returns
    -------
    Tensor of shape (B, G)
        float32, or float64 if `logps` is; 0 outside `mask`.

    Raises TypeError, ValueError: `swepo_loss` would raise it for the same arguments.
    """
    alpha, beta = checks.finite("alpha", alpha), checks.positive("beta", beta)
    mask = _as_mask(logps, mask)
    if not logps.is_floating_point():
        raise TypeError(f"logps: expected a floating tensor, got {logps.dtype}")
    dtype = torch.float64 if logps.dtype == torch.float64 else torch.float32
    nothing = torch.zeros((), dtype=dtype, device=logps.device)
    s = torch.where(mask, _finite("logps", logps, mask).to(dtype), nothing)
    if reference_logps is not None:
        given = _finite("reference_logps", _as_group("reference_logps", reference_logps, mask), mask)
        s = s - torch.where(mask, given.to(dtype), nothing)
    if length_normalized:
        if lengths is None:
            raise ValueError("lengths: needed by length_normalized; pass the responses' token counts")
        counts = _finite("lengths", _as_group("lengths", lengths, mask), mask)
        _refuse_cells((counts < 1) & mask, "lengths", "is below 1; a response has at least one token")
        s = s / torch.where(mask, counts, 1).to(dtype)
    s = beta * s
    if rewards is not None:
        known = torch.where(
            mask, _finite("rewards", _as_group("rewards", rewards, mask), mask).to(dtype), nothing
        )
        if alpha:
            average = known.sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp(min=1)
            s = s + alpha * torch.where(mask, known - average, nothing)
    elif alpha:
        raise ValueError("rewards: needed by alpha; pass one reward a response, or alpha=0")
    return s


def mean_split(rewards: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Mark as positive the responses whose reward lies above their group's mean (AMPO, section 2).

    A reward that equals the mean up to rounding is not above it, so that a group of equal rewards has no
    positive, whatever the order its mean is summed in.

    Parameters
    ----------
    rewards : tensor of shape (B, G)
    mask : bool tensor of shape (B, G), optional
        False where a ragged group has no response.

    Returns
    -------
    bool tensor of shape (B, G)

    Raises TypeError: an argument is no tensor, or ``mask`` is not bool; ValueError: ``rewards`` are not of
    two dimensions or hold NaN or Inf, or ``mask`` is of another shape.
    """
    mask = _as_mask(rewards, mask, "rewards")
    step = torch.finfo(rewards.dtype).eps if rewards.is_floating_point() else 0.0
    known = torch.where(mask, _finite("rewards", rewards, mask).double(), 0.0)
    count = mask.sum(dim=1, keepdim=True).clamp(min=1)
    rounding = 2.0 * step * known.abs().amax(dim=1, keepdim=True)
    return mask & (known - known.sum(dim=1, keepdim=True) / count > rounding)


def one_vs_k(rewards: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Mark each group's best response as its one positive; the first of equals (AMPO Algorithm 1).

    A group of equal rewards has no best and gets no positive. Arguments and errors are `mean_split`'s.
    """
    mask = _as_mask(rewards, mask, "rewards")
    known = _finite("rewards", rewards, mask).double()
    best = torch.where(mask, known, -math.inf)
    worst = torch.where(mask, known, math.inf)
    chosen = torch.zeros_like(mask).scatter_(1, best.argmax(dim=1, keepdim=True), True)
    return chosen & (best.amax(dim=1, keepdim=True) > worst.amin(dim=1, keepdim=True)) & mask


def ending(eos_logps: Any, mask: torch.Tensor, dtype: Any) -> torch.Tensor:
    """Return log-probabilities of ending, checked: NaN where a response has no end, and finite elsewhere."""
    given = _as_group("eos_logps", eos_logps, mask)
    _refuse_cells(mask & given.isinf(), "eos_logps", "is infinite")
    return torch.where(mask, given.to(dtype), math.nan)


def _as_mask(values: Any, mask: Any, name: str = "logps") -> torch.Tensor:
    """Check that values are a tensor (B, G), and return which of them are responses."""
    if not isinstance(values, torch.Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(values).__name__}")
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"{name}: expected shape (B, G), one row a prompt; got {tuple(values.shape)}")
    if mask is None:
        return torch.ones_like(values, dtype=torch.bool)
    if not isinstance(mask, torch.Tensor) or mask.dtype != torch.bool:
        raise TypeError("mask: expected a bool tensor, True where there is a response")
    if mask.shape != values.shape:
        raise ValueError(f"mask: expected shape {tuple(values.shape)}, got {tuple(mask.shape)}")
    return mask


def _as_group(name: str, values: Any, mask: torch.Tensor) -> torch.Tensor:
    """Check that values are a tensor of the groups' shape."""
    if not isinstance(values, torch.Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(values).__name__}")
    if values.shape != mask.shape:
        raise ValueError(f"{name}: expected shape {tuple(mask.shape)}, got {tuple(values.shape)}")
    return values


def _finite(name: str, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    _refuse_cells(mask & ~torch.isfinite(values), name, "is NaN or infinite")
    return values


def _refuse_cells(bad: torch.Tensor, name: str, what: str) -> None:
    if bool(bad.any()):
        row, column = (int(place) for place in bad.nonzero()[0])
        raise ValueError(f"{name}: row {row}, response {column} {what}")


def _refuse_rows(bad: torch.Tensor, what: str) -> None:
    if bool(bad.any()):
        row = int(bad.nonzero()[0, 0])
        raise ValueError(f"positive_mask: row {row} {what}; drop the row or mark one of its responses")
