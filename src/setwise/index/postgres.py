"""How PostgreSQL is asked: in transactions that leave no trace, with its errors made few."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from setwise.extras import require

#: A statement with %s placeholders and its parameters -> the rows.
Execute = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


def quoted(*names: str) -> str:
    """Return a name, or a qualified name, as an SQL identifier; % is doubled, as in every statement."""
    return ".".join('"' + name.replace('"', '""').replace("%", "%%") + '"' for name in names)


class Database:
    """A PostgreSQL connection, or a pool of them, of psycopg or SQLAlchemy.

    Each ``transaction`` is rolled back at its end: as a savepoint where the caller is inside a transaction,
    else as a transaction of its own. Nothing of the caller's is committed or undone, and settings made in
    it end with it.

    Parameters
    ----------
    connection : psycopg.Connection, psycopg_pool.ConnectionPool, sqlalchemy.Engine or sqlalchemy.Connection
    place : str
        What messages call the table.

    Raises ImportError: psycopg is not installed; TypeError: another kind of connection.
    """

    def __init__(self, connection: Any, place: str) -> None:
        self.psycopg = require("psycopg", "pgvector", "PgvectorIndex")
        self.place = place
        self._connection = connection
        self._lock: Any = nullcontext()
        alchemy = sys.modules.get("sqlalchemy")
        pools = sys.modules.get("psycopg_pool")
        if isinstance(connection, self.psycopg.Connection):
            self._open: Any = self._of_connection
            self._lock = threading.RLock()
        elif pools is not None and isinstance(connection, pools.ConnectionPool):
            self._open = self._of_pool
        elif alchemy is not None and isinstance(connection, alchemy.Engine | alchemy.Connection):
            dialect = connection.dialect
            if (dialect.name, dialect.driver) != ("postgresql", "psycopg"):
                raise TypeError(
                    f"connection: expected an engine made with postgresql+psycopg://, got {dialect.name}+"
                    f"{dialect.driver}"
                )
            if isinstance(connection, alchemy.Engine):
                self._open = self._of_engine
            else:
                self._open = self._of_alchemy
                self._lock = threading.RLock()
        else:
            raise TypeError(
                "connection: expected a psycopg.Connection, a psycopg_pool.ConnectionPool, or a synchronous"
                f" SQLAlchemy Engine or Connection, got {type(connection).__name__}"
            )

    @contextmanager
    def transaction(self) -> Iterator[Execute]:
        """Open a transaction, yield what executes statements in it, and roll it back.

        Raises TimeoutError: a statement was canceled, or no connection of a pool came free; ConnectionError:
        the server cannot be reached, or has gone; ValueError: it refuses a statement.
        """
        try:
            with self._lock, self._open(self._connection) as execute:
                yield execute
        except Exception as error:
            told = self._translate(error)
            if told is None:
                raise
            raise told from error

    @contextmanager
    def _of_connection(self, connection: Any) -> Iterator[Execute]:
        """A transaction on a psycopg connection."""
        if connection.info.transaction_status == self.psycopg.pq.TransactionStatus.INERROR:
            raise ValueError(f"{self.place}: the connection's transaction has failed; roll it back first")
        with (
            connection.transaction(force_rollback=True),
            connection.cursor(row_factory=self.psycopg.rows.tuple_row) as cursor,
        ):

            def execute(statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
                # A prepared statement would in time be planned without a look at the filter's values.
                cursor.execute(statement, tuple(values), prepare=False)
                return list(cursor.fetchall())

            yield execute

    @contextmanager
    def _of_pool(self, pool: Any) -> Iterator[Execute]:
        """A transaction on a connection of a psycopg pool."""
        with pool.connection() as connection, self._of_connection(connection) as execute:
            yield execute

    @contextmanager
    def _of_alchemy(self, connection: Any) -> Iterator[Execute]:
        """A transaction on the psycopg connection under an SQLAlchemy one, which is not touched."""
        with self._of_connection(connection.connection.driver_connection) as execute:
            yield execute

    @contextmanager
    def _of_engine(self, engine: Any) -> Iterator[Execute]:
        """A transaction on a connection of an SQLAlchemy engine."""
        with engine.connect() as connection, self._of_alchemy(connection) as execute:
            yield execute

    def _translate(self, error: Exception) -> Exception | None:
        """Return the plain error that a driver's error stands for, or None for another one."""
        alchemy = sys.modules.get("sqlalchemy.exc")
        if alchemy is not None and isinstance(error, alchemy.SQLAlchemyError):
            cause = getattr(error, "orig", None)
            if isinstance(error, alchemy.TimeoutError):
                return TimeoutError(f"{self.place}: {_line(error)}")
            if cause is None:
                return ConnectionError(f"{self.place}: the connection cannot be used ({_line(error)})")
        elif isinstance(error, self.psycopg.Error):
            cause = error
        else:
            return None
        state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""
        kinds = {kind.__name__ for kind in type(cause).__mro__}
        if state in ("57014", "55P03") or "PoolTimeout" in kinds:
            return TimeoutError(f"{self.place}: PostgreSQL did not answer in time ({_line(cause)})")
        lost = state.startswith(("08", "53", "57P"))
        if lost or (not state and not kinds.isdisjoint({"OperationalError", "InterfaceError"})):
            return ConnectionError(f"{self.place}: PostgreSQL cannot be reached ({_line(cause)})")
        return ValueError(f"{self.place}: PostgreSQL refused ({_line(cause)})")


def condition_of(filter: Any) -> tuple[str, list[Any]]:
    """Return a filter as an SQL condition with %s placeholders, and its parameters.

    It is a condition, in which % is an ordinary character; one with %s placeholders and their values; or an
    expression of psycopg or SQLAlchemy that stands for one.

    Raises TypeError: anything else.
    """
    if isinstance(filter, str):
        return filter.replace("%", "%%"), []
    if isinstance(filter, tuple) and len(filter) == 2 and isinstance(filter[0], str):
        values = filter[1]
        if isinstance(values, Sequence) and not isinstance(values, str | bytes):
            return filter[0], list(values)
    composed = sys.modules.get("psycopg.sql")
    if composed is not None and isinstance(filter, composed.Composable):
        return str(filter.as_string(None)), []
    alchemy = sys.modules.get("sqlalchemy.sql.elements")
    if alchemy is not None and isinstance(filter, alchemy.ColumnElement):
        from sqlalchemy.dialects.postgresql import psycopg as driver

        dialect: Any = driver.dialect(paramstyle="format")  # type: ignore[no-untyped-call, unused-ignore]
        state: Any = filter.compile(dialect=dialect).construct_expanded_state()
        values = [
            state.processors[name](state.parameters[name])
            if name in state.processors
            else state.parameters[name]
            for name in state.positiontup
        ]
        return str(state.statement), values
    raise TypeError(
        'filter: expected an SQL condition, ("condition with %s", [values]), a psycopg.sql object or an '
        f"SQLAlchemy expression, got {type(filter).__name__}"
    )


def _line(error: Any) -> str:
    """The first line of a message, or the name of the error."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
