"""Conversations as texts: what some of the roles say, a line each."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from setwise import checks
from setwise.files.json_lines import parsed
from setwise.files.kinds import TOGETHER

#: The roles whose turns can be asked for, and a word for all.
ROLES = ("system", "user", "assistant", "tool", "all")

#: What the formats in use call the roles beside their own names.
_CALLED = {
    **dict.fromkeys(("human", "prompter"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "bot", "model", "function_call"), "assistant"),
    **dict.fromkeys(("function", "observation", "tool_response", "ipython"), "tool"),
    "developer": "system",
}

#: Who says what of a pair.
_PAIR = ("user", "assistant")

#: What a message of a conversation says, and who says it, in the two spellings there are.
_SAYS, _WHO = ("content", "value"), ("role", "from")

#: Whose the usual columns are, where what they hold names nobody.
_OF_COLUMNS = {
    "system": "system",
    **dict.fromkeys(("instruction", "input", "context", "prompt", "query", "question"), "user"),
    **dict.fromkeys(("output", "response", "completion", "answer"), "assistant"),
}

#: How a list of objects begins in JSON.
_JSON = re.compile(r"\s*\[\s*\{")


def checked_roles(roles: str | Sequence[str]) -> tuple[str, ...]:
    """Return roles as a tuple. Raises TypeError, ValueError: one of them is none of `ROLES`."""
    named = checks.names("roles", roles)
    for role in named:
        checks.choice("roles", role, ROLES)
    return named


def with_earlier(text: tuple[str, ...], kinds: Mapping[str, str]) -> tuple[str, ...]:
    """Return the usual columns of a text with those that go before it: a system prompt, and earlier turns."""
    if text not in TOGETHER:
        return text
    before = {"system": "string", "history": "list"}
    return (*(name for name, kind in before.items() if kinds.get(name) == kind and name not in text), *text)


def says(column: str, roles: Collection[str]) -> bool:
    """Return whether what stands in one of the usual columns is said by some roles; see `said`."""
    return _counts(_OF_COLUMNS.get(column), roles)


def conversation_in(value: Any) -> list[Any] | None:
    """Return the turns of a conversation, one that is written as JSON in a text among them; else None.

    One turn alone is a conversation, and so are pairs of what a user and the assistant have said.
    """
    if isinstance(value, str):
        return _written(value) if _JSON.match(value) else None
    turns = [value] if isinstance(value, dict) and any(key in value for key in _SAYS) else value
    if not isinstance(turns, list):
        return None
    if turns and all(map(_is_pair, turns)):
        return [{"role": who, "content": one} for pair in turns for who, one in zip(_PAIR, pair, strict=True)]
    return [one for turn in turns for one in _spelled_out(turn)] if all(map(_is_turn, turns)) else None


def _is_pair(turn: Any) -> bool:
    return isinstance(turn, list) and len(turn) == 2 and all(isinstance(one, str | None) for one in turn)


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, dict)


def _spelled_out(turn: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a turn; of one that has texts by the names of who says them, as {"human": …}, one for each."""
    if any(key in turn for key in (*_SAYS, *_WHO)):
        return [turn]
    spoken = [{"role": who, "content": one} for who, one in turn.items() if who in (*ROLES, *_CALLED)]
    return spoken or [turn]


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
    return "\n".join(filter(None, (_text(turn) for turn in turns if _counts(_who(turn), roles))))


def _who(turn: Mapping[str, Any]) -> str | None:
    return next((turn[key] for key in _WHO if isinstance(turn.get(key), str)), None)


def _counts(who: str | None, roles: Collection[str]) -> bool:
    if who is None or "all" in roles:
        return True
    role = _CALLED.get(who.lower(), who.lower())
    return role in roles if roles else role != "system"


def _text(turn: Mapping[str, Any]) -> str:
    """Return what a turn says: its text, or texts among its parts, and its calls of tools, a line each.

    What it refuses with is a text, too.
    """
    refusal = turn.get("refusal")
    return "\n".join(
        filter(None, (_content(turn), refusal if isinstance(refusal, str) else None, *_calls(turn)))
    )


def _content(turn: Mapping[str, Any]) -> str:
    content = next((turn[key] for key in _SAYS if isinstance(turn.get(key), str | list | Mapping)), "")
    if isinstance(content, str):
        return content
    listed = [content] if isinstance(content, Mapping) else content
    parts = [
        part.get("text") or part.get("refusal") if isinstance(part, Mapping) else part for part in listed
    ]
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
