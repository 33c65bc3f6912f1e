"""What an encoder is: texts in, one vector a text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.progress import Progress


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into vectors whose cosine says how alike the texts are."""

    @property
    def name(self) -> str:
        """Model, version and size, as a person reads it."""
        ...

    @property
    def key(self) -> str:
        """Everything that the vectors depend on beside the texts: same key, same vectors."""
        ...

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """Return one unit vector a text, shape (n, d).

        A text none of whose words the encoder knows (an empty one among them) gets a row of zeros.

        Parameters
        ----------
        texts : sequence of str
        progress : callable, optional
            Called with the number of texts done and the number of texts.
        """
        ...


@runtime_checkable
class FittedEncoder(Encoder, Protocol):
    """An encoder that learns its vectors from the corpus, and so has to be kept beside them."""

    def fit(self, texts: Sequence[str]) -> None:
        """Learn from a corpus.

        Raises
        ------
        ValueError
            No text has a word in it.
        """
        ...

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return all that was learned, as arrays of numbers."""
        ...

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Become the encoder that `state` came from.

        Raises
        ------
        KeyError, ValueError
            The arrays are not such a state.
        """
        ...


def checked_encoder(encoder: Any, argument: str = "encoder") -> Encoder:
    """Return an encoder as it is. Raises TypeError: it is none, or a class of them."""
    if isinstance(encoder, type) or not isinstance(encoder, Encoder):
        raise TypeError(
            f"{argument}: expected an encoder, with name, key and encode(texts, progress), as "
            f"setwise.encode.encoder(name) returns; got {checks.brief(encoder)}"
        )
    return encoder


def checked_texts(texts: Any, argument: str = "texts") -> Sequence[str]:
    """Return texts as they are. Raises TypeError: they are no list of strings."""
    if isinstance(texts, str | bytes) or not hasattr(texts, "__len__") or isinstance(texts, Mapping):
        raise TypeError(f"{argument}: expected a list of strings, got {checks.brief(texts)}")
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{argument}: text {number} is {checks.brief(text)}, expected a string")
    return cast(Sequence[str], texts)


def unit_rows(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Return rows scaled to length 1; those shorter than 1e-6, rounding noise without direction, as zeros.

    What is not finite stays so, for whoever asked to say.
    """
    vectors = np.ascontiguousarray(rows, dtype=np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    known = ~(lengths <= 1e-6)
    return np.where(known, vectors / np.where(known, lengths, 1), 0).astype(np.float32)


def known_rows(vectors: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which texts an encoder knew a word of, shape (n,)."""
    return np.asarray(vectors.any(axis=1))
