"""Vectors in a Milvus collection, through pymilvus: Milvus Lite's, in a file."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.extras import require
from setwise.index.answers import Reply
from setwise.index.store import StoreIndex

#: Milvus's metrics, and ours.
METRIC_OF = {"COSINE": "cosine", "IP": "cosine", "L2": "euclidean"}

#: What is asked sees all that was written before: by default a server may answer of some seconds ago.
NOW = "Strong"


class MilvusIndex(StoreIndex):
    """An index over a vector field of a Milvus collection.

    Searches of several queries go out as one request and bring the vectors back with them; filters and
    excluded ids are part of it. COSINE, IP (stored vectors must have length 1) and L2 serve.

    Parameters
    ----------
    client : pymilvus.MilvusClient
        ``MilvusClient("vectors.db")`` opens Milvus Lite, which is what this is tested on.
    vector : str, optional
        Its field of float vectors; needed where there are several.
    exact : bool, optional
        By default whether the field's index is FLAT.
    timeout : float, optional
        Seconds that a request may take.

    Raises
    ------
    ImportError
        pymilvus is not installed.
    TypeError
        ``client`` is of another class.
    ValueError
        The collection or the field is unknown, or several fields could be meant; the field has no index, or
        one of another metric.
    ConnectionError, TimeoutError
        Milvus does not answer, or not in time.

    Notes
    -----
    A filter is an expression of Milvus: ``'color == "red" and price < 10'``.
    """

    def __init__(
        self,
        client: Any,
        collection: str,
        *,
        vector: str | None = None,
        exact: bool | None = None,
        timeout: float | None = None,
    ) -> None:
        self._milvus = require("pymilvus", "milvus", "MilvusIndex")
        if not isinstance(client, self._milvus.MilvusClient):
            raise TypeError(f"client: expected a pymilvus.MilvusClient, got {type(client).__name__}")
        self.client, self.collection, self.place = client, collection, f"collection {collection!r}"
        with self._asking():
            checks.choice("collection", collection, client.list_collections())
            described = client.describe_collection(collection)
        fields = {field["name"]: field for field in described["fields"]}
        kinds = self._milvus.DataType
        known = [name for name, field in fields.items() if field["type"] == kinds.FLOAT_VECTOR]
        if vector is None and len(known) != 1:
            raise ValueError(f"vector: {self.place} has several, or none; say which: {', '.join(known)}")
        self._vector = checks.choice("vector", known[0] if vector is None else vector, known)
        (key,) = (name for name, field in fields.items() if field.get("is_primary"))
        self._id, self._fields = key, list(fields)
        self._open = bool(described.get("enable_dynamic_field"))
        with self._asking():
            described = [client.describe_index(collection, name) for name in client.list_indexes(collection)]
        own: dict[str, Any] = next(
            (index for index in described if index.get("field_name") == self._vector), {}
        )
        way = str(own.get("metric_type", ""))
        if way not in METRIC_OF:
            raise ValueError(
                f"vector: {self._vector!r} of {self.place} has no index by COSINE, IP or L2; make one"
            )
        self.way = way
        flat = own.get("index_type") == "FLAT"
        super().__init__(
            self.place,
            dim=int(fields[self._vector]["params"]["dim"]),
            metric=METRIC_OF[way],
            ids="integers" if fields[key]["type"] == kinds.INT64 else "strings",
            exact=(flat if exact is None else checks.flag("exact", exact)) and way != "IP",
            unit=way == "IP",
            timeout=timeout,
        )

    def find(
        self, queries: NDArray[np.float64], k: int, filter: Any, exclude: list[Any], vectors: bool
    ) -> list[Reply]:
        if filter is not None and not isinstance(filter, str):
            raise TypeError(
                f"filter: expected an expression of Milvus in a string, got {type(filter).__name__}"
            )
        parts = [f"({filter})"] if filter else []
        if exclude:
            parts.append(f"{self._id} not in [{_listed(exclude)}]")
        with self._asking():
            found = self.client.search(
                self.collection,
                data=queries.astype(np.float32).tolist(),
                anns_field=self._vector,
                limit=k,
                filter=" and ".join(parts),
                output_fields=[self._vector] if vectors else [],
                timeout=self.timeout,
                consistency_level=NOW,
            )
        answers = []
        for hits in found:
            told = np.array([hit["distance"] for hit in hits], np.float64)
            scores = -np.sqrt(np.maximum(told, 0.0)) if self.way == "L2" else told
            rows = [hit["entity"][self._vector] for hit in hits] if vectors else None
            answers.append(
                Reply([hit[self._id] if self._id in hit else hit["id"] for hit in hits], scores, rows)
            )
        return answers

    def count(self, most: int) -> int:
        with self._asking():
            rows = self.client.query(
                self.collection,
                filter="",
                output_fields=["count(*)"],
                timeout=self.timeout,
                consistency_level=NOW,
            )
        return int(rows[0]["count(*)"])

    def read(self, ids: list[Any], field: str | None) -> Iterable[tuple[Any, Any]]:
        name = self._vector if field is None else field
        if not self._open:
            checks.choice("groups", name, self._fields)
        with self._asking():
            rows = self.client.query(
                self.collection,
                filter=f"{self._id} in [{_listed(ids)}]",
                output_fields=[self._id, name],
                timeout=self.timeout,
                consistency_level=NOW,
            )
        if rows and all(name not in row for row in rows):
            raise ValueError(f"{self.place}: none of these has a field {name!r}")
        return [(row[self._id], row.get(name)) for row in rows]

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn Milvus's errors into few, each said once."""
        logger = logging.getLogger("pymilvus.decorators")
        before = logger.disabled
        logger.disabled = True  # it prints a traceback of what is raised
        try:
            yield
        except self._milvus.MilvusException as error:
            text = " ".join(str(getattr(error, "message", error)).split())[:300]
            if "timeout" in text.lower() or "deadline" in text.lower():
                raise TimeoutError(f"{self.place}: Milvus did not answer in time ({text})") from error
            unreachable = any(
                word in text.lower()
                for word in ("connect", "closed", "not found", "not exist", "unavailable")
            )
            kind = ConnectionError if unreachable else ValueError
            told = "cannot be reached" if unreachable else "refused"
            raise kind(f"{self.place}: Milvus {told} ({text})") from error
        finally:
            logger.disabled = before


#: Characters that a literal cannot hold as they are.
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


def _listed(ids: list[Any]) -> str:
    """Return ids as a list of Milvus's expressions."""
    return ", ".join(_said(one) for one in ids)


def _said(one: Any) -> str:
    """Return an id as a literal."""
    if not isinstance(one, str):
        return str(one)
    return '"' + one.translate(_ESCAPES) + '"'
