"""Vectors in a Qdrant collection: on a server, or in the client's local mode."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.extras import require
from setwise.index.answers import Reply
from setwise.index.base import Found, Ids
from setwise.index.checking import optional
from setwise.index.store import StoreIndex

METRIC_OF = {"Cosine": "cosine", "Dot": "cosine", "Euclid": "euclidean"}


class QdrantIndex(StoreIndex):
    """An index over a Qdrant collection of dense vectors.

    Searches of several queries go out as one request and bring the vectors back with them. Cosine, Dot
    (stored vectors must have length 1) and Euclid collections serve. Ids are integers where all ids of the
    collection are, else strings.

    Parameters
    ----------
    client : qdrant_client.QdrantClient
        On a server, or local (``":memory:"`` or a path). How long it waits for a server is its own
        ``timeout``.
    collection : str
        Name of the collection.
    using : str, optional
        Which vector, in a collection of named vectors.
    exact : bool, optional
        True makes a server compare every vector, instead of walking its graph. Local mode always does.
    timeout : float, optional
        Seconds that the server may spend on a request, rounded up to whole ones.
    batch : int
        Queries sent in one request.
    async_client : qdrant_client.AsyncQdrantClient, optional
        For ``afetch``, to the same server; without it, ``afetch`` runs on a thread.
    missing : {"drop", "raise"}
        As for `StoreIndex`.

    Raises
    ------
    ImportError
        qdrant-client is not installed.
    TypeError
        ``client`` or ``async_client`` is of another class.
    ValueError
        The collection or the vector is unknown, or several are named and ``using`` is not given; the vector
        is sparse, a multi-vector, or of another distance; a number is out of range.
    ConnectionError, TimeoutError
        The server does not answer, or not in time.
    """

    def __init__(
        self,
        client: Any,
        collection: str,
        *,
        using: str | None = None,
        exact: bool | None = None,
        timeout: float | None = None,
        batch: int = 16,
        async_client: Any = None,
        missing: str = "drop",
    ) -> None:
        self._qdrant = require("qdrant_client", "qdrant", "QdrantIndex")
        require("qdrant_client.local.qdrant_local", "qdrant", "QdrantIndex")
        self._models: Any = require("qdrant_client.models", "qdrant", "QdrantIndex")
        if not isinstance(client, self._qdrant.QdrantClient):
            raise TypeError(
                f"client: expected a QdrantClient, got {type(client).__name__}"
                " (an AsyncQdrantClient goes in async_client=, beside it)"
            )
        if async_client is not None and not isinstance(async_client, self._qdrant.AsyncQdrantClient):
            raise TypeError(f"async_client: expected an AsyncQdrantClient, got {type(async_client).__name__}")
        self.client, self.collection, self.using = client, collection, using
        self.async_client = async_client
        self.place = f"collection {collection!r}"
        timeout = optional(checks.positive, "timeout", timeout)
        exact = optional(checks.flag, "exact", exact)
        self._seconds = None if timeout is None else math.ceil(timeout)
        self._batch = checks.integer("batch", batch, least=1)
        local = isinstance(getattr(client, "_client", None), self._qdrant.local.qdrant_local.QdrantLocal)
        self._params = None
        if exact and not local:
            self._params = self._models.SearchParams(
                exact=True, quantization=self._models.QuantizationSearchParams(ignore=True)
            )
        vector = self._described()
        distance = str(getattr(vector.distance, "value", vector.distance))
        if distance not in METRIC_OF:
            raise ValueError(
                f"{self.place}: its distance is {distance}; Cosine, Dot and Euclid are supported"
            )
        self._negate = distance == "Euclid"
        super().__init__(
            self.place,
            dim=int(vector.size),
            metric=METRIC_OF[distance],
            ids=self._ids_there(),
            exact=(local or bool(exact)) and distance != "Dot",
            unit=distance == "Dot",
            missing=missing,
            timeout=timeout,
        )

    def _described(self) -> Any:
        """Ask for the parameters of the vector that is searched."""
        with self._asking():
            if not self.client.collection_exists(self.collection):
                names = [one.name for one in self.client.get_collections().collections]
                checks.choice("collection", self.collection, names)
            params = self.client.get_collection(self.collection).config.params
        named = params.vectors if isinstance(params.vectors, dict) else {"": params.vectors}
        named = {name: one for name, one in named.items() if one is not None}
        sparse = params.sparse_vectors or {}
        name = self.using or ""
        if name in sparse:
            raise ValueError(f"using: {name!r} is a sparse vector; only dense vectors can be searched")
        if name not in named:
            if self.using is not None:
                raise ValueError(
                    f"using: {self.place} has no vector {name!r}; it has {sorted({*named, *sparse})}"
                )
            raise ValueError(f"using: {self.place} has named vectors; say which: {sorted({*named, *sparse})}")
        vector = named[name]
        if vector.multivector_config is not None:
            raise ValueError(
                f"using: the vectors of {self.place} are multi-vectors (several rows a point); "
                "only one vector a point can be searched"
            )
        return vector

    def _ids_there(self) -> str:
        """Ask what ids are: points are kept integers first, so a look from the smallest UUID on says it."""
        with self._asking():
            beyond, _ = self.client.scroll(
                self.collection, limit=1, offset=str(uuid.UUID(int=0)), with_payload=False
            )
        return "UUIDs" if beyond else "integers"

    # ------------------------------------------------------------------ searching

    async def afetch(
        self, queries: NDArray[Any], k: int, *, filter: Any = None, exclude: Sequence[Any] | Ids = ()
    ) -> list[Found]:
        """``fetch`` through ``async_client``, or on a thread where there is none."""
        if self.async_client is None:
            return await super().afetch(queries, k, filter=filter, exclude=exclude)
        rows, _ = self._directions(queries)
        k = checks.integer("k", k, least=1)
        answers: list[Reply] = []
        for requests in self._requests(rows, k, filter, self.ids_of(exclude), True):
            with self._asking():
                responses = await self.async_client.query_batch_points(
                    self.collection, requests, timeout=self._seconds
                )
            answers.extend(self._reply(response.points, True) for response in responses)
        try:
            return self._finish(queries, answers)
        except ValueError:
            if not self._unusable(answers):
                raise
            return await super().afetch(queries, k, filter=filter, exclude=exclude)

    def find(
        self, queries: NDArray[np.float64], k: int, filter: Any, exclude: list[Any], vectors: bool
    ) -> list[Reply]:
        answers: list[Reply] = []
        for requests in self._requests(queries, k, filter, exclude, vectors):
            with self._asking():
                responses = self.client.query_batch_points(self.collection, requests, timeout=self._seconds)
            answers.extend(self._reply(response.points, vectors) for response in responses)
        return answers

    def _requests(
        self, queries: NDArray[np.float64], k: int, filter: Any, exclude: list[Any], vectors: bool
    ) -> Iterator[list[Any]]:
        """Yield the queries as lists of requests."""
        condition = self._condition(filter, exclude)
        for start in range(0, len(queries), self._batch):
            yield [
                self._models.QueryRequest(
                    query=query.tolist(),
                    using=self.using,
                    filter=condition,
                    params=self._params,
                    limit=k,
                    with_vector=self._wanted(vectors),
                    with_payload=False,
                )
                for query in queries[start : start + self._batch]
            ]

    def _wanted(self, vectors: bool) -> Any:
        """Which vectors to send along: those that are searched, or none."""
        return [self.using] if vectors and self.using else vectors

    def _condition(self, filter: Any, exclude: list[Any]) -> Any:
        """Put the filter and the excluded ids together."""
        if isinstance(filter, dict):
            try:
                filter = self._models.Filter.model_validate(filter)
            except ValueError as error:
                raise ValueError(f"filter: not a Qdrant filter ({str(error).splitlines()[0]})") from error
        if filter is not None and not isinstance(filter, self._models.Filter):
            raise TypeError(
                f"filter: expected a qdrant_client.models.Filter or a dict, got {type(filter).__name__}"
            )
        if not exclude:
            return filter
        return self._models.Filter(
            must=None if filter is None else [filter],
            must_not=[self._models.HasIdCondition(has_id=[self._point_id(one) for one in exclude])],
        )

    def _reply(self, points: list[Any], vectors: bool) -> Reply:
        """Read one answer."""
        scores = np.array([point.score for point in points], dtype=np.float64)
        return Reply(
            [self._index_id(point.id) for point in points],
            -scores if self._negate else scores,
            [self._vector(point) for point in points] if vectors else None,
        )

    def _vector(self, point: Any) -> Any:
        """Return the vector of a point, or None where it has none."""
        vector = point.vector
        return vector.get(self.using or "") if isinstance(vector, dict) else vector

    # ------------------------------------------------------------------ reading

    def count(self, most: int) -> int:
        held = None
        if self.using:
            held = self._models.Filter(must=[self._models.HasVectorCondition(has_vector=self.using)])
        with self._asking():
            return int(self.client.count(self.collection, count_filter=held, exact=True).count)

    def read(self, ids: list[Any], field: str | None) -> Iterable[tuple[Any, Any]]:
        with self._asking():
            points = self.client.retrieve(
                self.collection,
                [self._point_id(one) for one in ids],
                with_payload=False if field is None else [field],
                with_vectors=self._wanted(field is None),
                timeout=self._seconds,
            )
        if field is None:
            found = [(point.id, self._vector(point)) for point in points]
            found = [(one, vector) for one, vector in found if vector is not None]
        else:
            found = [(point.id, payload_value(point.payload or {}, field)) for point in points]
            if found and all(value is None for _, value in found):
                raise ValueError(f"{self.place}: no payload of these points has the key {field!r}")
        return [(self._index_id(one), value) for one, value in found]

    def draw(self, count: int) -> tuple[list[Any], Any] | None:
        models = self._models
        request = models.QueryRequest(
            query=models.SampleQuery(sample=models.Sample.RANDOM),
            limit=count,
            with_vector=self._wanted(True),
            with_payload=False,
        )
        try:
            with self._asking():
                (drawn,) = self.client.query_batch_points(self.collection, [request], timeout=self._seconds)
        except ValueError as error:
            if getattr(error.__cause__, "status_code", None) in (400, 422):
                return None  # a server before 1.12, which knows no random sample
            raise
        points = [point for point in drawn.points if self._vector(point) is not None]
        points.sort(key=lambda point: (isinstance(point.id, str), point.id))
        return [self._index_id(point.id) for point in points], [self._vector(point) for point in points]

    # ------------------------------------------------------------------ ids

    def own_id(self, one: Any, name: str = "ids") -> Any:
        """Return an id as this index writes it; where some are UUIDs, integers are strings, too."""
        if self.ids == "UUIDs":
            if isinstance(one, int | np.integer) and not isinstance(one, bool):
                return str(int(one))
            if isinstance(one, str) and one.isdecimal() and len(one) <= 20:
                return one
        return super().own_id(one, name)

    def _point_id(self, one: Any) -> Any:
        """Return an id as Qdrant writes it: an int, or the string of a UUID."""
        return int(one) if isinstance(one, int) or one.isdecimal() else one

    def _index_id(self, one: Any) -> Any:
        """Return an id of Qdrant as this index writes it."""
        if self.ids == "UUIDs":
            return str(one)
        if not isinstance(one, int):
            raise ValueError(
                f"{self.place}: id {one!r} is no integer, as all were when the index was made; make it anew"
            )
        return one

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn the client's many errors into few."""
        exceptions = self._qdrant.http.exceptions
        try:
            yield
        except exceptions.UnexpectedResponse as error:
            status, told = error.status_code or 0, error.content.decode(errors="replace")[:200]
            text = f"{self.place}: Qdrant answered {status} {told}"
            if status in (408, 504):
                raise TimeoutError(text) from error
            if status in (401, 403) or status >= 500:
                raise ConnectionError(text) from error
            raise ValueError(text) from error
        except exceptions.ApiException as error:
            source = getattr(error, "source", error)
            if "Timeout" in type(source).__name__:
                raise TimeoutError(
                    f"{self.place}: Qdrant did not answer in time ({type(source).__name__})"
                ) from error
            raise ConnectionError(
                f"{self.place}: Qdrant cannot be reached ({str(source) or type(source).__name__})"
            ) from error
        except Exception as error:
            if isinstance(error, RuntimeError) and "closed" in str(error):
                raise ConnectionError(f"{self.place}: the client is closed") from error
            ask = getattr(error, "code", None)  # of a gRPC call
            code = getattr(ask() if callable(ask) else None, "name", None)
            if not isinstance(code, str):
                raise
            text = f"{self.place}: Qdrant answered {code}"
            if code == "DEADLINE_EXCEEDED":
                raise TimeoutError(text) from error
            if code in ("NOT_FOUND", "INVALID_ARGUMENT", "OUT_OF_RANGE"):
                raise ValueError(f"{text}: {getattr(error, 'details', str)()}") from error
            raise ConnectionError(text) from error


def payload_value(payload: dict[str, Any], field: str) -> Any:
    """Return the value of a key, whose dots may lead into nested objects; None where there is none."""
    if field in payload:
        return payload[field]
    value: Any = payload
    for part in field.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value
