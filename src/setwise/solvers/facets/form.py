"""facets over the candidates held: what sets are worth, and tangents that no set is above.

A set is worth G(S) = Σ u_i - q Σ_{i≠j} s_ij + c Σ_f Σ_j γ^(j-1) R_(j),f, the per-item form of max-sum and its
coverage. The latter is Σ_j (γ^(j-1) - γ^j) T_j, with T_j the sum of a facet's j largest. Over points x of the
unit cube T_j(x) = max {Σ R_i z_i : 0 <= z <= x, Σ z <= j} is concave, and for any level τ >= 0

    T_j(x) <= j τ + Σ_i x_i (R_i - τ)+        (weak duality; with equality for the right τ)

As is u·x + q (Σ x - xᵀKx), which equals the rest on sets. So any point and any levels give a linear function
that no set exceeds, and the best one of that over the feasible sets is a bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from setwise.objectives.facets import FacetsWished, added, coverage
from setwise.solvers import item_moves
from setwise.solvers.held import Held

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]


class FacetsForm(item_moves.ItemForm):
    """The value over the candidates held.

    Attributes
    ----------
    facets : ndarray of shape (m, F)
        R.
    cover : float
        c, what a unit of a facet is worth.
    steps : ndarray of shape (J,)
        γ^(j-1) - γ^j for j = 1 … J, and what is left of them for the last: the most that a set can have.
    """

    def __init__(self, held: Held) -> None:
        super().__init__(held)
        objective, known = cast(FacetsWished, held.problem.objective), held.problem.facets
        assert known is not None
        self.saturation = objective.of.saturation
        self.facets = known.at(held.ids, held.rows)
        self.cover = objective.cover / known.count
        levels = max(1, min(held.feasible.most, len(held)))
        powers = self.saturation ** np.arange(levels + 1)
        self.steps = powers[:-1] - powers[1:]
        self.steps[-1] = powers[-2]

    @cached_property
    def size(self) -> float:
        """The largest sum that its terms could make."""
        return super().size + self.cover * float(self.facets.sum(axis=1).max()) * len(self.steps)

    def value(self, chosen: Rows) -> float:
        """Return what a set is worth."""
        total = self.cover * self.facets.shape[1] * coverage(self.facets[chosen], self.saturation)
        return float(super().value(chosen) + total)

    def gains(self, chosen: Rows) -> Vector:
        """Return what each candidate adds to a set, shape (m,)."""
        more = added(self.facets, self.facets[chosen], self.saturation)
        return np.asarray(super().gains(chosen) + self.cover * self.facets.shape[1] * more)

    def in_place_of(
        self, chosen: Rows, slots: list[int], _least: Callable[[], float]
    ) -> Iterator[tuple[int, Vector]]:
        """Yield what a set is worth with each candidate in place of a member, (m,), with its slot."""
        yield from ((slot, self.beside(np.delete(chosen, slot))) for slot in slots)

    def beside(self, chosen: Rows) -> Vector:
        """Return what a set is worth with each candidate besides, shape (m,)."""
        return self.value(chosen) + self.gains(chosen)

    def levels_at(self, x: Vector) -> Vector:
        """Return the levels τ at which the tangents touch at a point, shape (J, F).

        The j-th is where the weights of the candidates above it sum up to j.
        """
        found = np.zeros((len(self.steps), self.facets.shape[1]))
        wanted = np.arange(1, len(self.steps) + 1) - 1e-9
        for one in range(self.facets.shape[1]):
            order = np.argsort(-self.facets[:, one], kind="stable")
            order = order[x[order] > 0]
            place = np.searchsorted(np.cumsum(x[order]), wanted)
            within = place < len(order)
            found[within, one] = self.facets[order[place[within]], one]
        return found

    def slopes(self, facets: Vector, levels: Vector) -> Vector:
        """Return what each candidate counts in the tangents of each facet, (m, F) and (J, F) -> (m, F)."""
        return np.stack(
            [
                self.cover * (np.maximum(facets[:, one, None] - levels[:, one], 0.0) @ self.steps)
                for one in range(facets.shape[1])
            ],
            axis=1,
        )

    def offsets(self, levels: Vector) -> Vector:
        """Return the constants of the tangents of each facet, shape (F,): c Σ_j step_j j τ_j."""
        counts = np.arange(1, len(self.steps) + 1)
        return np.asarray(self.cover * ((self.steps * counts) @ levels))
