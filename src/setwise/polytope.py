"""What all feasible sets of some candidates satisfy, as linear rows, and bounds by the rows' prices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.bounded import Bounded, Sizes, bound_of_budget
from setwise.limits import Limit
from setwise.top import top_k

Vector = NDArray[np.float64]
Places = NDArray[np.int64]
Mask = NDArray[np.bool_]

#: Candidates that a program looks at first: what it then does not bar from a better set joins.
LIKELY = 192

#: A linear program is solved anew at most so often for candidates that its prices do not bar; its bound
#: holds before.
PRICINGS = 3

#: With labels, a bound sorts at most so many candidates; of more, it solves a linear program of the likely.
SORTED = 4_096


class Polytope:
    """The points x of low <= A x <= high and 0 <= x <= 1, over m candidates, which are positions here.

    Parameters
    ----------
    least, most : int
        Sizes that a set may have.
    include : ndarray of int64
        Members of every set.
    limits : sequence of Limit
        Over the m candidates.
    costs : ndarray of shape (m,), float64, optional
        Positive.
    budget : float
        The most that a set may cost.
    alike : ndarray of shape (m, m), bool, optional
        Which candidates no set may have both of; False on the diagonal.
    """

    def __init__(
        self,
        m: int,
        least: int,
        most: int,
        include: Places,
        limits: Sequence[Limit] = (),
        costs: Vector | None = None,
        budget: float = np.inf,
        alike: Mask | None = None,
    ) -> None:
        self.m, self.least, self.most, self.include = m, least, most, include
        self.limits, self.costs, self.budget, self.alike = list(limits), costs, budget, alike
        self.cliques = 0
        self._system: tuple[Any, Vector, Vector] | None = None

    def system(self) -> tuple[Any, Vector, Vector]:
        """Return the rows A (sparse), low and high."""
        if self._system is None:
            from scipy import sparse

            columns: list[Places] = [np.arange(self.m)]
            values: list[Vector] = [np.ones(self.m)]
            lengths = [self.m]
            low, high = [float(self.least)], [float(self.most)]
            if self.costs is not None:
                columns.append(np.arange(self.m))
                values.append(self.costs)
                lengths.append(self.m)
                low.append(-np.inf)
                high.append(self.budget)
            for one in self.limits:
                sizes = np.bincount(one.codes, minlength=len(one.most))
                binding = self._binding(one)
                order = np.argsort(one.codes, kind="stable")
                order = order[binding[one.codes[order]]]
                columns.append(order)
                values.append(np.ones(len(order)))
                lengths += sizes[binding].tolist()
                low += one.least[binding].astype(float).tolist()
                high += one.most[binding].astype(float).tolist()
            if self.alike is not None:
                cliques = _cliques(self.alike)
                self.cliques = len(cliques)
                for clique in cliques:
                    columns.append(clique)
                    values.append(np.ones(len(clique)))
                    lengths.append(len(clique))
                    low.append(-np.inf)
                    high.append(1.0)
            pointers = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
            places = np.concatenate(columns).astype(np.int32)  # older SciPy's programs read no wider ones
            matrix = sparse.csr_array(
                (np.concatenate(values), places, pointers), shape=(len(lengths), self.m)
            )
            self._system = matrix, np.array(low), np.array(high)
        return self._system

    def _useful(self, kept: Places) -> Places:
        """Return the rows that some candidates need: of cliques those that have two of them at least."""
        matrix, low, _ = self.system()
        named = np.arange(len(low)) < len(low) - self.cliques
        return (
            np.flatnonzero(named | (matrix[:, kept].sum(axis=1) > 1))
            if self.cliques
            else np.flatnonzero(named)
        )

    def _rows_of(self, kept: Places) -> tuple[Any, Vector, Vector]:
        """Return the rows that some candidates need, over these."""
        matrix, low, high = self.system()
        useful = self._useful(kept)
        return matrix[useful][:, kept], low[useful], high[useful]

    def _likely(self, scores: Vector, held: Places) -> Places:
        """Return candidates that a best set is likely of: leaders, by cost too, and of needed labels."""
        room = (
            self.most
            if self.costs is None
            else min(self.most, int(self.budget / float(self.costs.mean())) + 1)
        )
        size = max(LIKELY, 8 * room)
        if self.m <= 2 * size:
            return np.arange(self.m)
        parts = [held, top_k(scores, size)]
        if self.costs is not None:
            parts.append(top_k(np.where(scores > 0, scores / self.costs, scores * self.costs), size))
        for one in self.limits:
            if one.least.any():
                order = np.lexsort((-scores, one.codes))
                codes = one.codes[order]
                starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
                rank = np.arange(self.m) - np.repeat(starts, np.diff(np.r_[starts, self.m]))
                parts.append(order[rank < one.least[codes]])
        return np.unique(np.concatenate(parts))

    def bound(self, scores: Vector, lower: Vector | None = None, upper: Vector | None = None) -> Bounded:
        """Return an upper bound on the summed scores of any feasible set, and what shows it.

        Parameters
        ----------
        scores : ndarray of shape (m,)
        lower, upper : ndarray of shape (m,), optional
            Within 0 and 1: what x is held between.
        """
        lower = np.zeros(self.m) if lower is None else lower
        upper = np.ones(self.m) if upper is None else upper
        if self.m == 0 or self.plain:
            sizes = Sizes(self.least, self.most, self.limits[0] if self.limits else None)
            if self.costs is None or self.m == 0:
                return sizes.bound(scores, lower, upper)
            return bound_of_budget(sizes, self.costs, self.budget, scores, lower, upper)
        part = self._likely(np.where(upper > 0.5, scores, -np.inf), np.flatnonzero(lower > 0.5))
        for number in range(PRICINGS + 1):
            found, solved = self._priced(scores, lower, upper, part)
            missed = np.flatnonzero((found.reduced > 1e-9 * np.abs(scores).max()) & (upper > 0.5))
            missed = np.setdiff1d(missed, part)
            if len(part) == self.m or (solved and (len(missed) == 0 or number == PRICINGS)):
                break
            missed = missed[top_k(found.reduced[missed], min(len(missed), 4 * len(part)))]
            part = np.union1d(part, missed) if solved else np.arange(self.m)
        return found

    def _priced(self, scores: Vector, lower: Vector, upper: Vector, part: Places) -> tuple[Bounded, bool]:
        """Return the bound by a linear program's prices over some candidates, and whether it was solved."""
        from scipy import optimize, sparse

        matrix, low, high = self.system()
        over, under = np.isfinite(high), np.isfinite(low) & (low > 0)
        some, some_low, some_high = self._rows_of(part)
        some_over, some_under = np.isfinite(some_high), np.isfinite(some_low) & (some_low > 0)
        size = float(np.abs(scores[part]).max(initial=0.0)) or 1.0
        solved = optimize.linprog(
            -scores[part] / size,
            A_ub=sparse.vstack([some[some_over], -some[some_under]], format="csr"),
            b_ub=np.concatenate([some_high[some_over], -some_low[some_under]]),
            bounds=np.stack([lower[part], upper[part]], axis=1),
            method="highs-ds",
        )
        if solved.status == 2:
            return Bounded(-np.inf, None, scores), False
        x = None
        prices = np.zeros(len(low))
        floors = np.zeros(len(low))
        if solved.status == 0:
            x = np.zeros(self.m)
            x[part] = np.clip(solved.x, lower[part], upper[part])
            found = np.maximum(-solved.ineqlin.marginals, 0.0) * size
            useful = self._useful(part)
            prices[useful[some_over]] = found[: int(some_over.sum())]
            floors[useful[some_under]] = found[int(some_over.sum()) :]
        reduced = scores - matrix.T @ (prices - floors)
        sides = float(prices[over] @ high[over]) - float(floors[under] @ low[under])
        total = sides + float(np.maximum(lower * reduced, upper * reduced).sum())
        total += 1e-13 * float(np.abs(prices[over] * high[over]).sum() + np.abs(reduced).sum())
        total += 1e-13 * float(np.abs(floors[under] * low[under]).sum())
        return Bounded(total, x, reduced, *self._prices(prices, floors)), True

    def _prices(self, prices: Vector, floors: Vector) -> tuple[float, float]:
        """Return the least price of a place, and that of a unit of cost."""
        place, first = prices[0] - floors[0], 2 if self.costs is not None else 1
        for one in self.limits:
            rows = int(self._binding(one).sum())
            place -= float(floors[first : first + rows].max(initial=0.0))
            first += rows
        return float(place), float(prices[1]) if self.costs is not None else 0.0

    @staticmethod
    def _binding(one: Limit) -> Mask:
        """Return which labels of a limit have a row: some are needed of them, or not all may be."""
        return np.asarray((one.least > 0) | (one.most < np.bincount(one.codes, minlength=len(one.most))))

    @property
    def plain(self) -> bool:
        """Whether the best set of a size can be told by sorting: at most so many of a label, of one kind."""
        if self.alike is not None or len(self.limits) > 1:
            return False
        return not self.limits or (self.m <= SORTED and not self.limits[0].least.any())


def _cliques(alike: Mask) -> list[Places]:
    """Return cliques that hold every pair of a symmetric relation."""
    left, found = alike.copy(), []
    for row in np.flatnonzero(alike.any(axis=0)).tolist():
        while left[row].any():
            clique, able = [row], alike[row].copy()
            fresh = left[row] & able
            while able.any():
                nearest = int(fresh.argmax()) if fresh.any() else int(able.argmax())
                clique.append(nearest)
                able &= alike[nearest]
                fresh &= able
            members = np.array(sorted(clique))
            left[np.ix_(members, members)] = False
            found.append(members)
    return found
