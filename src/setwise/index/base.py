"""The protocol every index keeps to: search by inner product, fetch vectors, say whether it is exact."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from setwise.index.array import ArrayIndex
    from setwise.index.chroma import ChromaIndex
    from setwise.index.duckdb import DuckdbIndex
    from setwise.index.faiss import FaissIndex
    from setwise.index.lance import LanceIndex
    from setwise.index.milvus import MilvusIndex
    from setwise.index.pgvector import PgvectorIndex
    from setwise.index.qdrant import QdrantIndex
    from setwise.index.sqlite import SqliteIndex
    from setwise.index.torch import TorchIndex
    from setwise.vectors import Vectors

#: Ids of stored vectors: int64, or an object array of strings or of integers beyond int64.
Ids = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Found:
    """What one query found, best first.

    Attributes
    ----------
    ids : ndarray of shape (m,), int64 or object
        As the store knows them; no padding, no repeats. m may be less than asked for.
    scores : ndarray of shape (m,), float64, falling
        Inner product of the query with the unit vector (cosine), or minus the distance (euclidean).
    vectors : ndarray of shape (m, d), float32 or float64
        As stored, in single precision where that is narrower; their length does not matter under cosine.
    floor : float, optional
        What nothing that was not returned scores more than, where that is not the last score: an index
        that ranks by something beside the score knows.
    left_out : int
        How many stored vectors were found that cannot be used, and are not among these.
    """

    ids: Ids
    scores: NDArray[np.float64]
    vectors: NDArray[Any]
    floor: float | None = None
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.ids)


class Everything(NamedTuple):
    """All vectors of an index that may be found, for algorithms that read all of them.

    Attributes
    ----------
    vectors : Vectors
        Checked.
    ids : ndarray of shape (m,)
        By place in the data that those are of.
    """

    vectors: Vectors
    ids: Ids


class Index(ABC):
    """Where vectors live and how to search them.

    Under cosine a stored vector counts as divided by its length, queries do not: ``search`` ranks by the
    inner product of the query, of any length, with unit vectors. That is what a step of Frank-Wolfe asks
    for, and any vector database answers.

    Attributes
    ----------
    size : int
        Number of stored vectors.
    dim : int
        Their width.
    metric : {"cosine", "euclidean"}
        "cosine" where a subclass does not say.
    exact : bool
        Whether ``search`` always returns the true k best; False where a subclass does not say. Asked at
        every retrieval; what is promised here is compared with what is returned. Of an index that is not
        setwise's own, certificates are of all there are only where ``sample`` shows every row, so that
        each search can be compared with them.
    """

    dim: int
    metric: str = "cosine"
    exact: bool = False

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of stored vectors."""

    def counted(self, most: int) -> int:
        """Return the number of stored vectors, or ``most`` where there are more.

        A store that counts by reading its rows overrides this, and stops there.
        """
        return min(self.size, most)

    @abstractmethod
    def search(
        self, queries: NDArray[Any], k: int, *, filter: Any = None, exclude: Sequence[Any] | Ids = ()
    ) -> tuple[NDArray[np.float64], Ids]:
        """Find the k best for each query.

        Parameters
        ----------
        queries : ndarray of shape (m, d)
            Of any length; not zero.
        k : int
            At least 1; more than there are is no error.
        filter : optional
            Which may be found, in the store's own terms; applied inside the search.
        exclude : sequence of ids
            Which may not.

        Returns
        -------
        scores : ndarray of shape (m, k), float64
            Falling along a row: inner products with unit vectors (cosine), minus distances (euclidean).
            Where fewer are found, the rest is -inf.
        ids : ndarray of shape (m, k), int64 or object
            Where fewer are found, the rest is -1 (int64) or None (object).
        """

    @abstractmethod
    def vectors(self, ids: Sequence[Any] | Ids) -> NDArray[Any]:
        """Return stored vectors, in the order of the ids.

        Returns
        -------
        ndarray of shape (m, d), float32; float64 where the store keeps that

        Raises
        ------
        KeyError
            An id is not stored; the message names it.
        """

    def values(self, ids: Sequence[Any] | Ids, field: str) -> list[Any]:
        """Return a stored field (a payload key, a column) of some vectors, to group them by.

        Raises
        ------
        ValueError
            The index stores no such field.
        """
        raise ValueError(
            f"groups: a {type(self).__name__} stores no field {field!r}; pass a label for every id instead"
        )

    def fetch(
        self, queries: NDArray[Any], k: int, *, filter: Any = None, exclude: Sequence[Any] | Ids = ()
    ) -> list[Found]:
        """Search, and fetch the vectors of what is found.

        A store that returns both in one round trip overrides this.

        Parameters
        ----------
        queries, k, filter, exclude
            As for ``search``.

        Returns
        -------
        list of Found, one a query

        Raises
        ------
        TypeError, ValueError
            ``search`` returned no two tables of a row a query, or ``vectors`` no row an id.
        """
        scores, ids = self._tables(self.search(queries, k, filter=filter, exclude=exclude), len(queries))
        found = ~(scores == -np.inf)
        rows = _array(f"index: {type(self).__name__}.vectors", self.vectors(ids[found]))
        if rows.shape[:1] != (found.sum(),):
            raise ValueError(
                f"index: {type(self).__name__}.vectors returned shape {rows.shape} for {found.sum()} ids"
            )
        counts = found.sum(axis=1)
        stops = np.cumsum(counts)
        return [
            Found(ids[one][found[one]], scores[one][found[one]], rows[stop - count : stop])
            for one, (count, stop) in enumerate(zip(counts, stops, strict=True))
        ]

    def _tables(self, answer: Any, count: int) -> tuple[NDArray[Any], Ids]:
        """Return what ``search`` returned as scores and ids, a row a query."""
        place = f"index: {type(self).__name__}.search"
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            raise TypeError(f"{place} returned {type(answer).__name__}, expected scores and ids")
        scores, ids = (_array(place, one) for one in answer)
        if scores.ndim != 2 or scores.shape != ids.shape or len(scores) != count:
            raise ValueError(
                f"{place} returned scores of shape {scores.shape} and ids of shape {ids.shape} for {count} "
                "queries, expected a row each"
            )
        return scores, ids

    async def afetch(
        self, queries: NDArray[Any], k: int, *, filter: Any = None, exclude: Sequence[Any] | Ids = ()
    ) -> list[Found]:
        """``fetch`` without blocking the event loop: on a thread, unless the store's client is async."""
        return await asyncio.to_thread(self.fetch, queries, k, filter=filter, exclude=exclude)

    def rows(self, ids: Sequence[Any] | Ids) -> Any:
        """Return all that is stored of some ids as an Arrow table, in their order; None where nothing is."""
        return None

    def as_searched(self, ids: Ids) -> Ids:
        """Return ids as searches have them, all of one kind, from how a caller knows them."""
        return ids

    def as_given(self, ids: Ids) -> Ids:
        """Return ids as a caller knows them, from how searches have them."""
        return ids

    def encode(self, query: str | Sequence[str]) -> NDArray[np.float32]:
        """Return the vector of a text, shape (d,), or of several, shape (m, d); most indexes have no encoder.

        Raises
        ------
        TypeError
            The index takes vectors alone.
        """
        raise TypeError(
            f"query: {type(self).__name__} takes vectors; encode the text, or open an index that has its "
            "encoder with setwise.open_index"
        )

    def sample(self, count: int = 4096) -> Found | None:
        """Return about ``count`` vectors drawn over the whole index as it is now (scores are 0), or None.

        A good start where diversity outweighs relevance, and what searches of an index that is not
        setwise's own are compared with, if it says that they are exact: return all, where there are no more
        than ``count``. The same index gives the same ones, and ``vectors`` has them.
        """
        return None

    def everything(
        self, *, filter: Any = None, exclude: Sequence[Any] | Ids = (), include: Sequence[Any] | Ids = ()
    ) -> Everything | None:
        """Return all vectors that may be found, or None where only searches give them.

        Parameters
        ----------
        filter, exclude
            As for ``search``.
        include : sequence of ids
            Which are among them whatever the filter.
        """
        return None

    def close(self) -> None:  # noqa: B027
        """Close connections this index has opened; most have nothing to close."""

    def __len__(self) -> int:
        return self.size

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    # ------------------------------------------------------------------ the adapters

    @staticmethod
    def from_array(vectors: Any, **options: Any) -> ArrayIndex:
        """Return an exact index over an array or memory map; see `setwise.index.array.ArrayIndex`."""
        from setwise.index.array import ArrayIndex

        return ArrayIndex(vectors, **options)

    @staticmethod
    def from_torch(tensor: Any, **options: Any) -> TorchIndex:
        """Return an exact index over a tensor on any device; see `setwise.index.torch.TorchIndex`."""
        from setwise.index.torch import TorchIndex

        return TorchIndex(tensor, **options)

    @staticmethod
    def from_faiss(index: Any, **options: Any) -> FaissIndex:
        """Return an index over any FAISS index; see `setwise.index.faiss.FaissIndex`."""
        from setwise.index.faiss import FaissIndex

        return FaissIndex(index, **options)

    @staticmethod
    def from_qdrant(client: Any, collection: str, **options: Any) -> QdrantIndex:
        """Return an index over a Qdrant collection; see `setwise.index.qdrant.QdrantIndex`."""
        from setwise.index.qdrant import QdrantIndex

        return QdrantIndex(client, collection, **options)

    @staticmethod
    def from_pgvector(connection: Any, table: str, **options: Any) -> PgvectorIndex:
        """Return an index over a PostgreSQL table; see `setwise.index.pgvector.PgvectorIndex`."""
        from setwise.index.pgvector import PgvectorIndex

        return PgvectorIndex(connection, table, **options)

    @staticmethod
    def from_lance(table: Any, **options: Any) -> LanceIndex:
        """Return an index over a LanceDB table; see `setwise.index.lance.LanceIndex`."""
        from setwise.index.lance import LanceIndex

        return LanceIndex(table, **options)

    @staticmethod
    def from_chroma(collection: Any, **options: Any) -> ChromaIndex:
        """Return an index over a Chroma collection; see `setwise.index.chroma.ChromaIndex`."""
        from setwise.index.chroma import ChromaIndex

        return ChromaIndex(collection, **options)

    @staticmethod
    def from_milvus(client: Any, collection: str, **options: Any) -> MilvusIndex:
        """Return an index over a Milvus collection; see `setwise.index.milvus.MilvusIndex`."""
        from setwise.index.milvus import MilvusIndex

        return MilvusIndex(client, collection, **options)

    @staticmethod
    def from_sqlite(connection: Any, table: str, **options: Any) -> SqliteIndex:
        """Return an index over an SQLite table by sqlite-vec; see `setwise.index.sqlite.SqliteIndex`."""
        from setwise.index.sqlite import SqliteIndex

        return SqliteIndex(connection, table, **options)

    @staticmethod
    def from_duckdb(connection: Any, table: str, **options: Any) -> DuckdbIndex:
        """Return an index over a DuckDB table; see `setwise.index.duckdb.DuckdbIndex`."""
        from setwise.index.duckdb import DuckdbIndex

        return DuckdbIndex(connection, table, **options)


def _array(place: str, value: Any) -> NDArray[Any]:
    """Return what an index returned as an array."""
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
