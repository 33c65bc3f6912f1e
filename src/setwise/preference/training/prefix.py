"""A group's prompt run once, and all its responses after it in the same sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from setwise.preference.logps import IGNORED

#: Of a token's log-probability, on average over a response.
ROUNDING = 0.02


class Packed(NamedTuple):
    """B groups as sequences of a prompt and its responses."""

    #: (B, T): the tokens.
    input_ids: torch.Tensor
    #: (B, T): a response's places go on from its prompt's.
    position_ids: torch.Tensor
    #: (B, 1, T, T) bool: each token sees the prompt, and the tokens of its own response up to itself.
    attention: torch.Tensor
    #: (R,): the sequence that each response is in.
    rows: torch.Tensor
    #: (R, L + 1): where the logits of each response's tokens are: after the token before it.
    places: torch.Tensor
    #: (R, L + 1): the responses' tokens after a column that is not looked at; -100 where there is none.
    labels: torch.Tensor


def pack(inputs: Mapping[str, Any]) -> Packed:
    """Lay the responses of each group of a `GroupCollator` out behind their prompt, filled up by 0."""
    ids, prompts, lengths = inputs["input_ids"], inputs["prompt_lengths"], inputs["attention_mask"].sum(dim=1)
    counts = inputs["mask"].sum(dim=1).tolist()
    device = ids.device
    responses = (lengths - prompts).tolist()
    starts = [sum(counts[:row]) for row in range(len(counts))]
    totals = [
        int(prompts[start]) + sum(responses[start : start + count])
        for start, count in zip(starts, counts, strict=True)
    ]
    longest, most = max(totals), max(responses)
    tokens = torch.zeros(len(counts), longest, dtype=ids.dtype, device=device)
    positions = torch.zeros_like(tokens)
    # Whose token each is: 0 the prompt's, from 1 the responses', -1 of the padding.
    owner = torch.full_like(tokens, -1)
    places = torch.zeros(len(ids), most + 1, dtype=torch.long, device=device)
    labels = torch.full((len(ids), most + 1), IGNORED, device=device)
    rows = torch.zeros(len(ids), dtype=torch.long, device=device)
    for row, (start, count) in enumerate(zip(starts, counts, strict=True)):
        prompt = int(prompts[start])
        tokens[row, :prompt] = ids[start, :prompt]
        positions[row, :prompt] = torch.arange(prompt, device=device)
        owner[row, :prompt] = 0
        place = prompt
        for number in range(count):
            one, size = start + number, responses[start + number]
            span = slice(place, place + size)
            tokens[row, span] = ids[one, prompt : prompt + size]
            positions[row, span] = torch.arange(prompt, prompt + size, device=device)
            owner[row, span] = number + 1
            rows[one] = row
            places[one, 0] = prompt - 1
            places[one, 1 : size + 1] = torch.arange(place, place + size, device=device)
            labels[one, 1 : size + 1] = tokens[row, span]
            place += size
    before = torch.ones(longest, longest, dtype=torch.bool, device=device).tril()
    seen = (owner[:, None, :] == 0) | (owner[:, None, :] == owner[:, :, None])
    # Padding sees itself, so that no row of the softmax is empty.
    alone = torch.eye(longest, dtype=torch.bool, device=device)
    return Packed(tokens, positions, ((seen & before) | alone)[:, None], rows, places, labels)


def refuse_otherwise(plain: torch.Tensor, shared: Callable[[], torch.Tensor], tokens: torch.Tensor) -> None:
    """Refuse a model that gives responses other log-probabilities when their prompt is run once.

    Attention over a window, local or linear attention and states that run along the sequence do not heed the
    mask, or not it alone.

    Parameters
    ----------
    plain : tensor of shape (R,)
        Log-probabilities of a group's responses, each run behind a prompt of its own.
    shared : callable
        Returns those of the same responses behind one prompt.
    tokens : tensor of shape (R,)
        How many tokens each response has.

    Raises ValueError: they differ by more than rounding, or the model cannot be run so.
    """
    try:
        found = shared()
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:80]
        raise ValueError(
            f"share_prompt: this model cannot run a group in one sequence ({reason}); leave it out"
        ) from None
    apart = float(((found - plain).abs() / tokens).max())
    # bfloat16 has three digits, and rounds at every layer.
    if not apart <= ROUNDING:
        raise ValueError(
            f"share_prompt: this model gives a token's log-probability {apart:.2g} apart from that behind a "
            "prompt of its own (attention over a window, or a state); leave it out"
        )


def unpack(logits: torch.Tensor, packed: Packed) -> torch.Tensor:
    """Return the logits of each response's tokens, (R, L + 1, V), in the order of `Packed.labels`.

    ``logits`` are of the last tokens, at least from the shortest prompt's last on, shape (B, T or less, V).
    """
    first = packed.input_ids.shape[1] - logits.shape[1]
    return logits[packed.rows[:, None], (packed.places - first).clamp(min=0)]
