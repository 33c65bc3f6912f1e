"""Bodies of requests, read as their models say; what cannot be read is told in the words of JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

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
}

#: Fields whose forms are too many to be told one by one.
_FORMS = {
    **dict.fromkeys(
        (("Rerank", name) for name in ("documents", "texts", "input")), "a text, or an object with its text"
    ),
    ("Rerank", "groups"): "a label a document, or such lists by name",
    ("Select", "groups"): "a label a vector, or such lists by name",
}


def read(model: type[Model], body: bytes | Mapping[str, Any]) -> Model:
    """Return a body's fields.

    Parameters
    ----------
    model : type
    body : bytes or mapping
        JSON; or fields with their values.

    Raises
    ------
    ValueError
        It is no JSON, or a field is missing, unknown or of another kind; the first is told.
    """
    try:
        if isinstance(body, bytes):
            return model.model_validate_json(body)
        return model.model_validate(body)
    except ValidationError as error:
        raise ValueError(_told(error, body)) from None


def _told(error: ValidationError, body: bytes | Mapping[str, Any]) -> str:
    """Return what is wrong with a body, in one line: the field, the place in it, what is expected there."""
    errors: Sequence[Any] = error.errors(include_url=False)
    first = errors[0]
    if first["type"] == "json_invalid":
        return f"body: no JSON object ({first['msg'].removeprefix('Invalid JSON: ')})"
    value: Any = from_json(body) if isinstance(body, bytes) else body
    if not isinstance(value, Mapping):
        return f"body: expected an object, got {_kind(value)}"
    if first["type"] == "value_error":  # of ours, which names the field
        return str(first["msg"].partition(", ")[2])
    field = first["loc"][0]
    if first["type"] == "extra_forbidden":
        return f"{field}: there is no such field; /openapi.json has those that there are"
    if field not in value:
        return f"{field}: needed"
    # The way to the value: after it, an error has which of a field's forms it is of.
    way: list[Any] = []
    for part in first["loc"]:
        inside = value if isinstance(value, Mapping) else range(len(value)) if isinstance(value, list) else ()
        if part not in inside:
            break
        value = value[part]
        way.append(part)
    own = [one for one in errors if list(one["loc"][: len(way)]) == way]
    forms = dict.fromkeys(_form(one, one["loc"][len(way) :]) for one in own)
    expected = _FORMS.get((error.title, field)) or " or ".join(forms)
    place = "".join(f"row {part}: " if isinstance(part, int) else f"{part!r:.60}: " for part in way[1:])
    got = _kind(value)
    if isinstance(value, Mapping) and first["type"] != "dict_type":
        for name in [one["loc"][-1] for one in own if len(one["loc"]) > len(way) + 1][:1]:
            there = name in value
            got += f" whose {name!r:.60} is {_kind(value[name])}" if there else f" without {name!r:.60}"
    return f"{field}: {place}expected {expected}, got {got}"


def _form(error: Mapping[str, Any], inside: Sequence[Any]) -> str:
    """Return what one form of a field has to be; `inside` is where in the form something else is."""
    if any(isinstance(part, int) for part in inside):
        return f"a list with {_form(error, ())} each"
    if len(inside) > 1:
        return f"an object whose {inside[-1]!r:.60} is a text"
    kind = str(error["type"])
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
