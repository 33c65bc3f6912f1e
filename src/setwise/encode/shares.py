"""A corpus encoded by several processes, each its own share; the last to finish joins them."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.encode.base import Encoder, FittedEncoder
from setwise.encode.cache import Encoded, chunk_of, encode_alike, encode_texts, entry_name
from setwise.extras import require
from setwise.files.locking import locked
from setwise.files.writing import write_array
from setwise.progress import Progress


@dataclass(frozen=True)
class Rank:
    """Which of several processes this is.

    Attributes
    ----------
    rank : int
        0 to size - 1.
    size : int
        Processes.
    """

    rank: int
    size: int

    @classmethod
    def of(cls, rank: int | None, size: int | None) -> Rank:
        """Return what is asked for, else what torchrun or accelerate launch says by RANK and WORLD_SIZE.

        Raises TypeError, ValueError: one is given without the other, is no whole number, or the rank is not
        below the size.
        """
        if (rank is None) != (size is None):
            lacks, has = ("rank", "world_size") if rank is None else ("world_size", "rank")
            raise ValueError(f"{lacks}: it goes with {has}; give both")
        told = [os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE")]
        if rank is None and all(told):
            try:
                rank, size = map(int, told)
            except ValueError:
                raise ValueError(f"rank: RANK={told[0]} and WORLD_SIZE={told[1]} are no numbers") from None
        size = checks.integer("world_size", 1 if size is None else size, least=1)
        return cls(checks.integer("rank", rank or 0, least=0, most=size - 1), size)

    def share(self, n: int, step: int) -> slice:
        """Return which of n texts are this process's: consecutive ones, from a multiple of ``step`` on.

        So that texts are read together as by one process, and have the same vectors to the last bit.
        """
        parts = -(-n // step)
        low, high = (parts * place // self.size * step for place in (self.rank, self.rank + 1))
        return slice(min(low, n), min(high, n))


def take_device() -> None:
    """Have torch take the accelerator that a launcher has named for this process by LOCAL_RANK, if any."""
    place = os.environ.get("LOCAL_RANK", "")
    if place.isdigit():
        torch = require("torch", "train", "encoding in several processes")
        if torch.cuda.is_available():
            torch.cuda.set_device(int(place) % torch.cuda.device_count())


class Shares:
    """The shares of some texts' vectors, beside the file that they become.

    Parameters
    ----------
    target : Path
        The shares lie in a folder of this name and ``.shares``.
    texts : sequence of str
        All of them.
    """

    def __init__(self, target: Path, texts: Sequence[str], encoder: Encoder, rank: Rank) -> None:
        self.folder = target.with_name(target.name + ".shares")
        self._texts, self._encoder, self._rank = texts, encoder, rank
        self._name = entry_name(texts, encoder)

    def _file(self, rank: int) -> Path:
        return self.folder / f"{self._name}-{rank:05d}-of-{self._rank.size:05d}.npy"

    def encode(self, cache: Path | None, progress: Progress | None = None) -> int:
        """Write this process's share, unless it is there; return how many texts it has.

        An encoder that learns does so from all texts, in each process.
        """
        n = len(self._texts)
        some = self._rank.share(n, chunk_of(self._encoder))
        file, own = self._file(self._rank.rank), self._texts[some]
        if file.is_file():
            return len(own)
        if isinstance(self._encoder, FittedEncoder):
            self._encoder.fit(self._texts)
            found = encode_alike(own, self._encoder, progress)
        else:
            found = encode_texts(own, self._encoder, cache, progress)
        self.folder.mkdir(exist_ok=True)
        write_array(file, with_zeros(found), force=True)
        return len(own)

    @contextlib.contextmanager
    def joined(self) -> Iterator[NDArray[np.float32] | None]:
        """Yield the vectors of all texts where every share is there, to be written; else None.

        One process at a time; once what was made of them is written, the shares are removed.
        """
        with locked(self.folder, "out", wait=-1):
            files = [self._file(rank) for rank in range(self._rank.size)]
            if not all(file.is_file() for file in files):
                yield None
                return
            parts = [np.load(file, mmap_mode="r", allow_pickle=False) for file in files]
            yield np.concatenate([part for part in parts if len(part)])
            shutil.rmtree(self.folder)


def with_zeros(found: Encoded) -> NDArray[np.float32]:
    """Return one row a text, zeros for those that the encoder knows no word of."""
    if len(found.rows) == found.n:
        return found.vectors
    vectors = np.zeros((found.n, found.vectors.shape[1]), np.float32)
    vectors[found.rows] = found.vectors
    return vectors
