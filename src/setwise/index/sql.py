"""What the indexes over embedded SQL databases write alike: names, and which rows may be found."""

from __future__ import annotations

from typing import Any


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def found_if(vector: str, filter: Any) -> tuple[str, list[Any]]:
    """Return the condition of the rows that may be found, and the values in it.

    Rows without a vector, a column given as an identifier, are left out. A filter is a condition, alone or
    with the values of its question marks.

    Raises TypeError: ``filter`` is something else.
    """
    condition, values = f"{vector} IS NOT NULL", []
    if isinstance(filter, tuple) and len(filter) == 2 and isinstance(filter[0], str):
        filter, values = filter[0], list(filter[1])
    elif filter is not None and not isinstance(filter, str):
        raise TypeError(
            f"filter: expected an SQL condition, alone or with its values, got {type(filter).__name__}"
        )
    return (condition if filter is None else f"{condition} AND ({filter})"), values
