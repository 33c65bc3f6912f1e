"""Which sets of some candidates are feasible: the best by summed scores, a bound on it, and moves.

The feasible sets are the 0/1 points x of low <= A x <= high: one row for the size, one for the budget, one
for each label with a limit, and one for each clique of candidates that are too much alike. The best by summed
scores is
a mixed-integer program (HiGHS). Any multipliers of the rows bound it from above, in float64, whatever
the solver's tolerances (weak duality); those of the linear program bound it well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.bounded import Bounded, Sizes, bound_of_budget
from setwise.limits import Limit
from setwise.vectors import top_k

Vector = NDArray[np.float64]
Places = NDArray[np.int64]
Mask = NDArray[np.bool_]

#: Candidates that a program looks at first: what it then does not bar from a better set joins.
LIKELY = 192

#: A linear program is solved anew at most so often for candidates that its prices do not bar; its bound
#: holds before.
PRICINGS = 3

#: A program is solved again at most so often for sets that its tolerance lets through.
CUTS = 64

#: With labels, a bound sorts at most so many candidates; of more, it solves a linear program of the likely.
SORTED = 4_096


def spent(costs: Vector) -> float:
    """Return what costs sum to, rounded once: their order, and that of the rows, decides nothing."""
    return math.fsum(costs.tolist())


class Infeasible(ValueError):
    """No set of the candidates at hand satisfies everything."""


class Feasible:
    """The feasible sets of m candidates, which are positions here.

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

    @property
    def demanding(self) -> bool:
        """Whether a set with room left may still be infeasible: it must have a size, or some of a label."""
        return self.least > len(self.include) or any(one.least.any() for one in self.limits)

    def keeps(self, chosen: Places) -> bool:
        """Return whether a set is feasible."""
        chosen = np.asarray(chosen, np.int64)
        if not self.least <= len(chosen) <= self.most or len(np.unique(chosen)) != len(chosen):
            return False
        if not np.isin(self.include, chosen).all():
            return False
        if self.costs is not None and spent(self.costs[chosen]) > self.budget:
            return False
        for one in self.limits:
            held = np.bincount(one.codes[chosen], minlength=len(one.most))
            if (held < one.least).any() or (held > one.most).any():
                return False
        return self.alike is None or not self.alike[np.ix_(chosen, chosen)].any()

    def open(self, chosen: Places) -> Mask:
        """Return which candidates may join a set and break nothing that others cannot mend, (m,)."""
        free = np.ones(self.m, bool)
        free[chosen] = False
        if len(chosen) >= self.most:
            free[:] = False
        if self.costs is not None:
            free &= self._affords(self.costs, chosen)
        for one in self.limits:
            held = np.bincount(one.codes[chosen], minlength=len(one.most))
            free &= (held < one.most)[one.codes]
        if self.alike is not None and len(chosen):
            free &= ~self.alike[chosen].any(axis=0)
        return free

    def _affords(self, costs: Vector, chosen: Places) -> Mask:
        """Return which candidates a set has the budget for, beside its members, shape (m,)."""
        left = self.budget - (costs[chosen].sum() + costs)
        fits = left >= 0
        for row in np.flatnonzero(np.abs(left) <= 1e-12 * self.budget).tolist():
            fits[row] = spent(costs[np.append(chosen, row)]) <= self.budget
        return np.asarray(fits)

    def allows(self, chosen: Places, goes: Places, comes: Places) -> Mask:
        """Return which moves lead from a feasible set to another, shape (q,).

        Parameters
        ----------
        chosen : ndarray of int64
        goes, comes : ndarray of shape (q, a) and (q, b), int64
            Distinct members that leave and outsiders that join, a row a move.
        """
        moves, size = len(goes), len(chosen) - goes.shape[1] + comes.shape[1]
        good = np.full(moves, self.least <= size <= self.most)
        if len(self.include) and goes.shape[1]:
            good &= ~np.isin(goes, self.include).any(axis=1)
        if self.costs is not None:
            left = self.costs[chosen].sum() - self.costs[goes].sum(axis=1) + self.costs[comes].sum(axis=1)
            # Sums in another order differ by rounding: what is this near is added up afresh by `keeps`.
            good &= left <= self.budget * (1 + 1e-12)
        for one in self.limits:
            held = np.bincount(one.codes[chosen], minlength=len(one.most))
            leaving, joining = one.codes[goes], one.codes[comes]
            for codes, floor in ((joining, False), (leaving, True)):
                for column in range(codes.shape[1]):
                    code = codes[:, column : column + 1]
                    then = held[code[:, 0]] + (joining == code).sum(axis=1) - (leaving == code).sum(axis=1)
                    good &= then >= one.least[code[:, 0]] if floor else then <= one.most[code[:, 0]]
        if self.alike is not None and comes.shape[1]:
            against = self.alike[chosen].sum(axis=0)
            for column in range(comes.shape[1]):
                one_comes = comes[:, column]
                clash = against[one_comes].copy()
                for other in range(goes.shape[1]):
                    clash -= self.alike[one_comes, goes[:, other]]
                for other in range(column):
                    clash += self.alike[one_comes, comes[:, other]]
                good &= clash == 0
        return good

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
            pointers = np.concatenate([[0], np.cumsum(lengths)])
            matrix = sparse.csr_array(
                (np.concatenate(values), np.concatenate(columns), pointers), shape=(len(lengths), self.m)
            )
            self._system = matrix, np.array(low), np.array(high)
        return self._system

    def best(self, scores: Vector, fixed: Places | None = None, *, proven: bool = True) -> Places | None:
        """Return a feasible set of largest summed scores, ascending; None where there is none.

        Parameters
        ----------
        scores : ndarray of shape (m,)
        fixed : ndarray of int64, optional
            Members that it must have, beside those of every set.
        proven : bool
            Whether it must be the best of all, rather than of those likely in it: where many sets of a budget
            are nearly best, a proof can take minutes.
        """
        held = self.include if fixed is None else np.union1d(self.include, fixed).astype(np.int64)
        if self.m == 0:
            return held if self.keeps(held) else None
        if not self.limits and self.costs is None and self.alike is None:
            return self._best_of_size(scores, held)
        every = self._contenders(scores, held)
        likely = np.intersect1d(self._likely(scores, held), every)
        found = self._solved(scores, held, likely)
        if len(likely) == len(every) or (found is not None and not (proven and scores.any())):
            return found
        if found is None:
            return self._solved(scores, held, every)
        # What the linear program bars from a better set need not be looked at.
        lower = np.zeros(self.m)
        lower[held] = 1.0
        shown = self.bound(scores, lower)
        value = float(scores[found].sum())
        able = np.flatnonzero(shown.upper + np.minimum(shown.reduced, 0.0) > value)
        more = np.setdiff1d(np.intersect1d(able, every), likely)
        return found if len(more) == 0 else self._solved(scores, held, np.union1d(likely, more))

    def _solved(self, scores: Vector, held: Places, kept: Places) -> Places | None:
        """Return the best set of some candidates; None where there is none."""
        from scipy import optimize

        rows = [optimize.LinearConstraint(*self._rows_of(kept))]
        size = float(np.abs(scores[kept]).max(initial=0.0)) or 1.0
        for _ in range(CUTS):
            solved = optimize.milp(
                -scores[kept] / size,
                constraints=rows,
                integrality=np.ones(len(kept)),
                bounds=optimize.Bounds(np.isin(kept, held).astype(np.float64), np.ones(len(kept))),
                options={"mip_rel_gap": 0.0},
            )
            if solved.x is None:
                return None
            chosen: Mask = solved.x > 0.5
            if self.keeps(kept[chosen]):
                return np.asarray(kept[chosen])
            # Above the budget by less than the solver's tolerance: this set is cut off, and no other.
            rows.append(optimize.LinearConstraint(np.where(chosen, 1.0, -1.0), ub=chosen.sum() - 1.0))
        return None

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

    def _best_of_size(self, scores: Vector, held: Places) -> Places | None:
        """Return `best` where there is nothing but a size."""
        if len(held) > self.most or self.least > self.m:
            return None
        masked = scores.astype(np.float64, copy=True)
        masked[held] = -np.inf
        room = min(self.most, self.m) - len(held)
        leaders = top_k(masked, room) if room else np.empty(0, np.int64)
        needed = max(0, self.least - len(held))
        worth = masked[leaders] > 0
        worth[:needed] = True
        return np.sort(np.concatenate([held, leaders[worth & (masked[leaders] > -np.inf)]]))

    def _contenders(self, scores: Vector, held: Places) -> Places:
        """Return the candidates that a best set needs: of those that count alike, the leaders by score."""
        every = np.arange(self.m)
        if self.alike is not None or self.costs is not None or self.m <= 4 * self.most:
            return every
        codes = np.stack([one.codes for one in self.limits])
        order = np.lexsort((every, -scores, *codes))
        fresh = np.ones(self.m, bool)
        fresh[1:] = (codes[:, order[1:]] != codes[:, order[:-1]]).any(axis=0)
        starts = np.flatnonzero(fresh)
        rank = every - np.repeat(starts, np.diff(np.append(starts, self.m)))
        return np.union1d(order[rank < self.most], held).astype(np.int64)

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

    def grow(self, chosen: Places, known: Places, joins: int) -> Places | None:
        """Return a feasible set that holds some members and one more; None where there is none.

        Parameters
        ----------
        chosen : ndarray of int64
            Members it must have.
        known : ndarray of int64
            A feasible set that has them.
        joins : int
            The member that it must have besides.
        """
        if joins in known:
            return known
        comes = np.array([[joins]])
        if self.allows(known, np.empty((1, 0), np.int64), comes)[0]:
            return np.append(known, joins)
        loose = np.setdiff1d(known, chosen)
        if len(loose):
            goes = loose[:, None]
            fits = self.allows(known, goes, np.broadcast_to(comes, goes.shape))
            for place in np.flatnonzero(fits).tolist():
                trial = np.append(known[known != loose[place]], joins)
                if self.keeps(trial):
                    return trial
        return self.best(np.zeros(self.m), np.append(chosen, joins))

    def equals(self, row: int) -> Mask:
        """Return the candidates that no limit tells from one, and that cost as much or more, shape (m,)."""
        if self.alike is not None:
            return np.asarray(np.arange(self.m) == row)
        same = np.ones(self.m, bool)
        for one in self.limits:
            same &= one.codes == one.codes[row]
        if self.costs is not None:
            same &= self.costs >= self.costs[row]
        return same


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
