"""Tables and texts in and out of files: read with one clear error, written whole or not at all."""

from __future__ import annotations

from setwise.files.corpus import Corpus, duplicates, read_corpus
from setwise.files.reading import TABLES, column_holds_text, column_types, read_array, read_table
from setwise.files.table import Table
from setwise.files.writing import (
    OUTPUTS,
    as_json,
    check_output,
    plain_value,
    without_gaps,
    write_array,
    write_atomic,
    write_json,
    write_table,
)

__all__ = [
    "OUTPUTS",
    "TABLES",
    "Corpus",
    "Table",
    "as_json",
    "check_output",
    "column_holds_text",
    "column_types",
    "duplicates",
    "plain_value",
    "read_array",
    "read_corpus",
    "read_table",
    "without_gaps",
    "write_array",
    "write_atomic",
    "write_json",
    "write_table",
]
