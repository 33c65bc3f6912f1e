"""A repository of rows to choose from: one file or a folder of them, larger than memory if need be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks, frames
from setwise.files import Table
from setwise.files.json_lines import parsed
from setwise.files.kinds import TOGETHER, common_kinds, holds_text, plain_type, text_columns, unchosen
from setwise.files.names import column, ending, existing
from setwise.files.reading import JSON
from setwise.finetuning.distribution import row_numbers
from setwise.finetuning.rows.conversations import checked_roles, conversation_in, said, says, with_earlier
from setwise.finetuning.rows.places import files_of
from setwise.finetuning.rows.row_files import LINE, Block, InMemory, Lines, RowFile, open_rows

#: Rows that are read at once.
_BLOCK = 8192


class Repository:
    """Rows of one file or of a folder's files in name order, numbered from 0 through all of them.

    Opening reads no row of Parquet, and where the lines start of JSONL.

    Parameters
    ----------
    path : path-like or frame
        A table (see `setwise.files.TABLES`), a folder of such files of one kind, or a frame of pandas,
        polars, Arrow or a Hugging Face dataset. Of a dataset with splits, in memory or in a folder, the
        training split.
    text_column : str or sequence of str, optional
        The columns that a row's text is made of, joined by line breaks; a column may hold strings or
        conversations (lists of objects with "content" or "value"). By default the first of `TEXT_COLUMNS`
        that there is, else messages, else the first of the usual pairs and triples such as instruction,
        input and output, else the only column of strings. With the usual ones their ``system`` and
        ``history`` are read: earlier turns as pairs of what a user and the assistant said.
    roles : str or sequence of str
        Whose turns of a conversation are its text: of "system", "user", "assistant", "tool" and "all". By
        default all but the system's. The usual columns are somebody's, too: output is the assistant's.
    argument : str
        The argument's name in messages.

    Attributes
    ----------
    source : Path
    files : tuple of RowFile
    kind : str
        The files' ending; ".jsonl" for all files of JSON objects.
    columns : dict of str to str
        Names and types.
    text : tuple of str
        Empty where nothing is known to be a text.
    roles : tuple of str
    lengths : dict of str to ndarray of shape (n,)
        Every row's, by what has counted them; see `setwise.finetuning.rows.draw.text_lengths`.
    told : str
        Which split rows are of and which columns texts are read from, where that was not asked for and there
        are others; else empty.

    Raises
    ------
    FileNotFoundError
        There is no such file or folder.
    ValueError
        A file is of an unknown ending, truncated or empty; the files of a folder are of several kinds or
        differ in their columns; a column is not there.
    """

    def __init__(
        self,
        path: Any,
        *,
        text_column: str | Sequence[str] = (),
        roles: str | Sequence[str] = (),
        argument: str = "repository",
    ) -> None:
        self.argument = argument
        self.roles = checked_roles(roles)
        path, split = frames.training_split(path, argument)
        if frames.kind_of(path, argument) is not None:
            self.files: tuple[RowFile, ...] = (InMemory(path, argument),)
            self.source, self.kind = self.files[0].path, ".arrow"
        else:
            self.source = existing(path, argument)
            files, split = files_of(self.source, argument)
            self.files = tuple(open_rows(file, argument) for file in files)
            kind = ending(self.files[0].path)
            self.kind = ".jsonl" if kind in JSON else kind
        self.columns = _common_columns(self.files, argument)
        self._schema: Any = None
        self._numbers: dict[str, NDArray[np.float64]] = {}
        self.lengths: dict[str, NDArray[np.int64]] = {}
        self._starts = np.cumsum([0, *(file.rows for file in self.files)])
        named = checks.names(_text_argument(argument), text_column)
        for name in named:
            column(self.columns, name, _text_argument(argument), self.source.name)
        found = named or text_columns(self.columns, together=TOGETHER, holds=self._holds_text)
        self.text = named or with_earlier(found, self.columns)
        self._usual = () if named or found not in TOGETHER else self.text
        self._read = tuple(name for name in self.text if name not in self._usual or says(name, self.roles))
        columns = "" if named else unchosen(self.columns, self._read)
        self.told = "; ".join(filter(None, (split, columns)))

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def where(self) -> str:
        """Where texts are read from, in words."""
        columns = ", ".join(self._read)
        return f"{columns} (said by {', '.join(self.roles)})" if self.roles else columns

    @property
    def lines(self) -> bool:
        """Whether rows are lines of JSON, which `take` gives as they stand."""
        return self.kind == ".jsonl"

    @property
    def size(self) -> int:
        """Bytes that all rows take in memory, roughly."""
        return sum(file.size for file in self.files)

    def blocks(self, columns: Sequence[str], most: int = _BLOCK) -> Iterator[Block]:
        """Yield all rows in order, at most ``most`` at once, with some of their columns."""
        for file in self.files:
            yield from file.blocks(columns, most)

    def texts(self, most: int = _BLOCK, *, roles: tuple[str, ...] | None = None) -> Iterator[list[str]]:
        """Yield the texts of all rows in order, at most ``most`` at once; null reads as no text.

        Those of conversations are what ``roles`` say, by default the repository's own.

        Raises
        ------
        TypeError
            A row holds something else than text; the message names it.
        ValueError
            No column is known to hold texts, or a text is no Unicode.
        """
        names = self.text_columns()
        for block in self.blocks(names, most):
            yield self._texts(block, self.roles if roles is None else roles)

    def texts_of(self, rows: NDArray[np.integer]) -> list[str]:
        """Return the texts of some rows, in their order."""
        names = self.text_columns()
        rows = row_numbers(rows, len(self), "rows")
        distinct, inverse = np.unique(rows, return_inverse=True)
        found: list[str] = []
        for table in self.take(distinct):
            if self.lines:
                objects = [self._parse(line) for line in table.column(LINE).to_pylist()]
                values: dict[str, Any] = {name: [row.get(name) for row in objects] for name in names}
            else:
                values = {name: table.column(name) for name in names}
            found += self._texts(Block(self.source.name, values), self.roles)
        return [found[place] for place in inverse.tolist()]

    def numbers(self, name: str, argument: str) -> NDArray[np.float64]:
        """Return a column of numbers, shape (n,); it is read once.

        Raises
        ------
        TypeError
            A row holds something else than a number.
        ValueError
            There is no such column.
        """
        column(self.columns, name, argument, self.source.name)
        if name not in self._numbers:
            read = [block.numbers(name, argument) for block in self.blocks([name])]
            self._numbers[name] = np.concatenate(read)
        return self._numbers[name]

    def labels(self, name: str, argument: str) -> list[str | int]:
        """Return a column of strings or whole numbers, a label for every row.

        Raises
        ------
        TypeError
            A row has another value, or none.
        ValueError
            There is no such column.
        """
        column(self.columns, name, argument, self.source.name)
        return [label for block in self.blocks([name]) for label in block.labels(name, argument)]

    def take(self, rows: NDArray[np.integer]) -> Iterator[Any]:
        """Yield Arrow tables of rows given in ascending order without repeats, read in that order.

        All have the types of `schema`; those of JSONL one column, `LINE`, with the lines as they stand.

        Raises
        ------
        TypeError
            Rows are no integers.
        ValueError
            There is no such row; a file has changed since it was opened, or has a value that the type of all
            files' columns does not hold.
        """
        rows = row_numbers(rows, len(self), "rows")
        edges = np.searchsorted(rows, self._starts)
        schema = None if self.lines or len(self.files) == 1 else self.schema()
        for number, file in enumerate(self.files):
            wanted = rows[edges[number] : edges[number + 1]] - self._starts[number]
            if not len(wanted):
                continue
            found = 0
            for table in file.take(wanted):
                found += table.num_rows
                yield table if schema is None or table.schema.equals(schema) else self._cast(table, file)
            if found != len(wanted):
                raise ValueError(f"{self.argument}: {file.path.name} has changed while it was read")

    def _cast(self, table: Any, file: RowFile) -> Any:
        """Return a file's rows with the types that all files' rows fit in."""
        from setwise.extras.arrow import arrow

        columns = []
        for field in self.schema():
            try:
                columns.append(table.column(field.name).cast(field.type))
            except arrow.ArrowException as error:
                raise ValueError(
                    f"{self.argument}: {file.path.name} has a value in {field.name!r} that {field.type}, the "
                    f"type of all files together, does not hold ({_reason(error)}); give them one type"
                ) from None
        return arrow.table(columns, schema=self.schema())

    def schema(self) -> Any:
        """Return the Arrow schema of its rows; JSONL's is that of all its lines together, read once.

        Raises
        ------
        ValueError
            Files or lines have values in a column that no type holds.
        """
        if self._schema is None:
            self._schema = self._schema_of_lines() if self.lines else self._schema_of_files()
        return self._schema

    def _schema_of_files(self) -> Any:
        """Return the schema that all files' rows fit in; a category in one and plain in another is plain."""
        from setwise.extras.arrow import arrow

        first = self.files[0]
        schemas = [file.schema() for file in self.files]
        schema = schemas[0]
        if any(not schema.equals(other) for other in schemas):
            schemas = [
                arrow.schema([field.with_type(plain_type(field.type)) for field in one]) for one in schemas
            ]
            schema = schemas[0]
        for file, other in zip(self.files[1:], schemas[1:], strict=True):
            try:
                schema = arrow.unify_schemas([schema, other], promote_options="permissive")
            except (arrow.ArrowInvalid, arrow.ArrowTypeError) as error:
                raise ValueError(
                    f"{self.argument}: {file.path.name} and {first.path.name} have columns of different "
                    f"types ({_reason(error)})"
                ) from None
        return schema

    def parsed(self, table: Any, schema: Any) -> Any:
        """Return a table that `take` gave as one with the repository's columns."""
        from setwise.extras.arrow import arrow

        if not self.lines:
            return table
        objects = [self._parse(line) for line in table.column(LINE).to_pylist()]
        columns = []
        for field in schema:
            try:
                columns.append(arrow.array([row.get(field.name) for row in objects], field.type))
            except (ValueError, OverflowError) as error:
                raise _no_type(f"{self.argument}: {self.source.name}", field.name, error) from None
        return arrow.table(columns, schema=schema)

    def text_columns(self) -> list[str]:
        """Return the columns of texts, or refuse where none is known.

        Raises
        ------
        ValueError
            No column is known to hold texts.
        """
        if not self.text:
            raise ValueError(
                f"{_text_argument(self.argument)}: {self.source.name} has no column that is known to hold "
                f"texts; name one of {', '.join(self.columns)}"
            )
        return list(self.text)

    def _holds_text(self, name: str) -> bool:
        """Return whether a column of strings holds more than blanks; no more is read than needed."""
        return any(holds_text(block.columns[name]) for block in self.blocks([name], 1024))

    def _texts(self, block: Block, roles: tuple[str, ...]) -> list[str]:
        argument = _text_argument(self.argument)
        unsaid = [name for name in self._usual if not says(name, roles)]
        parts = [_as_strings(block, name, roles, name in unsaid).texts(name, argument) for name in self.text]
        if len(parts) == 1:
            return parts[0]
        return ["\n".join(part for part in row if part) for row in zip(*parts, strict=True)]

    def _parse(self, line: bytes) -> dict[str, Any]:
        try:
            value = parsed(line, self.source.name)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise ValueError(
                f"{self.argument}: {self.source.name} has a line that is not a JSON object, {line[:40]!r}"
            )
        return value

    def _schema_of_lines(self) -> Any:
        from setwise.extras.arrow import arrow

        schema = arrow.schema([])
        for file in self.files:
            assert isinstance(file, Lines)
            for rows in file.objects(_BLOCK):
                names = list(dict.fromkeys(name for row in rows for name in row))
                for name in names:
                    try:
                        kind = arrow.array([row.get(name) for row in rows]).type
                        field = arrow.schema([(name, kind)])
                        schema = arrow.unify_schemas([schema, field], promote_options="permissive")
                    except (ValueError, arrow.ArrowTypeError, OverflowError) as error:
                        raise _no_type(f"{self.argument}: {file.path.name}", name, error) from None
        return schema


def checked_repository(repository: Any) -> Repository:
    """Return a repository as it is. Raises TypeError: it is none."""
    if not isinstance(repository, Repository):
        raise TypeError(f"repository: expected a Repository, got {checks.brief(repository)}")
    return repository


def _no_type(where: str, name: str, error: Exception) -> ValueError:
    """Return the refusal of lines whose values no one type holds."""
    return ValueError(
        f"{where} has values of several kinds in {name!r}, or one that Parquet does not hold; write .jsonl "
        f"({_reason(error)})"
    )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:160]


def _common_columns(files: Sequence[RowFile], argument: str) -> dict[str, str]:
    """Return the columns of all files; JSONL files need not all have the same."""
    first = files[0]
    for file in files[1:]:
        if not isinstance(file, Lines) and set(file.types) != set(first.types):
            name = sorted(set(file.types) ^ set(first.types))[0]
            has, lacks = (first, file) if name in first.types else (file, first)
            raise ValueError(
                f"{argument}: {has.path.name} has a column {name!r} and {lacks.path.name} has not; "
                "a repository's files have the same columns"
            )
    return common_kinds(file.types for file in files)


def _as_strings(block: Block, name: str, roles: tuple[str, ...], unsaid: bool) -> Table:
    """Return a block whose conversations are texts; where strings are not of these roles, without them."""
    values = block.columns[name]
    values = list(values) if isinstance(values, list) else values.to_pylist()
    turns = map(conversation_in, values)
    values = [
        said(one, roles) if one is not None else "" if unsaid and isinstance(value, str) else value
        for value, one in zip(values, turns, strict=True)
    ]
    return Block(block.source, {name: values}, None, block.where)


def _text_argument(argument: str) -> str:
    """Return what the columns of a repository's or of examples' texts are called in messages."""
    return "text_column" if argument == "repository" else "example_text_column"
