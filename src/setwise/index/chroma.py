"""Vectors in a Chroma collection: embedded in memory or in a folder, or on a server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.extras import require
from setwise.index.answers import Reply
from setwise.index.checking import first_line
from setwise.index.store import StoreIndex

#: Chroma's spaces, and the metric of each.
METRIC_OF = {"cosine": "cosine", "ip": "cosine", "l2": "euclidean"}


class ChromaIndex(StoreIndex):
    """An index over a Chroma collection.

    Chroma searches by a graph (HNSW), so results are approximate, and certificates relative to what is
    returned; its ``ef_search`` says how much it looks at. Searches of several queries go out as one request
    and bring the vectors back with them. Excluded ids are asked for on top, and cut off.

    Parameters
    ----------
    collection : chromadb.Collection
    ids : {"strings", "integers"}
        Chroma's ids are strings; as integers they are given and taken as the numbers that they spell.
    dim : int, optional
        Width of the vectors; needed for an empty collection.

    Raises
    ------
    ImportError
        chromadb is not installed.
    TypeError
        ``collection`` is no Chroma collection.
    ValueError
        Its space is unknown, or the collection is empty and ``dim`` is not given.
    ConnectionError
        The collection is gone.

    Notes
    -----
    A filter is what Chroma calls ``where``: ``{"color": "red"}``, ``{"price": {"$lt": 10}}``. A field to
    group by is a key of the metadata.

    An embedded collection keeps its graph in memory, and does not see there what another process writes. Rows
    that are deleted elsewhere are never returned; those added or changed are seen when it is opened anew.
    """

    def __init__(self, collection: Any, *, ids: str = "strings", dim: int | None = None) -> None:
        chromadb = require("chromadb", "chroma", "ChromaIndex")
        if not isinstance(collection, chromadb.Collection):
            raise TypeError(
                f"collection: expected a chromadb.Collection, got {type(collection).__name__}"
                " (client.get_collection(name) returns one)"
            )
        checks.choice("ids", ids, ("strings", "integers"))
        self.collection, self.place = collection, f"collection {collection.name!r}"
        self._errors: tuple[type[Exception], ...] = (chromadb.errors.ChromaError, ValueError, TypeError)
        self._absent = chromadb.errors.NotFoundError
        with self._asking():
            settings = collection.configuration_json
        space = (settings.get("hnsw") or settings.get("spann") or {}).get("space", "l2")
        if space not in METRIC_OF:
            raise ValueError(f"{self.place}: its space is {space!r}; cosine, ip and l2 are supported")
        if dim is None:
            with self._asking():
                first = collection.get(limit=1, include=["embeddings"])["embeddings"]
            if first is None or len(first) == 0:
                raise ValueError(f"dim: {self.place} has no vector yet; pass their width")
            dim = len(first[0])
        self.space = space
        super().__init__(
            self.place, dim=dim, metric=METRIC_OF[space], ids=ids, exact=False, unit=space == "ip"
        )

    def find(
        self, queries: NDArray[np.float64], k: int, filter: Any, exclude: list[Any], vectors: bool
    ) -> list[Reply]:
        if filter is not None and not isinstance(filter, dict):
            raise TypeError(f"filter: expected a Chroma condition in a dict, got {type(filter).__name__}")
        barred = {self._stored(one) for one in exclude}
        include = ["distances", "metadatas", *(["embeddings"] if vectors else [])]
        while True:
            asked = min(k + len(barred), 2**31 - 1)
            with self._asking():
                found = self.collection.query(
                    query_embeddings=queries.astype(np.float32),
                    n_results=asked,
                    where=filter or None,
                    include=include,
                )
            gone = self._gone_of(found) - barred
            if not gone:
                break
            barred |= gone
        rows = found["embeddings"] if vectors else [None] * len(queries)
        answers = []
        for names, distances, own in zip(found["ids"], found["distances"], rows, strict=True):
            kept = [place for place, name in enumerate(names) if name not in barred][:k]
            away = np.asarray(distances, np.float64)[kept]
            scores = -np.sqrt(np.maximum(away, 0.0)) if self.space == "l2" else 1.0 - away
            picked = [np.asarray(own[place], np.float32) for place in kept] if vectors else None
            answers.append(Reply([self._named(names[place]) for place in kept], scores, picked))
        return answers

    def _gone_of(self, found: Any) -> set[str]:
        """Return which found rows are stored no more: those of the graph alone, which have no metadata."""
        bare = {
            name
            for names, told in zip(found["ids"], found["metadatas"], strict=True)
            for name, metadata in zip(names, told, strict=True)
            if metadata is None
        }
        if not bare:
            return bare
        with self._asking():
            return bare - set(self.collection.get(ids=sorted(bare), include=[])["ids"])

    def count(self, most: int) -> int:
        with self._asking():
            return int(self.collection.count())

    def read(self, ids: list[Any], field: str | None) -> Iterable[tuple[Any, Any]]:
        what = "embeddings" if field is None else "metadatas"
        with self._asking():
            found = self.collection.get(ids=[self._stored(one) for one in ids], include=[what])
        names, values = [self._named(one) for one in found["ids"]], found[what]
        if field is None:
            return list(zip(names, values, strict=True)) if names else []
        listed = [(metadata or {}).get(field) for metadata in values]
        if names and all(value is None for value in listed):
            raise ValueError(f"{self.place}: no metadata of these has the key {field!r}")
        return list(zip(names, listed, strict=True))

    def _stored(self, one: Any) -> str:
        """Return an id as Chroma writes it."""
        return str(one)

    def _named(self, one: str) -> Any:
        """Return an id of Chroma as this index writes it."""
        if self.ids != "integers":
            return one
        try:
            return int(one)
        except ValueError:
            raise ValueError(
                f"{self.place}: id {one!r} is no integer; make the index with ids='strings'"
            ) from None

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn Chroma's many errors into few."""
        try:
            yield
        except self._absent as error:
            raise ConnectionError(f"{self.place}: Chroma cannot read it ({first_line(error)})") from error
        except self._errors as error:
            raise ValueError(f"{self.place}: Chroma refused ({first_line(error)})") from error
