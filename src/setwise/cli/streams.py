"""``-`` for standard input and output: every command reads and writes files, which stand for the two here."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from setwise.asked import read_from

#: Files that stand for the two streams are called so, with an ending.
INPUT, OUTPUT = "standard-input", "standard-output"

#: What a file begins with, and its ending; what else there is, is text.
_ENDINGS = {
    b"PAR1": ".parquet",
    b"ARROW1": ".arrow",
    b"\x93NUMPY": ".npy",
    b"\x1f\x8b": ".jsonl.gz",
    b"\x28\xb5\x2f\xfd": ".jsonl.zst",
    b"{": ".jsonl",
    b"[": ".json",
}

#: Options whose value is never a file, options that name an output, and commands whose output is a folder.
_WORDS = ("--query", "-q", "--include", "--exclude", "--shown", "--where")
_OUT, _FOLDERS = ("--out",), (("index", "build"), ("catalog", "build"))

#: Commands whose arguments are ids.
_IDS = (("index", "remove"), ("catalog", "remove"))

_taken, _far, _folder = False, "", ""


def opened() -> None:
    """Print nowhere where a stream is closed, and by escapes what its encoding lacks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper) and is_narrow(stream):
            stream.reconfigure(errors="backslashreplace")


def is_narrow(stream: TextIO) -> bool:
    """Return whether a stream's encoding has not every character (``LC_ALL=C``, Latin-1)."""
    return not (stream.encoding or "utf-8").lower().startswith("utf")


def reached(far: str) -> None:
    """Note how far a command has come that prints as it goes: ``after 3 of 10 queries``."""
    global _far
    _far = far


def how_far() -> str:
    """Return how far a command has come; nothing where it has printed nothing."""
    return _far


def shown(message: str) -> str:
    """Return a message without the folder of the files that stand for the streams."""
    return message.replace(f"{_folder}{os.sep}", "") if _folder else message


def output_is_taken() -> bool:
    """Return whether a file goes to standard output, so that nothing else may."""
    return _taken


@contextlib.contextmanager
def replaced(words: Sequence[str]) -> Iterator[list[str]]:
    """Give a command's words with files for what is written as ``-``; output appears when it has ended.

    Raises ValueError: standard input or output is named twice, or a folder would have to go to standard
    output.
    """
    global _taken, _folder
    reached("")
    _folder = ""
    found = _as_text(words)
    places: dict[str, int] = {}
    for at, word in enumerate(found):
        if word == "--":
            break
        name, equals, value = word.partition("=")
        if equals and name.startswith("--") and value == "-":
            option = name
        elif word == "-":
            option = found[at - 1] if at else ""
        else:
            continue
        if option in _WORDS or (tuple(found[:2]) in _IDS and not option.startswith("-")):
            continue
        stream = OUTPUT if option in _OUT else INPUT
        if stream in places:
            raise ValueError(f"{stream.replace('-', ' ')}: it is named twice; it can be only one file")
        places[stream] = at
    if not places:
        yield found
        return
    if OUTPUT in places and tuple(found[:2]) in _FOLDERS:
        raise ValueError("out: it is a folder, which cannot go to standard output; name one")
    with tempfile.TemporaryDirectory(prefix="setwise-") as folder:
        _folder = folder
        target = Path(folder, f"{OUTPUT}.jsonl")
        if INPUT in places:
            _put(found, places[INPUT], _spooled(Path(folder)))
        if OUTPUT in places:
            _put(found, places[OUTPUT], target)
        _taken = OUTPUT in places
        try:
            yield found
        finally:
            _taken = False
        if OUTPUT in places and target.is_file():
            with target.open("rb") as stream_out:
                shutil.copyfileobj(stream_out, sys.stdout.buffer)
            sys.stdout.flush()


def _as_text(words: Sequence[str]) -> list[str]:
    """Return words, those that name no file as UTF-8 also where the locale's encoding has not all of it."""
    found = list(words)
    for at, word in enumerate(words):
        name, equals, value = word.partition("=")
        option = equals and name in _WORDS
        if option or (at and words[at - 1] in _WORDS) or (at > 2 and tuple(words[:2]) in _IDS):
            with contextlib.suppress(UnicodeError):
                text = (value if option else word).encode("utf-8", "surrogateescape").decode()
                found[at] = f"{name}={text}" if option else text
    return found


def _put(words: list[str], at: int, path: Path) -> None:
    """Put a file in the place of a dash."""
    words[at] = words[at][: len(words[at]) - 1] + str(path)


def _spooled(folder: Path) -> Path:
    """Return a file with all of standard input, its ending told by what it begins with."""
    if sys.stdin is None:
        raise ValueError("standard input: it is closed; pass a file, or a pipe")
    source = sys.stdin.buffer
    with contextlib.suppress(OSError):  # a stream of Python's own has no number
        read_from(sys.stdin.fileno(), "standard input")
    start = source.read(64)
    bare = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    kind = next((kind for mark, kind in _ENDINGS.items() if bare.startswith(mark)), ".txt")
    path = folder / f"{INPUT}{kind}"
    with path.open("wb") as spool:
        spool.write(start)
        shutil.copyfileobj(source, spool)
    return path
