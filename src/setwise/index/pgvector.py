"""Vectors in a PostgreSQL table, through the pgvector extension."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.index.answers import Reply
from setwise.index.checking import optional, ranked_by
from setwise.index.postgres import Database, Execute, condition_of, quoted
from setwise.index.store import StoreIndex

#: Operators of pgvector, and the metric of each.
OPERATORS = {"<=>": "cosine", "<#>": "cosine", "<->": "euclidean"}

#: The most candidates that pgvector's HNSW scan can keep.
MOST_EF = 1000

#: Tables up to this size are sampled row by row, larger ones page by page.
SAMPLED_BY_ROW = 20_000

COLUMNS = """
SELECT a.attname::text, t.typname::text, n.nspname::text, t.typcategory::text, a.atttypmod,
       format_type(a.atttypid, NULL), c.relkind::text,
       (SELECT extversion FROM pg_extension WHERE extname = 'vector')
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE c.oid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
"""

# The table, its partitions and its children.
FAMILY = """
WITH RECURSIVE family AS (
    SELECT to_regclass(%s)::oid AS relid
    UNION SELECT inhrelid FROM pg_inherits JOIN family ON inhparent = relid
)
"""

# About how many rows they have, as PostgreSQL counted them last.
ROWS = f"""
{FAMILY}
SELECT coalesce(sum(reltuples) FILTER (WHERE reltuples > 0), 0) FROM family JOIN pg_class ON oid = relid
"""

# Their indexes that can order by the operator.
INDEXES = f"""
{FAMILY}
SELECT DISTINCT m.amname::text
FROM family f JOIN pg_index i ON i.indrelid = f.relid AND i.indisvalid
JOIN pg_attribute a ON a.attrelid = f.relid AND a.attname = %s AND a.attnum = ANY(i.indkey)
JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
JOIN pg_opclass k ON k.oid = ANY(i.indclass)
JOIN pg_amop o ON o.amopfamily = k.opcfamily AND o.amoppurpose = 'o'
JOIN pg_operator p ON p.oid = o.amopopr AND p.oprname = %s
"""


class PgvectorIndex(StoreIndex):
    """An index over a ``vector`` or ``halfvec`` column of a PostgreSQL table.

    A filter is part of the query that ranks, never applied after it. Where an approximate index still finds
    fewer rows than were asked for, that query is answered again by a scan, so a filter never starves a
    result. Rows without a vector (NULL) are left out. Every question runs in a transaction that is rolled
    back, a savepoint inside the caller's own: nothing is committed, and no setting outlives it.

    Parameters
    ----------
    connection : psycopg.Connection, psycopg_pool.ConnectionPool, sqlalchemy.Engine or sqlalchemy.Connection
        A single connection is used by one thread at a time.
    table : str
        A table, or a view.
    id, embedding : str
        Its columns: ids are integers, UUIDs or text, and unique; vectors are ``vector`` or ``halfvec``.
    metric : {"cosine", "euclidean"}
    operator : {"<=>", "<#>", "<->"}, optional
        What to rank by: that of the metric, or ``<#>`` (inner product) where all vectors have length 1.
    schema : str, optional
        Where the table is, if not on the search path.
    dim : int, optional
        Width of the vectors, where the column declares none and holds several; others are left out.
    exact : bool, optional
        True compares every row; False uses an approximate index where there is one. By default an index
        that fits the operator is used, and without one search is exact.
    timeout : float, optional
        Seconds that a statement may take.
    ef_search, probes : int, optional
        Settings of HNSW and IVFFlat scans; ef_search is at least k (and at most 1000) by default.
    missing : {"drop", "raise"}
        As for `StoreIndex`.

    Raises
    ------
    ImportError
        psycopg is not installed.
    TypeError
        ``connection`` is of another kind.
    ValueError
        The table or a column is unknown; a column is of a type that is not named above; vectors have no
        width, or another one than ``dim``; the operator ranks by the other metric; a number is out of range.
    ConnectionError, TimeoutError
        The server does not answer, or not in time.

    Notes
    -----
    A filter is an SQL condition (``"price < 10"``), a condition with values (``("color = %s", ["red"])``),
    a ``psycopg.sql`` object or an SQLAlchemy expression.
    """

    def __init__(
        self,
        connection: Any,
        table: str,
        *,
        id: str = "id",
        embedding: str = "embedding",
        metric: str = "cosine",
        operator: str | None = None,
        schema: str | None = None,
        dim: int | None = None,
        exact: bool | None = None,
        timeout: float | None = None,
        ef_search: int | None = None,
        probes: int | None = None,
        missing: str = "drop",
    ) -> None:
        operator = ranked_by("operator", operator, OPERATORS, metric)
        self.table, self.schema = table, schema
        self.place = f"table {'.'.join(filter(None, (schema, table)))!r}"
        self.timeout = optional(checks.positive, "timeout", timeout)
        exact = optional(checks.flag, "exact", exact)
        self._ef = optional(checks.integer, "ef_search", ef_search, least=1, most=MOST_EF)
        self._probes = optional(checks.integer, "probes", probes, least=1)
        self._database = Database(connection, self.place)
        self._from = quoted(*(one for one in (schema, table) if one is not None))
        with self._asking() as execute:
            ids = self._describe(execute, id, embedding, operator, metric)
            width = self._measure(execute, dim)
            self._ann = [] if exact else self._indexes(execute, embedding, operator)
        super().__init__(
            self.place,
            dim=width,
            metric=metric,
            ids=ids,
            # What indexes a view's tables have cannot be told.
            exact=bool(exact) or (self._is_table and not self._ann),
            unit=operator == "<#>",
            missing=missing,
            timeout=timeout,
        )

    @contextmanager
    def _asking(self) -> Iterator[Execute]:
        """Open a transaction in which each statement may take as long as was given."""
        with self._database.transaction() as execute:
            if self.timeout is not None:
                milliseconds = str(max(1, math.ceil(self.timeout * 1000)))
                execute("SELECT set_config('statement_timeout', %s, true)", [milliseconds])
            yield execute

    # ------------------------------------------------------------------ what the table holds

    def _describe(self, execute: Execute, id: str, embedding: str, operator: str, metric: str) -> str:
        """Look up the columns, put together what statements say of them; return what ids are."""
        regclass = self._from.replace("%%", "%")
        columns = {row[0]: row[1:] for row in execute(COLUMNS, [regclass])}
        if not columns:
            mend = "" if self.schema else "; pass schema= if it is not on the search path"
            raise ValueError(f"table: {self.place[6:]} is unknown{mend}")
        self._columns = list(columns)
        id_type, _, category, _, type_name = columns[checks.choice("id", id, columns)][:5]
        kind, home, _, self._declared, _, relation, version = columns[
            checks.choice("embedding", embedding, columns)
        ]
        if kind not in ("vector", "halfvec"):
            raise ValueError(
                f"embedding: column {embedding!r} of {self.place} is of type {kind}; "
                "only vector and halfvec can be searched"
            )
        ids = {"int2": "integers", "int4": "integers", "int8": "integers", "uuid": "UUIDs"}.get(
            id_type, "strings"
        )
        if ids == "strings" and category != "S":
            raise ValueError(
                f"id: column {id!r} of {self.place} is of type {type_name}; ids are integers, UUIDs or text"
            )
        self._is_table = relation in ("r", "p", "m")
        self._version = tuple(int(part) for part in (version or "0").split(".")[:2])
        # The extension may live in a schema that is not on the search path.
        self._kind, self._home = kind, quoted(home)
        self._embedding = quoted(embedding)
        self._wide = f"{self._embedding}::{self._home}.vector"
        self._sent = f"{self._home}.vector_send({self._wide})"
        self._id_column = quoted(id)
        self._named = self._id_column if ids == "integers" else f"{self._id_column}::text"
        self._id_array = {"integers": "bigint[]", "UUIDs": "uuid[]", "strings": "text[]"}[ids]
        # Scores, and scans, are by cosine also where an index goes by inner products: halves round lengths.
        plain = "<=>" if metric == "cosine" else "<->"
        self._operator = f"OPERATOR({self._home}.{operator})"
        self._apart = f"({self._wide} OPERATOR({self._home}.{plain}) %s::{self._home}.vector)"
        self._score = ("1 - " if metric == "cosine" else "-") + self._apart
        self._present = f"{self._embedding} IS NOT NULL"
        return ids

    def _measure(self, execute: Execute, dim: int | None) -> int:
        """Return the width of the vectors."""
        declared: int = self._declared
        if declared > 0:
            if dim not in (None, declared):
                raise ValueError(f"dim: {dim} is not the width of the column, {declared}")
            return declared
        width = f"{self._home}.vector_dims({self._wide})"
        if dim is not None:
            self._present += f" AND {width} = {checks.integer('dim', dim, least=1)}"
            return dim
        rows = execute(f"SELECT {width} FROM {self._from} WHERE {self._present} LIMIT 1", ())
        if not rows:
            raise ValueError(f"{self.place}: has no vectors, and its column declares no width; pass dim=")
        return int(rows[0][0])

    def _indexes(self, execute: Execute, embedding: str, operator: str) -> list[str]:
        """Return the methods of the approximate indexes that PostgreSQL might use."""
        return [row[0] for row in execute(INDEXES, [self._from.replace("%%", "%"), embedding, operator])]

    # ------------------------------------------------------------------ searching

    def find(
        self, queries: NDArray[np.float64], k: int, filter: Any, exclude: list[Any], vectors: bool
    ) -> list[Reply]:
        condition, values = self._condition(filter, exclude)
        with self._asking() as execute:
            self._tune(execute, k)
            answers = []
            for query in queries.astype(np.float32):
                text = _text(query)
                given = [text, *values, text, k]
                rows = self._ask(execute, condition, given, vectors, scan=self.exact)
                if len(rows) < k and not self.exact:
                    rows = self._ask(execute, condition, given, vectors, scan=True)
                scores = np.array([row[1] for row in rows], dtype=np.float64)
                sent = [_floats(row[2]) for row in rows] if vectors else None
                answers.append(Reply([row[0] for row in rows], scores, sent))
        return answers

    def _ask(
        self, execute: Execute, condition: str, values: list[Any], vectors: bool, *, scan: bool
    ) -> list[tuple[Any, ...]]:
        """Run one search; a scan compares every row that the condition lets through."""
        if scan:
            # A sum is no operator that an index can order by; ties go by id.
            order = f"{self._apart} + 0, {self._id_column}"
        else:
            order = f"{self._embedding} {self._operator} %s::{self._home}.{self._kind}"
        sent = f", {self._sent}" if vectors else ""
        statement = (
            f"SELECT {self._named}, {self._score}{sent} FROM ("
            f"SELECT {self._id_column}, {self._embedding} FROM {self._from} WHERE {condition} "
            f"ORDER BY {order} LIMIT %s) AS hit"
        )
        try:
            return execute(statement, values)
        except Exception as error:
            if "different" in str(error) and "dimensions" in str(error):
                raise ValueError(
                    f"{self.place}: vectors of several widths ({str(error).splitlines()[0]}); "
                    "pass dim= to search those of one width"
                ) from error
            raise

    def _condition(self, filter: Any, exclude: list[Any]) -> tuple[str, list[Any]]:
        """Put together which rows may be found."""
        parts, values = [self._present], []
        if filter is not None:
            text, given = condition_of(filter)
            parts.append(f"({text})")
            values.extend(given)
        if exclude:
            parts.append(f"({self._id_column} = ANY(%s::{self._id_array})) IS NOT TRUE")
            values.append(exclude)
        return " AND ".join(parts), values

    def _tune(self, execute: Execute, k: int) -> None:
        """Set what approximate scans need to find k rows, for this transaction."""
        if self.exact:
            return
        if "hnsw" in self._ann:
            if self._ef is not None:
                execute("SELECT set_config('hnsw.ef_search', %s, true)", [str(self._ef)])
            else:
                given = "coalesce(nullif(current_setting('hnsw.ef_search', true), ''), '40')::int"
                ef = f"greatest({given}, %s)::text"
                execute(f"SELECT set_config('hnsw.ef_search', {ef}, true)", [min(k, MOST_EF)])
        if "ivfflat" in self._ann and self._probes is not None:
            execute("SELECT set_config('ivfflat.probes', %s, true)", [str(self._probes)])
        if self._version >= (0, 8):
            for method in {"hnsw", "ivfflat"} & set(self._ann):
                execute("SELECT set_config(%s, 'relaxed_order', true)", [f"{method}.iterative_scan"])

    # ------------------------------------------------------------------ reading

    def count(self, most: int) -> int:
        statement = f"SELECT count(*) FROM (SELECT 1 FROM {self._from} WHERE {self._present} LIMIT %s) AS few"
        with self._asking() as execute:
            return int(execute(statement, [most])[0][0])

    def read(self, ids: list[Any], field: str | None) -> Iterable[tuple[Any, Any]]:
        if field is None:
            what, where = self._sent, f"{self._present} AND "
        else:
            what, where = quoted(checks.choice("groups", field, self._columns)), ""
        statement = (
            f"SELECT {self._named}, {what} FROM {self._from} "
            f"WHERE {where}{self._id_column} = ANY(%s::{self._id_array})"
        )
        with self._asking() as execute:
            answer = execute(statement, [ids])
        return [(one, _floats(value) if field is None else value) for one, value in answer]

    def draw(self, count: int) -> tuple[list[Any], Any] | None:
        pages = ""
        with self._asking() as execute:
            size = execute(ROWS, [self._from.replace("%%", "%")])[0][0]
        if max(size, self.count(SAMPLED_BY_ROW + 1)) > SAMPLED_BY_ROW:
            if not self._is_table:
                return None
            # Five times what is needed, for pages are read whole and a sample of few pages is lumpy.
            share = min(100.0, 500.0 * count / max(size, SAMPLED_BY_ROW))
            pages = f"TABLESAMPLE SYSTEM ({share:.6f}) REPEATABLE (0)"
        statement = (
            f"SELECT {self._named}, {self._sent} FROM {self._from} {pages} "
            f"WHERE {self._present} ORDER BY md5({self._id_column}::text) LIMIT %s"
        )
        with self._asking() as execute:
            answer = execute(statement, [count])
        return [row[0] for row in answer], [_floats(row[1]) for row in answer]


def _text(vector: NDArray[np.float32]) -> str:
    """Write a vector as pgvector reads it."""
    return "[" + ",".join(f"{number:.9g}" for number in vector.tolist()) + "]"


def _floats(sent: Any) -> NDArray[np.float32]:
    """Read what vector_send returns: two numbers of 16 bits, the width first, then big-endian floats."""
    return np.frombuffer(sent, dtype=">f4", offset=4).astype(np.float32)
