"""Arrays in .npy files: written block by block, and gone on with where a run was interrupted."""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from setwise.files.json_lines import parsed
from setwise.files.locking import locked
from setwise.files.writing import write_json

#: What reading a damaged archive of arrays (.npz) raises, also over methods that ZIP does not have.
DAMAGED_ARCHIVE = (
    *(OSError, EOFError, KeyError, TypeError, ValueError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)

#: What the file beside an unfinished array says it is.
_FORMAT = "setwise unfinished array 1"


def read_archive(source: Path | io.BytesIO) -> dict[str, NDArray[Any]]:
    """Return all arrays of an archive (.npz) by name.

    Raises one of `DAMAGED_ARCHIVE`: it cannot be read, or a member is no array.
    """
    opened = source if isinstance(source, io.BytesIO) else source.open("rb")
    with opened, np.load(opened, allow_pickle=False) as archive:  # NumPy leaves a damaged one open
        found = dict(archive)
    for name, one in found.items():
        if not isinstance(one, np.ndarray):  # without the first bytes of one, NumPy returns what is there
            raise ValueError(f"its {name} is no array")
    return found


def write_rows(file: Path, n: int, blocks: Iterable[NDArray[Any]]) -> None:
    """Write the rows of blocks, all of one shape and type, as one new .npy file; none is held for longer.

    Room on the disk is taken first, so that a full one is an error before any work.

    Parameters
    ----------
    file : Path
        Removed again if anything fails.
    n : int
        Rows in all, at least 1.
    blocks : iterable of ndarray of shape (m, ...)

    Raises FileExistsError: the file is there; OSError: the disk has no room; ValueError: the blocks have
    another number of rows than n, or differ in their rows' shape or type.
    """
    like: NDArray[Any] | None = None
    done = 0
    with file.open("xb") as stream:
        try:
            for block in blocks:
                if like is None:
                    like = block[:0]
                    _begin(stream, (n, *block.shape[1:]), block.dtype)
                if block.dtype != like.dtype or block.shape[1:] != like.shape[1:]:
                    raise ValueError(
                        f"rows from {done} on are {block.dtype} of shape {block.shape[1:]}, those before "
                        f"{like.dtype} of shape {like.shape[1:]}; all need the same"
                    )
                stream.write(np.ascontiguousarray(block).data)
                done += len(block)
            if done != n:
                raise ValueError(f"{done:,} rows came instead of {n:,}")
        except BaseException:
            file.unlink(missing_ok=True)
            raise


class UnfinishedArray:
    """A .npy file that has another name until it is whole, and is gone on with after an interruption.

    While it grows, ``NAME.part`` holds the rows and ``NAME.progress.json`` says what they are made of and how
    much is done. What was written after the last `note` is written again. One process writes it at a time.

    Parameters
    ----------
    target : Path
        Replaced once the new one is whole.
    shape : tuple
        (n, d); d may be None until the first block is put.
    settings : mapping of str to JSON value
        All that the rows depend on; an unfinished file with others is not gone on with.
    dtype : dtype
    argument : str
        In messages.
    anew : bool
        Begin anew where an unfinished file cannot be gone on with; else that is an error.
    wait : float
        Seconds to wait for another process that writes the same file.

    Attributes
    ----------
    done : int
        What the last `note` of an earlier run was given; 0 at first.

    Raises TimeoutError: another process is writing it; ValueError: an unfinished file is there that is
    damaged or of other settings; OSError: the disk has no room.
    """

    def __init__(
        self,
        target: Path,
        shape: tuple[int, int | None],
        settings: Mapping[str, Any],
        *,
        dtype: DTypeLike = np.float32,
        argument: str = "out",
        anew: bool = False,
        wait: float = 0.0,
    ) -> None:
        self._target = target
        self._part = target.with_name(target.name + ".part")
        self._sidecar = target.with_name(target.name + ".progress.json")
        self._rows, self._width = shape
        self._dtype, self._settings, self._argument = np.dtype(dtype), dict(settings), argument
        self._stream: IO[bytes] | None = None
        self._start = 0
        with contextlib.ExitStack() as held:
            held.enter_context(locked(self._part, argument, wait=wait))
            self.done = self._taken_up(anew) if self._part.exists() else 0
            self._held = held.pop_all()

    def put(self, row: int, block: NDArray[Any], column: int = 0) -> None:
        """Write a block, its upper left corner at ``row`` and ``column``."""
        rows = np.ascontiguousarray(block, self._dtype)
        stream = self._begun(rows.shape[1])
        assert self._width is not None
        whole = rows.shape[1] == self._width
        for number, part in enumerate([rows] if whole else rows):
            place = (row + number) * self._width + column
            stream.seek(self._start + self._dtype.itemsize * place)
            stream.write(part.data)

    def note(self, done: int) -> None:
        """Reach the disk with what was written, then with how much it is."""
        if self._stream is not None:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._tell(done)

    def finish(self) -> NDArray[Any]:
        """Give the file its name, and return it as a read-only memory map."""
        stream = self._begun(self._width)
        stream.flush()
        os.fsync(stream.fileno())
        stream.close()
        os.replace(self._part, self._target)
        self._sidecar.unlink(missing_ok=True)
        self.close()
        whole: NDArray[Any] = np.load(self._target, mmap_mode="r", allow_pickle=False)
        return whole

    def close(self) -> None:
        """Let go of the file; what was noted stays for another run."""
        if self._stream is not None:
            self._stream.close()
        self._held.close()

    def _begun(self, width: int | None) -> IO[bytes]:
        """Return the open file, made at its full size where it is not there."""
        if self._stream is None:
            if self._width is None:
                self._width = width
            assert self._width is not None, "no block was put"
            shape = self._rows, self._width
            if self.done:
                self._stream = self._part.open("r+b")
                self._start = len(_header(shape, self._dtype))
            else:
                self._tell(0)
                self._stream = self._part.open("w+b")
                self._start = _begin(self._stream, shape, self._dtype)
        return self._stream

    def _tell(self, done: int) -> None:
        """Write how much is done, and of what."""
        write_json(self._sidecar, {"format": _FORMAT, "done": done, "settings": self._settings}, force=True)

    def _taken_up(self, anew: bool) -> int:
        """Return how much of an unfinished file is done; 0 where it cannot be told and that is no error."""
        try:
            return self._checked()
        except ValueError as error:
            if anew:
                return 0
            mend = f"delete {self._part.name!r}, or name another file"
            raise ValueError(f"{self._argument}: {self._part.name!r} {error}; {mend}") from None

    def _checked(self) -> int:
        """Return how much of an unfinished file is done.

        Raises ValueError: it cannot be told, or it is of other settings.
        """
        try:
            record = parsed(self._sidecar.read_bytes(), self._sidecar.name)
            told, done = dict(record["settings"]), int(record["done"])
            if record["format"] != _FORMAT:
                raise ValueError("of another format")
        except (OSError, KeyError, TypeError, ValueError):
            raise ValueError(f"is there, but no {self._sidecar.name!r} says what it is") from None
        for name in sorted({*told, *self._settings}):
            if told.get(name) != self._settings.get(name):
                raise ValueError(
                    f"was begun with another {name} ({told.get(name)!r}, not {self._settings.get(name)!r})"
                )
        if done:
            try:
                held = np.load(self._part, mmap_mode="r", allow_pickle=False)
            except (OSError, EOFError, ValueError):
                raise ValueError("is damaged") from None
            if held.dtype != self._dtype or held.shape != (self._rows, self._width or held.shape[-1]):
                raise ValueError("is damaged")
            self._width = held.shape[1]
        return done


def _begin(stream: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Write a header and take room for all rows; return where they start.

    Raises OSError: the disk has no room.
    """
    header = _header(shape, dtype)
    stream.write(header)
    stream.flush()
    size = len(header) + math.prod(shape) * dtype.itemsize
    try:
        os.posix_fallocate(stream.fileno(), 0, size)
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        os.truncate(stream.fileno(), size)  # systems that cannot take room say so when a block is written
    return len(header)


def _header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """Return the header of a .npy file."""
    stream = io.BytesIO()
    facts = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, facts)
    return stream.getvalue()
