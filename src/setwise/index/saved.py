"""A saved index, opened: it takes queries in words, speaks of the corpus's ids, and filters by conditions.

>>> import tempfile, os, numpy as np, setwise
>>> from setwise.index.saving import save
>>> folder = os.path.join(tempfile.mkdtemp(), "colors")
>>> info = save(folder, np.eye(3), ids=["red", "green", "blue"], columns={"warm": [True, False, False]})
>>> index = setwise.open_index(folder)
>>> setwise.retrieve([1.0, 0.5, 0.0], index, 2, diversity=0).ids.tolist()
['red', 'green']
>>> setwise.retrieve([1.0, 0.5, 0.0], index, 1, filter="not warm").ids.tolist()
['green']
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.files.arrays import DAMAGED_ARCHIVE, read_archive
from setwise.files.names import at_home, nearest
from setwise.files.reading import read_array
from setwise.files.where import as_arrow
from setwise.ids import as_ids
from setwise.index import rows
from setwise.index.array import ArrayIndex
from setwise.index.base import Everything, Found, Ids, Index
from setwise.index.checking import as_mask
from setwise.index.folder import ENCODER, FAISS, FORMAT, ROWS, VECTORS, IndexInfo
from setwise.index.rows import Column, Rows

if TYPE_CHECKING:
    from setwise.encode import Encoder

_log = logging.getLogger(__name__)

#: The field that holds the groups.
GROUP = "group"

#: Up to this many ids are looked through for the one that was meant.
_FEW = 20_000

#: Conditions whose rows are kept.
_KEPT = 8


class SavedIndex(Index):
    """A saved index, opened by `setwise.open_index`; its vectors stay on disk, as do texts until asked for.

    Attributes
    ----------
    info : IndexInfo
        What ``meta.json`` says.
    ids : sequence of str or int
        The corpus's own, by row.
    texts, groups : sequence or None
        By row.
    columns : mapping of str to sequence
        What else is known, by row.
    index : Index
        The same vectors by row number: an `ArrayIndex` over a memory map, or a `FaissIndex` with the memory
        map beside it.

    Notes
    -----
    A filter is a condition (``"year >= 2020 and lang = 'en'"``, see `setwise.files.where`), an Arrow
    expression on the columns, a boolean mask by row, ids, or a function of an id. `setwise.retrieve` takes
    texts as queries, and ``groups="file"``, or any other column. Where some ids are integers and some
    strings, searches have all as strings; what `setwise.retrieve` returns has them as they are.
    """

    def __init__(
        self,
        path: Path,
        info: IndexInfo,
        index: Index,
        content: Rows,
        learned: NDArray[np.uint8] | None,
        encoder: Encoder | None,
    ) -> None:
        self.path, self.info, self.index = path, info, index
        self.ids, self.texts, self.groups = content.ids, content.texts, content.groups
        self.columns: Mapping[str, Column] = content.columns
        self.dim, self.metric = index.dim, index.metric
        self._content, self._learned, self._encoder = content, learned, encoder
        self._row_of: dict[str, int] = {}
        self._masks: dict[str, NDArray[np.bool_]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies, and other processes, open the folder again, as it is by then."""
        return partial(open_index, encoder=self._encoder), (self.path.absolute(),)

    @property
    def exact(self) -> bool:  # type: ignore[override]
        """Whether its searches find the true best."""
        return self.index.exact

    @property
    def size(self) -> int:
        return self.info.n

    # ------------------------------------------------------------------ by the corpus's ids

    def search(
        self, queries: NDArray[Any], k: int, *, filter: Any = None, exclude: Sequence[Any] | Ids = ()
    ) -> tuple[NDArray[np.float64], Ids]:
        scores, found = self.index.search(
            queries, k, filter=self.mask(filter), exclude=self._rows(exclude, "exclude")
        )
        names = self._named(np.maximum(found, 0).ravel()).reshape(found.shape)
        names[found < 0] = -1 if names.dtype.kind == "i" else None
        return scores, names

    def fetch(
        self, queries: NDArray[Any], k: int, *, filter: Any = None, exclude: Sequence[Any] | Ids = ()
    ) -> list[Found]:
        hits = self.index.fetch(queries, k, filter=self.mask(filter), exclude=self._rows(exclude, "exclude"))
        return [Found(self._named(one.ids), one.scores, one.vectors, one.floor) for one in hits]

    def vectors(self, ids: Sequence[Any] | Ids) -> NDArray[np.float32]:
        return self.index.vectors(self._rows(ids, error=KeyError))

    def values(self, ids: Sequence[Any] | Ids, field: str) -> list[Any]:
        column = self._columns().get(field)
        if column is None:
            known = ", ".join(map(repr, self._columns())) or "none"
            raise ValueError(
                f"groups: the index has no column {field!r}{nearest(field, self._columns())} (it has {known})"
            )
        return column.take(self._rows(ids, error=KeyError))

    def take(self, ids: Sequence[Any] | Ids) -> dict[str, list[Any]]:
        """Return all that is known of some ids, by column: ``text``, ``group``, and the corpus's own."""
        found = self._rows(ids, error=KeyError)
        return {name: column.take(found) for name, column in self._columns().items()}

    def rows(self, ids: Sequence[Any] | Ids) -> Any:
        from setwise.extras.arrow import arrow

        found = self.take(ids)
        return (
            arrow.table({name: as_arrow(values, name) for name, values in found.items()}) if found else None
        )

    @property
    def frame(self) -> SavedIndex:
        """What a result's own columns are read from, when they are asked for."""
        return self

    def as_searched(self, ids: Ids) -> Ids:
        return np.array([str(name) for name in ids], object) if self.info.ids == "json" else ids

    def as_given(self, ids: Ids) -> Ids:
        if self.info.ids != "json":
            return ids
        given: Ids = np.empty(len(ids), object)
        given[:] = self.ids.take(self._rows(ids))
        return given

    def sample(self, count: int = 4096) -> Found | None:
        drawn = self.index.sample(count)
        return None if drawn is None else Found(self._named(drawn.ids), drawn.scores, drawn.vectors)

    def everything(
        self, *, filter: Any = None, exclude: Sequence[Any] | Ids = (), include: Sequence[Any] | Ids = ()
    ) -> Everything | None:
        wishes = {
            "exclude": self._rows(exclude, "exclude"),
            "include": self._rows(include, "include", KeyError),
        }
        found = self.index.everything(filter=self.mask(filter), **wishes)
        return None if found is None else found._replace(ids=self._named(found.ids))

    def close(self) -> None:
        self.index.close()

    def rows_of(self, names: Iterable[str | int], argument: str = "ids") -> list[int]:
        """Return the rows of some ids, in their order; ids may be given as strings.

        Raises ValueError: an id is not in the index.
        """
        wanted = [str(name) for name in names]
        missing = [name for name in wanted if name not in self._row_of]
        if missing and len(self._row_of) < self.size:
            self._row_of = {str(name): row for row, name in enumerate(self.ids)}
        for name in missing:
            if name not in self._row_of:
                near = nearest(name, self._row_of) if self.size <= _FEW else ""
                raise ValueError(f"{argument}: the index has no id {name!r}{near}")
        return [self._row_of[name] for name in wanted]

    def mask(self, filter: Any, argument: str = "filter") -> NDArray[np.bool_] | None:
        """Return which rows a filter lets pass, shape (n,); None for all of them.

        Parameters
        ----------
        filter : see `setwise.retrieve`
        argument : str
            What it is called where a condition was given, for messages.

        Raises TypeError: it is no filter; ValueError: it is a mask of another length, names an id or a column
        that there is not, or is a condition that cannot be understood.
        """
        if filter is None:
            return None
        if isinstance(filter, str) or type(filter).__name__ == "Expression":
            key, kept = str(filter), self._masks
            found = kept.get(key)
            if found is None:
                try:
                    found = self._content.mask(filter)
                except (TypeError, ValueError) as error:
                    raise type(error)(str(error).replace("where:", f"{argument}:", 1)) from None
                # Made anew, since other threads may read it meanwhile.
                self._masks = dict([*list(kept.items())[1 - _KEPT :], (key, found)])
            return found
        if callable(filter):
            return np.fromiter((bool(filter(name)) for name in self.ids), np.bool_, self.size)
        if not hasattr(filter, "__len__"):
            what = "a condition, an Arrow expression, a mask or ids"
            raise TypeError(f"filter: expected {what}, got {type(filter).__name__}")
        given = as_mask(filter, lambda: as_ids(list(self.ids)), self.size)
        if given is not None:
            return given
        allowed = np.zeros(self.size, np.bool_)
        allowed[self.rows_of(filter, "filter")] = True
        return allowed

    def _columns(self) -> dict[str, Column]:
        """Return every column that may be asked for, by name; the corpus's own come before ours."""
        ours = {"text": self.texts, GROUP: self.groups}
        return {**{name: column for name, column in ours.items() if column is not None}, **self.columns}

    def _named(self, found: Ids) -> Ids:
        """Return the ids of some rows, and remember them."""
        names = self.ids.take(found)
        if self.info.ids == "integers":
            result: Ids = np.array(names, np.int64)
        else:
            result = np.empty(len(names), object)
            result[:] = [str(name) for name in names] if self.info.ids == "json" else names
        self._row_of.update(zip(map(str, names), found.tolist(), strict=True))
        return result

    def _rows(
        self, ids: Sequence[Any] | Ids, argument: str = "ids", error: type[Exception] = ValueError
    ) -> NDArray[np.int64]:
        """Return the rows of some ids."""
        if not len(ids):
            return np.empty(0, np.int64)
        try:
            return np.array(self.rows_of(ids, argument), np.int64)
        except ValueError as missing:
            raise error(str(missing)) from None

    # ------------------------------------------------------------------ queries in words

    def encode(self, query: str | Sequence[str]) -> NDArray[np.float32]:
        """Return the vector of a query, shape (d,), or of many, shape (m, d), by what encoded the texts.

        Raises TypeError: it is no string, nor a sequence of strings; ValueError: no word of it is known, or
        the index has no encoder, or one of another width; ImportError: the encoder's package is not
        installed.

        Warns
        -----
        UserWarning
            The encoder is no longer the one that the index was built with.
        """
        texts = [query] if isinstance(query, str) else query
        if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
            raise TypeError(f"query: expected a string, or a list of strings, got {type(query).__name__}")
        used = self.encoder()
        vectors = used.encode(texts)
        if vectors.shape[1] != self.info.d:
            raise ValueError(
                f"query: {used.name} makes vectors of {vectors.shape[1]} d, the index has {self.info.d}; "
                "build the index again"
            )
        for text, vector in zip(texts, vectors, strict=True):
            if not vector.any():
                raise ValueError(
                    f"query: {used.name} knows no word of {text!r}; use other words, or another model"
                )
        return vectors[0] if isinstance(query, str) else vectors

    def encoder(self) -> Encoder:
        """Return the encoder as it was when the index was built; it is loaded once.

        Raises ValueError: the index has none, or one that only its maker has; or what it had learned is
        damaged; ImportError: its package is not installed.
        """
        if self._encoder is None:
            self._encoder = self._restored()
        return self._encoder

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
        if isinstance(used, FittedEncoder) and self._learned is not None:
            try:
                used.restore(read_archive(io.BytesIO(self._learned.tobytes())))
            except DAMAGED_ARCHIVE as error:
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

    def __repr__(self) -> str:
        encoder = "" if self.info.encoder is None else f", {self.info.encoder['name']}"
        return f"SavedIndex {self.path.name!r} of {self.size:,} × {self.dim} ({self.info.kind}{encoder})"


def open_index(
    path: str | os.PathLike[str], *, encoder: Encoder | None = None, threads: int | None = None
) -> SavedIndex:
    """Open a saved index; vectors stay on disk, texts and ids are read as they are asked for.

    Parameters
    ----------
    path : path-like
        A folder made by ``setwise index build`` or `setwise.index.saving.save`.
    encoder : Encoder, optional
        Encodes queries instead of the one saved.
    threads : int, optional

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such folder, it is no saved index, of another format version, or damaged. Sizes are
        compared, checksums are not: ``setwise index info --verify`` does that.
    """
    return FORMAT.load(path, partial(_opened, at_home(path), encoder, threads))


def _opened(
    path: Path, encoder: Encoder | None, threads: int | None, folder: Path, info: IndexInfo
) -> SavedIndex:
    """Return an index with all its files open, so that it stays as it is when another takes its place."""
    stored = read_array(folder / VECTORS, "index")
    if stored.shape != (info.n, info.d) or stored.dtype != np.dtype(info.dtype):
        raise ValueError(
            f"index: {VECTORS} holds {stored.dtype} of shape {stored.shape} instead of {info.dtype} of "
            f"{(info.n, info.d)}; build the index again"
        )
    content = rows.read(
        folder / ROWS, info.n, info.ids, texts=info.texts, groups=info.groups, columns=info.columns
    )
    fields: dict[str, Any] = {} if content.groups is None else {GROUP: content.groups}
    index: Index
    if info.kind == "array":
        index = ArrayIndex(stored, metric=info.metric, fields=fields, threads=threads)
    else:
        index = _read_faiss(folder / FAISS, stored, info, fields)
    learned = np.memmap(folder / ENCODER, np.uint8, "r") if ENCODER in info.files else None
    _log.info("opened %s: %d vectors of %d d, %s", path, info.n, info.d, info.kind)
    return SavedIndex(path, info, index, content, learned, encoder)


def _read_faiss(file: Path, stored: NDArray[Any], info: IndexInfo, fields: dict[str, Any]) -> Index:
    """Open a FAISS index with the stored vectors beside it."""
    from setwise.extras.faiss import faiss, read_index
    from setwise.index.faiss import FaissIndex

    index = read_index(file, faiss.IO_FLAG_MMAP, mend="build the index again")
    return FaissIndex(index, vectors=stored, metric=info.metric, exact=info.exact, fields=fields)
