"""Vectors in an SQLite table, compared by sqlite-vec."""

from __future__ import annotations

import json
import sqlite3
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

#: The function of sqlite-vec that measures each metric.
DISTANCES = {"cosine": "vec_distance_cosine", "euclidean": "vec_distance_L2"}

#: Draws the rows of a sample.
SEED = 0


class SqliteIndex(StoreIndex):
    """An index over a column of float32 vectors in an SQLite table, or in a ``vec0`` table of sqlite-vec.

    Every search reads all rows that the filter lets through, so it is exact. Rows without a vector (NULL) are
    left out.

    Parameters
    ----------
    connection : sqlite3.Connection or apsw.Connection
        sqlite-vec is loaded into it where it is not there. A Python that was built without loadable
        extensions needs apsw's. For ``aretrieve`` a sqlite3 connection is made with
        ``check_same_thread=False``.
    vector, id : str
        Its columns: vectors are blobs of float32 (``vector.astype("float32").tobytes()``); ids are integers
        or strings, and unique.
    metric : {"cosine", "euclidean"}
    dim : int, optional
        Width of the vectors; needed for an empty table.
    timeout : float, optional
        Seconds that a query may take.

    Raises
    ------
    ImportError
        sqlite-vec is not installed, or this Python's sqlite3 loads no extensions.
    TypeError
        ``connection`` is another object.
    ValueError
        The table or a column is unknown; ids are of mixed or other types; the table is empty and ``dim`` is
        not given.
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
        dim: int | None = None,
        timeout: float | None = None,
    ) -> None:
        if type(connection).__module__.partition(".")[0] not in ("sqlite3", "apsw") or not hasattr(
            connection, "interrupt"
        ):
            raise TypeError(
                "connection: expected a sqlite3.Connection or an apsw.Connection, got "
                f"{type(connection).__name__}"
            )
        self.connection, self.place, self.timeout = connection, f"table {table!r}", None
        self._errors: Any = sqlite3.Error
        if not isinstance(connection, sqlite3.Connection):
            self._errors = require("apsw", "sqlite", "SqliteIndex").Error
        self._load()
        known = [row[0] for row in self._ask("SELECT name FROM pragma_table_info(?)", [table])]
        if not known:
            raise ValueError(f"table: there is no table {table!r}")
        self._vector = quoted(checks.choice("vector", vector, known))
        self._id = quoted(checks.choice("id", id, known))
        self._table, self._columns = quoted(table), known
        kinds = {row[0] for row in self._ask(f"SELECT DISTINCT typeof({self._id}) FROM {self._table}")}
        if len(kinds) > 1 or not kinds <= {"integer", "text"}:
            raise ValueError(
                f"id: column {id!r} of {self.place} holds {' and '.join(sorted(kinds))}; ids are all "
                "integers or all text"
            )
        if dim is None:
            first = self._ask(
                f"SELECT vec_length({self._vector}) FROM {self._table} "
                f"WHERE {self._vector} IS NOT NULL LIMIT 1"
            )
            if not first:
                raise ValueError(f"dim: {self.place} has no vector yet; pass their width")
            dim = int(first[0][0])
        super().__init__(
            self.place,
            dim=dim,
            metric=metric,
            ids="strings" if kinds == {"text"} else "integers",
            timeout=timeout,
        )

    def _load(self) -> None:
        """Load sqlite-vec, unless the connection has it."""
        try:
            self.connection.execute("SELECT vec_version()").fetchall()
            return
        except self._errors as error:
            if "no such function" not in str(error):
                raise ConnectionError(f"{self.place}: SQLite cannot read it ({error})") from error
        path = require("sqlite_vec", "sqlite", "SqliteIndex").loadable_path()
        if not hasattr(self.connection, "enable_load_extension"):
            raise ImportError(
                "connection: this Python's sqlite3 was built without loadable extensions; use "
                "apsw.Connection(path)"
            )
        self.connection.enable_load_extension(True)
        self.connection.load_extension(path)
        self.connection.enable_load_extension(False)

    def find(
        self, queries: NDArray[np.float64], k: int, filter: Any, exclude: list[Any], vectors: bool
    ) -> list[Reply]:
        condition, values = found_if(self._vector, filter)
        if exclude:
            condition += f" AND ({self._id} COLLATE BINARY IN (SELECT value FROM json_each(?))) IS NOT TRUE"
            values = [*values, json.dumps(exclude)]
        wanted = f", {self._vector}" if vectors else ""
        statement = (
            f"SELECT {self._id}, {DISTANCES[self.metric]}({self._vector}, ?){wanted} FROM {self._table} "
            f"WHERE {condition} ORDER BY 2 LIMIT {k}"  # of no distance, as a zero vector has none: first
        )
        answers = []
        for query in queries:
            rows = self._ask(statement, [query.astype(np.float32).tobytes(), *values])
            away = np.array([np.nan if row[1] is None else row[1] for row in rows], np.float64)
            scores = 1.0 - away if self.metric == "cosine" else -away
            found = [_row(row[2]) for row in rows] if vectors else None
            answers.append(Reply([row[0] for row in rows], scores, found))
        return answers

    def count(self, most: int) -> int:
        held = f"SELECT 1 FROM {self._table} WHERE {self._vector} IS NOT NULL LIMIT {min(most, 2**62)}"
        return int(self._ask(f"SELECT count(*) FROM ({held})")[0][0])

    def read(self, ids: list[Any], field: str | None) -> Iterable[tuple[Any, Any]]:
        name, condition = self._vector, f" AND {self._vector} IS NOT NULL"
        if field is not None:
            name, condition = quoted(checks.choice("groups", field, self._columns)), ""
        rows = self._ask(
            f"SELECT {self._id}, {name} FROM {self._table} "
            f"WHERE {self._id} COLLATE BINARY IN (SELECT value FROM json_each(?)){condition}",
            [json.dumps(ids)],
        )
        return [(one, _row(value) if field is None else value) for one, value in rows]

    def draw(self, count: int) -> tuple[list[Any], Any] | None:
        # By ids: a view, a vec0 table and a table WITHOUT ROWID number no rows.
        ids = self._ask(
            f"SELECT {self._id} FROM {self._table} WHERE {self._vector} IS NOT NULL ORDER BY {self._id}"
        )
        picked = np.sort(np.random.default_rng(SEED).permutation(len(ids))[:count])
        rows = list(self.read([ids[place][0] for place in picked], None))
        return [row[0] for row in rows], [row[1] for row in rows]

    def _ask(self, statement: str, values: list[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        with self._asking(), within(self.timeout, self.connection.interrupt):
            return [tuple(row) for row in self.connection.execute(statement, values or [])]

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Turn SQLite's many errors into few."""
        try:
            yield
        except self._errors as error:
            text = first_line(error)
            if "interrupt" in f"{type(error).__name__} {text}".lower():
                raise TimeoutError(f"{self.place}: SQLite did not answer within {self.timeout} s") from error
            if "closed" in f"{type(error).__name__} {text}".lower() or "no such table" in text:
                raise ConnectionError(f"{self.place}: SQLite cannot read it ({text})") from error
            raise ValueError(f"{self.place}: SQLite refused ({text})") from error


def _row(blob: bytes) -> NDArray[np.float32]:
    """Return a vector as it is stored."""
    return np.frombuffer(blob, np.float32)
