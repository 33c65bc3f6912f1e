"""How long a text is, in the unit that a budget is in: words, characters, or the tokens of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from setwise import checks
from setwise.extras import require
from setwise.files.documents.passages import count_tokens
from setwise.files.names import existing

#: What counts without a model's own tokenizer.
PLAIN: dict[str, Callable[[str], int]] = {
    "tokens": count_tokens,
    "words": lambda text: len(text.split()),
    "characters": len,
}

#: What `counter` takes, in words.
UNITS = "tokens, words, characters, tiktoken:ENCODING or tokenizers:FILE.json"


def counter(unit: str) -> Callable[[str], int]:
    """Return what counts a text.

    Parameters
    ----------
    unit : str
        "tokens" (words, numbers, marks and characters of scripts without spaces), "words", "characters",
        "tiktoken" or "tiktoken:ENCODING" (by default o200k_base), "tokenizers:FILE.json" or the folder of a
        model with its tokenizer.json.

    Raises FileNotFoundError: the tokenizer's file is missing; ImportError: the package that counts is not
    installed; TypeError, ValueError: the unit is none, or unknown.
    """
    kind, _, named = unit.partition(":") if isinstance(unit, str) else ("", "", "")
    if kind == "tiktoken":
        found = require("tiktoken", "tokens", f"counting in {unit}")
        encoding = found.get_encoding(
            checks.choice("tokenizer", named or "o200k_base", found.list_encoding_names())
        )
        return lambda text: len(encoding.encode_ordinary(text))
    if kind == "tokenizers" and named:
        file = existing(Path(named), "tokenizer")
        if file.is_dir():
            file = existing(file / "tokenizer.json", "tokenizer")
        model = require("tokenizers", "tokens", f"counting in {unit}").Tokenizer.from_file(str(file))
        model.no_truncation()  # the file of many a model keeps that of its training, and padding up to it
        model.no_padding()
        return lambda text: len(model.encode(text, add_special_tokens=False).ids)
    if not isinstance(unit, str) or unit not in PLAIN:
        checks.choice("tokenizer", unit, [*PLAIN, "tiktoken", "tokenizers:FILE.json"])
    return PLAIN[unit]


def length(unit: str | Callable[[str], int] = "tokens") -> Callable[[str], int]:
    """Return what counts a text, an empty one as 1; `unit` as for `counter`, or what counts a text."""
    count = counter(unit) if isinstance(unit, str) else unit
    return lambda text: max(1, int(count(text)))


def lengths(texts: Sequence[str], unit: str | Callable[[str], int] = "tokens") -> list[int]:
    """Return how long texts are, as `length` counts each."""
    return list(map(length(unit), texts))
