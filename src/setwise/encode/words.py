"""Texts as encoders see them: checked, in one spelling, and cut into words in every script."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

#: Blocks of scripts without spaces between words: Thai and Lao, Burmese, Khmer, Han with its radicals, kana,
#: bopomofo and Yi.
_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u312f\u3190-\u31ff"
    r"\u3400-\u4dbf\u4e00-\ua4cf\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f\U0001aff0-\U0001b16f"
    r"\U00020000-\U0003ffff"
)


def checked_texts(texts: Iterable[str]) -> Iterator[str]:
    """Yield texts in composed spelling (NFC), so that a word is the same word whatever wrote it.

    They are a sequence, a stream, or a column of a table or dataset.

    Raises TypeError: they are one text, a mapping or a table, or an item is no text; the message has its row.
    """
    what = type(texts).__name__
    if isinstance(texts, str | bytes):
        raise TypeError(f"texts: expected a sequence of texts, got {what}; put it in a list")
    columns = any(hasattr(texts, name) for name in ("keys", "column_names", "columns"))
    if (columns and what != "Series") or getattr(texts, "ndim", 1) != 1:
        raise TypeError(f"texts: expected a sequence of texts, got {what}; pass one column of it")
    for row, item in enumerate(texts):
        text = item.as_py() if hasattr(item, "as_py") else item  # of an Arrow column
        if not isinstance(text, str):
            raise TypeError(f"texts: row {row} is {type(text).__name__}, not a text")
        yield text if text.isascii() else unicodedata.normalize("NFC", text)


def has_word(text: str) -> bool:
    """Return whether a text has a letter or digit in it."""
    return any(map(str.isalnum, text))


def begins_itself(text: str, tokenizer: Any) -> bool:
    """Return whether a text has the beginning-of-sequence token already, as chat templates write it."""
    begin = tokenizer.bos_token
    return bool(begin) and text.startswith(begin)


def text_tokens(text: str, tokenizer: Any) -> list[int]:
    """Return a text's tokens after what the tokenizer begins texts with, and without an end that it adds."""
    special, end = not begins_itself(text, tokenizer), tokenizer.eos_token_id
    tokens: list[int] = list(tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])
    if not special or tokens[-1:] != [end]:
        return tokens
    own = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return tokens[:-1] if _ends(tokens, end) > _ends(own, end) else tokens


def _ends(tokens: list[int], end: int) -> int:
    """Return how many of the last tokens are the end of sequence."""
    return sum(1 for _ in itertools.takewhile(lambda token: token == end, reversed(tokens)))


def words(text: str, *, code: bool = False) -> list[str]:
    """Return a text's words, lower-cased and in order.

    A word is a run of letters and digits with what is written over and under them. In scripts without spaces
    (Chinese, Japanese, Thai, Lao, Khmer, Burmese) only a dictionary tells words apart: each character counts
    as one there. With `code` underscores belong to words, and runs of marks are words, too (DSIR, section 3).
    """
    lowered = text.lower()
    return _pattern(code, lowered.isascii()).findall(lowered)


def words_and_pairs(text: str) -> list[str]:
    """Return a text's `words`, and the pairs of neighboring characters in scripts without spaces.

    A character says little there, and most words are of two.
    """
    found = words(text)
    if text.isascii():
        return found
    single = [_single().match(word) is not None for word in found]
    return found + [
        found[at] + found[at + 1] for at in range(len(found) - 1) if single[at] and single[at + 1]
    ]


@functools.cache
def _single() -> re.Pattern[str]:
    return re.compile(f"[{_UNSPACED}]")


@functools.cache
def _pattern(code: bool, ascii_only: bool) -> re.Pattern[str]:
    """Return what finds words; ``\\w`` lacks the marks over letters (Unicode's Mn and Mc)."""
    letter = r"\w" if code else r"[^\W_]"
    marks = r"|[^\w\s]+" if code else ""
    if ascii_only:
        return re.compile(f"{letter}+{marks}")
    over = "".join(
        re.escape(character)
        for character in map(chr, range(0x300, 0x1F000))
        if unicodedata.category(character) in ("Mn", "Mc")
    )
    alone = f"(?=[^\\W_])[{_UNSPACED}][{over}]*"
    spaced = f"(?![{_UNSPACED}]){letter}"
    return re.compile(f"{alone}|{spaced}(?:{spaced}|[{over}])*{marks}")
