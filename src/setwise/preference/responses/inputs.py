"""What `select_responses` is given, checked: embeddings, rewards and texts of one prompt or of many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import encode
from setwise.containers import to_numpy
from setwise.preference.responses.batches import LARGEST


class Inputs:
    """The responses of one prompt or of many.

    Parameters
    ----------
    embeddings : (B, N, d) array-like, sequence of (N_i, d), or None
        None: the texts are encoded.
    rewards : (B, N) array-like, or sequence of (N_i,)
    texts : sequence of sequences of str, or None
    model : str
        The encoder of the texts.
    one : bool
        Whether it is one prompt, whose parts messages name without its number.

    Attributes
    ----------
    rewards : ndarray of shape (B, N), or list of ndarray of shape (N_i,), float64
    embeddings : ndarray of shape (B, N, d), or list of ndarray of shape (N_i, d)
    sizes : ndarray of shape (B,), int64
        Responses of each prompt.
    texts : sequence of sequences of str, or None

    Raises TypeError: an argument is no such array or list, a dtype is no number, or a response is no string;
    ValueError: shapes or lengths do not go together, an entry is not finite or beyond 1e140, there is no
    prompt, or neither embeddings nor texts are given.
    """

    def __init__(
        self, embeddings: Any, rewards: Any, *, texts: Any, model: str, seed: int, one: bool
    ) -> None:
        self.one = one
        encode.parse(model)
        self.rewards = self._rewards(rewards)
        self.sizes = np.array([len(row) for row in self.rewards], np.int64)
        self.texts = None if texts is None else self._texts(texts)
        if embeddings is None:
            if self.texts is None:
                raise ValueError("embeddings: needed, or texts to encode")
            embeddings = _encoded(self.texts, model, seed)
        self.embeddings = self._embeddings(embeddings)

    def name(self, argument: str, prompt: int) -> str:
        """Return how a prompt's part of an argument is named in messages."""
        return argument if self.one else f"{argument}[{prompt}]"

    def padded(self, part: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Return the embeddings and rewards of some prompts as (B, N, d) and (B, N)."""
        sizes = self.sizes[part]
        widest = int(sizes.max())
        if isinstance(self.embeddings, np.ndarray) and isinstance(self.rewards, np.ndarray):
            if part[-1] - part[0] + 1 == len(part):
                span = slice(int(part[0]), int(part[-1]) + 1)
                return self.embeddings[span], self.rewards[span].copy()
            return self.embeddings[part], self.rewards[part]
        if len(part) == 1:
            return self.embeddings[part[0]][None], self.rewards[part[0]][None].copy()
        parts = [self.embeddings[prompt] for prompt in part.tolist()]
        vectors = np.zeros((len(part), widest, parts[0].shape[1]), np.result_type(*parts))
        rewards = np.full((len(part), widest), -np.inf)
        for place, (prompt, rows) in enumerate(zip(part.tolist(), parts, strict=True)):
            vectors[place, : len(rows)] = rows
            rewards[place, : len(rows)] = self.rewards[prompt]
        return vectors, rewards

    def bad_embedding(self, part: NDArray[np.int64]) -> str:
        """Return which response of a batch has an embedding that cannot be used."""
        for prompt in part.tolist():
            rows = np.asarray(self.embeddings[prompt], np.float64)
            bad = np.flatnonzero(~(np.abs(rows) <= LARGEST).all(axis=1))
            if len(bad):
                name = self.name("embeddings", prompt)
                what = "NaN" if np.isnan(rows[bad[0]]).any() else "Inf or an entry beyond 1e140"
                return f"{name}: row {bad[0]} has {what}; drop that response or embed it again"
        raise AssertionError("every embedding is finite")

    def _rewards(self, rewards: Any) -> NDArray[np.float64] | list[NDArray[np.float64]]:
        """Return checked rewards: (B, N), or one row a prompt where they differ in length."""
        if isinstance(rewards, np.ndarray) and rewards.ndim == 2 and rewards.dtype.kind in "fiub":
            found: NDArray[np.float64] | list[NDArray[np.float64]] = np.array(rewards, np.float64)
        else:
            if isinstance(rewards, str | bytes) or not hasattr(rewards, "__len__"):
                raise TypeError(
                    f"rewards: expected one row of numbers a prompt, got {type(rewards).__name__}"
                )
            rows = [self._row(row, prompt) for prompt, row in enumerate(rewards)]
            same = len({len(row) for row in rows}) == 1
            found = np.stack(rows) if same and not self.one else rows
        if len(found) == 0:
            raise ValueError("rewards: empty, there is no prompt to choose responses for")
        for prompt in range(len(found)) if isinstance(found, list) else _rows_beyond(found):
            row = found[prompt]
            bad = np.flatnonzero(~(np.abs(row) <= LARGEST))
            if len(bad):
                place = int(bad[0])
                raise ValueError(
                    f"{self.name('rewards', prompt)}: row {place} is {row[place]}; drop it or "
                    "give it a finite reward, at most 1e140"
                )
        return found

    def _row(self, row: Any, prompt: int) -> NDArray[np.float64]:
        """Return one prompt's rewards as float64."""
        name = self.name("rewards", prompt)
        array = to_numpy(row, name, flat=True)
        if array.ndim != 1:
            raise ValueError(f"{name}: expected one number a response, got shape {array.shape}")
        if array.size and array.dtype.kind not in "fiub":
            raise TypeError(f"{name}: dtype {array.dtype} cannot be used; pass floats, integers or booleans")
        return array.astype(np.float64)

    def _texts(self, texts: Any) -> Sequence[Sequence[str]]:
        """Return checked texts: as many as rewards, and strings."""
        if isinstance(texts, str) or not hasattr(texts, "__len__"):
            raise TypeError("texts: expected a list of responses a prompt")
        if len(texts) != len(self.sizes):
            raise ValueError(f"texts: {len(texts)} prompts, but rewards have {len(self.sizes)}")
        for prompt, responses in enumerate(texts):
            name = self.name("texts", prompt)
            if isinstance(responses, str) or not hasattr(responses, "__len__"):
                raise TypeError(f"{name}: expected a list of responses, got {type(responses).__name__}")
            if len(responses) != self.sizes[prompt]:
                raise ValueError(
                    f"{name}: {len(responses)} responses, but {self.name('rewards', prompt)} has "
                    f"{self.sizes[prompt]}"
                )
            for row, text in enumerate(responses):
                if not isinstance(text, str):
                    raise TypeError(f"{name}: row {row} is {type(text).__name__}, not a string")
        checked: Sequence[Sequence[str]] = texts
        return checked

    def _embeddings(self, embeddings: Any) -> NDArray[Any] | list[NDArray[Any]]:
        """Return checked embeddings: (B, N, d), or one (N_i, d) a prompt."""
        count = len(self.sizes)
        if isinstance(embeddings, Iterator):
            raise TypeError(
                "embeddings: expected an array or a list of arrays, got an iterator; pass list(…)"
            )
        if not self.one and not isinstance(embeddings, list | tuple):
            embeddings = to_numpy(embeddings, "embeddings")
        if isinstance(embeddings, np.ndarray) and embeddings.ndim != 3 and embeddings.dtype != object:
            raise ValueError(f"embeddings: expected shape (B, N, d), got {embeddings.shape}")
        if len(embeddings) != count:
            raise ValueError(f"embeddings: {len(embeddings)} prompts, but rewards have {count}")
        if (
            isinstance(embeddings, np.ndarray)
            and embeddings.ndim == 3
            and isinstance(self.rewards, np.ndarray)
        ):
            self._check_shape(embeddings[0], 0)
            return embeddings
        found = [to_numpy(rows, self.name("embeddings", prompt)) for prompt, rows in enumerate(embeddings)]
        for prompt, rows in enumerate(found):
            self._check_shape(rows, prompt)
        filled = [rows.shape[1] for rows in found if len(rows)]
        for prompt, rows in enumerate(found):
            if len(rows) and rows.shape[1] != filled[0]:
                raise ValueError(
                    f"{self.name('embeddings', prompt)}: {rows.shape[1]} dimensions where others have "
                    f"{filled[0]}"
                )
        return found

    def _check_shape(self, rows: NDArray[Any], prompt: int) -> None:
        """Refuse a prompt's embeddings that are not one vector of numbers a reward."""
        name, size = self.name("embeddings", prompt), int(self.sizes[prompt])
        if rows.shape[:1] == (0,) == (size,):
            return
        if rows.dtype.kind not in "fiu":
            raise TypeError(f"{name}: dtype {rows.dtype} cannot be used; pass floats or integers")
        if rows.ndim != 2 or rows.shape[1] == 0:
            raise ValueError(f"{name}: expected shape (N, d), got {rows.shape}")
        if len(rows) != size:
            raise ValueError(
                f"{name}: {len(rows)} responses, but {self.name('rewards', prompt)} has {size}; "
                "pass one of each a response"
            )


def _rows_beyond(rewards: NDArray[np.float64]) -> list[int]:
    """Return the prompts that have a reward that cannot be used."""
    return [int(row) for row in np.flatnonzero(~(np.abs(rewards) <= LARGEST).all(axis=1))]


def _encoded(texts: Sequence[Sequence[str]], model: str, seed: int) -> list[NDArray[np.float32]]:
    """Return the vectors of each prompt's responses, by an encoder that learns from them if it learns."""
    encoder = encode.encoder(model, seed=seed)
    if isinstance(encoder, encode.FittedEncoder):
        encoder.fit(list(dict.fromkeys(text for responses in texts for text in responses)))
    return encoded_once(encoder, texts)


def encoded_once(
    encoder: encode.Encoder, texts: Sequence[Sequence[str]], progress: encode.Progress | None = None
) -> list[NDArray[np.float32]]:
    """Return the vectors of each prompt's responses; equal texts are encoded once."""
    different = dict.fromkeys(text for responses in texts for text in responses)
    places = {text: place for place, text in enumerate(different)}
    vectors = encoder.encode(list(places), progress)
    return [vectors[[places[text] for text in responses]] for responses in texts]
