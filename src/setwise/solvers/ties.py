"""Of equal candidates the first: a choice that rounding would make is made on the data.

Products of matrices round equal rows differently, by where they stand, by the processor and by the number
of threads, so solvers cannot tell which of equal candidates they take. Here it is settled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.solvers.problem import Problem
from setwise.vectors import Floats

#: Numbers computed of equal rows differ by at most this many units of rounding of the largest.
UNITS = 64

#: Cells that numbers are sorted into before they are looked at.
CELLS = 1 << 16


def first_of_equals(
    problem: Problem, chosen: NDArray[np.int64], *, among_themselves: bool = False
) -> NDArray[np.int64]:
    """Return a selection in which, of equal candidates, those of lowest index are taken, lowest first.

    Equal are candidates of the same row, relevance, groups and cost. Must-have rows stay. The
    set's value and the order of its members are the same.

    Parameters
    ----------
    chosen : ndarray of shape (k,), int64
        Rows in selection order.
    among_themselves : bool
        Whether the members alone are looked at: the set stays, equal members change places.

    Returns
    -------
    ndarray of shape (k,), int64
    """
    include = problem.constraints.include
    movable = np.flatnonzero(~np.isin(chosen, include)) if len(include) else np.arange(len(chosen))
    suspects = np.sort(chosen[movable])
    if not among_themselves:
        suspects = _suspects(problem, suspects)
        if len(include):
            suspects = np.setdiff1d(suspects, include)
        if len(suspects) == len(movable):
            return chosen
    waiting: dict[bytes, list[int]] = {}
    for place in movable[::-1].tolist():
        waiting.setdefault(_key(problem, chosen[place]), []).append(place)
    result, left = chosen.copy(), len(movable)
    for row in suspects.tolist():
        places = waiting.get(_key(problem, row))
        if places:
            result[places.pop()] = row
            left -= 1
            if left == 0:
                break
    return result


def _key(problem: Problem, row: Any) -> bytes:
    """Return what equal candidates have in common, as bytes; 0 and -0 are the same."""
    vectors, relevance = problem.vectors, problem.relevance
    parts = [(vectors.raw[vectors.places(row)] + 0).tobytes()]
    if not relevance.computed:  # else equal rows have equal relevance
        parts.append((relevance.values[row] + 0).tobytes())
    if problem.facets is not None and problem.facets.given is not None:
        parts.append((problem.facets.given[row] + 0).tobytes())
    return b"".join([*parts, problem.constraints.traits(row)])


def _suspects(problem: Problem, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the candidates that may equal a chosen one, ascending, those chosen among them."""
    values, vectors = problem.relevance.values, problem.vectors
    found = np.flatnonzero(_near(values, values[chosen], 4 * problem.relevance.error))
    if len(found) <= len(chosen):
        return found
    along = vectors.along(found)
    return np.asarray(found[_near(along, along[np.searchsorted(found, chosen)], 0.0)])


def _near(numbers: Floats, levels: Floats, margin: float) -> NDArray[np.bool_]:
    """Return which numbers are one of some levels, up to a margin and rounding."""
    if len(levels) == 0:
        return np.zeros(len(numbers), np.bool_)
    levels = np.sort(levels)
    margin += UNITS * float(np.finfo(levels.dtype).eps) * float(max(-levels[0], levels[-1]))
    near: NDArray[np.bool_] = (numbers >= levels[0] - margin) & (numbers <= levels[-1] + margin)
    some = numbers[near]
    cell = (float(levels[-1]) - float(levels[0]) + 2 * margin) / CELLS
    if len(some) > CELLS // 4 and 2 * margin < cell < np.inf:
        # Most numbers lie in cells that no level is near.
        low = levels[0] - margin
        held = np.zeros(CELLS + 4, np.bool_)
        held[((levels - 2 * margin - low) / cell).astype(np.int32)[:, None] + np.arange(4)] = True
        kept = held[((some - low) / cell).astype(np.int32)]
        near[near], some = kept, some[kept]
    above = np.searchsorted(levels, some)
    over = levels[np.minimum(above, len(levels) - 1)] - some
    under = some - levels[np.maximum(above - 1, 0)]
    near[near] = np.minimum(np.abs(over), np.abs(under)) <= margin
    return near
