"""The indexes that may be asked: each as it is on disk, also where another content takes its place."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from setwise.index.folder import FORMAT
from setwise.index.saved import SavedIndex, open_index

log = logging.getLogger("setwise.serve")


class OpenedIndexes(Mapping[str, SavedIndex]):
    """Saved indexes by name. Who takes one has its content as of now, and keeps that.

    A content that cannot be opened is told in the log, and the one before it stays.

    Parameters
    ----------
    paths : mapping of str to Path

    Raises
    ------
    FileNotFoundError, ValueError
        One cannot be opened.
    """

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = dict(paths)
        self._lock = threading.Lock()
        self._opened = {name: (FORMAT.stamp(path), _open(path)) for name, path in self._paths.items()}

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(self._paths)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._paths)

    def __getitem__(self, name: str) -> SavedIndex:
        """Return an index, opened anew where it is another than the last time."""
        stamp = FORMAT.stamp(self._paths[name])
        if stamp != self._opened[name][0]:
            with self._lock:
                before, index = self._opened[name]
                if stamp != before:
                    try:
                        index = _open(self._paths[name])
                    except (OSError, ValueError) as error:
                        line = {"index": name, "error": type(error).__name__, "kept": "the content before"}
                        log.error(json.dumps(line), extra={"fields": line})
                    self._opened[name] = stamp, index
        return self._opened[name][1]


def _open(path: Path) -> SavedIndex:
    """Open an index, and what encodes queries, where there is such a thing."""
    index = open_index(path)
    with contextlib.suppress(ValueError, ImportError):  # told to whoever asks it in words
        index.encoder()
    return index
