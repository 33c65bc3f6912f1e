"""Answers as text: whether they stand in the passages of a set, and how good a generated answer is."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from setwise import checks

#: Each answer's spellings: a string, or several of which one is enough.
Answers = Iterable[str | Iterable[str]]

_PUNCTUATION = str.maketrans("", "", string.punctuation)


class ListScores(NamedTuple):
    """How a list of answers compares with the right one."""

    precision: float
    recall: float
    f1: float


def normalized(text: str) -> str:
    """Return text as answers are compared: lower case, no punctuation, no English articles, single spaces.

    The rule of SQuAD's evaluation (Rajpurkar et al., EMNLP 2016), which ASQA and QAMPARI share.

    Parameters
    ----------
    text : str

    Raises
    ------
    TypeError
        It is not a string.
    """
    if not isinstance(text, str):
        raise TypeError(f"text: expected a string, got {type(text).__name__}")
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, right: str | Iterable[str]) -> bool:
    """Return whether an answer is one of the right one's spellings, normalized.

    Parameters
    ----------
    answer : str
    right : str or several
        Its spellings.

    Raises
    ------
    TypeError, ValueError
        Something is not a string, or no spelling is given.
    """
    return normalized(answer) in {normalized(one) for one in _spellings(right, "right")}


def token_f1(answer: str, right: str | Iterable[str]) -> float:
    """Return the F1 of an answer's words against the right one's, the best over its spellings.

    SQuAD's (Rajpurkar et al., EMNLP 2016); where one of the two has no word left, 1 if neither has, else 0.

    Parameters
    ----------
    answer, right
        As for `exact_match`.

    Raises
    ------
    TypeError, ValueError
        As for `exact_match`.
    """
    words = normalized(answer).split()
    best = 0.0
    for one in _spellings(right, "right"):
        truth = normalized(one).split()
        common = sum((Counter(words) & Counter(truth)).values())
        if not words or not truth:
            best = max(best, float(words == truth))
        elif common:
            best = max(best, 2 * common / (len(words) + len(truth)))
    return best


def answer_recall(passages: Sequence[str], answers: Answers, k: int | None = None) -> float:
    """Return the share of the answers of which the first k passages hold a spelling: Recall@k of CCBQP.

    A spelling counts where its normalized words stand in a passage's one after the other.

    Parameters
    ----------
    passages : sequence of str
        In selection order.
    answers : iterable
        One entry an answer: a string, or its spellings.
    k : int, optional
        By default all passages.

    Raises
    ------
    TypeError, ValueError
        Something is not a string; k is not positive; there are no answers, or one without a spelling or
        of which no word is left.
    """
    if isinstance(passages, str):
        raise TypeError("passages: expected several, got one string")
    wanted = _wanted(answers)
    first = list(passages) if k is None else list(passages)[: checks.integer("k", k, least=1)]
    texts = [f" {normalized(one)} " for one in first]
    return sum(any(f" {one} " in text for one in each for text in texts) for each in wanted) / len(wanted)


def list_scores(answers: Iterable[str], right: Answers, *, enough: int | None = None) -> ListScores:
    """Return precision, recall and F1 of a list of answers by QAMPARI's rules.

    Amouyal et al., 2023 (QAMPARI); Gao et al., EMNLP 2023 (ALCE): an answer is right where it equals a
    spelling, normalized; an answer without a word is left out; nothing answered has precision 0.

    Parameters
    ----------
    answers : iterable of str
    right : iterable
        One entry a right answer: a string, or its spellings.
    enough : int, optional
        Right answers that are enough for a recall of 1: 5 in ALCE's Recall-5.

    Raises
    ------
    TypeError, ValueError
        Something is not a string; there are no right answers.
    """
    if isinstance(answers, str):
        raise TypeError("answers: expected several, got one string")
    wanted = _wanted(right)
    most = len(wanted) if enough is None else min(checks.integer("enough", enough, least=1), len(wanted))
    given = [text for one in answers if (text := normalized(one))]
    known = set().union(*wanted)
    precision = sum(one in known for one in given) / len(given) if given else 0.0
    recall = min(most, sum(not each.isdisjoint(given) for each in wanted)) / most
    total = precision + recall
    return ListScores(precision, recall, 2 * precision * recall / total if total else 0.0)


def _wanted(answers: Any) -> list[set[str]]:
    """Return each answer's normalized spellings."""
    if isinstance(answers, str):
        raise TypeError("answers: expected several, got one string")
    wanted = [{normalized(one) for one in _spellings(each, "answers")} - {""} for each in answers]
    if not wanted:
        raise ValueError("answers: empty; there is nothing to find, leave the question out")
    for place, each in enumerate(wanted):
        if not each:
            raise ValueError(f"answers[{place}]: no word is left of it")
    return wanted


def _spellings(right: Any, name: str) -> list[str]:
    """Return an answer's spellings, at least one."""
    found = [right] if isinstance(right, str) else list(right)
    if not found:
        raise ValueError(f"{name}: an answer without a spelling")
    return found
