"""Files by size and checksum: what was written, and whether it still is what it was."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from setwise.progress import StepProgress, tell

#: Bytes that are read at once.
_CHUNK = 1 << 22


def measure(file: Path) -> dict[str, Any]:
    """Reach the disk with a file, and return its size (``bytes``) and checksum (``blake2b``)."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
    return {"bytes": file.stat().st_size, "blake2b": checksum(file)}


def is_whole(file: Path, facts: Mapping[str, Any]) -> bool:
    """Return whether a file is what `measure` has measured."""
    one = {file.name: facts}
    return not (faults_of(file.parent, one) or alterations_of(file.parent, one))


def digest(record: Mapping[str, Any]) -> str:
    """Return a checksum of plain values, such as ``meta.json``'s own."""
    return hashlib.blake2b(json.dumps(record, sort_keys=True).encode(), digest_size=16).hexdigest()


def is_among(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name is one of some, or matches a pattern among them."""
    return any(fnmatchcase(name, one) for one in patterns)


def faults_of(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return what is wrong with files as far as their sizes tell, by name."""
    found: dict[str, str] = {}
    for name, facts in files.items():
        file = folder / name
        if not file.is_file():
            found[name] = "is missing"
        elif (size := file.stat().st_size) != facts["bytes"]:
            found[name] = f"has {size:,} bytes instead of {facts['bytes']:,}"
    return found


def alterations_of(
    folder: Path, files: Mapping[str, Mapping[str, Any]], progress: StepProgress | None = None
) -> dict[str, str]:
    """Return what is wrong with files as far as their contents tell, by name."""
    found: dict[str, str] = {}
    total, before = sum(int(facts["bytes"]) for facts in files.values()), 0
    for name, facts in files.items():

        def told(read: int, before: int = before) -> None:
            tell(progress, "checking", before + read, total)

        if checksum(folder / name, told) != facts["blake2b"]:
            found[name] = "was altered (its checksum differs)"
        before += int(facts["bytes"])
    return found


def checksum(file: Path, tell: Callable[[int], object] = lambda read: None) -> str:
    """Return the checksum of what a file holds."""
    found, read = hashlib.blake2b(digest_size=16), 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            found.update(chunk)
            read += len(chunk)
            tell(read)
    return found.hexdigest()
