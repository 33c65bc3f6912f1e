"""One question's candidates as a map: the most relevant, and the set of the best configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from setwise.evaluate.compare import TOP, Comparison, Configuration, by_row, methods_of, selected
from setwise.evaluate.questions import Questions
from setwise.index.base import Index
from setwise.objectives.base import euclidean
from setwise.pictures import MAPPED, MAPPED_TIMES, Floats, Map
from setwise.retrieval.search import retrieve

#: By what the method and the question are chosen.
MEASURE = "aspect recall"


@dataclass(frozen=True, eq=False)
class Mapped:
    """A question's candidates, with the most relevant and a set among them.

    Attributes
    ----------
    question : str
        Its text, or its name.
    configuration : Configuration
        What the set is of.
    difference : float
        The set's aspect recall less that of the most relevant.
    shown : Map
    ranked, chosen : list of length k
        Ids of the most relevant, and of the set.
    answers : mapping of id to str
        Which right answers a passage gives, counted from 1.
    """

    question: str
    configuration: Configuration
    difference: float
    shown: Map
    ranked: list[Any]
    chosen: list[Any]
    answers: Mapping[Any, str]


def mapped(
    index: Index,
    questions: Questions,
    comparison: Comparison,
    *,
    k: int,
    ids: Sequence[Any] | None = None,
    methods: Mapping[str, Mapping[str, Any]] | Sequence[str] | None = None,
) -> Mapped:
    """Return the map of a question that is neither the best nor the worst: the one in the middle.

    The configuration is that with the highest mean aspect recall at k beside top-k, and the question the
    median one by what it gains over top-k.

    Parameters
    ----------
    index, questions, ids, methods
        As `compare` was told.
    comparison : Comparison
        Of them.
    k : int
        One of its sizes.

    Raises
    ------
    ValueError
        The comparison has no sets of that size.
    """
    values, differences = comparison.of(MEASURE).mean(axis=1), comparison.differences(MEASURE)
    own = [place for place, one in enumerate(comparison.configurations) if one.k == k]
    if not own:
        raise ValueError(f"k: {k} was not compared")
    best = max([p for p in own if comparison.configurations[p].method != TOP] or own, key=values.__getitem__)
    place = int(np.argsort(differences[best], kind="stable")[len(comparison.questions) // 2])
    one, located = comparison.configurations[best], by_row(questions, ids)
    assert located.vectors is not None
    chosen = selected(index, located, place, one, methods_of(methods)).ids.tolist()
    most = min(len(index), max(MAPPED, MAPPED_TIMES * k))
    query = located.vectors[place]
    leaders = retrieve(query, index, most, diversity=0, solver="top-k", certify=False).ids.tolist()
    shown = list(dict.fromkeys([*leaders, *chosen]))
    where = {each: row for row, each in enumerate(shown)}
    rows = np.asarray(index.vectors(np.array(shown)), np.float64)
    if index.metric == "cosine":
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    name: Callable[[Any], Any] = (lambda each: each) if ids is None else ids.__getitem__
    given: dict[Any, list[str]] = {}
    for number, answer in enumerate(located.answers[place], 1):
        for each in answer:
            given.setdefault(name(each), []).append(str(number))
    members, ranked = [name(each) for each in chosen], leaders[:k]
    return Mapped(
        question=questions.names[place] if questions.texts is None else questions.texts[place],
        configuration=one,
        difference=float(differences[best, place]),
        shown=Map.of(
            rows,
            np.array([where[each] for each in chosen], np.int64),
            np.array([where[each] for each in ranked], np.int64),
            members,
            _cosines if index.metric == "cosine" else lambda some, others: -euclidean(some, others),
        ),
        ranked=[name(each) for each in ranked],
        chosen=members,
        answers={each: ", ".join(numbers) for each, numbers in given.items()},
    )


def _cosines(rows: Floats, others: Floats) -> Floats:
    return np.asarray(rows @ others.T)
