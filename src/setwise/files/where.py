"""A small language of conditions on columns: ``year >= 2020 and lang = 'en'``, read into an Arrow expression.

The grammar, in which names are columns, and words may be written in capitals::

    or         = and, {"or", and}
    and        = not, {"and", not}
    not        = "not", not | "(", or, ")" | comparison
    comparison = name, [("=" | "==" | "!=" | "<>" | "<" | "<=" | ">" | ">="), value
                        | ["not"], "in", "(", value, {",", value}, ")"
                        | ["not"], "like", text
                        | "is", ["not"], "null"]
    name       = a word, or anything between backticks
    value      = number | text | "true" | "false"
    text       = anything between ' or ", the mark itself written twice

A column of booleans stands for itself. ``like`` knows % (anything) and _ (one character). As in SQL, nothing
but ``is null`` is true of what is null.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from setwise.files.kinds import arrow_kinds
from setwise.files.names import nearest

#: Parentheses and ``not`` that may stand in each other.
DEEPEST = 64

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    | (?P<quoted>`[^`]+`)
    | (?P<word>[^\W\d]\w*)
    | (?P<mark><=|>=|==|!=|<>|[=<>(),])
    )""",
    re.VERBOSE,
)

_COMPARISONS = {"=": "==", "==": "==", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_WORDS = ("and", "or", "not", "in", "is", "null", "like", "true", "false")

#: Kinds of columns, each with what may be compared with it.
_FITTING: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "uuid": (str,),
    "integer": (int, float),
    "number": (int, float),
    "boolean": (bool,),
    "time": (str,),
}


class _Token(NamedTuple):
    kind: str
    text: str
    place: int


def condition(text: str, schema: Any) -> Any:
    """Return a condition on the columns of a table as an Arrow expression.

    Parameters
    ----------
    schema : pyarrow.Schema

    Raises ValueError: it is not of the grammar, names a column that there is not, or compares a column with
    what it cannot hold; the message says where.
    """
    return _ConditionReader(text, schema).read()


def mask(table: Any, wanted: Any) -> Any:
    """Return the rows of a table for which a condition is true, as an array of booleans of shape (n,).

    Raises TypeError: it is neither a text nor an expression; ValueError: as for `condition`; or Arrow cannot
    evaluate the expression on these columns.
    """
    import numpy as np

    from setwise.extras.arrow import arrow, compute

    if isinstance(wanted, str):
        wanted = condition(wanted, table.schema)
    if not isinstance(wanted, compute.Expression):
        raise TypeError(f"where: expected a condition or an Arrow expression, got {type(wanted).__name__}")
    row = "row"
    while row in table.column_names:
        row += "_"
    rows = arrow.array(np.arange(len(table)))
    try:
        found = table.append_column(row, rows).filter(wanted).column(row).to_numpy()
    except (arrow.ArrowException, LookupError) as error:
        raise ValueError(f"where: {' '.join(str(error).split())[:160]}") from None
    result = np.zeros(len(table), np.bool_)
    result[found] = True
    return result


def as_arrow(values: Sequence[Any], name: str) -> Any:
    """Return a column as an Arrow array; of values of different kinds, or beyond 64 bits, their texts.

    Raises ValueError: a string is not Unicode.
    """
    from setwise.extras.arrow import arrow, types

    listed = list(values)
    try:
        try:
            try:
                column = arrow.array(listed, from_pandas=True)
            except OverflowError:
                column = arrow.array(listed, arrow.uint64(), from_pandas=True)
        except (arrow.ArrowInvalid, arrow.ArrowTypeError, arrow.ArrowNotImplementedError, OverflowError):
            column = arrow.array([None if value is None else str(value) for value in listed], arrow.string())
    except UnicodeEncodeError:
        raise ValueError(f"columns: {name!r} holds half of a surrogate pair; take it out") from None
    return column.cast(arrow.string()) if types.is_null(column.type) else column


class _ConditionReader:
    """Reads one condition by recursive descent."""

    def __init__(self, text: str, schema: Any) -> None:
        from setwise.extras.arrow import compute

        self._compute, self._schema = compute, schema
        self._kinds: Mapping[str, str] = arrow_kinds(schema)
        self._tokens = _tokens(text)
        self._at = self._depth = 0

    def read(self) -> Any:
        found = self._or()
        if self._next.kind != "end":
            raise self._wrong("'and', 'or' or the end")
        return found

    def _or(self) -> Any:
        found = self._and()
        while self._take("or"):
            found = found | self._and()
        return found

    def _and(self) -> Any:
        found = self._not()
        while self._take("and"):
            found = found & self._not()
        return found

    def _not(self) -> Any:
        self._depth += 1
        if self._depth > DEEPEST:
            raise ValueError(f"where: more than {DEEPEST} conditions stand in each other")
        try:
            if self._take("not"):
                return ~self._not()
            if self._take("("):
                found = self._or()
                self._expect(")")
                return found
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Any:
        token = self._next
        if token.kind == "quoted":
            name = token.text[1:-1]
        elif token.kind == "word" and token.text.lower() not in _WORDS:
            name = token.text
        else:
            raise self._wrong("a column")
        if name not in self._kinds:
            raise ValueError(
                f"where: there is no column {name!r}{nearest(name, self._kinds)} "
                f"(columns: {', '.join(self._kinds) or 'none'})"
            )
        self._at += 1
        field = self._compute.field(name)
        mark = self._next.text
        if mark in _COMPARISONS and self._next.kind == "mark":
            self._at += 1
            value = self._value(name)
            field = self._as_compared(field, name, value)
            compared = {
                "==": field.__eq__,
                "!=": field.__ne__,
                "<": field.__lt__,
                "<=": field.__le__,
                ">": field.__gt__,
                ">=": field.__ge__,
            }
            return compared[_COMPARISONS[mark]](value)
        if self._take("is"):
            negated = self._take("not")
            self._expect("null")
            return field.is_valid() if negated else field.is_null()
        negated = self._take("not")
        if self._take("in"):
            found = self._among(name, field)
        elif self._take("like"):
            if self._kinds[name] != "string" or self._next.kind != "text":
                raise self._wrong(
                    f"a text to compare a column of texts with ({name!r} holds {self._holds(name)})"
                )
            pattern = _unquoted(self._next.text)
            self._at += 1
            found = self._compute.match_like(field, pattern)
        elif negated:
            raise self._wrong("'in' or 'like'")
        elif self._kinds[name] == "boolean":
            return field
        else:
            raise self._wrong(f"a comparison of {name!r}")
        return ~found if negated else found

    def _among(self, name: str, field: Any) -> Any:
        """Return whether a column is one of the values in parentheses."""
        self._expect("(")
        value = self._value(name)
        found = self._as_compared(field, name, value) == value
        while self._take(","):
            value = self._value(name)
            found = found | (self._as_compared(field, name, value) == value)
        self._expect(")")
        return found

    def _as_compared(self, field: Any, name: str, value: Any) -> Any:
        """Return a column as it is compared with a value: integers with a fraction as floats, of 64 bits."""
        from setwise.extras.arrow import arrow

        if self._kinds[name] == "integer" and value.type == arrow.float64():
            return field.cast(arrow.float64(), safe=False)
        return field

    def _value(self, name: str) -> Any:
        """Return what stands for a value that a column may be compared with."""
        from setwise.extras.arrow import arrow, types

        token = self._next
        word = token.text.lower()
        value: Any
        if token.kind == "text":
            value = _unquoted(token.text)
        elif token.kind == "number":
            value = float(token.text) if re.search("[.eE]", token.text) else int(token.text)
        elif token.kind == "word" and word in ("true", "false"):
            value = word == "true"
        else:
            raise self._wrong("a number, a text in quotes, true or false")
        fitting = _FITTING.get(self._kinds[name], ())
        if type(value) not in fitting:
            raise ValueError(
                f"where: column {name!r} holds {self._holds(name)}, and {token.text} is none "
                f"(character {token.place})"
            )
        self._at += 1
        try:
            if self._kinds[name] == "number":
                return arrow.scalar(float(value))
            if self._kinds[name] == "time":
                return arrow.scalar(value).cast(self._schema.field(name).type)
            if isinstance(value, int) and types.is_uint64(self._schema.field(name).type):
                return arrow.scalar(value, arrow.uint64())  # Arrow would compare both as signed ones
            return arrow.scalar(value)  # refuses an integer that no column can hold
        except (arrow.ArrowException, OverflowError):
            raise ValueError(
                f"where: {token.text} is no value of column {name!r} ({self._schema.field(name).type}) "
                f"(character {token.place})"
            ) from None

    def _holds(self, name: str) -> str:
        """Return what a column holds, in words."""
        kind = self._kinds[name]
        told = {"string": "texts", "uuid": "texts", "integer": "integers", "number": "numbers"}
        return {**told, "boolean": "true or false", "time": "times"}.get(
            kind, f"what cannot be compared ({kind})"
        )

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, text: str) -> bool:
        """Pass over a word or mark, if it is the next."""
        token = self._next
        taken = token.kind in ("word", "mark") and token.text.lower() == text
        self._at += taken
        return taken

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._wrong(repr(text))

    def _wrong(self, expected: str) -> ValueError:
        token = self._next
        found = "the end" if token.kind == "end" else repr(token.text)
        return ValueError(f"where: expected {expected}, found {found} (character {token.place})")


def _tokens(text: str) -> list[_Token]:
    """Return the words, marks and values of a condition, and its end."""
    tokens = []
    place = 0
    stop = len(text.rstrip())
    while place < stop:
        found = _TOKEN.match(text, place)
        if found is None:
            start = place + len(text[place:]) - len(text[place:].lstrip())
            raise ValueError(f"where: {text[start : start + 12]!r} is not understood (character {start + 1})")
        kind = str(found.lastgroup)
        tokens.append(_Token(kind, found[kind], found.start(kind) + 1))
        place = found.end()
    return [*tokens, _Token("end", "", stop + 1)]


def _unquoted(text: str) -> str:
    return text[1:-1].replace(text[0] * 2, text[0])
