"""Rows as tokens: which of them the loss is about, checked before any work starts."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.encode.models import most_tokens
from setwise.encode.words import text_tokens

#: A text, all of which is learned; or a prompt and the completion, which alone is learned.
Row = str | tuple[str, str]


@dataclass(frozen=True, eq=False)
class Tokens:
    """A row as a language model reads it.

    Attributes
    ----------
    ids : ndarray of shape (t,), int64
    first : int
        The loss is about tokens ``first`` to t - 1; 1 <= first < t.
    cut : bool
        Whether tokens beyond the limit were left out.
    """

    ids: NDArray[np.int64]
    first: int
    cut: bool


class Tokenizer:
    """Turns rows into tokens.

    A row ends with the end-of-sequence token where the tokenizer has one, which belongs to the completion.
    A token that straddles prompt and completion belongs to the completion. A text that already begins with
    the beginning-of-sequence token, as a chat template writes it, gets no second one.

    Parameters
    ----------
    tokenizer : transformers tokenizer
    max_tokens : int
        At least 2; what is beyond is left out.
    model : optional
        Beyond its places it reads nothing.
    """

    def __init__(self, tokenizer: Any, max_tokens: int, model: Any = None) -> None:
        self._tokenizer = tokenizer
        checks.integer("max_tokens", max_tokens, least=2)
        self.max_tokens = max_tokens if model is None else most_tokens(model, max_tokens)

    def __call__(self, row: Any, number: int) -> Tokens:
        """Return a row's tokens.

        Raises TypeError, ValueError: it is neither a text nor a pair of texts, or no token is left to
        predict; with its number.
        """
        if isinstance(row, str):
            prompt, text = "", row
        elif isinstance(row, tuple | list) and len(row) == 2 and all(isinstance(part, str) for part in row):
            prompt, text = row
        else:
            raise TypeError(
                f"rows: row {number} is {type(row).__name__}; expected a text, or a prompt and a completion"
            )
        what = "text" if isinstance(row, str) else "completion"
        if not text:
            raise ValueError(f"rows: row {number} has an empty {what}; drop it")
        ids = text_tokens(prompt + text, self._tokenizer)
        first = max(1, _common(ids, text_tokens(prompt, self._tokenizer))) if prompt else 1
        if first >= len(ids):
            raise ValueError(f"rows: row {number} has no token of its {what} to predict; drop it")
        if first >= self.max_tokens:
            raise ValueError(
                f"rows: row {number} has a prompt of {first:,} tokens, which leaves none of its completion "
                f"within max_tokens={self.max_tokens}; raise that, or drop the row"
            )
        end = self._tokenizer.eos_token_id
        whole = ids if end is None or ids[-1:] == [end] else [*ids, end]
        return Tokens(np.array(whole[: self.max_tokens], np.int64), first, len(whole) > self.max_tokens)

    def usable(self, row: Any, number: int) -> Tokens | None:
        """Return a row's tokens, None where it has none to predict; a row of another type is refused."""
        with contextlib.suppress(ValueError):
            return self(row, number)
        return None

    def check(self, rows: Sequence[Row]) -> str:
        """Read all rows once and return a hash of their tokens; memory stays that of one row.

        Raises TypeError: ``rows`` is no list, or a row is neither a text nor a pair of texts; ValueError:
        there is no row, or some have no token to predict.
        """
        if isinstance(rows, str | bytes) or not isinstance(rows, Sequence):
            raise TypeError(f"rows: expected a list of rows, got {type(rows).__name__}")
        if not rows:
            raise ValueError("rows: there is none; pass at least one")
        digest, cut, refused, reason = hashlib.blake2b(digest_size=16), 0, 0, ""
        for number, row in enumerate(rows):
            try:
                tokens = self(row, number)
            except ValueError as error:
                refused, reason = refused + 1, reason or str(error)
                continue
            digest.update(np.array([len(tokens.ids), tokens.first]).tobytes())
            digest.update(tokens.ids.tobytes())
            cut += tokens.cut
        if refused > 1:
            raise ValueError(f"{reason} ({refused:,} rows cannot be used; usable_rows finds those that can)")
        if refused:
            raise ValueError(reason)
        if cut:
            checks.warn(
                f"rows: {cut:,} of {len(rows):,} are longer than max_tokens={self.max_tokens}; "
                "what is beyond is left out"
            )
        return digest.hexdigest()


def usable_rows(rows: Sequence[Row], tokenizer: Any, *, max_tokens: int = 2048) -> NDArray[np.int64]:
    """Return which rows gradients can be taken of, shape (u,), ascending: those with a token to predict.

    Parameters
    ----------
    rows : sequence of str or of (prompt, completion)
    tokenizer : transformers tokenizer
    max_tokens : int
        As for `GradientEncoder`.

    Raises
    ------
    TypeError
        A row is neither a text nor a pair of texts.
    """
    words = Tokenizer(tokenizer, max_tokens)
    found = [number for number, row in enumerate(rows) if words.usable(row, number) is not None]
    return np.array(found, np.int64)


def _common(one: list[int], other: list[int]) -> int:
    """Return how many tokens two lists share from the start."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
