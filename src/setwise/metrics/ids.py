"""Ids and judgments as the measures take them: checked lists of plain Python values.

`relevant` holds the ids of the right answers, `aspects` one collection of ids for each right answer that can
be given in several ways (subtopics, nuggets, key points, clusters of paraphrases). Ids are whatever the
selection holds, integers or strings. ``selected`` is in selection order; ``k`` cuts it to its first k, and a
selection shorter than k counts as having found nothing further.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks

#: Ids, as a list, an array, a set or a `Selection`.
Ids = Iterable[Hashable] | NDArray[Any]

#: A collection of ids an aspect, by name or in a list.
Aspects = Mapping[Any, Ids] | Sequence[Ids]


def ranked_ids(selected: Ids, k: int | None) -> tuple[list[Hashable], int]:
    """Return the first k ids and k."""
    ranked = listed(selected, "selected")
    if len(set(ranked)) < len(ranked):
        twice = next(one for place, one in enumerate(ranked) if one in ranked[:place])
        raise ValueError(f"selected: {twice!r} stands twice; a set has each member once")
    if k is None:
        return ranked, len(ranked)
    size = checks.integer("k", k, least=1)
    return ranked[:size], size


def listed(ids: Any, name: str) -> list[Hashable]:
    """Return ids as a list of plain Python values."""
    if isinstance(ids, str | bytes) or not hasattr(ids, "__iter__"):
        raise TypeError(f"{name}: expected a list or array of ids, got {type(ids).__name__}")
    if isinstance(ids, np.ndarray) and ids.ndim != 1:
        raise ValueError(f"{name}: expected shape (s,), got {ids.shape}")
    found: list[Hashable] = [one.item() if isinstance(one, np.generic) else one for one in ids]
    for one in found:
        if not isinstance(one, Hashable):
            raise TypeError(f"{name}: expected ids, got a {type(one).__name__}")
    return found


def right_answers(relevant: Any) -> set[Hashable]:
    """Return the right answers, of which there must be one."""
    right = set(listed(relevant, "relevant"))
    if not right:
        raise ValueError("relevant: empty; there is nothing to find, leave the query out")
    return right


def check_kinds(ranked: Iterable[Hashable], right: Iterable[Hashable], name: str) -> None:
    """Refuse ids that can never meet, such as integers and strings."""
    here, there = ({type(one).__name__ for one in ids} for ids in (ranked, right))
    if here and there and not here & there:
        got = f"{'/'.join(sorted(there))} ids and selected {'/'.join(sorted(here))}"
        raise TypeError(f"{name}: holds {got}; use the same in both")


def judged_ids(aspects: Aspects) -> list[dict[Hashable, None]]:
    """Return the ids of each aspect, as sets that keep their order."""
    if isinstance(aspects, str | bytes) or not isinstance(aspects, Collection):
        raise TypeError(f"aspects: expected a collection of ids an aspect, got {type(aspects).__name__}")
    named = aspects.items() if isinstance(aspects, Mapping) else enumerate(aspects)
    judged = []
    for name, ids in named:
        judged.append(dict.fromkeys(listed(ids, f"aspects[{name!r}]")))
        if not judged[-1]:
            raise ValueError(f"aspects[{name!r}]: empty; leave out what no candidate gives")
    if not judged:
        raise ValueError("aspects: empty; there is nothing to find, leave the query out")
    return judged


def given_by(ids: list[Hashable], judged: list[dict[Hashable, None]]) -> NDArray[np.bool_]:
    """Return which of some candidates give which aspect, shape (s, number of aspects)."""
    check_kinds(ids, [one for given in judged for one in given], "aspects")
    table = [[one in given for given in judged] for one in ids]
    return np.array(table, np.bool_).reshape(len(ids), len(judged))


def counted(labels: Ids) -> dict[Hashable, int]:
    """Return how often each label occurs."""
    counts: dict[Hashable, int] = {}
    for label in listed(labels, "labels"):
        counts[label] = counts.get(label, 0) + 1
    if not counts:
        raise ValueError("labels: empty; there is nothing to count")
    return counts
