"""What a table's columns hold, told from all of their rows, and which of them is meant."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

#: Columns that hold one text together, looked for in this order where no single column is known to.
TOGETHER = (
    ("messages",),
    ("conversations",),
    ("conversation",),
    ("instruction", "input", "output"),
    ("instruction", "context", "response"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("query", "response"),
    ("question", "answer"),
)

#: Names under which texts, ids and vectors usually stand, the likeliest first.
TEXT_COLUMNS = (
    *("text", "content", "contents", "passage", "body", "document", "docstring", "page_content", "chunk"),
    *("abstract", "description", "sentence"),
)
VECTOR_COLUMNS = ("vector", "vectors", "embedding", "embeddings")
ID_COLUMNS = ("id", "_id", "pid", "doc_id", "docid", "document_id", "passage_id", "uid", "uuid")

#: Kinds of columns that ids may stand in, and what else ids are called: item_id, movieId, BookID.
_OF_IDS = ("string", "integer", "number", "uuid", "null")
_CALLED_ID = re.compile(r"(?:^|[ _.-])(?:id|ID|Id)$|[a-z](?:Id|ID)$")


def arrow_kinds(schema: Any, source: str = "the table") -> dict[str, str]:
    """Return an Arrow schema's columns, each with the kind of what it holds.

    That is "string" (of every width, category or not), "integer", "number", "boolean", "uuid", "time",
    "binary", "list", "struct", "null", or Arrow's own name of another type.

    Raises ValueError: two columns have one name.
    """
    repeated = [name for name, count in Counter(schema.names).items() if count > 1]
    if repeated:
        raise ValueError(f"{source} has more than one column {repeated[0]!r}; rename one")
    return {field.name: arrow_kind(field.type) for field in schema}


def arrow_kind(kind: Any) -> str:
    """Return the kind of what an Arrow type holds; see `arrow_kinds`."""
    from setwise.extras.arrow import arrow, types

    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return arrow_kind(kind.value_type)
    if isinstance(kind, arrow.BaseExtensionType):
        return "uuid" if isinstance(kind, arrow.UuidType) else arrow_kind(kind.storage_type)
    for name, tests in {
        "string": (types.is_string, types.is_large_string, types.is_string_view),
        "integer": (types.is_integer,),
        "number": (types.is_floating, types.is_decimal),
        "boolean": (types.is_boolean,),
        "binary": (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary),
        "time": (types.is_temporal,),
        "struct": (types.is_struct, types.is_map),
        "null": (types.is_null,),
    }.items():
        if any(test(kind) for test in tests):
            return name
    return "list" if hasattr(kind, "value_type") else str(kind)


def plain_type(kind: Any) -> Any:
    """Return the Arrow type of the same values that is not a category, and of no view."""
    from setwise.extras.arrow import arrow, types

    if types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if types.is_string_view(kind):
        return arrow.large_string()
    if types.is_binary_view(kind):
        return arrow.large_binary()
    return kind


def check_parquet(schema: Any, source: str) -> None:
    """Refuse columns that Parquet does not hold: objects without any field, wherever they stand.

    Raises ValueError: there is one; the message names the column.
    """
    for field in schema:
        if _has_empty_struct(field.type):
            raise ValueError(
                f"out: column {field.name!r} of {source} holds empty objects ({{}}), which Parquet "
                "has no place for; write .jsonl, or take the column out"
            )


def json_holds(kind: Any) -> bool:
    """Return whether JSON spells the values of an Arrow type (times as ISO 8601 does, a UUID as text)."""
    from setwise.extras.arrow import arrow, types

    if isinstance(kind, arrow.BaseExtensionType):
        return isinstance(kind, arrow.UuidType) or json_holds(kind.storage_type)
    if arrow_kind(kind) == "binary" or types.is_decimal(kind) or types.is_duration(kind):
        return False
    inner = [kind.value_type] if types.is_dictionary(kind) else []
    inner += [kind.field(place).type for place in range(kind.num_fields)]
    return all(map(json_holds, inner))


def _has_empty_struct(kind: Any) -> bool:
    """Return whether a type is a struct without fields, or holds one."""
    from setwise.extras.arrow import arrow, types

    if isinstance(kind, arrow.BaseExtensionType):
        return _has_empty_struct(kind.storage_type)
    if types.is_struct(kind) and kind.num_fields == 0:
        return True
    inner = [kind.value_type] if types.is_dictionary(kind) else []
    inner += [kind.field(place).type for place in range(kind.num_fields)]
    return any(map(_has_empty_struct, inner))


def json_kinds(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the columns of JSON objects in the order they are met, each with the kind of what it holds.

    A column that holds strings in some row is "string"; integers among numbers are "number"; null says
    nothing, so that only a column of nulls alone is "null".
    """
    found: dict[str, str] = {}
    for row in rows:
        for name, value in row.items():
            held = found.get(name, "null")
            if held != "string" and value is not None:
                found[name] = wider(held, _JSON.get(type(value), "struct"))
            elif name not in found:
                found[name] = "null"
    return found


def common_kinds(parts: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the columns of the parts of one table, each with the kind of what it holds in all of them."""
    found: dict[str, str] = {}
    for part in parts:
        for name, kind in part.items():
            found[name] = wider(found.get(name, "null"), kind)
    return found


_JSON = {str: "string", bool: "boolean", int: "integer", float: "number", list: "list", dict: "struct"}


def wider(held: str, new: str) -> str:
    """Return the kind of a column that held one kind and now holds another, too."""
    if held == "null" or new == "string":
        return new
    if new == "null" or held == "string":
        return held
    return "number" if {held, new} == {"integer", "number"} else held


def called(columns: Iterable[str], names: Sequence[str]) -> list[str]:
    """Return the columns that are called by one of some names, the likeliest first, in capitals last.

    Blanks around a name, as after the commas of a CSV file, and stray marks of an encoding do not count.
    """
    places = {name: place for place, name in enumerate(names)}
    plain = {column: str(column).strip(" \t\r\0\ufeff").casefold() for column in columns}
    found = [column for column, name in plain.items() if name in places]
    return sorted(found, key=lambda column: (column not in places, places[plain[column]]))


def text_columns(
    kinds: Mapping[str, str],
    taken: Collection[str] = (),
    together: Collection[tuple[str, ...]] = (),
    holds: Callable[[str], bool] | None = None,
    names: Sequence[str] = TEXT_COLUMNS,
) -> tuple[str, ...]:
    """Return the columns that texts are read from when none is named.

    The first of `names` that holds strings; else the first columns that usually hold one text
    together; else the only column of strings that is no id and not `taken` for something else. None where
    there is none or more than one. A blank column counts only where all are blank.

    Parameters
    ----------
    kinds : mapping of str to str
        Column to kind, of all rows; see `arrow_kinds`.
    taken : collection of str
        Columns that are read as something else.
    together : collection of tuple of str
        Such as `TOGETHER`, where several columns may make a text.
    holds : callable, optional
        Tells whether a column of strings holds more than blanks; by default each does.
    names : sequence of str
        What columns of texts are called, the likeliest first.
    """
    strings = [name for name, kind in kinds.items() if kind == "string" and name not in taken]
    full = (lambda name: True) if holds is None or len(strings) == 1 else holds
    known = called(strings, names)
    for name in known:
        if full(name):
            return (name,)
    for several in together:
        if all(name in kinds and name not in taken for name in several):
            return several
    ids = called(strings, ID_COLUMNS)
    others = [name for name in strings if name not in (*ids, *known) and full(name)]
    return (others[0],) if len(others) == 1 else () if others else tuple(known[:1])


def holds_text(column: Any) -> bool:
    """Return whether some value of a list or an Arrow column is a string that is more than blanks."""
    values = column.to_pylist() if hasattr(column, "to_pylist") else column
    return any(isinstance(value, str) and value != "" and not value.isspace() for value in values)


def id_columns(kinds: Mapping[str, str], taken: Collection[str] = ()) -> list[str]:
    """Return the columns that may be ids by their name and what they hold, the likeliest first."""
    return [name for name in called(kinds, ID_COLUMNS) if kinds[name] in _OF_IDS and name not in taken]


def unchosen_ids(kinds: Mapping[str, str], used: str | None, taken: Collection[str] = ()) -> str:
    """Return what to tell of columns of ids that were not asked for.

    Parameters
    ----------
    kinds : mapping of str to str
    used : str, optional
        The column that ids are read from; None where rows are numbered.
    taken : collection of str
        Columns that are read as something else.

    Returns
    -------
    str
        Which column is used, and which others are called as ids are; nothing where it is called "id" or
        "_id", or where rows are numbered and no column is called so.
    """
    others = [
        repr(name) if kind in _OF_IDS else f"{name!r} ({kind}, which is no id)"
        for name, kind in kinds.items()
        if name not in {used, *taken} and (name.casefold() in ID_COLUMNS or _CALLED_ID.search(name))
    ]
    if (used or "").casefold() in ("id", "_id") or (used is None and not others):
        return ""
    what = "rows are numbered" if used is None else f"column {used!r}"
    return f"ids: {what}; others: {', '.join(others)}" if others else f"ids: {what}"


def vector_column(kinds: Mapping[str, str]) -> str | None:
    """Return the column that vectors are read from when none is named.

    The first of `VECTOR_COLUMNS`, else the only column of lists; None where there is none or more than one.
    """
    known = called(kinds, VECTOR_COLUMNS)
    lists = [name for name, kind in kinds.items() if kind == "list"]
    return known[0] if known else lists[0] if len(lists) == 1 else None


def unchosen(kinds: Mapping[str, str], text: Collection[str], taken: Collection[str] = ()) -> str:
    """Return what to tell of columns of texts that were not asked for.

    Nothing where no other holds strings, or where it is called "text".
    """
    others = [
        repr(name)
        for name, kind in kinds.items()
        if kind == "string" and name not in {*text, *taken} and name.casefold() not in ID_COLUMNS
    ]
    if not text or tuple(text) == ("text",) or not (others or len(text) > 1):
        return ""
    rest = f"; others: {', '.join(others)}" if others else ""
    return f"texts: column{'s' if len(text) > 1 else ''} {', '.join(map(repr, text))}{rest}"
