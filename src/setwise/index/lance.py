"""Vectors in a LanceDB table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.extras import require
from setwise.index.answers import Reply
from setwise.index.base import Ids
from setwise.index.checking import optional, ranked_by, scores_of
from setwise.index.store import StoreIndex

#: Distances of LanceDB, and the metric of each.
DISTANCES = {"cosine": "cosine", "dot": "cosine", "l2": "euclidean"}

#: What LanceDB's own arithmetic may err by, in single precision over a few thousand dimensions.
SLACK = 1e-4

SEED = 0


class LanceIndex(StoreIndex):
    """An index over a column of fixed-size lists of floats in a LanceDB table.

    Filters and excluded ids are applied before the search (LanceDB's prefilter). Where a vector index still
    finds fewer rows than were asked for, that query is answered again without it, so a filter never starves
    a result. Rows without a vector (null) are left out, and so, under cosine, are all-zero vectors. Scores
    are computed from the vectors, since LanceDB's are rounded in half precision or by quantization.

    Parameters
    ----------
    table : lancedb.table.Table
        An open table.
    vector, id : str
        Its columns: vectors are float16, float32 or float64; ids are integers or strings, and unique.
    metric : {"cosine", "euclidean"}
    distance : {"cosine", "dot", "l2"}, optional
        What to rank by: that of the metric, or "dot" where all vectors have length 1.
    exact : bool, optional
        True compares every row. By default a vector index that was built for this distance is used, and
        without one search is exact.
    nprobes, refine_factor : int, optional
        How many partitions of an index to search, and how many times k rows to rank again by their
        full vectors.
    timeout : float, optional
        Seconds that a query may take.
    missing : {"drop", "raise"}
        As for `StoreIndex`; LanceDB itself leaves all-zero vectors out under cosine.

    Raises
    ------
    ImportError
        lancedb is not installed.
    TypeError
        ``table`` is no open table.
    ValueError
        A column is unknown, or of a type that is not named above; the distance ranks by the other metric; a
        number is out of range.
    ConnectionError, TimeoutError
        The table cannot be read, or not in time.

    Notes
    -----
    A filter is an SQL condition, in a string: ``"price < 10 AND color = 'red'"``.

    Each question is asked of the table's latest version, whoever wrote it (``table.checkout_latest()``). A
    table that is checked out at a version when the index is made stays there.
    """

    silent = True

    def __init__(
        self,
        table: Any,
        *,
        vector: str = "vector",
        id: str = "id",
        metric: str = "cosine",
        distance: str | None = None,
        exact: bool | None = None,
        nprobes: int | None = None,
        refine_factor: int | None = None,
        timeout: float | None = None,
        missing: str = "drop",
    ) -> None:
        lancedb = require("lancedb", "lance", "LanceIndex")
        if not isinstance(table, lancedb.table.Table):
            raise TypeError(
                f"table: expected an open LanceDB table, got {type(table).__name__}"
                " (db.open_table(name) of lancedb.connect opens one)"
            )
        self.table, self.place = table, f"table {table.name!r}"
        self._moves = isinstance(table, lancedb.table.LanceTable) and not _is_pinned(table)
        self.distance = ranked_by("distance", distance, DISTANCES, metric)
        self._nprobes = optional(checks.integer, "nprobes", nprobes, least=1)
        self._refine = optional(checks.integer, "refine_factor", refine_factor, least=1)
        self._vector, self._id_name = vector, id
        width, self._half, ids = self._described()
        super().__init__(
            self.place,
            dim=width,
            metric=metric,
            ids=ids,
            exact=bool(optional(checks.flag, "exact", exact)) or not self._has_index(),
            unit=self.distance == "dot",
            missing=missing,
            timeout=timeout,
        )

    def _described(self) -> tuple[int, bool, str]:
        """Look up the width of the vectors, whether they are in half precision, and what ids are."""
        from setwise.extras.arrow import arrow

        with self._asking():
            schema = self.table.schema
        kind = schema.field(checks.choice("vector", self._vector, schema.names)).type
        if not arrow.types.is_fixed_size_list(kind) or not arrow.types.is_floating(kind.value_type):
            raise ValueError(
                f"vector: column {self._vector!r} of {self.place} is of type {kind}; "
                "only fixed-size lists of floats can be searched"
            )
        id_kind = schema.field(checks.choice("id", self._id_name, schema.names)).type
        integers = arrow.types.is_integer(id_kind)
        if not (integers or arrow.types.is_string(id_kind) or arrow.types.is_large_string(id_kind)):
            raise ValueError(
                f"id: column {self._id_name!r} of {self.place} is of type {id_kind}; ids are integers or "
                "strings"
            )
        half = arrow.types.is_float16(kind.value_type)
        return int(kind.list_size), half, "integers" if integers else "strings"

    def _has_index(self) -> bool:
        """Whether there is a vector index on the column for this distance."""
        with self._asking():
            for index in self.table.list_indices():
                if list(index.columns) == [self._vector]:
                    stats = self.table.index_stats(index.name)
                    if stats is not None and str(stats.distance_type).lower() == self.distance:
                        return True
        return False

    # ------------------------------------------------------------------ searching

    def search(
        self, queries: NDArray[Any], k: int, *, filter: Any = None, exclude: Sequence[Any] | Ids = ()
    ) -> tuple[NDArray[np.float64], Ids]:
        """Find the k best for each query; see `StoreIndex.search`."""
        found = self.fetch(queries, k, filter=filter, exclude=exclude)
        return self._padded([(one.ids, one.scores) for one in found], k)

    def find(
        self, queries: NDArray[np.float64], k: int, filter: Any, exclude: list[Any], vectors: bool
    ) -> list[Reply]:
        condition = self._condition(filter, exclude)
        return [self._best(query, k, condition) for query in queries]

    def _best(self, query: NDArray[np.float64], k: int, condition: str | None) -> Reply:
        """Reply one query."""
        if not self._half:
            answer = self._ask(query, k, condition, scan=self.exact)
            if len(answer.ids) < k and not self.exact:
                answer = self._ask(query, k, condition, scan=True)
            return answer
        # LanceDB rounds the query to halves and ranks by that: ask for more, until what is left out
        # cannot be among the k best.
        with np.errstate(over="ignore"):
            near = query.astype(np.float16).astype(np.float64)
        if not np.isfinite(near).all():
            raise ValueError(f"query: has a number beyond what the half precision of {self.place} holds")
        if self.metric == "cosine":
            near /= np.linalg.norm(near)
        margin = float(np.linalg.norm(near - query)) + SLACK * (1 + float(np.linalg.norm(query)))
        asked, scan = 2 * k + 16, self.exact
        while True:
            answer = self._ask(query, asked, condition, scan=scan)
            scores = scores_of(query, self._matrix(answer.ids, answer.vectors), self.metric)
            order = np.argsort(-scores, kind="stable")[:k]
            complete = len(answer.ids) < asked
            if complete and not scan and len(answer.ids) < k:
                scan = True
                continue
            if complete or not scan or answer.scores.min() + margin <= scores[order[-1]]:
                return Reply([answer.ids[one] for one in order], scores[order], answer.vectors[order])
            asked *= 2

    def _ask(self, query: NDArray[np.float64], k: int, condition: str | None, *, scan: bool) -> Reply:
        """Run one search; a scan compares every row that the condition lets through."""
        builder = self.table.search(query.astype(np.float32), vector_column_name=self._vector)
        # A scan need not trust that lengths are 1.
        distance = "cosine" if scan and self.unit else self.distance
        builder = builder.distance_type(distance).limit(k)
        builder = builder.select([self._id_name, self._vector, "_distance"])
        if condition:
            builder = builder.where(condition, prefilter=True)
        if scan:
            builder = builder.bypass_vector_index()
        else:
            if self._nprobes is not None:
                builder = builder.nprobes(self._nprobes)
            if self._refine is not None:
                builder = builder.refine_factor(self._refine)
        answer = self._answered(builder)
        distances = answer["_distance"].to_numpy().astype(np.float64)
        scores = -np.sqrt(np.maximum(distances, 0)) if self.distance == "l2" else 1.0 - distances
        return Reply(self._ids_in(answer), scores, self._rows_in(answer))

    def _condition(self, filter: Any, exclude: list[Any]) -> str | None:
        """Put together which rows may be found."""
        if filter is not None and not isinstance(filter, str):
            raise TypeError(f"filter: expected an SQL condition in a string, got {type(filter).__name__}")
        parts = [] if filter is None else [f"({filter})"]
        if exclude:
            parts.append(f"({_quoted(self._id_name)} IN {_listed(exclude)}) IS NOT TRUE")
        return " AND ".join(parts) or None

    # ------------------------------------------------------------------ reading

    def count(self, most: int) -> int:
        with self._asking():
            return int(self.table.count_rows(f"{_quoted(self._vector)} IS NOT NULL"))

    def read(self, ids: list[Any], field: str | None) -> Iterable[tuple[Any, Any]]:
        where, name = f"{_quoted(self._id_name)} IN {_listed(ids)}", self._vector
        if field is None:
            where += f" AND {_quoted(self._vector)} IS NOT NULL"
        else:
            with self._asking():
                known = self.table.schema.names
            name = checks.choice("groups", field, known)
        builder = self.table.search().where(where).limit(None)
        answer = self._answered(builder.select(list(dict.fromkeys([self._id_name, name]))))
        values = self._rows_in(answer) if field is None else answer[name].to_pylist()
        return zip(self._ids_in(answer), values, strict=True)

    def draw(self, count: int) -> tuple[list[Any], Any] | None:
        with self._asking():
            total = int(self.table.count_rows())
            if total == 0:
                return None
            offsets = np.random.default_rng(SEED).permutation(total)[:count]
            builder = self.table.take_offsets(np.sort(offsets).tolist())
            answer = builder.select([self._id_name, self._vector]).to_arrow()
        answer = answer.filter(answer[self._vector].is_valid())
        return self._ids_in(answer), self._rows_in(answer)

    def _answered(self, builder: Any) -> Any:
        """Run a query."""
        with self._asking():
            return builder.to_arrow(timeout=None if self.timeout is None else timedelta(seconds=self.timeout))

    def _ids_in(self, answer: Any) -> list[Any]:
        """Read the ids of an answer."""
        ids: list[Any] = answer[self._id_name].to_pylist()
        return ids

    def _rows_in(self, answer: Any) -> NDArray[Any]:
        """Read the vectors of an answer, which has none that is null."""
        column = answer[self._vector].combine_chunks()
        flat = column.flatten().to_numpy(zero_copy_only=False)
        return np.asarray(flat.reshape(-1, self.dim), dtype=np.float64 if flat.itemsize > 4 else np.float32)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Ask of what is stored now, and turn LanceDB's many errors into few."""
        try:
            if self._moves:  # else rows that another handle deleted would be found
                self.table.checkout_latest()
            yield
        except ValueError as error:
            raise ValueError(f"{self.place}: LanceDB refused ({_line(error)})") from error
        except (RuntimeError, OSError) as error:
            if any(word in str(error) for word in ("(Schema)", "InvalidInput", "Invalid user input")):
                raise ValueError(f"{self.place}: LanceDB refused ({_line(error)})") from error
            if "timeout" in str(error).lower() or isinstance(error, TimeoutError):
                raise TimeoutError(
                    f"{self.place}: LanceDB did not answer in time ({_line(error)})"
                ) from error
            raise ConnectionError(f"{self.place}: LanceDB cannot read it ({_line(error)})") from error


def _is_pinned(table: Any) -> bool:
    """Return whether a table is checked out at a version: it then refuses any change, one of nothing too."""
    try:
        table.drop_index("no index of this name")
    except Exception as error:
        return "specific version is checked out" in str(error)
    return False


def _quoted(name: str) -> str:
    """Return a column's name as an SQL identifier of LanceDB."""
    return "`" + name.replace("`", "``") + "`"


def _listed(ids: list[Any]) -> str:
    """Return ids as an SQL list."""
    return f"({', '.join(map(_literal, ids))})"


def _literal(one: Any) -> str:
    """Return an id as SQL; as one word LanceDB loses the least integer, before 0.38 those above int64 too."""
    if isinstance(one, str):
        return "'" + one.replace("'", "''") + "'"
    if one >= 2**63:
        return f"arrow_cast('{one}', 'UInt64')"
    return f"{one + 1} - 1" if one == -(2**63) else str(one)


def _line(error: BaseException) -> str:
    """The first line of a message, without where in LanceDB's sources it arose."""
    return str(error).splitlines()[0].partition(", /")[0][:300] if str(error) else type(error).__name__
