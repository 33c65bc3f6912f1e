"""Log-probabilities of responses from a model's logits, without a second copy of the logits."""
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from setwise import checks
from setwise.extras import needs

with needs("torch", "setwise.preference.logps"):
    import torch

#: Numbers of a block of logits that are worked on at a time: about what a processor's cache holds (4 MB in
#: float32), and enough to fill a GPU (64 MB).
BLOCKS = {"cpu": 1 << 20, "gpu": 1 << 24}

#: Label of a token that is not part of the response.
IGNORED = -100


class SequenceLogps(NamedTuple):
    """What `sequence_logps` returns, each a tensor of shape (B,)."""

    #: log P(y|x), summed over the labeled tokens.
    logps: torch.Tensor
    #: How many labeled tokens there are.
    lengths: torch.Tensor
    #: Log-probability of the last labeled token where that is the end-of-sequence token, else NaN; None
    #: without `eos_token_id`.
    eos_logps: torch.Tensor | None = None


class ResponseLogps(NamedTuple):
    """What `response_logps` returns: the fields of `SequenceLogps`, and one more."""

    logps: torch.Tensor
    lengths: torch.Tensor
    eos_logps: torch.Tensor | None = None
    #: (B, T - 1): log-probability of the end-of-sequence token in place of each labeled token, which come
    #: first in each row, NaN after them; None without `every_end`.
    ends: torch.Tensor | None = None


def rejoined(parts: Sequence[ResponseLogps], order: torch.Tensor) -> ResponseLogps:
    """Return what some parts of a batch have, as of one, its sequences in another order."""
    widest = max((part.ends.shape[1] for part in parts if part.ends is not None), default=0)

    def joined(column: tuple[torch.Tensor | None, ...]) -> torch.Tensor | None:
        given = [one for one in column if one is not None]
        if given and given[0].ndim == 2:  # of ending, with NaN up to the width of the widest
            given = [
                torch.nn.functional.pad(one, (0, widest - one.shape[1]), value=torch.nan) for one in given
            ]
        return torch.cat(given)[order] if given else None

    return ResponseLogps(*map(joined, zip(*parts, strict=True)))


def sequence_logps(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    eos_token_id: int | None = None,
    block: int | None = None,
) -> SequenceLogps:
    """Sum the log-probabilities of each sequence's labeled tokens.

    The logits are worked on a block of tokens at a time, forward and backward, and widened to float32 there,
    from each sequence's first to its last labeled token. Beside the logits and their gradient, which has
    their own type, memory holds one or two such blocks; a plain log-softmax holds two or three float32 copies
    of the whole.

    Parameters
    ----------
    logits : tensor of shape (B, T, V)
        Of any floating type. ``logits[:, t]`` predicts token t + 1, as causal models return them.
    labels : integer tensor of shape (B, T)
        The tokens themselves, unshifted; -100 where a token is not part of the response (prompt, padding).
        The first column predicts nothing and is not looked at.
    eos_token_id : int, optional
        Return the end-of-sequence token's log-probabilities too.
    block : int, optional
        Numbers worked on at a time (at least one token's); by default what suits the device.

    Returns
    -------
    SequenceLogps
        ``logps``, ``lengths``, ``eos_logps``. float32, or float64 if the logits are.

    Raises
    ------
    TypeError
        ``logits`` is no floating tensor (B, T, V), or ``labels`` no integer tensor.
    ValueError
        ``labels`` is not of shape (B, T) or T is below 2, a label is outside the vocabulary and not -100, or
        ``block`` is below 1.
    """
    return SequenceLogps(*response_logps(logits, labels, eos_token_id=eos_token_id, block=block)[:3])


def response_logps(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    eos_token_id: int | None = None,
    every_end: bool = False,
    block: int | None = None,
) -> ResponseLogps:
    """Do what `sequence_logps` does, and with ``every_end`` return the end's at every token too."""
    if not isinstance(logits, torch.Tensor) or logits.ndim != 3 or not logits.is_floating_point():
        raise TypeError("logits: expected a floating tensor of shape (B, T, V)")
    if not isinstance(labels, torch.Tensor) or labels.is_floating_point() or labels.dtype == torch.bool:
        raise TypeError("labels: expected an integer tensor of shape (B, T)")
    if labels.shape != logits.shape[:2]:
        raise ValueError(f"labels: expected shape {tuple(logits.shape[:2])}, got {tuple(labels.shape)}")
    if labels.shape[1] < 2:
        raise ValueError("labels: expected at least two tokens a sequence; the first predicts the second")
    if block is None:
        block = BLOCKS["cpu" if logits.device.type == "cpu" else "gpu"]
    checks.integer("block", block, least=1)
    vocabulary = logits.shape[2]
    targets = labels[:, 1:].long()
    labeled = targets != IGNORED
    if bool((labeled & ((targets < 0) | (targets >= vocabulary))).any()):
        raise ValueError(
            f"labels: a label lies outside the vocabulary of {vocabulary} (and is not {IGNORED})"
        )
    spans = _spans(labeled, max(1, block // vocabulary))
    wanted = targets[:, :, None]
    if every_end and eos_token_id is not None:
        wanted = torch.cat([wanted, torch.full_like(wanted, eos_token_id)], dim=2)
    found_each = _TokenLogps.apply(logits, wanted, labeled, spans)
    each = found_each[:, :, 0]
    lengths = labeled.sum(dim=1)
    found = ResponseLogps(each.sum(dim=1), lengths)
    if eos_token_id is None:
        return found
    places = torch.arange(targets.shape[1], device=labels.device)
    last = torch.where(labeled, places, 0).amax(dim=1, keepdim=True)
    ends = (targets.gather(1, last) == eos_token_id) & labeled.gather(1, last)
    found = found._replace(eos_logps=torch.where(ends, each.gather(1, last), math.nan).squeeze(1))
    if not every_end:
        return found
    # Labeled places first, in their order.
    order = (~labeled).to(torch.uint8).argsort(dim=1, stable=True)
    everywhere = torch.where(labeled, found_each[:, :, 1], math.nan)
    return found._replace(ends=everywhere.gather(1, order))


def _spans(labeled: torch.Tensor, most: int) -> list[tuple[int, slice]]:
    """Return rows with slices of at most so many steps, from each row's first to its last labeled one."""
    steps = labeled.shape[1]
    firsts = labeled.int().argmax(dim=1).tolist()
    behinds = (steps - labeled.flip(1).int().argmax(dim=1)).tolist()
    found = []
    for row, used in enumerate(labeled.any(dim=1).tolist()):
        if used:
            for start in range(firsts[row], behinds[row], most):
                found.append((row, slice(start, min(start + most, behinds[row]))))
    return found


class _TokenLogps(torch.autograd.Function):
    """log softmax(logits[:, t])[targets t] where a target is labeled, else 0, a block of steps at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: torch.Tensor,
        targets: torch.Tensor,
        labeled: torch.Tensor,
        spans: list[tuple[int, slice]],
    ) -> torch.Tensor:
        """Take the log of the sum off the targets' logits (B, T, C); keep it for the gradient."""
        wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
        tokens = torch.where(labeled[:, :, None], targets, 0)
        normalizers = torch.zeros(labeled.shape, dtype=wide, device=logits.device)
        for row, part in spans:
            normalizers[row, part] = torch.logsumexp(logits[row, part].to(wide), dim=1)
        chosen = logits[:, :-1].gather(2, tokens).to(wide)
        ctx.save_for_backward(logits, tokens, labeled, normalizers)
        ctx.spans = spans
        return torch.where(labeled[:, :, None], chosen - normalizers[:, :, None], 0.0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return Σ upstream · (one-hot - softmax), in the logits' own type."""
        logits, tokens, labeled, normalizers = ctx.saved_tensors
        weights = torch.where(labeled[:, :, None], upstream, 0.0)
        totals = weights.sum(dim=2)
        gradient = torch.zeros_like(logits)
        for row, part in ctx.spans:
            some = logits[row, part].to(normalizers.dtype) - normalizers[row, part, None]
            some.exp_().mul_(-totals[row, part, None]).scatter_add_(1, tokens[row, part], weights[row, part])
            gradient[row, part] = some
        return gradient, None, None, None
