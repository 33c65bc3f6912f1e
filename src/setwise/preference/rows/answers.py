"""Responses and their prompts as people write them: texts, messages, whole conversations, judged records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from setwise.preference.rows.cells import Prompt, as_messages, as_text, is_message

#: Where a record of a response has its text.
_TEXTS = ("response", "completion", "generation", "output", "text", "content")

#: What a message says beside its text.
BESIDE = ("tool_calls", "function_call", "reasoning_content", "reasoning", "thinking")


def as_answer(cell: Any, argument: str, place: str) -> tuple[list[dict[str, Any]], str]:
    """Return the messages before a response, and its text.

    Parameters
    ----------
    cell : Any
        A text; a message of the assistant; a conversation that ends in one; or a record with a text.
    argument, place : str
        What it is and where it stands, for messages.

    Raises TypeError: it is none of these; ValueError: it calls tools or has thoughts beside its text.
    """
    if isinstance(cell, np.ndarray):
        cell = cell.tolist()
    if isinstance(cell, Mapping):
        if is_message(cell):
            cell = [cell]
        elif any(name in cell for name in _TEXTS):
            cell = next((cell[name] for name in _TEXTS if cell.get(name) is not None), None)
        else:
            held, known = ", ".join(map(str, cell)) or "nothing", ", ".join(_TEXTS)
            raise TypeError(f"{argument}: {place} is a record of {held}; its text is to be in one of {known}")
    if cell is None or isinstance(cell, str):
        return [], as_text(cell, argument, place)
    if isinstance(cell, list | tuple) and cell:
        *before, last = as_messages(cell, argument, place)
        beside = next((name for name in BESIDE if last.get(name)), None)
        if beside is not None:
            raise ValueError(
                f"{argument}: {place} has {beside!r} beside its text, which would be left out; write it into "
                "the text as the model does, or drop it"
            )
        if last["role"] in ("assistant", "gpt", "model"):
            return before, as_text(last["content"], argument, place)
    raise TypeError(
        f"{argument}: {place} is {cell!r:.40} ({type(cell).__name__}), expected a string or a message of the "
        "assistant"
    )


def as_answers(cell: Any, argument: str, place: str) -> list[tuple[list[dict[str, Any]], str]]:
    """Return one response, or several, each as `as_answer` does: a list of messages is one."""
    if isinstance(cell, np.ndarray):
        cell = cell.tolist()
    if cell is None:
        return []
    one = isinstance(cell, str | Mapping) or not isinstance(cell, Sequence)
    if one or (cell and all(map(is_message, cell))):
        return [as_answer(cell, argument, place)]
    return [as_answer(part, argument, f"{place}, response {at}") for at, part in enumerate(cell)]


def prompt_with(prompt: Prompt | None, before: Sequence[list[dict[str, Any]]], place: str) -> Prompt:
    """Return the prompt of responses that may repeat it in the messages before them.

    ``prompt`` is what the row has; ``before`` the messages before each response, empty where it stands alone.

    Raises ValueError: two of the responses, or they and the row, have different prompts, or there is none.
    """
    given = [messages for messages in before if messages]
    plain = [[(one["role"], one["content"]) for one in messages] for messages in given]
    if any(other != plain[0] for other in plain):
        raise ValueError(f"prompt: {place} has responses to different messages; put them into one row each")
    if not given:
        if prompt is None:
            raise ValueError(f"prompt: {place} has none; name its column, or drop the row")
        return prompt
    if prompt is None:
        return given[0]
    last = given[0][-1]["content"]
    same = (
        plain[0] == [(one["role"], one["content"]) for one in prompt]
        if not isinstance(prompt, str)
        else (last.strip() == prompt.strip())
    )
    if not same:
        raise ValueError(f"prompt: {place} has another prompt than the messages before its responses")
    # The messages may hold a system's word, which the text has not.
    return given[0] if len(given[0]) > 1 or not isinstance(prompt, str) else prompt


def shared_prompt(texts: Sequence[str], place: str) -> tuple[str, list[str]]:
    """Return the prompt that all texts begin with, and what is left of each.

    It ends where the texts begin to differ, before a space if one is there, as TRL's implicit prompts do.

    Raises ValueError: they begin differently, or one is wholly the beginning of another.
    """
    shortest = min(map(len, texts))
    end = next((at for at in range(shortest) if len({text[at] for text in texts}) > 1), shortest)
    if end and texts[0][end - 1] == " ":
        end -= 1
    if not texts[0][:end].strip() or end == shortest:
        raise ValueError(f"prompt: {place} has none, neither in a column nor where its responses begin")
    return texts[0][:end], [text[end:] for text in texts]


def inside(record: Any, path: str) -> Any:
    """Return what stands under a dotted path in a record, None where nothing does."""
    for name in path.split("."):
        if not isinstance(record, Mapping):
            return None
        record = record.get(name)
    return record
