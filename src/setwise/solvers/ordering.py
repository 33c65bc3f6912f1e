"""Selection order and gains for sets found all at once, so that every prefix is a sensible selection."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from setwise.objectives import Coverage, LogDet, MaxMarginal, MaxSum, Objective, Terms
from setwise.objectives.log_det import NOISE
from setwise.objectives.max_marginal import nearest_earlier
from setwise.vectors import Floats


def arrange(
    objective: Objective,
    rows: Floats,
    relevance: NDArray[np.float64],
    indices: NDArray[np.int64],
    first: int,
) -> NDArray[np.int64]:
    """Return the order in which greedy selection would take a set's members.

    Parameters
    ----------
    objective : Objective
    rows : ndarray of shape (k, d)
        Members, of unit length under cosine.
    relevance : ndarray of shape (k,)
    indices : ndarray of shape (k,), int64
        Their rows among the candidates, which break ties.
    first : int
        This many leading members stay where they are (the must-have rows).

    Returns
    -------
    ndarray of shape (k,), int64
        Positions in the set.
    """
    k = len(rows)
    t = objective.diversity
    base = (1 - t) * relevance
    order = np.empty(k, np.int64)
    if isinstance(objective, MaxSum):
        between = objective.distances(rows, rows)
        np.fill_diagonal(between, 0.0)
    elif isinstance(objective, MaxMarginal):
        between = objective.similarities(rows, rows)
    else:
        return _arrange_log_det(objective, rows, base, indices, first)[0]
    by_index = np.argsort(indices, kind="stable")
    summed = np.zeros(k)
    nearest = np.full(k, -np.inf)
    open_ = base.copy()
    for step in range(k):
        if step == 0:
            score = open_
        elif isinstance(objective, MaxSum):
            score = open_ + (t / step) * summed
        else:
            score = open_ - t * nearest if t > 0 else open_
        # At diversity 1 the first is still the most relevant.
        lead = relevance if step == 0 else score
        place = step if step < first else int(by_index[np.argmax(lead[by_index])])
        order[step] = place
        open_[place] = -np.inf
        if isinstance(objective, MaxSum):
            summed += between[:, place]
        else:
            np.maximum(nearest, between[:, place], out=nearest)
    return order


def evaluate(
    objective: Objective, rows: Floats, relevance: NDArray[np.float64]
) -> tuple[NDArray[np.float64], Terms]:
    """Return each member's score when it joined those before it, and the set's terms, in float64.

    Parameters
    ----------
    objective : Objective
    rows : ndarray of shape (k, d)
        Members in selection order, of unit length under cosine.
    relevance : ndarray of shape (k,)
    """
    if isinstance(objective, Coverage):
        return objective.evaluate(rows, relevance)
    k, t = len(rows), objective.diversity
    gains = (1 - t) * relevance
    if isinstance(objective, MaxSum):
        mean, spread = float(relevance.sum()) / k, 0.0
        if k == 1:
            return gains, Terms((1 - t) * mean, mean, spread)
        earlier = objective.distances(rows, rows)
        earlier *= _earlier(k)
        sums = earlier.sum(axis=1)
        gains[1:] += sums[1:] * (t / np.arange(1, k))
        spread = 2.0 * float(sums.sum()) / (k * (k - 1))
        return gains, Terms((1 - t) * mean + t * spread, mean, spread)
    if isinstance(objective, MaxMarginal):
        mean, spread = float(relevance.sum()) / k, 0.0
        if k > 1:
            nearest = nearest_earlier(objective.similarities(rows, rows))
            gains[1:] -= t * nearest
            spread = -float(nearest.sum()) / k
        return gains, Terms((1 - t) * mean + t * spread, mean, spread)
    assert isinstance(objective, LogDet)
    gram = objective.kernel(rows, rows)
    np.fill_diagonal(gram, 1.0)
    try:
        residual = np.square(np.diag(np.linalg.cholesky(gram)))
    except np.linalg.LinAlgError:
        residual = np.zeros(k)
    if float(residual.min()) > NOISE:
        logarithm = np.log(residual)
        total, spread = float(relevance.sum()), float(logarithm.sum())
        return gains + t * logarithm, Terms((1 - t) * total + t * spread, total, spread)
    return _arrange_log_det(objective, rows, gains, np.arange(k), k)[1], objective.terms_of_rows(
        rows, relevance
    )


@lru_cache(maxsize=8)
def _earlier(k: int) -> NDArray[np.float64]:
    """Return the pairs (i, j) with j before i, as ones."""
    return np.tri(k, k, -1)


def _arrange_log_det(
    objective: Objective,
    rows: Floats,
    base: NDArray[np.float64],
    indices: NDArray[np.int64],
    first: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Order by the residual given those before (pivoted Cholesky); no residual left counts as -inf."""
    assert isinstance(objective, LogDet)
    k, t = len(rows), objective.diversity
    gram = objective.kernel(rows, rows)
    np.fill_diagonal(gram, 1.0)
    residual = np.ones(k)
    factor = np.zeros((k, k))
    order = np.empty(k, np.int64)
    gains = np.empty(k)
    waiting = np.ones(k, bool)
    for step in range(k):
        with np.errstate(divide="ignore"):
            logarithm = np.log(np.where(residual > NOISE, residual, 0.0))
        score = base + t * logarithm if t > 0 else base.copy()
        places = np.flatnonzero(waiting)
        if step < first:
            place = step
        else:
            key = np.lexsort((indices[places], -base[places], -score[places]))
            place = int(places[key[0]])
        order[step], gains[step] = place, score[place]
        waiting[place] = False
        if residual[place] > NOISE:
            column = (gram[:, place] - factor[:, :step] @ factor[place, :step]) / np.sqrt(residual[place])
            factor[:, step] = column
            residual = residual - column * column
    return order, gains
