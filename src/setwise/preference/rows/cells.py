"""What the cells of a row have to hold: prompts, responses, rewards and vectors, checked by place."""

from __future__ import annotations

import numbers
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.preference.responses.batches import LARGEST
from setwise.vectors import as_matrix

#: Half a surrogate pair: JSON can spell it, UTF-8 cannot.
_SURROGATE = re.compile("[\ud800-\udfff]")

_NOT_FINITE = "has NaN, Inf or an entry beyond 1e140; drop that response or embed it again"

Prompt = str | list[dict[str, Any]]


#: What judges write where they give no score, in lower case.
_NO_SCORE = ("", "n/a", "na", "nan", "none", "null", "-", "?")


#: Who speaks, by ShareGPT's names.
_ROLES = {"human": "user", "gpt": "assistant", "observation": "tool"}


def as_list(row: dict[str, Any], name: str, argument: str, place: str) -> list[Any]:
    """Return a cell that is a list; nothing reads as an empty one."""
    cell = row.get(name)
    if cell is None:
        return []
    if isinstance(cell, np.ndarray):
        cell = cell.tolist()
    if not isinstance(cell, list | tuple):
        raise TypeError(f"{argument}: {place} has {_shown(cell)} in {name!r}, expected a list")
    return list(cell)


def as_text(cell: Any, argument: str, place: str) -> str:
    """Return a cell that is a text; nothing reads as the empty one."""
    if cell is None:
        return ""
    if not isinstance(cell, str):
        raise TypeError(f"{argument}: {place} is {_shown(cell)}, expected a string")
    if not cell.isascii() and _SURROGATE.search(cell):
        raise ValueError(f"{argument}: {place} holds half of a surrogate pair; take it out")
    return cell


def is_message(cell: Any) -> bool:
    """Return whether a cell is a message: a role and a content or, as ShareGPT has it, from and value."""
    return isinstance(cell, Mapping) and ("role" in cell or {"from", "value"} <= cell.keys())


def as_messages(cell: Any, argument: str, place: str) -> list[dict[str, Any]]:
    """Return messages, each with its content as one text, without fields that hold nothing.

    Raises TypeError: one has no role or no content, or a part of its content is no text.
    """
    found = []
    for message in cell:
        if is_message(message) and "role" not in message:
            message = {"role": _ROLES.get(message["from"], message["from"]), "content": message.get("value")}
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise TypeError(f"{argument}: {place} has a list that is not of messages (role, content)")
        found.append({**without_nulls(message), "content": _content(message.get("content"), argument, place)})
    return found


def without_nulls(cell: Any) -> Any:
    """Return records without the fields that hold nothing, at any depth.

    Arrow writes a null where a record lacks what another has, and chat templates take a field that is there
    for one that says something.
    """
    if isinstance(cell, Mapping):
        return {name: without_nulls(value) for name, value in cell.items() if value is not None}
    return [without_nulls(one) for one in cell] if isinstance(cell, list) else cell


def as_prompt(cell: Any, name: str, place: str) -> Prompt:
    """Return a prompt: a text, or the messages of a conversation, each with its content as one text."""
    if isinstance(cell, str) and cell.strip():
        return as_text(cell, "prompt", place)
    if isinstance(cell, np.ndarray):
        cell = cell.tolist()
    if isinstance(cell, list | tuple) and cell:
        if all(is_message(one) and ("role" not in one or "content" in one) for one in cell):
            return as_messages(cell, "prompt", place)
        raise TypeError(f"prompt: {place} has a list in {name!r} that is not of messages (role, content)")
    if isinstance(cell, str | list | tuple):
        raise ValueError(f"prompt: {place} has an empty one in {name!r}; drop the row")
    raise TypeError(f"prompt: {place} has {_shown(cell)} in {name!r}, expected a text or messages")


def check_context(row: Mapping[str, Any], prompt: Any, names: Sequence[str], place: str) -> None:
    """Refuse a row whose prompt is a text with something beside it that belongs to it.

    Raises ValueError: one of the named columns holds something.
    """
    if not isinstance(prompt, str):  # messages hold their turns; a system's word may stand outside
        told = any(one["role"] == "system" for one in prompt)
        names = [name for name in names if name.startswith("system") and not told]
    for name in names:
        if isinstance(row.get(name), str | list) and row[name] and row[name] != prompt:
            raise ValueError(
                f"prompt: {place} has {name!r} beside its prompt, which would be left out; put it into the "
                "prompt (a system's word as a message), or drop the column"
            )


def as_reward(cell: Any, place: str) -> float:
    """Return a cell that is a number, or right or wrong (1, 0), as a float; NaN where there is none."""
    if isinstance(cell, str) and cell.strip().lower() in _NO_SCORE:
        cell = None
    if isinstance(cell, str):
        cell = _number_in(cell)
    if isinstance(cell, Decimal | np.floating):
        cell = float(cell)
    if not isinstance(cell, numbers.Real | None | np.bool_):
        raise TypeError(f"rewards: {place} has {_shown(cell)}, expected a number")
    number: Any = float("nan") if cell is None else cell
    if abs(number) > LARGEST:  # an integer beyond all floats, too
        raise ValueError(f"rewards: {place} has {_shown(cell)}; score that response, or drop it")
    return float(number)


def _number_in(cell: str) -> Any:
    """Return the number that a text is, as UltraFeedback writes ratings, or the text."""
    try:
        return float(cell)
    except ValueError:
        return cell


def as_vectors(row: dict[str, Any], name: str, n: int, place: str) -> NDArray[Any]:
    """Return a cell that is one vector a response."""
    cell = row.get(name)
    if cell is None and not n:
        return np.empty((0, 0))
    cell = _given(cell, name, place)
    vectors = as_matrix(cell, f"embeddings: {place}, {name!r}") if n else np.empty((0, 0))
    if len(vectors) != n:
        raise ValueError(f"embeddings: {place} has {len(vectors)} for {n} responses; give each response one")
    bad = np.flatnonzero(~(np.abs(vectors, dtype=np.float64) <= LARGEST).all(axis=1)).tolist()
    if bad:
        raise ValueError(f"embeddings: {place}, response {bad[0]} {_NOT_FINITE}")
    return vectors


def as_vector(cell: Any, name: str, place: str) -> NDArray[Any]:
    """Return a cell that is one vector."""
    found = np.asarray(_given(cell, name, place))
    if found.ndim != 1 or not found.size or found.dtype.kind not in "fiu":
        raise TypeError(f"embeddings: {place} has no list of numbers in {name!r}")
    if not (np.abs(found, dtype=np.float64) <= LARGEST).all():
        raise ValueError(f"embeddings: {place} {_NOT_FINITE}")
    return found


def _given(cell: Any, name: str, place: str) -> Any:
    """Return a cell that must hold something."""
    if cell is None:
        raise ValueError(
            f"embeddings: {place} has nothing in {name!r}; drop the row, or leave the column out"
        )
    return cell


def _shown(cell: Any) -> str:
    return "nothing" if cell is None else f"{cell!r:.40} ({type(cell).__name__})"


def _content(content: Any, argument: str, place: str) -> str:
    """Return a message's content as a text; of parts, the texts one after the other."""
    if isinstance(content, np.ndarray):
        content = content.tolist()
    if isinstance(content, list | tuple):
        parts = []
        for part in content:
            text = part.get("text") if isinstance(part, Mapping) else part
            if not isinstance(text, str):
                kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
                raise TypeError(f"{argument}: {place} has a message with a part that is no text ({kind})")
            parts.append(text)
        return "".join(parts)
    if content is None:
        return ""
    if not isinstance(content, str):
        raise TypeError(f"{argument}: {place} has a message whose content is {type(content).__name__}")
    return content
