"""Items of a catalog as files have them: vectors, qualities and ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from setwise.files import TABLES, Table, column_types, read_array, read_table
from setwise.files.kinds import VECTOR_COLUMNS, id_columns, unchosen_ids, vector_column
from setwise.files.names import DELIMITED, column, ending, existing
from setwise.files.reading import KNOWN, array_beside, of_length, read_matrix

if TYPE_CHECKING:
    from setwise.catalog import Catalog
    from setwise.encode.cache import Encoded

QUALITY_COLUMN = "quality"

#: Kinds of columns that are kept beside the items.
KEPT = ("string", "integer", "number", "boolean", "uuid", "time")

#: An integer as it is written back.
_INTEGER = re.compile("0|-?[1-9][0-9]*")


@dataclass(frozen=True, eq=False)
class ItemFile:
    """Items as they were read.

    Attributes
    ----------
    vectors : ndarray of shape (n, d)
        A memory map where they are a .npy file.
    quality : ndarray of shape (n,) or None
        None where neither the caller nor the table names one.
    ids : list of str or int, or None
    fields : mapping of names to columns
        What else the table has: names, categories.
    notes : tuple of str
        What was chosen or left out without being asked for.
    """

    vectors: NDArray[Any]
    quality: NDArray[Any] | None
    ids: Sequence[str | int] | None
    fields: Mapping[str, Any] = dataclass_field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_items(
    path: str,
    vectors: str | None,
    quality: str | None,
    id: str | None,
    text: str | None = None,
    encode: Callable[[list[str]], Encoded] | None = None,
) -> ItemFile:
    """Read items from a .npy file of vectors or a table.

    Parameters
    ----------
    path : str
        A .npy file, or a table with an ending in `TABLES`.
    vectors : str, optional
        A table's column, or a .npy file; by default the first of `VECTOR_COLUMNS`, or the only one
        of lists.
    quality : str, optional
        A table's column, or a .npy file; by default the column "quality" if there is one.
    id : str, optional
        A table's column; by default the first of `ID_COLUMNS` that there is, if any.
    text : str, optional
        A table's column of texts, which `encode` makes vectors of; it is kept beside the items.
    encode : callable, optional

    Raises FileNotFoundError: a file is missing; TypeError: a column holds something else than vectors, texts,
    numbers or ids; ValueError: the file has another ending, or lacks a column; ids repeat; vectors, qualities
    and ids are not as many; the encoder knows no word of any text.
    """
    source = existing(path, "items")
    if ending(source) == ".npy":
        for argument, value in (("vectors", vectors), ("text", text), ("id", id)):
            if value is not None:
                raise ValueError(
                    f"{argument}: {source.name!r} is a .npy file of vectors without columns; leave it out"
                )
        found = read_matrix(source, "items")
        return ItemFile(found, _array_of(source, quality, "quality", len(found)), None)
    if source.is_dir() or ending(source) not in TABLES:
        raise ValueError(f"items: {source.name!r} ends in none of {KNOWN}, .npy")
    types = column_types(source, "items")
    if vectors is None and text is None:
        vectors = vector_column(types)
        if vectors is None:
            raise ValueError(
                f"vectors: {source.name} has no column {' or '.join(VECTOR_COLUMNS)}; name one with "
                f"--vectors, or one of texts with --text (columns: {', '.join(types)})"
            )
    if quality is None and QUALITY_COLUMN in types:
        quality = QUALITY_COLUMN
    others = [name for name in (vectors, quality, text) if name is not None]
    told = ""
    if id is None:
        id = next(iter(id_columns(types, others)), None)
        told = unchosen_ids(types, id, others)
    notes = (told,) if told else ()
    if text is not None:
        column(types, text, "text", source.name)
    columns = {
        argument: column(types, name, argument, source.name)
        for argument, name in (("vectors", vectors), ("quality", quality), ("id", id))
        if name is not None and not _is_file(name, types)
    }
    own = columns.values()
    kept = [name for name, kind in types.items() if (kind in KEPT or name == text) and name not in own]
    table = read_table(source, [*own, *kept] or list(types)[:1], "items")
    n = len(table)
    numbers = (
        table.numbers(columns["quality"], "quality")
        if "quality" in columns
        else _array_of(source, quality, "quality", n)
    )
    ids = _ids(table, columns["id"]) if "id" in columns else None
    if text is None or encode is None:
        rows = (
            table.vectors(columns["vectors"])
            if "vectors" in columns
            else _array_of(source, vectors, "vectors", n)
        )
        return ItemFile(
            rows,
            numbers,
            ids,
            {name: _as_read(table, name) for name in kept},
            notes,
        )
    encoded = encode(table.texts(text))
    if not len(encoded.rows):
        raise ValueError(f"text: {encoded.encoder.name} knows no word of any text in {text!r}")
    names: Sequence[str | int] = range(n) if ids is None else ids
    if len(encoded.unknown):
        first = [str(names[row]) for row in encoded.unknown[:3].tolist()]
        what = f"items left out, since the encoder knows no word of their {text!r}"
        more = ", …" if len(encoded.unknown) > 3 else ""
        notes = (*notes, f"{what}: {len(encoded.unknown):,} ({', '.join(first)}{more})")
    left = encoded.rows.tolist()
    return ItemFile(
        encoded.vectors,
        None if numbers is None else numbers[encoded.rows],
        [names[row] for row in left],
        {name: [values[row] for row in left] for name in kept if (values := table.values(name))},
        notes,
    )


def _as_read(table: Table, name: str) -> Any:
    """Return a column as it was read: of Arrow where the file has types, else as plain values."""
    column = table.columns[name]
    return table.values(name) if isinstance(column, list) else column


def ids_like(items: ItemFile, path: str, catalog: Catalog) -> Sequence[str | int] | None:
    """Return new items' ids; those of a CSV file, which has no types, as integers where a catalog's are.

    Raises ValueError: such an id is spelled otherwise than an integer is.
    """
    if items.ids is None or ending(path) not in DELIMITED:
        return items.ids
    return ids_as_in(catalog, items.ids, Path(path).name)


def read_ids(path: str, id: str | None) -> tuple[list[str | int], str, str]:
    """Read ids alone.

    Parameters
    ----------
    path : str
        A table, a .npy file of integers or strings, or a .txt file of one id a line.
    id : str, optional
        The table's column; by default the first of `ID_COLUMNS` that there is, or its only one.

    Returns
    -------
    ids : list of str or int
    name : str
        Of the file, where its ids are words without a type; else empty.
    told : str
        Which column was read, where that was not asked for; may be empty.

    Raises FileNotFoundError: the file is missing; TypeError: the column holds something else than ids;
    ValueError: the file has another ending, lacks the column, or holds no ids.
    """
    source = existing(path, "from")
    kind = ending(source)
    if kind in (".npy", ".txt"):
        if id is not None:
            raise ValueError(f"id: {source.name!r} has no columns; leave it out")
        if kind == ".txt":
            try:
                words = source.read_text(encoding="utf-8-sig").splitlines()
            except UnicodeDecodeError:
                raise ValueError(f"from: {source.name} is not UTF-8 text") from None
            return [word.strip() for word in words if word.strip()], source.name, ""
        array = read_array(source, "from")
        if array.ndim != 1 or array.dtype.kind not in "iuU":
            raise ValueError(
                f"from: {source.name} holds {array.dtype} of shape {array.shape}, expected ids: integers or "
                "strings, shape (m,)"
            )
        return array.tolist(), "", ""
    if source.is_dir() or kind not in TABLES:
        raise ValueError(f"from: {source.name!r} ends in none of {KNOWN}, .npy, .txt")
    types = column_types(source, "from")
    told = ""
    if id is None:
        id = next(iter(id_columns(types)), None)
        if id is None and len(types) == 1:
            id = next(iter(types))
        if id is None:
            raise ValueError(
                f"id: {source.name} has none of the usual columns of ids; name one with --id (columns: "
                f"{', '.join(types)})"
            )
        told = unchosen_ids(types, id) if len(types) > 1 else ""
    column(types, id, "id", source.name)
    ids = read_table(source, [id], "from").labels(id, "id")
    return ids, source.name if kind in DELIMITED else "", told


def ids_as_in(catalog: Catalog, ids: Sequence[str | int], where: str) -> list[str | int]:
    """Return ids that were written as words, as integers where a catalog's are.

    ``where`` says where the words stand, for messages; it is empty where ids have types already.

    Raises ValueError: one is spelled otherwise than an integer is.
    """
    if not where or catalog.ids.dtype.kind not in "iu":
        return list(ids)
    for name in ids:
        if not _INTEGER.fullmatch(str(name)):
            raise ValueError(f"id: {where} has {name!r}, the catalog's ids are integers")
    return [int(name) for name in ids]


def read_quality(
    path: str, name: str, id: str | None, catalog: Catalog
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Read new qualities for a catalog's items.

    Parameters
    ----------
    path : str
        A .npy file in the items' order, or a table: matched by its ids where it has them.
    name : str
        The table's column of qualities.
    id : str, optional
        The table's column of ids; by default the first of `ID_COLUMNS` that there is.

    Returns
    -------
    quality : ndarray of shape (n,), float64
    notes : tuple of str
        What of the table was not used, and how many items keep the quality they have.

    Raises FileNotFoundError: the file is missing; TypeError: the column holds something else than numbers;
    ValueError: the file lacks a column, has another number of rows and no ids, or no id of the catalog.
    """
    source = existing(path, "quality")
    if ending(source) == ".npy":
        found = _array_of(source, str(source.resolve()), "quality", len(catalog))
        assert found is not None
        return found, ()
    types = column_types(source, "quality")
    column(types, name, "quality_column", source.name)
    if id is not None:
        column(types, id, "id", source.name)
    told = ""
    if id is None:
        id = next(iter(id_columns(types, [name])), None)
        told = unchosen_ids(types, id, [name])
    table = read_table(source, [name] if id is None else [name, id], "quality")
    values = table.numbers(name, "quality")
    if id is None:
        if len(values) != len(catalog):
            raise ValueError(
                f"quality: {source.name} has {len(values):,} rows and no ids, the catalog has "
                f"{len(catalog):,} items; name its column of ids with --id"
            )
        return values, ((told,) if told else ())
    places = {str(given): row for row, given in enumerate(_ids(table, id))}
    names = catalog.ids.tolist()
    rows = np.fromiter((places.get(str(one), -1) for one in names), np.int64, len(names))
    lacking = np.flatnonzero(rows < 0)
    if len(lacking) == len(names):
        raise ValueError(
            f"quality: {source.name} has no id of the catalog's {len(names):,} items, such as {names[0]!r}; "
            "name its column of ids with --id"
        )
    strange = len(places) - len(names) + len(lacking)
    notes = [told] if told else []
    if strange:
        notes.append(f"ids in {source.name} that the catalog has not, left out: {strange:,}")
    if len(lacking):
        notes.append(
            f"{len(lacking):,} of the {len(names):,} items keep the quality they have, for {source.name} has "
            f"none for them, such as {names[lacking[0]]!r}"
        )
    fresh: NDArray[np.float64] = np.where(rows < 0, catalog.quality, values[rows])
    return fresh, tuple(notes)


def _is_file(name: str, types: dict[str, str]) -> bool:
    return name.lower().endswith(".npy") and name not in types


def _array_of(source: Path, name: str | None, argument: str, n: int) -> Any:
    """Return the array of a .npy file that belongs to n items, looked for as given and beside them."""
    if name is None:
        return None
    path = array_beside(source, name, argument, source.name)
    array = read_matrix(path, argument) if argument == "vectors" else np.array(read_array(path, argument))
    if argument == "quality" and array.ndim != 1:
        raise ValueError(f"quality: {path.name} has shape {array.shape}, expected (n,)")
    return of_length(array, n, path, argument, source.name)


def _ids(table: Table, name: str) -> list[str | int]:
    """Return a column of ids, all different and of one kind."""
    ids = table.labels(name, "id")
    if len({type(one) for one in ids}) > 1:
        raise TypeError(f"id: {table.source} has strings and integers in {name!r}; write all as one of them")
    if repeated := table.repeated(ids):
        raise ValueError(f"{repeated}; name a column without repeats with --id")
    return ids
