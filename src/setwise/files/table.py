"""Columns as they were read, and what they have to hold."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from setwise.files.json_lines import parsed
from setwise.files.names import DELIMITED, ending
from setwise.ids import is_whole
from setwise.vectors import as_matrix

#: How a cell of a CSV file spells a number; what has leading zeros is a name.
_SPELLED: dict[type[int] | type[float], re.Pattern[str]] = {
    int: re.compile(r"-?(0|[1-9]\d{0,17})", re.ASCII),
    float: re.compile(r"-?(0|[1-9]\d*)(\.\d*)?([eE][+-]?\d+)?", re.ASCII),
}

#: Half a surrogate pair: JSON can spell it, UTF-8 cannot.
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of equal length, read from a file.

    Attributes
    ----------
    source : str
        The file's name, for messages.
    columns : mapping of str to list or pyarrow.ChunkedArray
        What was asked for, by name.
    lines : sequence of int, optional
        The line of the file that each row stands on, where rows are lines.
    """

    source: str
    columns: Mapping[str, Any]
    lines: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    @property
    def spelled(self) -> bool:
        """Whether its cells are words that spell numbers and lists, as those of a CSV file are."""
        return ending(self.source) in DELIMITED

    def place(self, row: int) -> str:
        """Return where a row stands, as a person would look for it: ``line 18`` or ``row 17``."""
        return f"row {row}" if self.lines is None else f"line {self.lines[row]}"

    def repeated(self, ids: Sequence[str | int]) -> str | None:
        """Return what to tell of the first id that an earlier row has, spelled alike; None where none has."""
        first: dict[str, int] = {}
        for row, one in enumerate(ids):
            seen = first.setdefault(str(one), row)
            if seen != row:
                return f"id: {one!r} stands in {self.place(seen)} and {self.place(row)} of {self.source}"
        return None

    def texts(self, name: str, argument: str = "text") -> list[str]:
        """Return a column of strings; null reads as the empty string.

        Raises
        ------
        TypeError
            A row holds something else; the message names it.
        ValueError
            A string is not Unicode text (it holds half of a surrogate pair).
        """
        values = self._values(name)
        for row, value in enumerate(values):
            if value is None:
                values[row] = ""
            elif not isinstance(value, str):
                raise TypeError(f"{argument}: {self._cell(name, row, value)}, expected a string")
        self._check_unicode(name, values, argument)
        return values

    def labels(self, name: str, argument: str) -> list[str | int]:
        """Return a column of strings or integers, such as ids and groups.

        Raises
        ------
        TypeError
            A row holds something else or nothing; the message names it.
        ValueError
            A string is not Unicode text (it holds half of a surrogate pair).
        """
        values = self._values(name)
        for row, value in enumerate(values):
            if isinstance(value, UUID):
                values[row] = str(value)
            elif is_whole(value):
                values[row] = int(value)  # a column of integers of which some were missing once
            elif not isinstance(value, str | int) or isinstance(value, bool):
                raise TypeError(
                    f"{argument}: {self._cell(name, row, value)}, expected a string or an integer"
                )
        self._check_unicode(name, values, argument)
        return values

    def numbers(self, name: str, argument: str) -> NDArray[np.float64]:
        """Return a column of numbers.

        Raises
        ------
        TypeError
            A row holds something else or nothing; the message names it.
        ValueError
            A row holds an integer that is larger than any float.
        """
        values = self._values(name)
        parse = self.spelled
        for row, value in enumerate(values):
            if parse:
                with contextlib.suppress(ValueError):
                    value = values[row] = float(value)
            if not _is_number(value):
                raise TypeError(f"{argument}: {self._cell(name, row, value)}, expected a number")
            if isinstance(value, int) and abs(value) > sys.float_info.max:
                raise ValueError(f"{argument}: {self._cell(name, row, value)}, larger than any float")
        return np.asarray(values, np.float64)

    def vectors(self, name: str, argument: str = "vectors") -> NDArray[Any]:
        """Return a column of equally long lists of numbers as an array of shape (n, d).

        Arrow columns are not copied where their layout allows; lists are read as float32.

        Raises
        ------
        TypeError, ValueError
            A row is not a list of numbers, or not as long as the first; the message names it.
        """
        column = self.columns[name]
        if not isinstance(column, list):
            return as_matrix(column, f"{argument}: column {name!r} of {self.source}")
        if self.spelled:
            column = [self._list_in_cell(name, row, cell, argument) for row, cell in enumerate(column)]
        width = len(column[0]) if isinstance(column[0], list) else 0
        for row, value in enumerate(column):
            if not isinstance(value, list):
                raise TypeError(f"{argument}: {self._cell(name, row, value)}, expected a list of numbers")
            if len(value) != width:
                raise ValueError(
                    f"{argument}: {self.source}, {self.place(row)} has {len(value)} numbers where "
                    f"{self.place(0)} has {width}; all need the same"
                )
        array = np.asarray(column)
        if array.dtype.kind not in "fiu" or array.ndim != 2:
            bad = (row for row, value in enumerate(column) if not all(map(_is_number, value)))
            where = f"{self.source}, {self.place(next(bad, 0))}"
            raise TypeError(f"{argument}: {where} has an entry in {name!r} that is no number")
        return array.astype(np.float32)

    def _check_unicode(self, name: str, values: Sequence[Any], argument: str) -> None:
        """Refuse strings that no file could hold."""
        for row, value in enumerate(values):
            if isinstance(value, str) and not value.isascii() and _SURROGATE.search(value):
                where = f"{self.source}, {self.place(row)}"
                raise ValueError(
                    f"{argument}: {where} holds half of a surrogate pair in {name!r}; take it out"
                )

    def values(self, name: str) -> list[Any]:
        """Return a column as it is; cells of a CSV file are None where empty, and numbers where all are."""
        values = self._values(name)
        if not self.spelled:
            return [str(value) if isinstance(value, UUID) else value for value in values]
        for kind, spelled in _SPELLED.items():
            if all(spelled.fullmatch(cell) for cell in values if cell):
                return [kind(cell) if cell else None for cell in values]
        return [cell or None for cell in values]

    def _values(self, name: str) -> list[Any]:
        """Return a column as a list of its own."""
        column = self.columns[name]
        return list(column) if isinstance(column, list) else list(column.to_pylist())

    def _cell(self, name: str, row: int, value: Any) -> str:
        """Describe a cell that holds what it should not."""
        shown = "nothing" if value is None else f"{value!r:.40} ({type(value).__name__})"
        return f"{self.source}, {self.place(row)} has {shown} in {name!r}"

    def _list_in_cell(self, name: str, row: int, cell: str, argument: str) -> Any:
        """Read a list that is written as JSON inside a CSV cell."""
        try:
            return parsed(cell, name)
        except ValueError:
            raise TypeError(f"{argument}: {self._cell(name, row, cell)}, expected [0.1, 0.2, …]") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
