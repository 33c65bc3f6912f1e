"""Log-probabilities of responses from a model's logits, without a second copy of the logits."""
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

from __future__ import annotations

import math
from typing import Any, NamedTuple

from setwise import checks

try:
    import torch
except ImportError:
    checks.optional_import("torch", "torch", "setwise.preference.logps")
    raise

__all__ = ["IGNORED", "SequenceLogps", "sequence_logps"]

#: Numbers of a block of logits that are widened to float32 at a time: 32 MB.
BLOCK = 1 << 23

#: Label of a token that is not part of the response.
IGNORED = -100


class SequenceLogps(NamedTuple):
    """What `sequence_logps` returns, each a tensor of shape (B,)."""

    #: log P(y|x), summed over the labelled tokens.
    logps: torch.Tensor
    #: How many labelled tokens there are.
    lengths: torch.Tensor
    #: Log-probability of the last labelled token where that is the end-of-sequence token, else NaN; None
    #: without `eos_token_id`.
    eos_logps: torch.Tensor | None = None


def sequence_logps(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    eos_token_id: int | None = None,
    block: int = BLOCK,
) -> SequenceLogps:
    """Sum the log-probabilities of each sequence's labelled tokens.

    The logits are widened to float32 a block of tokens at a time, forward and backward, and only where a
    token is labelled. Beside the logits and their gradient, which has their own type, memory holds one such
    block; a plain log-softmax holds two or three float32 copies of the whole.

    Parameters
    ----------
    logits : tensor of shape (B, T, V)
        Of any floating type. ``logits[:, t]`` predicts token t + 1, as causal models return them.
    labels : integer tensor of shape (B, T)
        The tokens themselves, unshifted; -100 where a token is not part of the response (prompt, padding).
        The first column predicts nothing and is not looked at.
    eos_token_id : int, optional
        Return the end-of-sequence token's log-probabilities too.
    block : int
        Numbers widened at a time (at least one token's).

    Returns
    -------
    SequenceLogps
        ``logps``, ``lengths``, ``eos_logps``. float32, or float64 if the logits are.

    Raises
    ------
    TypeError, ValueError
        Shapes or types that do not fit; a label outside the vocabulary.
    """
    if not isinstance(logits, torch.Tensor) or logits.ndim != 3 or not logits.is_floating_point():
        raise TypeError("logits: expected a floating tensor of shape (B, T, V)")
    if not isinstance(labels, torch.Tensor) or labels.is_floating_point() or labels.dtype == torch.bool:
        raise TypeError("labels: expected an integer tensor of shape (B, T)")
    if labels.shape != logits.shape[:2]:
        raise ValueError(f"labels: expected shape {tuple(logits.shape[:2])}, got {tuple(labels.shape)}")
    checks.integer("block", block, least=1)
    vocabulary = logits.shape[2]
    targets = labels[:, 1:]
    labelled = targets != IGNORED
    rows, steps = labelled.nonzero(as_tuple=True)
    tokens = targets[rows, steps].long()
    if tokens.numel() and not 0 <= int(tokens.min()) <= int(tokens.max()) < vocabulary:
        raise ValueError(
            f"labels: a label lies outside the vocabulary of {vocabulary} (and is not {IGNORED})"
        )
    each = _TokenLogps.apply(logits, rows, steps, tokens, max(1, block // vocabulary))
    summed = each.new_zeros(labels.shape[0]).index_add(0, rows, each)
    lengths = labelled.sum(dim=1)
    if eos_token_id is None:
        return SequenceLogps(summed, lengths)
    endings = (
        lengths.cumsum(0) - 1
    )  # `each` lists a row's tokens in order, so its last is where the count ends
    last = endings.clamp(min=0)
    ends = lengths > 0
    if tokens.numel():
        ends = ends & (tokens[last] == eos_token_id)
        ending = torch.where(ends, each[last], math.nan)
    else:
        ending = torch.full_like(summed, math.nan)
    return SequenceLogps(summed, lengths, ending)


class _TokenLogps(torch.autograd.Function):
    """log softmax(logits)[b, t, token] of chosen (b, t), a block of them at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: torch.Tensor,
        rows: torch.Tensor,
        steps: torch.Tensor,
        tokens: torch.Tensor,
        block: int,
    ) -> torch.Tensor:
        """Gather the tokens' logits and take off the log of the sum; keep that sum for the gradient."""
        wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
        normalizers = torch.empty(len(tokens), dtype=wide, device=logits.device)
        chosen = torch.empty_like(normalizers)
        for start in range(0, len(tokens), block):
            part = slice(start, start + block)
            some = logits[rows[part], steps[part]].to(wide)
            normalizers[part] = torch.logsumexp(some, dim=1)
            chosen[part] = some.gather(1, tokens[part, None]).squeeze(1)
        ctx.save_for_backward(logits, rows, steps, tokens, normalizers)
        ctx.block = block
        return chosen - normalizers

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[misc, unused-ignore]
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return upstream · (one-hot - softmax), in the logits' own type."""
        logits, rows, steps, tokens, normalizers = ctx.saved_tensors
        gradient = torch.zeros_like(logits)
        for start in range(0, len(tokens), ctx.block):
            part = slice(start, start + ctx.block)
            some = logits[rows[part], steps[part]].to(normalizers.dtype)
            some.sub_(normalizers[part, None]).exp_().mul_(-upstream[part, None])
            some.scatter_add_(1, tokens[part, None], upstream[part, None])
            gradient[rows[part], steps[part]] = some.to(logits.dtype)
        return gradient, None, None, None, None
