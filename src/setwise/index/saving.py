"""An index written into a folder: vectors, ids, texts, groups and further columns; whole or not at all."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.containers import as_matrix
from setwise.files.arrays import write_rows
from setwise.index import rows
from setwise.index.checking import narrowed
from setwise.index.folder import ENCODER, FAISS, FORMAT, ROWS, VECTORS, IndexInfo
from setwise.progress import StepProgress, tell
from setwise.threads import thread_count
from setwise.vectors import Vectors, check_metric

if TYPE_CHECKING:
    from setwise.encode import Encoder

KINDS, STORAGE = ("array", "faiss"), ("float32", "float16")

#: Rows that are written at once.
BLOCK = 16_384


@dataclass(frozen=True, kw_only=True, eq=False)
class Content:
    """Everything that is written into the folder of an index.

    Attributes
    ----------
    blocks : iterable of ndarray of shape (m, d)
        The vectors, in parts.
    ids, texts, groups, columns
        As for `save`.
    encoder : mapping or None
        What is said of the encoder; see `IndexInfo`.
    learned : Encoder or Path, optional
        What has learned, or the file that holds what was learned.
    kind, factory, nprobe, ef, seed
        As for `save`.
    grown : (Path, mapping), optional
        A FAISS index of the first vectors, to which the others are added, and what is said of it; by default
        one is built anew.
    source : str, optional
    reading : mapping
        See `IndexInfo`.
    """

    n: int
    d: int
    blocks: Iterable[NDArray[Any]]
    storage: str
    metric: str
    ids: Sequence[str | int]
    texts: Sequence[str] | None = None
    groups: Sequence[str | int] | None = None
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    encoder: Mapping[str, Any] | None = None
    learned: Encoder | Path | None = None
    kind: str = "array"
    factory: str | None = None
    nprobe: int | None = None
    ef: int | None = None
    seed: int = 0
    grown: tuple[Path, Mapping[str, Any]] | None = None
    source: str | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)


def save(
    path: str | os.PathLike[str],
    vectors: Any,
    *,
    ids: Sequence[str | int] | None = None,
    texts: Sequence[str] | None = None,
    groups: Sequence[str | int] | None = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
    encoder: Encoder | None = None,
    model: str | None = None,
    metric: str = "cosine",
    storage: str | None = None,
    kind: str = "array",
    factory: str | None = None,
    nprobe: int | None = None,
    ef: int | None = None,
    source: str | None = None,
    reading: Mapping[str, Any] | None = None,
    force: bool = False,
    seed: int = 0,
    threads: int | None = None,
    progress: StepProgress | None = None,
) -> IndexInfo:
    """Save vectors, and what belongs to them, as a folder that `open_index` reads through a memory map.

    The folder appears whole or not at all.

    Parameters
    ----------
    path : path-like
        The folder.
    vectors : array-like of shape (n, d)
        As for `setwise.select`; a memory map is not read whole.
    ids : sequence of str or int, optional
        All different; by default row numbers.
    texts : sequence of str, optional
    groups : sequence of str or int, optional
        A label a vector, for ``max_per_group``.
    columns : mapping of str to sequence, optional
        What else is known of each vector: of strings, numbers, booleans or times, None where it is missing.
    encoder : Encoder, optional
        What encodes queries; what it has learned is saved.
    model : str, optional
        What `setwise.encode.encoder` makes that encoder from: "lsa", "static", "sentence:FOLDER". Without
        it a text query needs ``open_index(path, encoder=...)``.
    metric : {"cosine", "euclidean"}
    storage : {"float32", "float16"}, optional
        By default float16 for float16 vectors, else float32.
    kind : {"array", "faiss"}
        Exact search over the memory map, or by FAISS.
    factory : str, optional
        Of FAISS: "Flat", "IVF1024,Flat", "HNSW32", …; by default Flat for few vectors, else lists.
    nprobe, ef : int, optional
        Lists that a search reads, effort of an HNSW search.
    source : str, optional
        Where the vectors came from, a name for people.
    reading : mapping, optional
        How they were read, plain values that are kept for who reads them again.
    force : bool
        Replace a saved index that is there. A folder that is something else is never replaced.
    seed : int
        Of the rows that FAISS is trained on.
    threads : int, optional
    progress : callable, optional
        Called with the step, how much of it is done, and how much there is.

    Raises TypeError: vectors are no numbers, or an id, text or group is of another type; ValueError: a row is
    not finite, zero under cosine, or beyond what the storage holds; there are not as many ids, texts, groups
    or values of a column as vectors, or an id twice; a parameter is unknown, out of its range or not for the
    kind; the encoder makes vectors of another width; FileExistsError: the folder is there and ``force`` is
    not given, or it is something else; FileNotFoundError, NotADirectoryError, PermissionError: its parent is
    missing or not writable, or it is a file.
    """
    FORMAT.check_target(path, force=force)
    check_metric(metric)
    checks.choice("kind", kind, KINDS)
    for argument, value in (("factory", factory), ("nprobe", nprobe), ("ef", ef)):
        if value is not None and kind != "faiss":
            raise ValueError(f"{argument}: it is for kind 'faiss', not for {kind!r}")
    raw = as_matrix(vectors)
    n, d = raw.shape
    if storage is None:
        storage = "float16" if raw.dtype == np.float16 else "float32"
    checks.choice("storage", storage, STORAGE)
    given = {"ids": ids, "texts": texts, "groups": groups}
    given |= {f"columns: {name!r}": values for name, values in (columns or {}).items()}
    for argument, values in given.items():
        if values is not None and len(values) != n:
            raise ValueError(f"{argument}: {len(values)} of them for {n} vectors; pass one a vector")
    content = Content(
        n=n,
        d=d,
        blocks=(raw[start : start + BLOCK] for start in range(0, n, BLOCK)),
        storage=storage,
        metric=metric,
        ids=range(n) if ids is None else ids,
        texts=texts,
        groups=groups,
        columns=columns or {},
        encoder=None if encoder is None else {"name": encoder.name, "model": model, "key": encoder.key},
        learned=encoder,
        kind=kind,
        factory=factory,
        nprobe=nprobe,
        ef=ef,
        seed=seed,
        source=source,
        reading=reading or {},
    )
    return write_content(path, content, force=force, threads=threads, progress=progress)


def write_content(
    path: str | os.PathLike[str],
    content: Content,
    *,
    force: bool,
    threads: int | None = None,
    progress: StepProgress | None = None,
) -> IndexInfo:
    """Write a content into the folder at ``path``; see `save`."""
    workers = thread_count(threads)
    with FORMAT.new_folder(path, force=force) as folder:
        stored = _write_vectors(folder / VECTORS, content, progress)
        checked = Vectors(stored, content.metric, workers=workers)
        exact, facts = True, None
        if content.kind == "faiss":
            exact, facts = _write_faiss(folder / FAISS, checked, content, progress)
        how, types = rows.write(folder / ROWS, content.ids, content.texts, content.groups, content.columns)
        if isinstance(content.learned, Path):
            shutil.copyfile(content.learned, folder / ENCODER)
        elif content.learned is not None:
            _write_encoder(folder / ENCODER, content.learned, content.d)
        tell(progress, "finishing", 0, 1)
        return FORMAT.write(
            folder,
            {
                "source": content.source,
                "kind": content.kind,
                "n": content.n,
                "d": content.d,
                "metric": content.metric,
                "dtype": content.storage,
                "exact": exact,
                "ids": how,
                "texts": content.texts is not None,
                "groups": content.groups is not None,
                "columns": types,
                "reading": dict(content.reading),
                "encoder": content.encoder,
                "faiss": facts,
            },
        )


def _write_vectors(file: Path, content: Content, progress: StepProgress | None) -> NDArray[Any]:
    """Write rows; return them as a memory map."""
    tell(progress, "writing", 0, content.n)
    dtype, done = np.dtype(content.storage), 0

    def blocks() -> Iterator[NDArray[Any]]:
        nonlocal done
        for block in content.blocks:
            yield from narrowed(block, dtype, first=done)
            done += len(block)

    write_rows(file, content.n, blocks())
    stored: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    return stored


def _write_faiss(
    file: Path, checked: Vectors, content: Content, progress: StepProgress | None
) -> tuple[bool, dict[str, Any]]:
    """Build a FAISS index, or add to the one there was; return whether it is exact, and what it is."""
    from setwise.extras.faiss import faiss, read_index
    from setwise.index.factory import build, default_factory
    from setwise.index.faiss import FaissIndex

    if content.grown is not None:
        file_before, said = content.grown
        index, facts = read_index(file_before), dict(said)
        for start in range(index.ntotal, checked.n, BLOCK):
            index.add(np.asarray(checked.rows(slice(start, start + BLOCK)), np.float32))
    else:
        named = default_factory(checked.n) if content.factory is None else content.factory
        index, facts = build(
            checked, named, nprobe=content.nprobe, ef=content.ef, seed=content.seed, progress=progress
        )
    faiss.write_index(index, str(file))
    exact = FaissIndex(index, vectors=checked.raw, metric=checked.metric).exact
    return exact, facts


def _write_encoder(file: Path, encoder: Encoder, d: int) -> None:
    """Write what an encoder has learned, refusing one that does not make vectors of this width."""
    from setwise.encode import FittedEncoder

    state = encoder.state() if isinstance(encoder, FittedEncoder) else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        width = encoder.encode(["word"]).shape[1]
    if width != d:
        raise ValueError(
            f"model: {encoder.name} does not fit vectors of {d} d; name the model that made them"
        )
    if state:
        with file.open("xb") as stream:
            np.savez(stream, allow_pickle=False, **dict(state))
