"""Engines: map a pure function over partitions, in order, wherever they run."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: How often a partition is run again after its worker was lost.
RETRIES = 3


class Engine(ABC):
    """Runs a function once for each of some arguments, and returns the results in their order.

    The function is a module's own, so that a worker can import it; arguments are small. Vectors are shared:
    a worker opens what `share` returns.
    """

    #: Workers that are at work at once.
    slots: int

    @abstractmethod
    def map(
        self, function: Callable[[Any], Any], arguments: Sequence[Any], *, accelerated: bool = False
    ) -> list[Any]:
        """Return ``[function(one) for one in arguments]``; a lost worker's are run again.

        Parameters
        ----------
        function : callable
        arguments : sequence
        accelerated : bool
            Each call has a GPU to itself, where a cluster has some.

        Raises
        ------
        RuntimeError
            Workers were lost again and again.
        Exception
            What the function itself raised.
        """

    @abstractmethod
    def share(self, array: NDArray[Any]) -> contextlib.AbstractContextManager[Any]:
        """Return a context whose value, passed to a worker, `opened` there gives the array, not copied."""

    def close(self) -> None:  # noqa: B027
        """Give back what this engine has started; most have nothing."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


class OnDisk:
    """An array in a .npy file that every worker can read: it is mapped there."""

    def __init__(self, path: str) -> None:
        self.path = path

    def open(self) -> NDArray[Any]:
        """Return the mapped array."""
        mapped: NDArray[Any] = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return mapped


def opened(shared: Any) -> NDArray[Any]:
    """Return a shared array in a worker."""
    array: NDArray[Any] = shared.open() if hasattr(shared, "open") else shared
    return array


@contextlib.contextmanager
def shared_rows(engine: Engine, raw: NDArray[Any]) -> Iterator[Any]:
    """Share an array with an engine's workers; a memory map of a whole .npy file by its name."""
    named = _by_name(raw)
    if named is not None:
        yield named
        return
    with engine.share(raw) as shared:
        yield shared


def _by_name(raw: NDArray[Any]) -> OnDisk | None:
    """Return the .npy file that an array is the map of, if it is all of it and still there."""
    path = str(getattr(raw, "filename", None))
    if not (isinstance(raw, np.memmap) and path.endswith(".npy") and os.path.exists(path)):
        return None
    found = OnDisk(path)
    whole = found.open()
    same = (whole.shape, whole.strides, whole.dtype) == (raw.shape, raw.strides, raw.dtype)
    return found if same else None
