"""Which texts a model reads together: those of about the same length, so that little is padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

#: Tokens that are read at once on a processor, where more fall out of its caches.
ON_CPU = 256


def tokens_together(device: Any, most: int) -> int:
    """Return how many tokens, padding among them, a model on a device of torch reads at once."""
    return ON_CPU if device.type == "cpu" else most


def alike_long(lengths: Sequence[int], tokens: int, most: int | None = None) -> Iterator[list[int]]:
    """Yield the places of texts that are read together, the longest first.

    Parameters
    ----------
    lengths : sequence of int
        Tokens of each text, at least 1.
    tokens : int
        As many, padding among them, are read at once, or one text.
    most : int, optional
        Texts that are read at once.
    """
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    start = 0
    while start < len(order):
        count = max(1, min(tokens // lengths[order[start]], most or len(order)))
        yield order[start : start + count]
        start += count
