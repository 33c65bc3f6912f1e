"""Texts are encoded once: their vectors are kept in a folder beside them, whole or to be gone on with.

An entry is a folder named for the encoder and a hash of all texts. While it has no ``meta.json``, it is
unfinished: vectors are written chunk by chunk, and whoever comes next goes on after the last chunk that
reached the disk. One process at a time makes or opens an entry; others wait for it. An entry is used only if
the checksums of its files hold, else it is made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from setwise._version import __version__
from setwise.encode.base import Encoder, FittedEncoder, checked_encoder, checked_texts, known_rows
from setwise.encode.entries import FORMAT, GROWING, ROWS, STATE, VECTORS, prune
from setwise.files.arrays import DAMAGED_ARCHIVE, UnfinishedArray, read_archive, write_rows
from setwise.files.folder import META
from setwise.files.locking import locked
from setwise.files.names import at_home, named
from setwise.files.parts import room_for
from setwise.files.writing import write_array, write_atomic
from setwise.progress import Progress, StepProgress, check_progress

_log = logging.getLogger(__name__)

#: Texts that are read at once, and encoded at once where an encoder does not name a `chunk` of its own, which
#: divides this; the vectors are the same whether they are kept or not.
CHUNK = 2048

#: Seconds of encoding between two savings.
_SAVE = 2.0

#: Bytes of vectors that are looked at or copied at once.
_COPY = 1 << 26


@dataclass(frozen=True, eq=False)
class Encoded:
    """Texts as vectors.

    Attributes
    ----------
    vectors : ndarray of shape (m, d), float32
        Unit rows, of those texts that the encoder knows a word of; a memory map where they are kept.
    rows : ndarray of shape (m,), int64
        The text that each is of, ascending.
    n : int
        Texts; n - m of them have no word that the encoder knows, and no vector.
    encoder : Encoder
        What other texts, such as queries, are to be encoded with; fitted, if it is one that fits.
    found : int
        Texts that an earlier run had encoded.
    learned : int
        Texts that the encoder has learned from; 0 for one that does not.
    """

    vectors: NDArray[np.float32]
    rows: NDArray[np.int64]
    n: int
    encoder: Encoder
    found: int = 0
    learned: int = 0

    @property
    def cached(self) -> bool:
        """Whether all vectors had been made by an earlier run."""
        return 0 < self.n == self.found

    @property
    def unknown(self) -> NDArray[np.int64]:
        """The texts without a vector, ascending."""
        return np.setdiff1d(np.arange(self.n), self.rows, assume_unique=True)


def encode_texts(
    texts: Sequence[str], encoder: Encoder, folder: Path | None = None, progress: Progress | None = None
) -> Encoded:
    """Encode texts, or read their vectors from the cache; one that cannot be written is done without.

    Parameters
    ----------
    texts : sequence of str
    encoder : Encoder
        A `FittedEncoder` learns from all texts first.
    folder : Path, optional
        The cache; by default there is none.
    progress : callable, optional
        Called with the number of texts done and the number of texts.

    Raises TypeError: an argument is of another type; ValueError: an encoder that learns finds no word in any
    text, or one returns NaN.
    """

    def tell(step: str, done: int, total: int) -> None:
        if progress is not None and step == "encoding":
            progress(done, total)

    checked_encoder(encoder)
    check_progress(progress)
    n = len(checked_texts(texts))
    if folder is not None and n:
        with contextlib.suppress(OSError):
            return encode_blocks(lambda: _blocks(texts), n, encoder, folder, learn=n, progress=tell)
    if isinstance(encoder, FittedEncoder):
        encoder.fit(texts)
    return encode_alike(texts, encoder, progress)


def chunk_of(encoder: Encoder) -> int:
    """Return how many texts an encoder is given at once: its ``chunk``, where it has one."""
    return int(getattr(encoder, "chunk", CHUNK))


def entry_name(texts: Sequence[str], encoder: Encoder) -> str:
    """Return the name of the entry of some texts: the same for the same texts and encoder alone."""
    return _survey(_blocks(texts), len(texts), encoder, len(texts), lambda step, done, total: None)[0]


def encode_alike(texts: Sequence[str], encoder: Encoder, progress: Progress | None = None) -> Encoded:
    """Encode texts in memory with an encoder as it is, such as one that has learned; see `encode_texts`."""
    checked_encoder(encoder)
    check_progress(progress)
    n = len(checked_texts(texts))
    tell = (lambda step, done, total: None) if progress is None else (lambda step, *done: progress(*done))
    vectors = np.concatenate(list(_chunks(_blocks(texts), 0, n, encoder, tell)))
    rows = np.flatnonzero(known_rows(vectors))
    return Encoded(vectors if len(rows) == n else vectors[rows], rows, n, encoder)


def encode_blocks(
    blocks: Callable[[], Iterable[Sequence[str]]],
    n: int,
    encoder: Encoder,
    folder: Path,
    *,
    learn: int,
    progress: StepProgress | None = None,
) -> Encoded:
    """Encode texts that do not fit into memory, or read their vectors from the cache.

    What an interrupted or killed run has encoded is used. Where another process encodes the same texts, it is
    waited for.

    Parameters
    ----------
    blocks : callable
        Returns all texts in order, in blocks; called twice.
    n : int
        Texts.
    encoder : Encoder
        A `FittedEncoder` learns from some of the texts first.
    folder : Path
        The cache.
    learn : int
        Texts that it learns from, at most; they are spread evenly.
    progress : callable, optional
        Called with "reading", "encoding" or "waiting for another run", the texts done and all texts.

    Raises OSError: the folder cannot be written, or the disk is full; ValueError: an encoder that learns
    finds no word in any text, or one returns NaN.
    """
    checked_encoder(encoder)
    check_progress(progress)
    tell = progress or (lambda step, done, total: None)
    folder = at_home(named(folder, "folder", "folder"))
    name, sample = _survey(blocks(), n, encoder, learn, tell)
    entry = folder / name
    with room_for(folder), _held(entry, n, tell):
        encoded = _opened(entry, encoder, n, len(sample), tell)
        if encoded is None:
            entry.mkdir(parents=True, exist_ok=True)
            try:
                encoded = _made(entry, blocks, n, encoder, sample, tell)
            finally:
                with contextlib.suppress(OSError):  # nothing to go on from
                    entry.rmdir()
    if not encoded.cached:
        prune(folder, entry)
    _log.info("%d texts by %s, %d of them from %s", n, encoder.name, encoded.found, entry)
    return encoded


def _blocks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    return (texts[start : start + CHUNK] for start in range(0, max(len(texts), 1), CHUNK))


def _survey(
    blocks: Iterable[Sequence[str]], n: int, encoder: Encoder, learn: int, tell: StepProgress
) -> tuple[str, list[str]]:
    """Read all texts once: return the name of their entry, and the texts that an encoder learns from."""
    learns = isinstance(encoder, FittedEncoder)
    step = -(-n // learn) if learns and n else 1
    digest = hashlib.blake2b(f"{FORMAT.version} {__version__} {encoder.key} {step}".encode(), digest_size=12)
    sample: list[str] = []
    done = 0
    for texts in blocks:
        for text in texts:
            data = text.encode()
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
        if learns:
            sample += texts[-done % step :: step]
        done += len(texts)
        tell("reading", done, n)
    slug = re.sub(r"[^a-z0-9]+", "-", encoder.key.lower())[:32].strip("-")
    return f"{slug}-{digest.hexdigest()}", sample


@contextlib.contextmanager
def _held(entry: Path, n: int, tell: StepProgress) -> Iterator[None]:
    """Have an entry to oneself, and say so where another run has to be waited for."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(entry, "cache"))
        except TimeoutError:
            tell("waiting for another run", 0, n)
            stack.enter_context(locked(entry, "cache", wait=-1))
        yield


def _opened(entry: Path, encoder: Encoder, n: int, learned: int, tell: StepProgress) -> Encoded | None:
    """Return a finished entry's vectors, and give the encoder back what it had learned.

    None where it is unfinished or not there; one that is damaged is removed.
    """
    if not (entry / META).exists():
        return None
    with contextlib.suppress(*DAMAGED_ARCHIVE):
        _, info = FORMAT.read(entry, contents=("*",), progress=tell)
        vectors = np.load(entry / VECTORS, mmap_mode="r", allow_pickle=False)
        rows = np.load(entry / ROWS, allow_pickle=False)
        if info.encoder == encoder.key and info.texts == n and rows.shape == vectors.shape[:1]:
            if isinstance(encoder, FittedEncoder):
                _restore(encoder, entry)
            with contextlib.suppress(OSError):
                os.utime(entry / META)
            return Encoded(vectors, rows, n, encoder, n, learned)
    shutil.rmtree(entry)
    return None


def _made(
    entry: Path,
    blocks: Callable[[], Iterable[Sequence[str]]],
    n: int,
    encoder: Encoder,
    sample: Sequence[str],
    tell: StepProgress,
) -> Encoded:
    """Make an entry, or go on with it."""
    if isinstance(encoder, FittedEncoder):
        try:
            _restore(encoder, entry)
        except DAMAGED_ARCHIVE:  # or not there; vectors made by what it held go with it
            shutil.rmtree(entry)
            entry.mkdir()
            encoder.fit(sample)
            state = dict(encoder.state())
            write_atomic(entry / STATE, lambda stream: np.savez(stream, allow_pickle=False, **state))
    everything, found = _grown(entry, blocks, n, encoder, tell)
    d = everything.shape[1]
    step = max(1, _COPY // (4 * d))
    kept: list[NDArray[np.int64]] = []
    for start in range(0, n, step):
        block = everything[start : start + step]
        if not block.any(axis=1).all():  # NaN counts as any: such a row was never written
            shutil.rmtree(entry)
            raise OSError(
                f"cache: {entry.name} has lost vectors that were written; run again to make them anew"
            )
        kept.append(start + np.flatnonzero(~np.isnan(block[:, 0])))
    rows = np.concatenate(kept)
    if not len(rows):
        shutil.rmtree(entry)
        return Encoded(np.empty((0, d), np.float32), rows, n, encoder, 0, len(sample))
    (entry / VECTORS).unlink(missing_ok=True)
    if len(rows) == n:
        os.replace(entry / GROWING, entry / VECTORS)
    else:
        parts = (everything[rows[start : start + step]] for start in range(0, len(rows), step))
        write_rows(entry / VECTORS, len(rows), parts)
        (entry / GROWING).unlink()
    write_array(entry / ROWS, rows, force=True)
    for left in entry.iterdir():  # by runs that were killed
        if left.name not in FORMAT.files:
            left.unlink()
    FORMAT.write(entry, {"encoder": encoder.key, "texts": n})
    vectors = np.load(entry / VECTORS, mmap_mode="r", allow_pickle=False)
    return Encoded(vectors, rows, n, encoder, found, len(sample))


def _grown(
    entry: Path, blocks: Callable[[], Iterable[Sequence[str]]], n: int, encoder: Encoder, tell: StepProgress
) -> tuple[NDArray[np.float32], int]:
    """Return the vectors of all texts, NaN where no word is known, and how many an earlier run had made."""
    with contextlib.suppress(OSError, ValueError):
        whole: NDArray[np.float32] = np.load(entry / GROWING, mmap_mode="r", allow_pickle=False)
        return whole, n
    with contextlib.closing(UnfinishedArray(entry / GROWING, (n, None), {}, anew=True)) as array:
        done = found = array.done
        saved = time.monotonic()
        try:
            for vectors in _chunks(blocks(), done, n, encoder, tell):
                marked = np.where(known_rows(vectors)[:, None], vectors, np.float32(np.nan))
                array.put(done, marked)
                done += len(vectors)
                if time.monotonic() - saved > _SAVE:
                    array.note(done)
                    saved = time.monotonic()
        finally:
            array.note(done)
        return array.finish(), found


def _chunks(
    blocks: Iterable[Sequence[str]], done: int, n: int, encoder: Encoder, tell: Callable[..., object]
) -> Iterator[NDArray[np.float32]]:
    """Encode the texts after those that are done, a block at once; a slow encoder's in parts of it."""
    seen, d = 0, None
    for texts in _parted(blocks, chunk_of(encoder)):
        fresh, seen = texts[max(0, done - seen) :], seen + len(texts)
        if done and seen <= done:
            continue

        def within(some: int, total: int, before: int = done) -> None:
            tell("encoding", before + some, n)

        tell("encoding", done, n)
        vectors = np.asarray(encoder.encode(fresh, within))
        d = d or vectors.shape[-1:]
        if vectors.dtype.kind not in "fiu" or vectors.shape != (len(fresh), *d):
            raise ValueError(
                f"model: {encoder.name} gives {vectors.dtype} of shape {vectors.shape} for {len(fresh):,} "
                "texts; expected a vector of numbers a text, all of one length"
            )
        if not np.isfinite(vectors).all():
            bad = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
            raise ValueError(f"model: {encoder.name} gives NaN for text {done + bad}; use another")
        yield vectors
        done += len(fresh)
        tell("encoding", done, n)


def _parted(blocks: Iterable[Sequence[str]], size: int) -> Iterator[Sequence[str]]:
    """Yield blocks in parts of at most ``size`` texts; an empty block as it is."""
    for texts in blocks:
        for start in range(0, max(len(texts), 1), size):
            yield texts[start : start + size]


def _restore(encoder: FittedEncoder, entry: Path) -> None:
    """Give an encoder what an entry says that it had learned."""
    encoder.restore(read_archive(entry / STATE))
