"""Selection order and gains for sets found all at once, so that every prefix is a sensible selection."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from setwise.objectives import LogDet, MaxMarginal, MaxSum, Objective
from setwise.objectives.log_det import NOISE


def arrange(
    objective: Objective,
    rows: NDArray[np.float64],
    relevance: NDArray[np.float64],
    indices: NDArray[np.int64],
    first: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the order in which greedy selection would take a set's members, and their gains.

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
    order : ndarray of shape (k,), int64
        Positions in the set.
    gains : ndarray of shape (k,), float64
    """
    k = len(rows)
    t = objective.diversity
    base = (1 - t) * relevance
    order = np.empty(k, np.int64)
    gains = np.empty(k)
    if isinstance(objective, MaxSum):
        between = objective.distances(rows, rows)
        np.fill_diagonal(between, 0.0)
    elif isinstance(objective, MaxMarginal):
        between = objective.similarities(rows, rows)
    else:
        return _arrange_log_det(objective, rows, base, indices, first)
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
        gains[step] = score[place]
        open_[place] = -np.inf
        if isinstance(objective, MaxSum):
            summed += between[:, place]
        else:
            np.maximum(nearest, between[:, place], out=nearest)
    return order, gains


def _arrange_log_det(
    objective: Objective,
    rows: NDArray[np.float64],
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
