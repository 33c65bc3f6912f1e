"""JSON in: a line an object, or one array of objects; plain, gzip or Zstandard."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

#: Endings of files that are decompressed while they are read.
COMPRESSED = (".gz", ".zst")

#: A compressed file may expand to this many times its size, and to this many bytes in any case.
EXPANSION, ALLOWED = 250, 1 << 28

#: Bytes of the longest line (and of the largest array of objects) that is read.
LONGEST = 1 << 30

#: Bytes that are decompressed at once.
_PIECE = 1 << 20


class _Limited(io.RawIOBase):
    """A decompressed stream that ends in an error where it grows out of all proportion."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self._stream, self._name = stream, path.name
        self._left = max(ALLOWED, EXPANSION * path.stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._stream.read(len(buffer))
        self._left -= len(piece)
        if self._left < 0:
            raise ValueError(
                f"{self._name} expands to more than {EXPANSION} times its size; decompress it first if it "
                "is what you want"
            )
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._stream.close()
        super().close()


@contextlib.contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, decompressed where its ending says so.

    Raises ValueError: while reading: it expands to more than `EXPANSION` times its size, and beyond `ALLOWED`
    bytes; OSError: it is not what its ending says, or is cut short.
    """
    suffix = path.suffix.lower()
    with contextlib.ExitStack() as stack:
        stream: Any
        if suffix == ".gz":
            import gzip

            stream = stack.enter_context(gzip.open(path, "rb"))
        elif suffix == ".zst":
            from setwise.extras.arrow import arrow

            stream = stack.enter_context(arrow.input_stream(str(path), compression="zstd"))
        else:
            yield stack.enter_context(path.open("rb"))
            return
        yield stack.enter_context(io.BufferedReader(_Limited(stream, path), _PIECE))


def is_array(path: Path) -> bool:
    """Return whether a file is one JSON array: its first character is a bracket."""
    with open_bytes(path) as stream:
        while piece := stream.read(4096):
            if found := piece.removeprefix(codecs.BOM_UTF8).lstrip():
                return found.startswith(b"[")
    return False


def has_places(path: Path) -> bool:
    """Return whether an object can be read by where its line starts: one a line, not compressed."""
    return path.suffix.lower() not in COMPRESSED and not is_array(path)


def json_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield what is on each line that is not blank, with the line's number from 1.

    Of one array of objects: a line for each object, numbered from 0.

    Raises ValueError: a line is longer than `LONGEST` bytes, or an array is no JSON.
    """
    if is_array(path):
        for row, value in enumerate(_array(path)):
            yield row, json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
        return
    with open_bytes(path) as stream:
        number = 0
        while line := stream.readline(LONGEST):
            number += 1
            if len(line) == LONGEST:
                raise ValueError(f"{path.name}, line {number} is longer than {LONGEST >> 30} GiB")
            bare = line.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n")
            if bare and not bare.isspace():
                yield number, bare


def json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a file: with the line each stands on, or its row where they are one array.

    Raises ValueError: a line is not one JSON object in UTF-8, is longer than `LONGEST` bytes, or is nested
    too deeply; an array holds something else than objects.
    """
    if is_array(path):
        for row, value in enumerate(_array(path)):
            yield row, as_object(value, f"{path.name}, row {row}")
        return
    for number, line in json_lines(path):
        place = f"{path.name}, line {number}"
        yield number, as_object(parsed(line, place), place)


def _array(path: Path) -> Any:
    """Return what a file that is one JSON array holds."""
    with open_bytes(path) as stream:
        data = stream.read(LONGEST)
    if len(data) == LONGEST:
        raise ValueError(
            f"{path.name} is one JSON array of more than {LONGEST >> 30} GiB; write one object a line "
            "(jq -c '.[]' does)"
        )
    return parsed(data.removeprefix(codecs.BOM_UTF8), path.name)


def parsed(data: bytes | str, place: str) -> Any:
    """Return what some JSON says.

    Raises ValueError: it is not JSON or not UTF-8, is nested too deeply, or has an integer of thousands of
    digits.
    """
    try:
        return json.loads(data.decode() if isinstance(data, bytes) else data)
    except json.JSONDecodeError as error:
        raise ValueError(f"{place} is not JSON ({error.msg})") from None
    except UnicodeDecodeError:
        raise ValueError(f"{place} is not UTF-8; save the file as UTF-8") from None
    except RecursionError:
        raise ValueError(f"{place} is nested too deeply to be read") from None
    except ValueError as error:
        raise ValueError(f"{place} cannot be read ({str(error).partition(';')[0]})") from None


def as_object(row: Any, place: str) -> dict[str, Any]:
    """Return a row that is a JSON object. Raises ValueError: it is something else."""
    if not isinstance(row, dict):
        raise ValueError(f"{place} is not a JSON object but {type(row).__name__}")
    return row
