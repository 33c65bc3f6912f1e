"""A language model that several workers hold: each encodes parts of the texts, as one process would."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from setwise.encode import encoder
from setwise.encode.base import Encoder
from setwise.encode.cache import chunk_of
from setwise.engine import Engine, engine_for
from setwise.progress import Progress, tell

#: Parts that each worker is given between two savings.
_PARTS = 4


class Spread:
    """An encoder by its name, at work in an engine's workers; a lost worker's parts are encoded again.

    Parts are what the encoder is given at once in one process, so that texts are read together alike. A
    worker loads the model with its first part and keeps it.

    Parameters
    ----------
    name : str
        As for `setwise.encode.encoder`, of one that does not learn from the corpus.
    """

    def __init__(self, name: str, seed: int, engine: Engine) -> None:
        self._own: Encoder = encoder(name, seed=seed)
        self._asked, self._seed, self._engine = name, seed, engine
        self._part = chunk_of(self._own)
        self.chunk = self._part * _PARTS * engine.slots

    @property
    def name(self) -> str:
        return self._own.name

    @property
    def key(self) -> str:
        """What the vectors depend on beside the texts: not on where they are made."""
        return self._own.key

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """Return one unit vector a text, as the encoder does."""
        starts = range(0, max(len(texts), 1), self._part)
        parts = [(self._asked, self._seed, list(texts[start : start + self._part])) for start in starts]
        found = self._engine.map(encode_part, parts, accelerated=True)
        tell(progress, len(texts), len(texts))
        return np.concatenate(found)


def encode_part(work: tuple[str, int, list[str]]) -> NDArray[np.float32]:
    """Encode some texts; run by a worker."""
    name, seed, texts = work
    return _held(name, seed).encode(texts)


@functools.lru_cache(maxsize=1)
def _held(name: str, seed: int) -> Encoder:
    return encoder(name, seed=seed)


@contextlib.contextmanager
def spread(name: str, seed: int, workers: int | str) -> Iterator[Spread]:
    """Yield an encoder at work in local processes, on Ray or at a Ray address; see `engine_for`."""
    with engine_for(workers) as engine:
        yield Spread(name, seed, engine)
