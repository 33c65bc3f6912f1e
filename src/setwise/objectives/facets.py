"""facets: the set as a whole should cover several facets, beside relevance and distances."""

from __future__ import annotations

from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from setwise import checks
from setwise.objectives.base import Terms, in_turn
from setwise.objectives.max_sum import MaxSum
from setwise.objectives.scores import Scores, ScoresByGains
from setwise.objectives.wished import MaxSumWished, Wishes
from setwise.vectors import Floats

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]


@final
class Facets(MaxSum):
    """(1 - t) * (mean relevance + coverage of the facets) + t * mean distance of two members.

    Coverage is saturating: C(S) = mean over facets of Σ_j γ^(j-1) R_(j), with R_(j) the j-th largest
    relevance of a member to the facet, at least 0. With γ = 0 the best member of each facet counts alone,
    with γ = 1 all count in full; 0.5 is what alpha-nDCG counts repetitions by (Clarke et al. 2008). It is
    monotone and submodular in the set.

    The relevance that its methods take has a column for each facet behind the first: shape (k, 1 + m).

    Parameters
    ----------
    diversity : float
        t, in [0, 1].
    saturation : float
        γ, in [0, 1].
    sharpness, metric
        Of the distance, as for `MaxSum`.
    """

    name: ClassVar[str] = "facets"
    per_item: ClassVar[bool] = True
    scoring: ClassVar[type[Scores]] = ScoresByGains

    def __init__(
        self,
        diversity: float = 0.2,
        *,
        saturation: float = 0.5,
        sharpness: int = 1,
        metric: str = "cosine",
    ) -> None:
        super().__init__(diversity, sharpness=sharpness, metric=metric)
        self.saturation = checks.fraction("saturation", saturation, "of what the member before counts")

    @property
    def linear_gradient(self) -> bool:
        return False

    def relevance_decides(self, k: int) -> bool:
        return False

    def evaluate(self, rows: Floats, relevance: Vector) -> tuple[Vector, Terms]:
        """See `Objective.evaluate`; relevance of shape (k, 1 + m)."""
        return self._sized(len(rows)).evaluate(rows, relevance)

    def gains(
        self, vectors: ArrayLike, relevance: ArrayLike, chosen: ArrayLike, covered: ArrayLike | None = None
    ) -> Vector:
        """Return what each candidate adds, distances and coverage beside the members counted.

        Parameters
        ----------
        vectors, chosen
            See `Objective.gains`.
        relevance : array-like of shape (n, 1 + m)
        covered : array-like of shape (s, m)
            The chosen ones' relevance to each facet; needed where there are any.
        """
        return self._sized(np.shape(chosen)[0] + 1).gains(vectors, relevance, chosen, covered)

    def arrange(self, rows: Floats, relevance: Vector, indices: Rows, first: int) -> Rows:
        return self._sized(len(rows)).arrange(rows, relevance, indices, first)

    def _sized(self, k: int) -> FacetsWished:
        """Return the per-item form for sets of k."""
        return FacetsWished(self, Wishes(float(k), True, 0.0, np.empty((0, 1)), 1.0))

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, saturation={self.saturation})".replace("MaxSum", "Facets", 1)


class FacetsWished(MaxSumWished):
    """The per-item form: that of max-sum, and κ (1 - t) times the coverage.

    Parameters
    ----------
    wishes : Wishes
    """

    name: ClassVar[str] = "facets, per item"

    of: Facets

    @property
    def cover(self) -> float:
        """What a unit of coverage is worth."""
        return (1 - self.diversity) * self.wishes.size

    def gains(
        self, vectors: ArrayLike, relevance: ArrayLike, chosen: ArrayLike, covered: ArrayLike | None = None
    ) -> Vector:
        """See `Facets.gains`."""
        known = two_columns(relevance)
        if np.shape(chosen)[0] and covered is None:
            raise ValueError("covered: needed beside chosen ones, their relevance to each facet")
        before = np.empty((0, known.shape[1] - 1)) if covered is None else np.asarray(covered, np.float64)
        worth = super().gains(vectors, known[:, 0], chosen)
        return worth + self.cover * added(known[:, 1:], before, self.of.saturation)

    def terms(self, vectors: ArrayLike, relevance: ArrayLike) -> Terms:
        """See `Objective.terms`."""
        return self.evaluate(self.rows(vectors), two_columns(relevance))[1]

    def evaluate(self, rows: Floats, relevance: Vector) -> tuple[Vector, Terms]:
        """See `Objective.evaluate`."""
        known = two_columns(relevance)
        gains, terms = super().evaluate(rows, known[:, 0])
        facets = known[:, 1:]
        for place in range(len(rows)):
            gains[place] += (
                self.cover * added(facets[place : place + 1], facets[:place], self.of.saturation)[0]
            )
        covered = coverage(facets, self.of.saturation) * self.wishes.size / self.over
        value = terms.value + (1 - self.diversity) * covered
        return gains, Terms(value, terms.relevance + covered, terms.spread)

    def arrange(self, rows: Floats, relevance: Vector, indices: Rows, first: int) -> Rows:
        known = two_columns(relevance)
        near = np.asarray(self.similarity(rows, rows), np.float64)
        worth = self.alone(rows, known[:, 0])

        def scores(taken: list[int]) -> Vector:
            if taken:
                np.subtract(worth, 2 * self.pair * near[:, taken[-1]], out=worth)
            more = added(known[:, 1:], known[taken, 1:], self.of.saturation)
            return np.asarray(worth + self.cover * more)

        rounding = 1e-14 * (1.0 + float(np.abs(worth).max(initial=0.0)) + self.cover)
        return in_turn(known[:, 0], indices, first, scores, rounding)


def two_columns(relevance: Any) -> Vector:
    """Return relevance with a column for each facet.

    Raises ValueError: it has one dimension, and so no facet.
    """
    known = np.asarray(relevance, np.float64)
    if known.ndim != 2 or known.shape[1] < 2:
        raise ValueError(f"relevance: expected shape (k, 1 + m), one column a facet, got {known.shape}")
    return known


def coverage(facets: Vector, saturation: float) -> float:
    """Return C of a set: the mean over facets of Σ_j γ^(j-1) times the j-th largest, (k, m) -> number."""
    if not len(facets):
        return 0.0
    falling = -np.sort(-facets, axis=0)
    return float((saturation ** np.arange(len(facets)) @ falling).mean())


def added(facets: Vector, members: Vector, saturation: float) -> Vector:
    """Return what each candidate adds to the coverage of some members, (n, m) and (s, m) -> (n,).

    One that is the p-th largest of a facet moves those after it down by a place: γ^(p-1) R less (1 - γ) times
    what they count.
    """
    count = len(members)
    powers = saturation ** np.arange(count + 1)
    total = np.zeros(len(facets))
    for one in range(facets.shape[1]):
        rising = np.sort(members[:, one])
        place = count - np.searchsorted(rising, facets[:, one], side="left")
        after = np.append(np.cumsum((powers[:count] * rising[::-1])[::-1])[::-1], 0.0)
        total += powers[place] * facets[:, one] - (1 - saturation) * after[place]
    return np.asarray(total / facets.shape[1])


Facets.wishing = FacetsWished
