"""Where rows come from: JSONL line by line, Parquet in batches, a Hugging Face dataset, or rows in memory."""

from __future__ import annotations

import itertools
import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from setwise import checks, frames
from setwise.containers import to_numpy
from setwise.extras import require
from setwise.files.json_lines import has_places, is_array, json_rows
from setwise.files.names import ending, existing
from setwise.files.reading import JSON, column_types, reading_file

if TYPE_CHECKING:
    import pyarrow

#: Rows of a Parquet file or a dataset that are in memory at once.
_ROWS = 256

#: Endings of files that are read.
ENDINGS = (*JSON, ".parquet")

_MESSAGE = "responses"

#: Rows in memory that need no name beside their number.
_PLAIN = ("prompts", "responses", "rows")


class RowSource(Protocol):
    """Rows that can be read more than once, one after the other."""

    @property
    def name(self) -> str:
        """What the rows are called in messages."""
        ...

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        ...

    def __len__(self) -> int:
        """Return how many rows there are; 0 where that is not known before they are read."""
        ...

    def rows(self, arrays: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each row with the words for where it stands: ``line 18 of pools.jsonl``.

        Cells of the column `arrays`, of numbers, may be left as Arrow arrays.
        """
        ...

    def schema(self, without: Container[str]) -> pyarrow.Schema:
        """Return the other columns' Arrow types; rows without types are read through for them."""
        ...


def open_rows(source: Any, split: str | None = None, name: str = _MESSAGE) -> RowSource:
    """Open rows for reading.

    Parameters
    ----------
    source : path-like, frame or iterable of mappings
        A .jsonl or .json file (also as .gz and .zst), a .parquet file, the folder of a saved Hugging Face
        dataset, such a dataset, a frame of pandas, polars or Arrow, or rows in memory. What can be read only
        once, as a generator, is refused.
    split : str, optional
        Which split of several.
    name : str
        What the rows are called in messages.

    Raises FileNotFoundError: there is no such file or folder; TypeError: ``source`` is no path, data set or
    iterable of mappings, or a dataset with a transform; ValueError: the file is damaged or of an unknown
    ending, the folder is no saved data set, or there is no row.
    """
    if not isinstance(source, str | os.PathLike):
        if split is not None or type(source).__name__ == "DatasetDict":
            source = _split_of(source, split, type(source).__name__)
        if hasattr(source, "with_format") and hasattr(source, "column_names") and hasattr(source, "__len__"):
            return _of_dataset(source, type(source).__name__)
        if frames.kind_of(source, _MESSAGE) is not None:
            return _Frame(source, name)
        return _Records(source, name)
    path = existing(source, name)
    if path.is_dir():
        return _of_folder(path, split)
    if split is not None:
        raise ValueError(f"dataset_split: {path.name!r} is one file and has no splits; leave it out")
    kind = ending(path)
    if kind not in ENDINGS:
        raise ValueError(
            f"{name}: {path.name!r} ends in none of {', '.join(ENDINGS)}, and is no folder of a dataset"
        )
    if path.stat().st_size == 0:
        raise ValueError(f"{name}: {path.name} is empty")
    return _Parquet(path) if kind == ".parquet" else _JsonLines(path)


def _of_folder(path: Path, split: str | None) -> RowSource:
    """Open a folder that `datasets.Dataset.save_to_disk` or `DatasetDict.save_to_disk` has made."""
    if (path / "dataset_dict.json").exists():
        splits = {entry.name: entry for entry in sorted(path.iterdir()) if entry.is_dir()}
        return _of_folder(_split_of(splits, split, repr(path.name)), None)
    if split is not None:
        raise ValueError(f"dataset_split: {path.name!r} is one split of a dataset; leave it out")
    if not (path / "state.json").exists():
        raise ValueError(f"{_MESSAGE}: folder {path.name!r} is no saved dataset (it has no state.json)")
    datasets = require("datasets", "train", "a saved dataset")
    with reading_file(path, _MESSAGE):
        return _of_dataset(datasets.load_from_disk(str(path)), path.name)


def _split_of(splits: Any, name: str | None, what: str) -> Any:
    """Return one of several splits.

    Raises ValueError: there are no splits, none is named where there is more than one, or none has that name.
    """
    if not isinstance(splits, Mapping):
        raise ValueError(f"dataset_split: a {what} has no splits; leave it out")
    if name is None and len(splits) == 1:
        return next(iter(splits.values()))
    if name is None:
        raise ValueError(
            f"dataset_split: {what} holds the splits {', '.join(map(str, splits))}; name one "
            "(--dataset-split)"
        )
    return splits[checks.choice("dataset_split", name, list(splits))]


def _of_dataset(dataset: Any, name: str) -> RowSource:
    frames.kind_of(dataset, _MESSAGE)
    if len(dataset) == 0:
        raise ValueError(f"{_MESSAGE}: {name} has no rows")
    return _Dataset(dataset, name)


class _Arrow:
    """Rows that come as Arrow batches."""

    name: str
    _types: Any

    @property
    def columns(self) -> list[str]:
        return list(self._types.names)

    def _batches(self) -> Iterator[Any]:
        raise NotImplementedError

    def rows(self, arrays: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        numbers = itertools.count()
        for batch in self._batches():
            plain = [name for name in batch.schema.names if name != arrays]
            cells = batch.column(arrays) if arrays in batch.schema.names else None
            for place, row in enumerate(batch.select(plain).to_pylist()):
                if cells is not None and arrays is not None:
                    row[arrays] = _array_in(cells, place, f"embeddings: {self.name}, {arrays!r}")
                yield f"row {next(numbers)} of {self.name}", row

    def schema(self, without: Container[str]) -> Any:
        from setwise.extras.arrow import arrow

        return arrow.schema([field for field in self._types if field.name not in without])


def _array_in(cells: Any, place: int, argument: str) -> Any:
    """Return the numbers in a cell of lists, of lists of lists or of tensors; None where there are none."""
    from setwise.extras.arrow import types

    if not cells[place].is_valid:
        return None
    if types.is_list(cells.type) or types.is_large_list(cells.type) or types.is_fixed_size_list(cells.type):
        return cells[place].values
    return to_numpy(cells.slice(place, 1), argument)[0]


class _Parquet(_Arrow):
    def __init__(self, path: Path) -> None:
        from setwise.extras.arrow import parquet

        column_types(path, _MESSAGE)  # one clear error on a damaged file or a repeated column
        self.name = path.name
        self._path = path
        with reading_file(path, _MESSAGE), parquet.ParquetFile(path) as file:
            self._types = file.schema_arrow
            self._count = file.metadata.num_rows
            if not self._count:
                raise ValueError(f"{path.name} has no rows")

    def __len__(self) -> int:
        return int(self._count)

    def _batches(self) -> Iterator[Any]:
        from setwise.extras.arrow import parquet

        with reading_file(self._path, _MESSAGE), parquet.ParquetFile(self._path) as file:
            yield from file.iter_batches(batch_size=_ROWS)


class _Frame(_Arrow):
    def __init__(self, frame: Any, name: str) -> None:
        self.name = name
        self._table = frames.as_arrow(frame)
        self._types = self._table.schema
        if not len(self._table):
            raise ValueError(f"{name}: there are no rows")

    def __len__(self) -> int:
        return len(self._table)

    def _batches(self) -> Iterator[Any]:
        yield from self._table.to_batches(_ROWS)


class _Dataset(_Arrow):
    def __init__(self, dataset: Any, name: str) -> None:
        self.name = name
        self._data = dataset.with_format("arrow")
        self._types = dataset.features.arrow_schema

    def __len__(self) -> int:
        return len(self._data)

    def _batches(self) -> Iterator[Any]:
        yield from self._data.iter(batch_size=_ROWS)


class _Untyped:
    """Rows whose types are known when they have been read."""

    name: str

    def rows(self, arrays: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        raise NotImplementedError

    def schema(self, without: Container[str]) -> Any:
        from setwise.extras.arrow import arrow

        found = arrow.schema([])
        rows = (row for _, row in self.rows())
        while part := list(itertools.islice(rows, _ROWS)):
            for name in dict.fromkeys(name for row in part for name in row if name not in without):
                try:
                    types = arrow.table({name: [row.get(name) for row in part]}).schema
                    found = arrow.unify_schemas([found, types], promote_options="permissive")
                except (arrow.ArrowInvalid, arrow.ArrowTypeError):
                    raise ValueError(
                        f"out: column {name!r} of {self.name} holds values of different types, which Parquet "
                        "cannot; write .jsonl, or make them one type"
                    ) from None
        return found


class _JsonLines(_Untyped):
    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path
        self.columns = list(column_types(path, _MESSAGE))

    def __len__(self) -> int:
        if not has_places(self._path):
            return 0
        lines, last = 0, b""
        with self._path.open("rb") as stream:
            while block := stream.read(1 << 22):
                lines += block.count(b"\n")
                last = block
        return lines + (not last.endswith(b"\n"))

    def rows(self, arrays: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        with reading_file(self._path, _MESSAGE):
            word = "row" if is_array(self._path) else "line"
            for number, row in json_rows(self._path):
                yield f"{word} {number} of {self.name}", row


class _Records(_Untyped):
    def __init__(self, rows: Any, name: str) -> None:
        if isinstance(rows, Mapping):
            raise TypeError(f"{name}: expected rows, got one {type(rows).__name__}; pass a list of rows")
        if not isinstance(rows, Iterable) or isinstance(rows, Iterator):
            raise TypeError(
                f"{name}: expected a path, a datasets.Dataset or rows that can be read again, got "
                f"{type(rows).__name__}"
            )
        self.name = name
        self._rows: Any = rows
        first = next(iter(rows), None)
        if first is None:
            raise ValueError(f"{name}: there are no rows")
        if not isinstance(first, Mapping):
            raise TypeError(f"{name}: row 0 is no mapping but {type(first).__name__}")
        every = rows if isinstance(rows, Sequence) else [first]  # others may have to be made anew to be seen
        self.columns = list(dict.fromkeys(name for row in every if isinstance(row, Mapping) for name in row))

    def __len__(self) -> int:
        return len(self._rows) if hasattr(self._rows, "__len__") else 0

    def rows(self, arrays: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, row in enumerate(self._rows):
            if not isinstance(row, Mapping):
                raise TypeError(f"{self.name}: row {number} is no mapping but {type(row).__name__}")
            yield f"row {number}" + ("" if self.name in _PLAIN else f" of {self.name}"), dict(row)
