"""Conversations as texts: what some of the roles say, a line each."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from setwise import checks
from setwise.files.json_lines import parsed

#: The roles whose turns can be asked for, and a word for all.
ROLES = ("system", "user", "assistant", "tool", "all")

#: What the formats in use call the roles beside their own names.
_CALLED = {
    **dict.fromkeys(("human", "prompter"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "bot", "model", "function_call"), "assistant"),
    **dict.fromkeys(("function", "observation", "tool_response", "ipython"), "tool"),
    "developer": "system",
}

#: What a message of a conversation says, and who says it, in the two spellings there are.
_SAYS, _WHO = ("content", "value"), ("role", "from")

#: How a list of objects begins in JSON.
_JSON = re.compile(r"\s*\[\s*\{")


def checked_roles(roles: str | Sequence[str]) -> tuple[str, ...]:
    """Return roles as a tuple. Raises TypeError, ValueError: one of them is none of `ROLES`."""
    named = checks.names("roles", roles)
    for role in named:
        checks.choice("roles", role, ROLES)
    return named


def conversation_in(value: Any) -> list[Any] | None:
    """Return the turns of a conversation, one that is written as JSON in a text among them; else None."""
    if isinstance(value, str):
        return _written(value) if _JSON.match(value) else None
    return value if isinstance(value, list) and all(isinstance(turn, dict) for turn in value) else None


def _written(text: str) -> list[Any] | None:
    """Return the turns that a text is the JSON of, each with who says it and what; None for other texts."""
    try:
        turns = parsed(text.encode(), "turns")
    except ValueError:
        return None
    keys = (_WHO, _SAYS)
    said = isinstance(turns, list) and all(
        isinstance(turn, dict) and all(any(key in turn for key in names) for names in keys) for turn in turns
    )
    return turns if said else None


def said(turns: Sequence[Mapping[str, Any]], roles: Collection[str] = ()) -> str:
    """Return what some roles say in a conversation, a line each, or each of the parts of what they say.

    By default all of `ROLES` but the system's prompt. A turn of nobody counts always.
    """
    return "\n".join(_text(turn) for turn in turns if _counts(turn, roles))


def _counts(turn: Mapping[str, Any], roles: Collection[str]) -> bool:
    who = next((turn[key] for key in _WHO if isinstance(turn.get(key), str)), None)
    if who is None or "all" in roles:
        return True
    role = _CALLED.get(who.lower(), who.lower())
    return role in roles if roles else role != "system"


def _text(turn: Mapping[str, Any]) -> str:
    """Return what a turn says: its text, or texts among its parts, and its calls of tools, a line each."""
    return "\n".join(filter(None, (_content(turn), *_calls(turn))))


def _content(turn: Mapping[str, Any]) -> str:
    content = next((turn[key] for key in _SAYS if isinstance(turn.get(key), str | list | Mapping)), "")
    if isinstance(content, str):
        return content
    listed = [content] if isinstance(content, Mapping) else content
    parts = [part.get("text") if isinstance(part, Mapping) else part for part in listed]
    parts = [part.get("value") if isinstance(part, Mapping) else part for part in parts]
    return "\n".join(text for text in parts if isinstance(text, str))


def _calls(turn: Mapping[str, Any]) -> Iterator[str]:
    """Yield the calls of tools, as {"name": …, "arguments": …}: what other formats have as a turn's text."""
    listed = turn.get("tool_calls")
    calls = [*(listed if isinstance(listed, list) else ()), turn.get("function_call")]
    for call in calls:
        function = call.get("function", call) if isinstance(call, Mapping) else None
        if isinstance(function, Mapping) and isinstance(function.get("name"), str):
            arguments = function.get("arguments")
            if isinstance(arguments, Mapping):  # in a table they are those of all calls, most of them null
                arguments = {name: value for name, value in arguments.items() if value is not None}
                arguments = json.dumps(arguments, ensure_ascii=False, default=str)
            yield f'{{"name": "{function["name"]}", "arguments": {arguments or "{}"}}}'
