"""An array of features that grows on disk, and is taken up again where it was left."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from setwise.files.writing import check_output, write_json

#: What the file beside an unfinished array says it is.
_FORMAT = "setwise unfinished features 1"


class Sink(Protocol):
    """Where features go."""

    #: Gradients that are done already.
    done: int

    def put(self, row: int, column: int, block: NDArray[np.float32]) -> None:
        """Take a block of features, its upper left corner at ``row`` and ``column``."""
        ...

    def note(self, done: int) -> None:
        """Remember how many gradients are done."""
        ...

    def finish(self) -> NDArray[np.float32]:
        """Return the whole."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class Memory:
    """Features that stay in memory."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._array = np.empty(shape, np.float32)
        self.done = 0

    def put(self, row: int, column: int, block: NDArray[np.float32]) -> None:
        """Take a block."""
        self._array[row : row + block.shape[0], column : column + block.shape[1]] = block

    def note(self, done: int) -> None:
        """Remember nothing: what is in memory is lost with the process."""

    def finish(self) -> NDArray[np.float32]:
        """Return the array."""
        return self._array

    def close(self) -> None:
        """Do nothing."""


class Unfinished:
    """Features in a .npy file that has another name until it is whole.

    While it grows, ``NAME.part`` holds the rows and ``NAME.progress.json`` says what they are features of
    and how many are done. What is written after the last note is written again.

    Parameters
    ----------
    out : path-like
        Ends in .npy.
    shape : tuple of int
    settings : mapping of str to JSON value
        All that the features depend on; an unfinished file with others is not taken up.
    force : bool
        Replace a finished file of that name, once the new one is whole.

    Raises
    ------
    FileExistsError, FileNotFoundError, IsADirectoryError, PermissionError
        As `setwise.files.check_output`.
    ValueError
        ``out`` does not end in .npy, or an unfinished file is there that is damaged or of other settings.
    """

    def __init__(
        self,
        out: str | os.PathLike[str],
        shape: tuple[int, int],
        settings: Mapping[str, Any],
        *,
        force: bool,
    ) -> None:
        self._target = check_output(out, force=force)
        if self._target.suffix != ".npy":
            raise ValueError(f"out: {str(out)!r} does not end in .npy; features are one array")
        self._part = self._target.with_name(self._target.name + ".part")
        self._sidecar = self._target.with_name(self._target.name + ".progress.json")
        self._shape, self._settings = shape, dict(settings)
        self._header = _header(shape)
        self.done = self._taken_up() if self._part.exists() else 0
        self._stream: IO[bytes] = self._part.open("r+b") if self.done else self._begin()

    def put(self, row: int, column: int, block: NDArray[np.float32]) -> None:
        """Write a block in its place."""
        for number, part in enumerate(np.ascontiguousarray(block, np.float32)):
            self._stream.seek(len(self._header) + 4 * ((row + number) * self._shape[1] + column))
            self._stream.write(part.tobytes())

    def note(self, done: int) -> None:
        """Reach the disk with what was written, then with how much it is."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._tell(done)

    def finish(self) -> NDArray[np.float32]:
        """Give the file its name, and return it as a read-only memory map."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        os.replace(self._part, self._target)
        self._sidecar.unlink(missing_ok=True)
        whole: NDArray[np.float32] = np.load(self._target, mmap_mode="r", allow_pickle=False)
        return whole

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _begin(self) -> IO[bytes]:
        """Return a fresh file of full size; what it is to be is said first."""
        self._tell(0)
        stream = self._part.open("w+b")
        stream.write(self._header)
        stream.truncate(len(self._header) + 4 * self._shape[0] * self._shape[1])
        return stream

    def _tell(self, done: int) -> None:
        """Write how much is done, and of what."""
        write_json(self._sidecar, {"format": _FORMAT, "done": done, "settings": self._settings}, force=True)

    def _taken_up(self) -> int:
        """Return how much of an unfinished file is done.

        Raises
        ------
        ValueError
            It cannot be told, or it is of other settings.
        """
        mend = f"delete {self._part.name!r}, or name another file"
        try:
            record = json.loads(self._sidecar.read_bytes())
            told, done = record["settings"], int(record["done"])
            if record["format"] != _FORMAT:
                raise ValueError("of another format")
        except (OSError, KeyError, TypeError, ValueError):
            raise ValueError(
                f"out: {self._part.name!r} is there, but no {self._sidecar.name!r} says what it is; {mend}"
            ) from None
        for name in sorted({*told, *self._settings}):
            if told.get(name) != self._settings.get(name):
                raise ValueError(
                    f"out: {self._part.name!r} was begun with another {name} "
                    f"({told.get(name)!r}, not {self._settings.get(name)!r}); {mend}"
                )
        with self._part.open("rb") as stream:
            header = stream.read(len(self._header))
        size = len(self._header) + 4 * self._shape[0] * self._shape[1]
        if done and (header != self._header or self._part.stat().st_size != size):
            raise ValueError(f"out: {self._part.name!r} is damaged; {mend}")
        return done


def _header(shape: tuple[int, int]) -> bytes:
    """Return the header of a .npy file of float32."""
    stream = io.BytesIO()
    facts = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, facts)
    return stream.getvalue()
