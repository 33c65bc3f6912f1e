"""Vectors in a DuckDB table: in memory, in a file, or whatever else DuckDB reads as a table."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.extras import require
from setwise.index.answers import Reply
from setwise.index.checking import first_line, within
from setwise.index.sql import found_if, quoted
from setwise.index.store import StoreIndex

#: What scores each metric: a function of DuckDB, and what its result is multiplied by.
SCORES = {"cosine": ("array_cosine_similarity", 1.0), "euclidean": ("array_distance", -1.0)}

#: DuckDB's types of ids, and how they are written here.
_ID_KINDS = {"VARCHAR": "strings", "UUID": "UUIDs"}
_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")


class DuckdbIndex(StoreIndex):
    """An index over a column of arrays of one width in a DuckDB table or view.

    Every search reads all rows that the filter lets through, so it is exact. Rows without a vector (NULL) are
    left out. Each question is asked through a cursor of its own.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
    table : str
        A table or view, with its schema where that is not the usual one: ``main.passages``.
    vector, id : str
        Its columns: vectors are ``FLOAT[d]`` or ``DOUBLE[d]``; ids are integers, strings or UUIDs, and
        unique.
    metric : {"cosine", "euclidean"}
    timeout : float, optional
        Seconds that a query may take.

    Raises
    ------
    ImportError
        duckdb is not installed.
    TypeError
        ``connection`` is no DuckDB connection.
    ValueError
        The table or a column is unknown, or a column of a type that is not named above.
    ConnectionError
        The connection is closed.

    Notes
    -----
    A filter is an SQL condition, or one with values in place of its question marks:
    ``("price < ? AND color = ?", [10, "red"])``. Pass what comes from users as values.
    """

    def __init__(
        self,
        connection: Any,
        table: str,
        *,
        vector: str = "vector",
        id: str = "id",
        metric: str = "cosine",
        timeout: float | None = None,
    ) -> None:
        self._duckdb = require("duckdb", "duckdb", "DuckdbIndex")
        if not isinstance(connection, self._duckdb.DuckDBPyConnection):
            raise TypeError(
                f"connection: expected a duckdb connection, got {type(connection).__name__}"
                " (duckdb.connect(path) opens one)"
            )
        self.connection, self.place, self.timeout = connection, f"table {table!r}", None
        self._lock = threading.Lock()
        self._table = ".".join(quoted(part) for part in table.split("."))
        types = {row[0]: row[1] for row in self._ask(f"DESCRIBE {self._table}")}
        kind = types[checks.choice("vector", vector, list(types))]
        array = re.fullmatch(r"(FLOAT|DOUBLE)\[(\d+)\]", kind)
        if array is None:
            raise ValueError(
                f"vector: column {vector!r} of {self.place} is of type {kind}; only FLOAT[d] and DOUBLE[d] "
                "can be searched: cast it, in a view perhaps"
            )
        id_kind = types[checks.choice("id", id, list(types))]
        id_kind = "VARCHAR" if id_kind.startswith("ENUM(") else id_kind
        if id_kind not in (*_INTEGERS, *_ID_KINDS):
            raise ValueError(
                f"id: column {id!r} of {self.place} is of type {id_kind}; ids are integers, strings or UUIDs"
            )
        self._columns, self._kind, self._ids_of = (
            list(types),
            kind,
            "HUGEINT" if id_kind in _INTEGERS else id_kind,
        )
        self._dtype = np.float32 if array[1] == "FLOAT" else np.float64
        self._vector, self._id = quoted(vector), quoted(id)
        # Letter for letter, whatever the column's collation.
        self._letters = f"{self._id}::VARCHAR COLLATE C" if id_kind == "VARCHAR" else self._id
        super().__init__(
            self.place,
            dim=int(array[2]),
            metric=metric,
            ids=_ID_KINDS.get(id_kind, "integers"),
            timeout=timeout,
        )

    def find(
        self, queries: NDArray[np.float64], k: int, filter: Any, exclude: list[Any], vectors: bool
    ) -> list[Reply]:
        name, sign = SCORES[self.metric]
        condition, values = found_if(self._vector, filter)
        if exclude:
            condition += f" AND ({self._letters} IN (SELECT unnest(?::{self._ids_of}[]))) IS NOT TRUE"
            values = [*values, exclude]
        way = "DESC" if sign > 0 else "ASC"
        wanted = f", {self._vector}" if vectors else ""
        statement = (
            f"SELECT {self._id}, {name}({self._vector}, ?::{self._kind}){wanted} FROM {self._table} "
            f"WHERE {condition} ORDER BY 2 {way} NULLS FIRST LIMIT {k}"
        )
        answers = []
        for query in queries:
            rows = self._ask(statement, [query.tolist(), *values])
            scores = np.array([row[1] for row in rows], np.float64)
            found = [np.asarray(row[2], self._dtype) for row in rows] if vectors else None
            answers.append(Reply([self._named(row[0]) for row in rows], sign * scores, found))
        return answers

    def count(self, most: int) -> int:
        held = f"SELECT 1 FROM {self._table} WHERE {self._vector} IS NOT NULL LIMIT {most}"
        return int(self._ask(f"SELECT count(*) FROM ({held})")[0][0])

    def read(self, ids: list[Any], field: str | None) -> Iterable[tuple[Any, Any]]:
        name, condition = self._vector, f" AND {self._vector} IS NOT NULL"
        if field is not None:
            name, condition = quoted(checks.choice("groups", field, self._columns)), ""
        statement = (
            f"SELECT {self._id}, {name} FROM {self._table} "
            f"WHERE {self._letters} IN (SELECT unnest(?::{self._ids_of}[])){condition}"
        )
        read = [(self._named(one), value) for one, value in self._ask(statement, [ids])]
        return read if field is not None else [(one, np.asarray(row, self._dtype)) for one, row in read]

    def draw(self, count: int) -> tuple[list[Any], Any] | None:
        rows = self._ask(
            f"SELECT {self._id}, {self._vector} FROM {self._table} WHERE {self._vector} IS NOT NULL "
            f"ORDER BY hash({self._id}), {self._id} LIMIT {count}"
        )
        return [self._named(row[0]) for row in rows], [np.asarray(row[1], self._dtype) for row in rows]

    def _named(self, one: Any) -> Any:
        """Return an id of DuckDB as this index writes it."""
        return str(one) if self.ids == "UUIDs" and one is not None else one

    def _ask(self, statement: str, values: list[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        with self._asking():
            with self._lock:  # cursors are made one at a time
                cursor = self.connection.cursor()
            with cursor, within(self.timeout, cursor.interrupt):
                rows: list[tuple[Any, ...]] = cursor.execute(statement, values or []).fetchall()
        return rows

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn DuckDB's many errors into few."""
        try:
            yield
        except self._duckdb.InterruptException as error:
            raise TimeoutError(f"{self.place}: DuckDB did not answer within {self.timeout} s") from error
        except (self._duckdb.ConnectionException, self._duckdb.IOException) as error:
            raise ConnectionError(f"{self.place}: DuckDB cannot read it ({first_line(error)})") from error
        except self._duckdb.Error as error:
            raise ValueError(f"{self.place}: DuckDB refused ({first_line(error)})") from error
