"""Right answers found: shares, aspects given, and discounted gains that count a repetition less.

The measures of several aspects (α-nDCG, ERR-IA, nERR-IA, P-IA, S-recall) are those of TREC's diversity tasks,
as its program ndeval computes them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from setwise.metrics.ids import (
    Aspects,
    Ids,
    check_kinds,
    given_by,
    judged_ids,
    listed,
    ranked_ids,
    right_answers,
)


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
    ranked, size = ranked_ids(selected, k)
    if size == 0:
        raise ValueError("selected: empty, the share among none is undefined; pass k")
    right = set(listed(relevant, "relevant"))
    check_kinds(ranked, right, "relevant")
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
    ranked, right = ranked_ids(selected, k)[0], right_answers(relevant)
    check_kinds(ranked, right, "relevant")
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
    ranked, right = ranked_ids(selected, k)[0], right_answers(relevant)
    check_kinds(ranked, right, "relevant")
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
    return float(given_by(ranked_ids(selected, k)[0], judged_ids(aspects)).any(axis=0).mean())


def aspect_precision(selected: Ids, aspects: Aspects, k: int | None = None) -> float:
    """Return the mean over the aspects of the share of the first k that give it: P-IA.

    Agrawal et al., WSDM 2009 (intent-aware precision, every intent alike).

    Parameters
    ----------
    selected, aspects, k
        As for `aspect_recall`. The divisor is k also where `selected` is shorter.

    Raises
    ------
    TypeError, ValueError
        As for `aspect_recall`; nothing is selected and no k is given.
    """
    given, size = _judged_run(selected, aspects, k)
    return float(given.sum() / (size * given.shape[1]))


def alpha_ndcg(selected: Ids, aspects: Aspects, k: int | None = None, *, alpha: float = 0.5) -> float:
    """Return α-nDCG: discounted gain that counts an aspect less each time it is given again.

    Clarke et al., SIGIR 2008. The i-th member gains the sum, over the aspects it gives, of
    (1 - α) to the number of earlier members that give it too, divided by log2(1 + i); the sum over the first
    k is divided by that of an ideal order.

    The ideal order is found greedily, as ndeval does: each time the candidate of the largest gain, of equals
    the one whose id, as text, comes last. The true ideal is NP-hard to find; where greedy misses it, a
    selection can score slightly above 1.

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
    given, size = _judged_run(selected, aspects, k)
    kept = _kept(alpha)
    discount = np.log2(np.arange(2, size + 2))
    return _sum(_gains(given, kept), discount) / _sum(_ideal(aspects, size, kept), discount)


def err_ia(
    selected: Ids, aspects: Aspects, k: int | None = None, *, alpha: float = 0.5, ideal: bool = False
) -> float:
    """Return ERR-IA, the intent-aware expected reciprocal rank; with an ideal, nERR-IA.

    Chapelle et al., CIKM 2009 and Information Retrieval 14 (2011), every intent alike: the gains of
    `alpha_ndcg`, their mean over the aspects, divided by the rank. The sum over the first k is divided by
    what it would be if every member gave every aspect.

    Parameters
    ----------
    selected, aspects, k, alpha
        As for `alpha_ndcg`.
    ideal : bool
        Whether the sum is divided by that of the greedy ideal order instead: nERR-IA.

    Raises
    ------
    TypeError, ValueError
        As for `alpha_ndcg`.
    """
    given, size = _judged_run(selected, aspects, k)
    kept = _kept(alpha)
    rank = np.arange(1.0, size + 1)
    most = _ideal(aspects, size, kept) if ideal else given.shape[1] * kept ** (rank - 1)
    return _sum(_gains(given, kept), rank) / _sum(most, rank)


def _judged_run(selected: Ids, aspects: Aspects, k: int | None) -> tuple[NDArray[np.bool_], int]:
    """Return which of the first k give which aspect, and k."""
    ranked, size = ranked_ids(selected, k)
    if size == 0:
        raise ValueError("selected: empty, there is no gain among none; pass k")
    return given_by(ranked, judged_ids(aspects)), size


def _kept(alpha: float) -> float:
    """Return what a repetition is worth of the one before: 1 - α, checked."""
    if isinstance(alpha, bool) or not isinstance(alpha, int | float | np.number) or not 0 <= alpha <= 1:
        raise ValueError(f"alpha: expected a number in [0, 1], got {alpha!r}")
    return 1.0 - float(alpha)


def _gains(given: NDArray[np.bool_], kept: float) -> NDArray[np.float64]:
    """Return each member's gain, an aspect counting less the more earlier members give it."""
    earlier: NDArray[np.int64] = np.cumsum(given, axis=0) - given
    gains: NDArray[np.float64] = (given * kept**earlier).sum(axis=1)
    return gains


def _ideal(aspects: Aspects, size: int, kept: float) -> NDArray[np.float64]:
    """Return the gains of the greedy order of all candidates that give something, up to `size` of them."""
    judged = judged_ids(aspects)
    rest = given_by(sorted({one for ids in judged for one in ids}, key=str, reverse=True), judged)
    weight = np.ones(len(judged))
    gains = np.zeros(min(size, len(rest)))
    for step in range(len(gains)):
        gain = np.add.accumulate(rest * weight, axis=1)[:, -1]  # one by one, as ndeval: rounding decides ties
        best = int(gain.argmax())
        gains[step] = gain[best]
        weight[rest[best]] *= kept
        rest[best] = False
    return gains


def _sum(gains: NDArray[np.float64], discount: NDArray[np.float64]) -> float:
    """Return the sum of gains, each divided by its rank's discount."""
    return float((gains / discount[: len(gains)]).sum())
