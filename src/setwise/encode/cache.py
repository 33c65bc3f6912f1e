"""A corpus is encoded once: its vectors are kept in a folder beside it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise._version import __version__
from setwise.encode.base import Encoder, FittedEncoder, Progress
from setwise.files.writing import write_atomic

FOLDER = ".setwise-cache"

#: Raised by one when what is kept, or how, changes.
_LAYOUT = 1

#: Entries that a folder keeps; the one unused for longest goes first.
_MOST = 32

#: How an entry's file is named; nothing else in the folder is ours to remove.
_ENTRY = re.compile(r"[a-z0-9-]+-[0-9a-f]{24}\.npz")

#: What reading a damaged file of the cache raises.
_DAMAGE = (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Encoded:
    """A corpus as vectors.

    Attributes
    ----------
    vectors : ndarray of shape (n, d), float32
        Unit rows, zeros where no word is known.
    encoder : Encoder
        What queries are to be encoded with; fitted, if it is one that fits.
    cached : bool
        Whether the vectors were read from the cache.
    """

    vectors: NDArray[np.float32]
    encoder: Encoder
    cached: bool


def encode_texts(
    texts: Sequence[str], encoder: Encoder, folder: Path | None = None, progress: Progress | None = None
) -> Encoded:
    """Encode a corpus, or read its vectors from the cache.

    An entry is used while the texts, the encoder and the version of setwise are what they were; one that is
    truncated or damaged is made anew. A cache that cannot be written is done without.

    Parameters
    ----------
    texts : sequence of str
    encoder : Encoder
        A `FittedEncoder` learns from the texts first.
    folder : Path, optional
        The cache; by default there is none.
    progress : callable, optional
        Called with the number of texts done and the number of texts.
    """
    entry = None if folder is None else folder / f"{_slug(encoder.key)}-{fingerprint(texts, encoder.key)}.npz"
    if entry is not None and entry.exists():
        with contextlib.suppress(*_DAMAGE):
            found = Encoded(_read(entry, encoder, len(texts)), encoder, cached=True)
            _touch(entry)
            return found
    if isinstance(encoder, FittedEncoder):
        encoder.fit(texts)
    vectors = encoder.encode(texts, progress)
    if entry is not None:
        with contextlib.suppress(OSError):
            _write(entry, encoder, vectors)
            _prune(entry.parent)
    return Encoded(vectors, encoder, cached=False)


def fingerprint(texts: Sequence[str], key: str) -> str:
    """Return a hash of every text, an encoder's key and the version of setwise."""
    digest = hashlib.blake2b(f"{_LAYOUT} {__version__} {key} {len(texts)}".encode(), digest_size=12)
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def folder_for(source: Path | None, name: str | None = None) -> Path | None:
    """Return the folder that a corpus's vectors are kept in.

    Parameters
    ----------
    source : Path or None
        The corpus: a folder keeps its cache in itself, a file beside itself.
    name : str, optional
        A folder to use instead; it is made if it is not there.

    Returns
    -------
    Path or None
        Where that place is not writable, a folder in the user's cache; None if that is not either.

    Raises
    ------
    PermissionError
        The folder that was asked for is not writable.
    """
    if name is not None:
        folder = Path(name).expanduser()
        if not _writable(folder):
            raise PermissionError(
                f"cache: folder {name!r} is not writable; name another, or leave the cache out"
            )
        return folder
    places = [user_folder()]
    if source is not None:
        home = source.resolve()
        places.insert(0, (home if home.is_dir() else home.parent) / FOLDER)
    return next((place for place in places if _writable(place)), None)


def user_folder() -> Path:
    """Return setwise's folder in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "setwise"


def _writable(folder: Path) -> bool:
    """Return whether a folder can be made (it is, where it is not there) and written to."""
    try:
        fresh = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        if fresh:
            (folder / ".gitignore").write_text("*\n")
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _slug(key: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", key.lower())[:32].strip("-")


def _read(entry: Path, encoder: Encoder, n: int) -> NDArray[np.float32]:
    """Return an entry's vectors, and give the encoder back what it had learned."""
    with np.load(entry, allow_pickle=False) as arrays:
        header = json.loads(arrays["header"].tobytes())
        if header["key"] != encoder.key:
            raise ValueError("the entry is another encoder's")
        vectors: NDArray[np.float32] = arrays["vectors"]
        if vectors.ndim != 2 or len(vectors) != n or vectors.dtype != np.float32:
            raise ValueError("the entry is another corpus's")
        if isinstance(encoder, FittedEncoder):
            encoder.restore({name: arrays[name] for name in header["state"]})
    return vectors


def _write(entry: Path, encoder: Encoder, vectors: NDArray[np.float32]) -> None:
    """Write an entry whole or not at all."""
    state = encoder.state() if isinstance(encoder, FittedEncoder) else {}
    header = json.dumps({"key": encoder.key, "setwise": __version__, "state": list(state)}).encode()
    arrays: dict[str, Any] = {"header": np.frombuffer(header, np.uint8), "vectors": vectors, **state}
    write_atomic(entry, lambda stream: np.savez(stream, allow_pickle=False, **arrays), force=True)


def _touch(entry: Path) -> None:
    """Mark an entry as used now, where that is allowed."""
    with contextlib.suppress(OSError):
        os.utime(entry)


def _prune(folder: Path) -> None:
    """Remove the entries unused for longest, above the number kept."""
    ours = [path for path in folder.glob("*.npz") if _ENTRY.fullmatch(path.name)]
    ours.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in ours[_MOST:]:
        path.unlink(missing_ok=True)
