"""A repository's vectors: encoded in chunks, kept in a memory map, and gone on with after an interruption."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise._version import __version__
from setwise.encode.base import Encoder, FittedEncoder, known_rows
from setwise.files.writing import write_array, write_atomic, write_json
from setwise.finetuning.rows.repository import Repository

EMPTY = ("drop", "refuse")

#: Raised by one when what is kept, or how, changes.
_LAYOUT = 1

#: Texts that an encoder learns from, at most; they are spread over the repository.
_LEARN = 100_000

#: Texts that are encoded between two savings.
_SAVE = 2048

#: Bytes of vectors that are copied at once.
_COPY = 1 << 26

#: Called with the step, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], object]


@dataclass(frozen=True, eq=False)
class EncodedRows:
    """Rows of a repository as vectors.

    Attributes
    ----------
    vectors : ndarray of shape (m, d), float32
        Unit rows; a memory map where they are kept in a folder.
    rows : ndarray of shape (m,), int64
        The row of the repository that each is of, ascending.
    n : int
        Rows of the repository; those without a word the encoder knows, n - m, have no vector.
    encoder : Encoder
        What examples are to be encoded with; fitted, if it is one that fits.
    found : int
        Rows whose vectors had been kept by an earlier run.
    learned : int
        Rows that the encoder has learned from; 0 for one that does not.
    """

    vectors: NDArray[np.float32]
    rows: NDArray[np.int64]
    n: int
    encoder: Encoder
    found: int = 0
    learned: int = 0


@contextlib.contextmanager
def encoded_rows(
    repository: Repository,
    encoder: Encoder,
    folder: Path | None = None,
    *,
    empty: str = "drop",
    chunk: int = _SAVE,
    progress: Progress | None = None,
) -> Iterator[EncodedRows]:
    """Encode a repository's texts, or read their vectors where an earlier run has kept them.

    Texts are read and encoded in chunks and the vectors written to a memory map, so neither has to fit
    into memory. A run that was interrupted is gone on with at the chunk it stopped at. What is kept is used
    while texts, encoder and the version of setwise are what they were.

    Parameters
    ----------
    repository : Repository
    encoder : Encoder
        A `FittedEncoder` learns from up to 100,000 texts spread over the repository first.
    folder : Path, optional
        Where vectors are kept, such as `setwise.encode.cache.folder_for` names; by default they are kept
        in a temporary folder, as long as the context lasts.
    empty : {"drop", "refuse"}
        What becomes of rows without a word that the encoder knows, an empty text among them: they have no
        vector, or are an error.
    chunk : int
        Texts between two savings.
    progress : callable, optional
        Called with "reading" or "encoding", the rows done and all rows.

    Raises
    ------
    TypeError, ValueError
        No column is known to hold texts, a row holds something else, a text is empty under "refuse", or
        all are.
    """
    checks.choice("empty", empty, EMPTY)
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="setwise-")))
        tell = progress or (lambda step, done, total: None)
        key, sample = _survey(repository, encoder, tell)
        home = folder / f"rows-{key}"
        home.mkdir(parents=True, exist_ok=True)
        learned = 0
        if isinstance(encoder, FittedEncoder):
            try:
                _learn(encoder, sample, home / "encoder.npz")
            except ValueError as error:  # which calls what it learns from a corpus
                message = str(error).removeprefix("corpus: ")
                raise ValueError(f"{repository.argument}: {message}") from None
            learned = len(sample)
        vectors, found = _encode(repository, encoder, home, chunk, tell)
        known, rows = _known(vectors, home)
        if len(rows) < len(repository):
            bare = int(np.setdiff1d(np.arange(len(repository)), rows)[0])
            what = "no word that the encoder knows, or no text at all"
            if not len(rows):
                where = f"{repository.source.name} has {what}, in {', '.join(repository.text)}"
                raise ValueError(f"{repository.argument}: every row of {where}")
            if empty == "refuse":
                count = len(repository) - len(rows)
                raise ValueError(
                    f"empty: {count:,} row{'s' if count > 1 else ''} of {repository.source.name}, the first "
                    f"row {bare}, {'have' if count > 1 else 'has'} {what}; mend them or use --empty drop"
                )
        yield EncodedRows(known, rows, len(repository), encoder, found, learned)


def encode_examples(
    texts: Sequence[str], encoder: Encoder, folder: Path | None = None, progress: Progress | None = None
) -> NDArray[np.float32]:
    """Encode examples as a repository was, or read their vectors where an earlier run has kept them.

    Parameters
    ----------
    texts : sequence of str
    encoder : Encoder
        That of `EncodedRows`.
    folder, progress
        As in `encoded_rows`.

    Returns
    -------
    ndarray of shape (m, d), float32
        Rows of zeros where the encoder knows no word.
    """
    entry = None
    if folder is not None and not isinstance(encoder, FittedEncoder):
        digest = _start(encoder)
        _add(digest, texts)
        entry = folder / f"examples-{digest.hexdigest()}.npy"
        with contextlib.suppress(OSError, ValueError, EOFError):
            kept: NDArray[np.float32] = np.load(entry, allow_pickle=False)
            if kept.ndim == 2 and len(kept) == len(texts) and kept.dtype == np.float32:
                return kept
    tell = None if progress is None else lambda done, total: progress("examples", done, total)
    vectors = encoder.encode(texts, tell)
    if entry is not None:
        with contextlib.suppress(OSError):
            write_array(entry, vectors, force=True)
    return vectors


def _start(encoder: Encoder) -> Any:
    return hashlib.blake2b(f"{_LAYOUT} {__version__} {encoder.key}".encode(), digest_size=12)


def _add(digest: Any, texts: Sequence[str]) -> None:
    for text in texts:
        data = text.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)


def _survey(repository: Repository, encoder: Encoder, tell: Progress) -> tuple[str, list[str]]:
    """Read all texts once: return what names their vectors, and the texts to learn from."""
    n = len(repository)
    step = -(-n // _LEARN)
    digest = _start(encoder)
    sample: list[str] = []
    done = 0
    for texts in repository.texts():
        _add(digest, texts)
        if isinstance(encoder, FittedEncoder):
            sample += texts[-done % step :: step]
        done += len(texts)
        tell("reading", done, n)
    if done != n:
        raise ValueError(f"{repository.argument}: {repository.source.name} has changed while it was read")
    return digest.hexdigest(), sample


def _learn(encoder: FittedEncoder, sample: Sequence[str], entry: Path) -> None:
    """Fit an encoder, or give it back what it has learned in an earlier run."""
    with contextlib.suppress(OSError, KeyError, ValueError, EOFError, ImportError):
        with np.load(entry, allow_pickle=False) as arrays:
            encoder.restore({name: arrays[name] for name in arrays.files})
        return
    encoder.fit(sample)
    state = dict(encoder.state())
    write_atomic(entry, lambda stream: np.savez(stream, allow_pickle=False, **state), force=True)


def _encode(
    repository: Repository, encoder: Encoder, home: Path, chunk: int, tell: Progress
) -> tuple[NDArray[np.float32], int]:
    """Return the vectors of all rows, and how many of them an earlier run had made."""
    n = len(repository)
    whole, part, state = home / "vectors.npy", home / "vectors.part.npy", home / "state.json"
    with contextlib.suppress(OSError, ValueError, EOFError):
        kept: NDArray[np.float32] = np.load(whole, mmap_mode="r", allow_pickle=False)
        if len(kept) == n:
            return kept, n
    done = found = _done(part, state, n)
    array: Any = np.load(part, mmap_mode="r+", allow_pickle=False) if done else None
    seen = 0
    for texts in repository.texts(chunk):
        fresh, seen = texts[max(0, done - seen) :], seen + len(texts)
        if not fresh:
            continue
        vectors = encoder.encode(fresh, _after(done, n, tell))
        if array is None:
            array = np.lib.format.open_memmap(part, "w+", np.float32, (n, vectors.shape[1]))
        array[done : done + len(fresh)] = vectors
        array.flush()
        done += len(fresh)
        write_json(state, {"done": done}, force=True)
        tell("encoding", done, n)
    os.replace(part, whole)
    state.unlink(missing_ok=True)
    ready: NDArray[np.float32] = np.load(whole, mmap_mode="r", allow_pickle=False)
    return ready, found


def _after(done: int, n: int, tell: Progress) -> Callable[[int, int], object]:
    """Return what tells of texts encoded after those that are done."""
    return lambda some, _: tell("encoding", done + some, n)


def _done(part: Path, state: Path, n: int) -> int:
    """Return how many rows of an unfinished file of vectors are made."""
    with contextlib.suppress(OSError, ValueError, EOFError, KeyError, TypeError):
        done = int(json.loads(state.read_bytes())["done"])
        array = np.load(part, mmap_mode="r", allow_pickle=False)
        if array.ndim == 2 and len(array) == n and 0 < done <= n:
            return done
    return 0


def _known(vectors: NDArray[np.float32], home: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the vectors that are not zero, and their rows; a second memory map where some are left out."""
    n, d = vectors.shape
    step = max(1, _COPY // (4 * d))
    known = np.concatenate([known_rows(vectors[start : start + step]) for start in range(0, n, step)])
    rows = np.flatnonzero(known).astype(np.int64)
    if len(rows) in (0, n):
        return vectors, rows
    kept = home / "known.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):
        found: NDArray[np.float32] = np.load(kept, mmap_mode="r", allow_pickle=False)
        if found.shape == (len(rows), d):
            return found, rows
    part = home / "known.part.npy"
    array = np.lib.format.open_memmap(part, "w+", np.float32, (len(rows), d))
    for start in range(0, len(rows), step):
        array[start : start + step] = vectors[rows[start : start + step]]
    array.flush()
    os.replace(part, kept)
    chosen: NDArray[np.float32] = np.load(kept, mmap_mode="r", allow_pickle=False)
    return chosen, rows
