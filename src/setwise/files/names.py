"""Names of files and columns: their endings, whether they are there, and which was meant."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

from setwise import checks
from setwise.asked import read_from

#: Endings of tables whose cells tabs separate.
TABBED = tuple(kind + packed for kind in (".tsv", ".tab") for packed in ("", ".gz", ".zst"))

#: Endings of tables whose cells a character separates; which one is told by what is in them.
DELIMITED = (".csv", ".csv.gz", ".csv.zst", *TABBED)

#: Endings that are another name of one.
_SAME = {".ndjson": ".jsonl"}


def ending(path: str | os.PathLike[str]) -> str:
    """Return a file's ending in lower case, ``.gz`` or ``.zst`` together with what comes before it.

    ``.ndjson`` is ``.jsonl``.
    """
    suffixes = [_SAME.get(suffix.lower(), suffix.lower()) for suffix in Path(path).suffixes[-2:]]
    packed = suffixes and suffixes[-1] in (".gz", ".zst")
    return "".join(suffixes) if packed else (suffixes or [""])[-1]


def at_home(path: str | os.PathLike[str]) -> Path:
    """Return a path, ``~`` at its start being the home folder where nothing of that name is there.

    ``~name`` stays as it is where there is no such user, as in a shell.

    Raises TypeError: it is no path.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path: expected a path, got {type(path).__name__}")
    found = Path(path)
    return found if not str(path).startswith("~") or found.exists() else Path(os.path.expanduser(path))


def named(path: str | os.PathLike[str], argument: str, what: str = "file or folder") -> str:
    """Return a path as text.

    Raises TypeError: it is no path; ValueError: it is empty or blank, or has a null character.
    """
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str):
        raise TypeError(f"{argument}: expected a path, got {type(path).__name__}")
    if not text.strip():
        raise ValueError(f"{argument}: the path is {'blank' if text else 'empty'}; name a {what}")
    if "\0" in text:
        raise ValueError(f"{argument}: {text[:60]!r} is no path here (null character); name another")
    return text


def existing(path: str | os.PathLike[str], argument: str) -> Path:
    """Return the path of a file or folder that is there.

    Raises FileNotFoundError: it is not, or is a link to nothing; the message names a neighbor whose name is
    close; PermissionError: it may not be read; ValueError: it is empty, too long, or neither a file
    nor a folder: a pipe or a device, which might never end; or the command at work would replace it;
    TypeError: it is no path.
    """
    named(path, argument)
    try:
        found = at_home(path)
        there = found.exists()
        link = os.readlink(found) if found.is_symlink() and not there else None
    except PermissionError:
        raise PermissionError(
            f"{argument}: {str(path)!r} is in a folder that this user may not open"
        ) from None
    except OSError as error:
        raise ValueError(f"{argument}: {str(path)[:60]!r}… is no path here ({error.strerror})") from None
    if link is not None:
        raise FileNotFoundError(f"{argument}: {str(path)!r} is a link to {link!r}, and nothing is there")
    if there:
        if not os.access(found, os.R_OK | (os.X_OK if found.is_dir() else 0)):
            raise PermissionError(f"{argument}: {str(path)!r} may not be read by this user; change its mode")
        if not found.is_file() and not found.is_dir():
            raise ValueError(f"{argument}: {str(path)!r} is a pipe or a device; write it to a file first")
        read_from(found, argument)
        return found
    try:
        hidden = found.name.startswith(".")  # what runs keep for themselves is not to be named
        neighbors = [one.name for one in found.parent.iterdir() if hidden or not one.name.startswith(".")]
    except OSError:
        neighbors = []
    raise FileNotFoundError(f"{argument}: no file or folder {str(path)!r}{nearest(found.name, neighbors)}")


def column(names: Iterable[str], wanted: str, argument: str, source: str) -> str:
    """Return ``wanted`` if the table has such a column.

    Raises TypeError: ``wanted`` is no string; ValueError: the table has none; the message lists the columns.
    """
    if not isinstance(wanted, str):
        raise TypeError(f"{argument}: expected a column's name, got {checks.brief(wanted)}")
    known = list(names)
    if wanted in known:
        return wanted
    columns = ", ".join(known) or "none"
    raise ValueError(
        f"{argument}: {source} has no column {wanted!r}{nearest(wanted, known)} (columns: {columns})"
    )


def nearest(wanted: str, names: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the name closest to what was written, or nothing."""
    near = difflib.get_close_matches(wanted, list(names), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
