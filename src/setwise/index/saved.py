"""An index in a folder: vectors, ids, texts and groups, saved once and read through a memory map.

>>> import tempfile, os, numpy as np, setwise
>>> from setwise.index.saved import open_index, save
>>> folder = os.path.join(tempfile.mkdtemp(), "colours")
>>> info = save(folder, np.eye(3), ids=["red", "green", "blue"])
>>> saved = open_index(folder)
>>> hits = setwise.retrieve([1.0, 0.5, 0.0], saved.index, 2, diversity=0)
>>> [saved.ids[row] for row in hits.ids]
['red', 'green']
"""

from __future__ import annotations

import io
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.containers import as_matrix
from setwise.files.arrays import write_rows
from setwise.files.checksums import Progress
from setwise.files.names import nearest
from setwise.files.reading import read_array
from setwise.index import rows
from setwise.index.array import ArrayIndex
from setwise.index.base import Index
from setwise.index.checking import narrowed
from setwise.index.folder import ENCODER, FAISS, FORMAT, ROWS, VECTORS, IndexInfo
from setwise.index.rows import Column
from setwise.threads import thread_count
from setwise.vectors import Vectors, check_metric

if TYPE_CHECKING:
    from setwise.encode import Encoder

__all__ = ["KINDS", "STORAGE", "Saved", "open_index", "save"]

KINDS, STORAGE = ("array", "faiss"), ("float32", "float16")

#: The field of `Saved.index` that holds the groups.
GROUP = "group"

#: Up to this many ids are looked through for the one that was meant.
_FEW = 20_000


@dataclass(frozen=True, eq=False)
class Saved:
    """A saved index, opened.

    Attributes
    ----------
    path : Path
    info : IndexInfo
        What ``meta.json`` says.
    index : Index
        For `setwise.retrieve`: an `ArrayIndex` over a memory map, or a `FaissIndex` with the memory map
        beside it. Its ids are rows; ``groups="group"`` names the saved groups.
    ids : sequence of str or int
        The corpus's own, by row.
    texts, groups : sequence or None
        By row.
    """

    path: Path
    info: IndexInfo
    index: Index
    ids: Column
    texts: Column | None
    groups: Column | None
    _state: NDArray[np.uint8] | None = field(default=None, repr=False)
    _encoder: list[Any] = field(default_factory=list, repr=False)

    def __len__(self) -> int:
        return self.info.n

    def encode(self, query: str) -> NDArray[np.float32]:
        """Return a query's vector, shape (d,), by what encoded the texts.

        Raises
        ------
        TypeError
            It is no string.
        ValueError
            No word of it is known, or the index has no encoder, or one of another width.
        ImportError
            The encoder's package is not installed.

        Warns
        -----
        UserWarning
            The encoder is no longer the one that the index was built with.
        """
        if not isinstance(query, str):
            raise TypeError(f"query: expected a string, got {type(query).__name__}")
        if not self._encoder:
            self._encoder.append(self._restored())
        used = self._encoder[0]
        vectors = used.encode([query])
        if vectors.shape[1] != self.info.d:
            raise ValueError(
                f"query: {used.name} makes vectors of {vectors.shape[1]} d, the index has {self.info.d}; "
                "build the index again"
            )
        if not vectors.any():
            raise ValueError(
                f"query: {used.name} knows no word of {query!r}; use other words, or another model"
            )
        vector: NDArray[np.float32] = vectors[0]
        return vector

    def _restored(self) -> Encoder:
        """Return the encoder as it was when the index was built."""
        from setwise.encode import FittedEncoder, encoder

        told = self.info.encoder
        if told is None:
            raise ValueError(
                "query: the index was built from vectors alone and has no encoder; pass the query's vector "
                "(--query-vector)"
            )
        if told["model"] is None:
            raise ValueError(f"query: only you have {told['name']}; open the index with encoder=")
        used = encoder(told["model"])
        if isinstance(used, FittedEncoder) and self._state is not None:
            try:
                with np.load(io.BytesIO(self._state.tobytes()), allow_pickle=False) as state:
                    used.restore(dict(state))
            except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
                reason = " ".join(str(error).split())[:120]
                raise ValueError(
                    f"index: {ENCODER} cannot be used ({reason}); build the index again"
                ) from None
        if used.key != told["key"] and told["model"] != "lsa":  # all that lsa does is in its state
            checks.warn(
                f"the index was built with {told['name']}, queries are encoded with {used.name}; build it "
                "again if those differ"
            )
        return used

    def rows_of(self, names: Iterable[str | int], argument: str = "ids") -> list[int]:
        """Return the rows of some ids, in their order; ids may be given as strings.

        Raises
        ------
        ValueError
            An id is not in the index.
        """
        wanted = [str(name) for name in names]
        found: dict[str, int] = {}
        if wanted:
            looked_for = set(wanted)
            for row, name in enumerate(self.ids):
                if str(name) in looked_for:
                    found[str(name)] = row
        for name in wanted:
            if name not in found:
                near = nearest(name, map(str, self.ids)) if len(self) <= _FEW else ""
                raise ValueError(f"{argument}: the index has no id {name!r}{near}")
        return [found[name] for name in wanted]


def save(
    path: str | os.PathLike[str],
    vectors: Any,
    *,
    ids: Sequence[str | int] | None = None,
    texts: Sequence[str] | None = None,
    groups: Sequence[str | int] | None = None,
    encoder: Encoder | None = None,
    model: str | None = None,
    metric: str = "cosine",
    storage: str | None = None,
    kind: str = "array",
    factory: str | None = None,
    nprobe: int | None = None,
    ef: int | None = None,
    source: str | None = None,
    force: bool = False,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
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
    force : bool
        Replace a saved index that is there. A folder that is something else is never replaced.
    seed : int
        Of the rows that FAISS is trained on.
    threads : int, optional
    progress : callable, optional
        Called with the step, how much of it is done, and how much there is.

    Returns
    -------
    IndexInfo

    Raises
    ------
    TypeError
        Vectors are no numbers, or an id, text or group is of another type.
    ValueError
        A row is not finite, zero under cosine, or beyond what the storage holds; there are not as many ids,
        texts or groups as vectors, or an id twice; a parameter is unknown, out of its range or not for the
        kind; the encoder makes vectors of another width.
    FileExistsError
        The folder is there and ``force`` is not given, or it is something else.
    FileNotFoundError, NotADirectoryError, PermissionError
        Its parent is missing or not writable, or it is a file.
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
    workers = thread_count(threads)
    for argument, column in (("ids", ids), ("texts", texts), ("groups", groups)):
        if column is not None and len(column) != n:
            raise ValueError(f"{argument}: {len(column)} of them for {n} vectors; pass one a vector")
    with FORMAT.new_folder(path, force=force) as folder:
        stored = _write_vectors(folder / VECTORS, raw, np.dtype(storage), progress)
        checked = Vectors(stored, metric, workers=workers)
        exact, facts = True, None
        if kind == "faiss":
            exact, facts = _write_faiss(folder / FAISS, checked, factory, nprobe, ef, seed, progress)
        how = rows.write(folder / ROWS, range(n) if ids is None else ids, texts, groups)
        if encoder is not None:
            _write_encoder(folder / ENCODER, encoder, d)
        if progress is not None:
            progress("finishing", 0, 1)
        return FORMAT.write(
            folder,
            {
                "source": source,
                "kind": kind,
                "n": n,
                "d": d,
                "metric": metric,
                "dtype": storage,
                "exact": exact,
                "ids": how,
                "texts": texts is not None,
                "groups": groups is not None,
                "encoder": None
                if encoder is None
                else {"name": encoder.name, "model": model, "key": encoder.key},
                "faiss": facts,
            },
        )


def open_index(
    path: str | os.PathLike[str], *, encoder: Encoder | None = None, threads: int | None = None
) -> Saved:
    """Open a saved index; vectors stay on disk, texts and ids are read as they are asked for.

    Parameters
    ----------
    path : path-like
    encoder : Encoder, optional
        Encodes queries instead of the one saved.
    threads : int, optional

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such folder, it is no saved index, of another format version, or damaged. Sizes are
        compared, checksums are not: `verify` does that.
    """
    return FORMAT.load(path, partial(_opened, Path(path), encoder, threads))


def _opened(path: Path, encoder: Encoder | None, threads: int | None, folder: Path, info: IndexInfo) -> Saved:
    """Return an index with all its files open, so that it stays as it is when another takes its place."""
    stored = read_array(folder / VECTORS, "index")
    if stored.shape != (info.n, info.d) or stored.dtype != np.dtype(info.dtype):
        raise ValueError(
            f"index: {VECTORS} holds {stored.dtype} of shape {stored.shape} instead of {info.dtype} of "
            f"{(info.n, info.d)}; build the index again"
        )
    ids, texts, groups = rows.columns(folder / ROWS, info.n, info.ids, texts=info.texts, groups=info.groups)
    fields: dict[str, Any] = {} if groups is None else {GROUP: groups}
    index: Index
    if info.kind == "array":
        index = ArrayIndex(stored, metric=info.metric, fields=fields, threads=threads)
    else:
        index = _read_faiss(folder / FAISS, stored, info, fields)
    state = np.memmap(folder / ENCODER, np.uint8, "r") if ENCODER in info.files else None
    return Saved(path, info, index, ids, texts, groups, state, [] if encoder is None else [encoder])


def _write_vectors(
    file: Path, raw: NDArray[Any], dtype: np.dtype[Any], progress: Progress | None
) -> NDArray[Any]:
    """Write rows; return them as a memory map."""
    if progress is not None:
        progress("writing", 0, len(raw))
    write_rows(file, len(raw), narrowed(raw, dtype))
    stored: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    return stored


def _write_faiss(
    file: Path,
    checked: Vectors,
    factory: str | None,
    nprobe: int | None,
    ef: int | None,
    seed: int,
    progress: Progress | None,
) -> tuple[bool, dict[str, Any]]:
    """Build and write a FAISS index; return whether it is exact, and what it is."""
    from setwise.extras.faiss import faiss
    from setwise.index.factory import build, default_factory
    from setwise.index.faiss import FaissIndex

    named = default_factory(checked.n) if factory is None else factory
    index, facts = build(checked, named, nprobe=nprobe, ef=ef, seed=seed, progress=progress)
    faiss.write_index(index, str(file))
    exact = FaissIndex(index, vectors=checked.raw, metric=checked.metric).exact
    return exact, facts


def _read_faiss(file: Path, stored: NDArray[Any], info: IndexInfo, fields: dict[str, Any]) -> Index:
    """Open a FAISS index with the stored vectors beside it."""
    from setwise.extras.faiss import faiss, read_index
    from setwise.index.faiss import FaissIndex

    index = read_index(file, faiss.IO_FLAG_MMAP, mend="build the index again")
    return FaissIndex(index, vectors=stored, metric=info.metric, exact=info.exact, fields=fields)


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
