"""Bodies of requests, read as their models say; what cannot be read is told in the words of JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json

from setwise.files.json_lines import parsed

Model = TypeVar("Model", bound=BaseModel)

#: What a value has to be, by the kind of Pydantic's error.
_KINDS = {
    "string": "a text",
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "list": "a list",
    "dict": "an object",
    "model": "an object",
}

#: Its limits, by the kind of error.
_LIMITS = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "literal_error": "{expected}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "string_too_long": "at most {max_length} characters",
}

#: Fields of which a text is a vector's numbers.
_PACKED = {
    ("Select", "vectors"),
    ("Select", "query"),
    ("Rerank", "embeddings"),
    ("Rerank", "query_embedding"),
}


def read(model: type[Model], body: bytes) -> Model:
    """Return the fields of a body of JSON.

    Raises ValueError: it is none, or a field is missing, unknown or of another kind; the first is told.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first: Any = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            told = first["msg"].removeprefix("Invalid JSON: ")
            raise ValueError(f"body: no JSON object ({told})") from None
        fields = from_json(body)
        if not isinstance(fields, Mapping):
            raise ValueError(f"body: expected an object, got {_kind(fields)}") from None
        raise ValueError(told_of(error, fields)) from None


def as_body(fields: Mapping[str, Any]) -> bytes:
    """Return fields as a body, for `read` to refuse what JSON does not have."""
    return to_json(fields, inf_nan_mode="constants")


def value_of(text: str) -> Any:
    """Return what a value in an address stands for: JSON, or a text."""
    try:
        return parsed(text, "the value")
    except ValueError:
        return text


def told_of(error: ValidationError, fields: Mapping[str, Any]) -> str:
    """Return what is wrong with fields, in one line: the field, the place in it, what is expected there."""
    errors: Sequence[Any] = error.errors(include_url=False)
    first = errors[0]
    if first["type"] == "value_error":  # of ours, which names the field
        return str(first["msg"].partition(", ")[2])
    field = first["loc"][0]
    if first["type"] == "extra_forbidden":
        return f"{field}: there is no such field; /openapi.json has those that there are"
    if field not in fields:
        return f"{field}: needed"
    # Of a field's forms, those are told that what came is like for the longest.
    ways = [(*_way(fields, one["loc"]), one) for one in errors if one["loc"][0] == field]
    way, value, _ = max(ways, key=lambda one: len(one[0]))
    expected = " or ".join(dict.fromkeys(_form(one) for other, _, one in ways if other == way))
    if (error.title, field) in _PACKED:
        expected = expected.replace("a text", "float32 in base64")
    place = "".join(f"row {part}: " if isinstance(part, int) else f"{part!r:.60}: " for part in way[1:])
    place = place.replace(": row", ", number")  # a row of a row
    return f"{field}: {place}expected {expected}, got {_kind(value)}"


def _way(value: Any, place: Sequence[Any]) -> tuple[list[Any], Any]:
    """Return the keys and rows that lead to an error's value, and the value; its place names forms, too."""
    way: list[Any] = []
    for part in place:
        inside = value if isinstance(value, Mapping) else range(len(value)) if isinstance(value, list) else ()
        if part in inside:
            value = value[part]
            way.append(part)
    return way, value


def _form(error: Mapping[str, Any]) -> str:
    """Return what one form of a field has to be."""
    kind = str(error["type"])
    if kind == "missing":
        return f"an object with {error['loc'][-1]!r:.60}"
    if kind in _LIMITS:
        return _LIMITS[kind].format(**error["ctx"])
    return _KINDS.get(kind.partition("_")[0], str(error["msg"]))


def _kind(value: Any) -> str:
    """Return what a value is, in JSON's words; a number as it is."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else f"{value!s:.40}"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, Mapping):
        return "an object"
    return f"a list of {len(value)}" if value else "an empty list"
