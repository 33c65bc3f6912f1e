"""What users measure of a selected set: right answers found, their variety, the spread of the members.

Answers are measured against judgements: `relevant` holds the ids of the right answers, `aspects` one
collection of ids for each right answer that can be given in several ways (subtopics, key points, clusters
of paraphrases). Ids are whatever the selection holds, integers or strings. ``selected`` is in selection
order; ``k`` cuts it to its first k, and a selection shorter than k counts as having found nothing further.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from setwise import checks
from setwise.objectives.base import euclidean
from setwise.vectors import Floats, Vectors, check_metric

#: Ids, as a list, an array, a set or a `Selection`.
Ids = Iterable[Hashable] | NDArray[Any]

#: A collection of ids an aspect, by name or in a list.
Aspects = Mapping[Any, Ids] | Sequence[Ids]

__all__ = [
    "all_support",
    "alpha_ndcg",
    "aspect_recall",
    "balance",
    "catalog_coverage",
    "coverage",
    "entropy",
    "ilad",
    "ilmd",
    "precision",
    "recall",
]


def precision(selected: Ids, relevant: Ids, k: int | None = None) -> float:
    """Return the share of the first k that are right answers.

    Parameters
    ----------
    selected : ids of shape (s,), in selection order
    relevant : ids
        The right answers.
    k : int, optional
        By default s. The divisor is k also where s is less.

    Raises
    ------
    TypeError, ValueError
        An id stands twice in `selected`; k is not positive; nothing is selected and no k is given.
    """
    ranked, size = _ranked(selected, k)
    if size == 0:
        raise ValueError("selected: empty, the share among none is undefined; pass k")
    right = set(_listed(relevant, "relevant"))
    _check_kinds(ranked, right, "relevant")
    return sum(one in right for one in ranked) / size


def recall(selected: Ids, relevant: Ids, k: int | None = None) -> float:
    """Return the share of the right answers that are among the first k.

    Parameters
    ----------
    selected, relevant, k
        As for `precision`.

    Raises
    ------
    TypeError, ValueError
        As for `precision`; there are no right answers.
    """
    ranked, right = _ranked(selected, k)[0], _right(relevant)
    _check_kinds(ranked, right, "relevant")
    return sum(one in right for one in ranked) / len(right)


def all_support(selected: Ids, relevant: Ids, k: int | None = None) -> bool:
    """Return whether all right answers are among the first k.

    What a question of several hops needs, each of its passages being necessary; its mean over questions is
    the all-recall of HippoRAG (Gutiérrez et al., NeurIPS 2024).

    Parameters
    ----------
    selected, relevant, k
        As for `recall`.

    Raises
    ------
    TypeError, ValueError
        As for `recall`.
    """
    ranked, right = _ranked(selected, k)[0], _right(relevant)
    _check_kinds(ranked, right, "relevant")
    return right <= set(ranked)


def aspect_recall(selected: Ids, aspects: Aspects, k: int | None = None) -> float:
    """Return the share of the aspects that the first k give at least once.

    S-recall (subtopic recall) of Zhai, Cohen and Lafferty, SIGIR 2003.

    Parameters
    ----------
    selected, k
        As for `precision`.
    aspects : mapping or sequence of ids
        For each aspect, the ids of the candidates that give it; a candidate may give several.

    Raises
    ------
    TypeError, ValueError
        As for `precision`; there are no aspects, or one that no candidate gives.

    Examples
    --------
    >>> aspect_recall([4, 7, 1], {"cost": [4, 7], "safety": [1, 2], "time": [9]}, k=2)
    0.3333333333333333
    """
    return float(_given(_ranked(selected, k)[0], _judged(aspects)).any(axis=0).mean())


def alpha_ndcg(selected: Ids, aspects: Aspects, k: int | None = None, *, alpha: float = 0.5) -> float:
    """Return α-nDCG: discounted gain that counts an aspect less each time it is given again.

    Clarke et al., SIGIR 2008. The i-th member gains the sum, over the aspects it gives, of
    (1 - α) to the number of earlier members that give it too, divided by log2(1 + i); the sum over the first
    k is divided by that of an ideal order.

    The ideal order is found greedily: each time the candidate of the largest gain, of equals the first in the
    order of `aspects`. The true ideal is NP-hard to find and greedy is the authors' own way; where it misses,
    a selection can score slightly above 1.

    Parameters
    ----------
    selected, aspects
        As for `aspect_recall`.
    k : int, optional
        By default the size of the selection; the ideal has the same length.
    alpha : float
        In [0, 1]: 0 counts every repetition in full, 1 not at all.

    Raises
    ------
    TypeError, ValueError
        As for `aspect_recall`; alpha is out of range; nothing is selected and no k is given.
    """
    ranked, size = _ranked(selected, k)
    if size == 0:
        raise ValueError("selected: empty, there is no gain among none; pass k")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float | np.number) or not 0 <= alpha <= 1:
        raise ValueError(f"alpha: expected a number in [0, 1], got {alpha!r}")
    judged = _judged(aspects)
    kept = 1.0 - float(alpha)
    given = _given(ranked, judged)
    earlier: NDArray[np.int64] = np.cumsum(given, axis=0) - given
    gains = (given * kept**earlier).sum(axis=1)
    best = _ideal(_given(list(dict.fromkeys(one for ids in judged for one in ids)), judged), size, kept)
    return _discounted(gains) / _discounted(best)


def ilad(vectors: ArrayLike, *, metric: str = "cosine") -> float:
    """Return the mean distance between two members (intra-list average distance).

    Zhang and Hurley, RecSys 2008; the diversity that CCBQP and MUSS report. Under cosine it is
    (k² - \\|Σ e\\|²) / (k (k - 1)), at O(k d).

    Parameters
    ----------
    vectors : array-like of shape (k, d)
        The members', k at least 2.
    metric : {"cosine", "euclidean"}
        1 - cosine, or the L2 distance.

    Raises
    ------
    TypeError, ValueError
        Fewer than two rows, NaN, Inf, or a zero row under cosine.
    """
    rows = _rows(vectors, metric)
    k = len(rows)
    if metric == "cosine":
        total = rows.sum(axis=0)
        return max(0.0, float((k * k - total @ total) / (k * (k - 1))))
    return float(euclidean(rows, rows).sum() / (k * (k - 1)))


def ilmd(vectors: ArrayLike, *, metric: str = "cosine") -> float:
    """Return the distance between the two closest members (intra-list minimum distance).

    What max-min dispersion maximises; 0 where a member is repeated.

    Parameters
    ----------
    vectors, metric
        As for `ilad`. Memory: O(k²).

    Raises
    ------
    TypeError, ValueError
        As for `ilad`.
    """
    rows = _rows(vectors, metric)
    distances = 1.0 - rows @ rows.T if metric == "cosine" else euclidean(rows, rows)
    np.fill_diagonal(distances, np.inf)
    return max(0.0, float(distances.min()))


def entropy(labels: Ids) -> float:
    """Return the Shannon entropy of the members' labels, in nats.

    Parameters
    ----------
    labels : sequence of hashable
        One label a member: its stance, class, task or source.

    Raises
    ------
    ValueError
        There are no labels.
    """
    counts = np.array(list(_counts(labels).values()), np.float64)
    shares = counts / counts.sum()
    return max(0.0, float(-(shares * np.log(shares)).sum()))


def balance(labels: Ids, classes: Ids) -> float:
    """Return how evenly the members' labels spread over the classes: 0 for one class alone, 1 for all alike.

    The entropy of the labels divided by its largest value, the logarithm of the number of classes (Pielou's
    evenness, J. Theoretical Biology 13, 1966). With two stances, 1 means as many for as against.

    Parameters
    ----------
    labels : sequence of hashable
        One label a member.
    classes : collection of hashable
        All labels there are, at least two.

    Raises
    ------
    ValueError
        There are no labels, fewer than two classes, or a label that is none of them.
    """
    known = set(_listed(classes, "classes"))
    if len(known) < 2:
        raise ValueError(f"classes: {len(known)} given, balance needs two or more")
    for label in _counts(labels):
        if label not in known:
            raise ValueError(f"labels: {label!r} is none of the {len(known)} classes")
    return entropy(labels) / math.log(len(known))


def coverage(vectors: Any, selected: ArrayLike) -> float:
    """Return how well a set stands for all candidates: the mean of each one's largest cosine to a member.

    The facility-location function (Krause and Golovin, *Submodular Function Maximization*, 2014) over n; 1
    means that every candidate has its like in the set.

    Parameters
    ----------
    vectors : array-like of shape (n, d)
        All candidates'. Read in blocks.
    selected : array-like of shape (k,), int
        Rows of the members.

    Raises
    ------
    TypeError, ValueError
        A row that is not there, none at all, or bad vectors.
    """
    data = Vectors(vectors)
    members = _selected_rows(selected, data.n, "selected")
    if len(members) == 0:
        raise ValueError("selected: empty, nothing is covered by none")
    nearest = np.empty(data.n)

    def take(start: int, stop: int, cosines: Floats) -> None:
        nearest[start:stop] = cosines.max(axis=1)

    data.products(data.rows(members), take)
    return float(nearest.mean())


def catalog_coverage(selections: Iterable[ArrayLike], n: int) -> float:
    """Return the share of n candidates that stand in at least one of many selections.

    Ge, Delgado-Battenfeld and Jannach, RecSys 2010: how much of a catalog is ever shown.

    Parameters
    ----------
    selections : iterable of array-like of int
        Rows of each selection's members.
    n : int
        Number of candidates.

    Raises
    ------
    TypeError, ValueError
        A row outside 0 to n - 1.
    """
    size = checks.integer("n", n, least=1)
    seen = np.zeros(size, np.bool_)
    for number, rows in enumerate(selections):
        seen[_selected_rows(rows, size, f"selections[{number}]")] = True
    return float(seen.mean())


def _ranked(selected: Ids, k: int | None) -> tuple[list[Hashable], int]:
    """Return the first k ids and k."""
    ranked = _listed(selected, "selected")
    if len(set(ranked)) < len(ranked):
        twice = next(one for place, one in enumerate(ranked) if one in ranked[:place])
        raise ValueError(f"selected: {twice!r} stands twice; a set has each member once")
    if k is None:
        return ranked, len(ranked)
    size = checks.integer("k", k, least=1)
    return ranked[:size], size


def _listed(ids: Any, name: str) -> list[Hashable]:
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


def _right(relevant: Any) -> set[Hashable]:
    """Return the right answers, of which there must be one."""
    right = set(_listed(relevant, "relevant"))
    if not right:
        raise ValueError("relevant: empty; there is nothing to find, leave the query out")
    return right


def _check_kinds(ranked: Iterable[Hashable], right: Iterable[Hashable], name: str) -> None:
    """Refuse ids that can never meet, such as integers and strings."""
    here, there = ({type(one).__name__ for one in ids} for ids in (ranked, right))
    if here and there and not here & there:
        got = f"{'/'.join(sorted(there))} ids and selected {'/'.join(sorted(here))}"
        raise TypeError(f"{name}: holds {got}; use the same in both")


def _judged(aspects: Aspects) -> list[dict[Hashable, None]]:
    """Return the ids of each aspect, as sets that keep their order."""
    if isinstance(aspects, str | bytes) or not isinstance(aspects, Collection):
        raise TypeError(f"aspects: expected a collection of ids an aspect, got {type(aspects).__name__}")
    named = aspects.items() if isinstance(aspects, Mapping) else enumerate(aspects)
    judged = []
    for name, ids in named:
        judged.append(dict.fromkeys(_listed(ids, f"aspects[{name!r}]")))
        if not judged[-1]:
            raise ValueError(f"aspects[{name!r}]: empty; leave out what no candidate gives")
    if not judged:
        raise ValueError("aspects: empty; there is nothing to find, leave the query out")
    return judged


def _given(ids: list[Hashable], judged: list[dict[Hashable, None]]) -> NDArray[np.bool_]:
    """Return which of some candidates give which aspect, shape (s, number of aspects)."""
    _check_kinds(ids, [one for given in judged for one in given], "aspects")
    table = [[one in given for given in judged] for one in ids]
    return np.array(table, np.bool_).reshape(len(ids), len(judged))


def _ideal(given: NDArray[np.bool_], size: int, kept: float) -> NDArray[np.float64]:
    """Return the gains of the greedy order of all candidates that give something, up to `size` of them."""
    weight = np.ones(given.shape[1])
    rest = given.copy()
    gains = np.zeros(min(size, len(given)))
    for step in range(len(gains)):
        gain = rest @ weight
        best = int(gain.argmax())
        gains[step] = gain[best]
        weight[rest[best]] *= kept
        rest[best] = False
    return gains


def _discounted(gains: NDArray[np.float64]) -> float:
    """Return the sum of gains, the i-th (from 1) divided by log2(1 + i)."""
    return float((gains / np.log2(np.arange(2, len(gains) + 2))).sum())


def _rows(vectors: ArrayLike, metric: str) -> NDArray[np.float64]:
    """Return checked rows in float64, of unit length under cosine; two or more."""
    data = Vectors(vectors, check_metric(metric))
    if data.n < 2:
        raise ValueError("vectors: one row has no distance to another; pass two or more")
    return np.asarray(data.rows(slice(None), np.float64), np.float64)


def _selected_rows(selected: ArrayLike, n: int, name: str) -> NDArray[np.int64]:
    """Return rows that exist."""
    rows = np.asarray(selected)
    if rows.size == 0:
        return np.empty(0, np.int64)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected rows (integers), got {rows.dtype} of shape {rows.shape}")
    wrong = np.flatnonzero((rows < 0) | (rows >= n))
    if len(wrong):
        raise ValueError(f"{name}: row {int(rows[wrong[0]])} is not one of the {n} candidates")
    return rows.astype(np.int64)


def _counts(labels: Ids) -> dict[Hashable, int]:
    """Return how often each label occurs."""
    counts: dict[Hashable, int] = {}
    for label in _listed(labels, "labels"):
        counts[label] = counts.get(label, 0) + 1
    if not counts:
        raise ValueError("labels: empty; there is nothing to count")
    return counts
