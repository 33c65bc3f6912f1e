"""What an objective is: a value for a set and gains for candidates. It never searches."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from setwise import checks
from setwise.objectives.scores import Scores, ScoresByGains
from setwise.rounding import dot_error
from setwise.vectors import Floats, Vectors, as_matrix, check_metric

#: Distances of rows of at most so many entries are computed by subtraction.
FEW_ENTRIES = 8

#: Cosines above 1 less this are told from 1 by differences of their rows.
NEAR = 1e-6

#: Scores this close are equal: what sets them apart is rounding. Relative to 1 and their size.
TIE = 4e-15

#: Numbers of a block of differences.
PAIRED = 1 << 20

#: Squared distances below this part of the squares they are the difference of are computed by subtraction.
CLOSE = 1e-2


class Terms(NamedTuple):
    """A set's value and its two terms; value = (1 - diversity) * relevance + diversity * spread."""

    value: float
    relevance: float
    spread: float


class Objective(ABC):
    """A trade-off between relevance and diversity.

    An objective of your own gives a `name`, `terms` and `gains`: that is enough for greedy selection,
    exchanges and the baselines. It may override the rest where it knows a faster way.

    Parameters
    ----------
    diversity : float
        In [0, 1]: 0 = relevance alone, 1 = diversity alone.
    metric : {"cosine", "euclidean"}

    Raises
    ------
    TypeError
        `diversity` is not a number, or `metric` not a string.
    ValueError
        `diversity` is outside [0, 1], or `metric` unknown.
    """

    name: ClassVar[str]

    #: Whether a set's value depends on all candidates, not on its members alone: a search of an index, which
    #: returns a few of them, is then no use.
    of_all: ClassVar[bool] = False

    #: Whether there is a `sharpness` to set.
    has_sharpness: ClassVar[bool] = False

    #: The scores that greedy selection keeps up.
    scoring: ClassVar[type[Scores]] = ScoresByGains

    #: What it becomes with further wishes: of another size, beside what was shown, with a least gain.
    wishing: ClassVar[Callable[[Any, Any], Objective]]

    #: Whether its sets are always those of the per-item form, with wishes or without.
    per_item: ClassVar[bool] = False

    #: Whether a set's value is the sum of its members' gains, rather than their mean.
    summed: ClassVar[bool] = False

    #: Whether a set's value hangs on the order of its members.
    ordered: ClassVar[bool] = True

    #: Why greedy selection may end before the set is full.
    shortage: ClassVar[str] = "the gain of every other candidate is -inf"

    def __init__(self, diversity: float = 0.2, *, metric: str = "cosine") -> None:
        self.diversity = checks.fraction("diversity", diversity)
        self.metric = check_metric(metric)

    @abstractmethod
    def terms(self, vectors: ArrayLike, relevance: ArrayLike) -> Terms:
        """Return the value of a set and its two terms, in float64.

        Parameters
        ----------
        vectors : array-like of shape (k, d)
            The members, in selection order. Solvers pass float64 rows, of unit length under cosine.
        relevance : array-like of shape (k,)
        """

    @abstractmethod
    def gains(self, vectors: ArrayLike, relevance: ArrayLike, chosen: ArrayLike) -> NDArray[np.float64]:
        """Return each candidate's score as the next member of a set.

        Parameters
        ----------
        vectors : array-like of shape (m, d)
            Candidates. Solvers pass float64 rows, of unit length under cosine.
        relevance : array-like of shape (m,)
        chosen : array-like of shape (s, d)
            The members so far, in selection order; s may be 0.

        Returns
        -------
        ndarray of shape (m,), float64
            -inf for a candidate that must not be chosen.
        """

    def fitted(self, vectors: Vectors) -> Self:
        """Return this objective for sets of these candidates."""
        return self

    def evaluate(self, rows: Floats, relevance: NDArray[np.float64]) -> tuple[NDArray[np.float64], Terms]:
        """Return each member's score when it joined those before it, and the set's terms, in float64.

        Parameters
        ----------
        rows : ndarray of shape (k, d)
            Members in selection order, float64, of unit length under cosine.
        relevance : ndarray of shape (k,)
        """
        each = [
            self.checked_gains(rows[place : place + 1], relevance[place : place + 1], rows[:place])
            for place in range(len(rows))
        ]
        return np.concatenate(each), Terms(*self.terms(rows, relevance))

    def summarize(
        self, numbers: NDArray[np.float64], relevance: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], Terms]:
        """Return what `evaluate` does, given what the compiled kernels keep up for each member.

        Parameters
        ----------
        numbers : ndarray of shape (…, k), float64
            See `setwise.kernels.pools.greedy`.
        relevance : ndarray of shape (…, k)
        """
        raise NotImplementedError  # no kernel knows it

    def arrange(
        self,
        rows: Floats,
        relevance: NDArray[np.float64],
        indices: NDArray[np.int64],
        first: int,
    ) -> NDArray[np.int64]:
        """Return the order in which greedy selection would take a set's members.

        Parameters
        ----------
        rows : ndarray of shape (k, d)
            Members, float64, of unit length under cosine.
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
        rounding = 1e-14 * (1.0 + float(np.abs(relevance).max(initial=0.0)))
        return in_turn(
            relevance,
            indices,
            first,
            lambda taken: self.checked_gains(rows, relevance, rows[taken]),
            rounding,
        )

    @property
    def linear_gradient(self) -> bool:
        """Whether a candidate's gradient at any point is an inner product with it, and a constant.

        One search of an index then finds the candidates of largest gradient (CCBQP Algorithm 1).
        """
        return False

    def relevance_weight(self, k: int) -> float | None:
        """Return what one more of every relevance adds to the value of every set of k; None where it may not.

        Where it does, solvers count relevance from the least there is.
        """
        return None

    def relevance_decides(self, k: int) -> bool:
        """Return whether the k most relevant are a best set of k, whatever the vectors."""
        return False

    def checked_gains(
        self,
        rows: Floats,
        relevance: NDArray[np.float64],
        members: Floats,
        ids: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        """Return `gains`, which may be somebody else's, checked.

        Raises
        ------
        TypeError
            They are not one number a candidate.
        ValueError
            One of them is NaN.
        """
        gains = np.asarray(self.gains(rows, relevance, members))
        if gains.shape != (len(rows),) or gains.dtype.kind not in "fiu":
            raise TypeError(
                f"objective: gains of {self.name!r} are {gains.dtype} of shape {gains.shape} for {len(rows)} "
                "candidates; return one number each"
            )
        bad = np.flatnonzero(np.isnan(gains))
        if len(bad):
            row = bad[0] if ids is None else ids[bad[0]]
            raise ValueError(
                f"objective: gains of {self.name!r} are NaN for row {row}; return -inf for a candidate that "
                "must not be chosen"
            )
        return gains.astype(np.float64)

    def rows(self, vectors: Any) -> NDArray[np.float64]:
        """Return vectors as float64 rows, of unit length under cosine."""
        array = np.asarray(vectors)
        if array.size == 0:
            return np.empty((0, 1))
        rows = as_matrix(array).astype(np.float64)
        if self.metric == "cosine":
            rows /= np.sqrt(np.vecdot(rows, rows))[:, None]
        return rows

    def __repr__(self) -> str:
        return f"{type(self).__name__}(diversity={self.diversity}, metric={self.metric!r})"


def in_turn(
    relevance: NDArray[np.float64],
    indices: NDArray[np.int64],
    first: int,
    scores: Callable[[list[int]], NDArray[np.float64]],
    rounding: float = 0.0,
) -> NDArray[np.int64]:
    """Return the order in which greedy selection takes a set's members, ties by lowest index.

    Parameters
    ----------
    relevance : ndarray of shape (k,)
        Decides among members that have no score left (-inf).
    indices, first
        See `Objective.arrange`.
    scores : callable (list of int) -> ndarray of shape (k,)
        Gets the positions taken so far, each time one more, and returns what decides the next.
    rounding : float
        Scores that differ by at most this, and `TIE`, are equal.
    """
    by_index = np.argsort(indices, kind="stable")
    waiting = np.ones(len(indices), bool)
    taken: list[int] = []
    for step in range(len(indices)):
        current = scores(taken)
        place = step
        if step >= first:
            open_ = by_index[waiting[by_index]]
            lead = current[open_]
            if lead.max() == -np.inf:
                lead = relevance[open_]
            best = float(lead.max())
            place = int(open_[(lead >= best - rounding - TIE * (1.0 + abs(best))).argmax()])
        taken.append(place)
        waiting[place] = False
    return np.array(taken, np.int64)


def euclidean(left: Floats, right: Floats) -> NDArray[np.float64]:
    """Return the L2 distance between every two rows, shape (a, b), float64.

    Rows of a few entries are subtracted. Longer ones are moved by a common offset first, so that little is
    lost where they are far from the origin, and multiplied; see `euclidean_error`.
    """
    if left.shape[1] <= FEW_ENTRIES:
        squares = np.zeros((len(left), len(right)))
        for one, other in zip(left.T.astype(np.float64), right.T.astype(np.float64), strict=True):
            apart = one[:, None] - other
            squares += np.multiply(apart, apart, out=apart)
        return np.asarray(np.sqrt(squares, out=squares))
    if not (len(left) and len(right)):
        return np.zeros((len(left), len(right)))
    offset = left[0] if len(left) == 1 else right[0]
    a = np.asarray(left, np.float64) - offset
    b = np.asarray(right, np.float64) - offset
    lengths = np.vecdot(a, a)[:, None] + np.vecdot(b, b)
    squares = a @ b.T
    squares *= -2.0
    squares += lengths
    # Where rows are much closer to each other than to the offset, little of the square is left.
    for place, exact in by_differences((squares < CLOSE * lengths).nonzero(), a, b):
        squares[place] = exact
    np.maximum(squares, 0.0, out=squares)
    found: NDArray[np.float64] = np.sqrt(squares, out=squares)
    return found


def from_cosines(
    cosines: Floats,
    left: Floats,
    right: Floats,
    similarity: Callable[[Floats], Floats] = lambda cosines: cosines,
    sharpness: int = 1,
) -> Floats:
    """Return 1 - cos^sharpness, in place of the cosines, of every two unit rows, shape (…, a, b).

    In float64, next to 1 from ½|e - e'|²: there 1 - cos has lost its digits.

    Parameters
    ----------
    cosines : ndarray of shape (…, a, b)
    left, right : ndarray of shape (…, a, d) and (…, b, d)
        What they are the cosines of.
    similarity : callable
        From cosines to their power, perhaps in place.
    sharpness : int
        That power.
    """
    near = (cosines > 1 - NEAR).nonzero() if cosines.dtype == np.float64 else None
    found = similarity(cosines)
    np.subtract(1, found, out=found)
    if near is not None:
        for place, squares in by_differences(near, left, right):
            half = squares / 2
            found[place] = half if sharpness == 1 else -np.expm1(sharpness * np.log1p(-half))
    return found


def by_differences(
    places: tuple[NDArray[np.int64], ...], left: Floats, right: Floats
) -> Iterator[tuple[tuple[NDArray[np.int64], ...], Floats]]:
    """Yield squared lengths of the differences of rows.

    Parameters
    ----------
    places : tuple of index arrays
        Which pairs, as places of an array of shape (…, a, b).
    left, right : ndarray of shape (…, a, d) and (…, b, d)

    Yields
    ------
    Some of the places, and the squares there, in blocks.
    """
    step = max(1, PAIRED // left.shape[-1])
    for start in range(0, len(places[0]), step):
        some = tuple(part[start : start + step] for part in places)
        apart = left[some[:-1]] - right[(*some[:-2], some[-1])]
        yield some, np.vecdot(apart, apart)


def euclidean_error(d: int, reach: float) -> float:
    """Return how far a distance that `euclidean` returns may be off, given that none is above `reach`.

    A square of at least CLOSE · (|a|² + |b|²), the rows a and b at most `reach` from the offset, errs by a
    few roundings of the latter, and its root by that over twice the root.
    """
    lost = math.sqrt(d * float(np.finfo(np.float64).tiny))  # squares that are nothing beside what there is
    if d <= FEW_ENTRIES:
        return (d + 2) * float(np.finfo(np.float64).eps) * reach + lost
    return dot_error(d, np.float64) * reach / math.sqrt(2 * CLOSE) + lost
