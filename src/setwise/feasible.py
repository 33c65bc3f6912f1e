"""Which sets of some candidates are feasible: the best by summed scores, a bound on it, and moves.

The feasible sets are the 0/1 points x of low <= A x <= high: one row for the size, one for the budget, one
for each label with a limit, and one for each clique of candidates that are too much alike. The best by summed
scores is
a mixed-integer program (HiGHS). Any multipliers of the rows bound it from above, in float64, whatever
the solver's tolerances (weak duality); those of the linear program bound it well.
"""

from __future__ import annotations

import math

import numpy as np

from setwise.polytope import Mask, Places, Polytope, Vector
from setwise.top import top_k

#: A program is solved again at most so often for sets that its tolerance lets through.
CUTS = 64


def spent(costs: Vector) -> float:
    """Return what costs sum to, rounded once: their order, and that of the rows, decides nothing."""
    return math.fsum(costs.tolist())


class Infeasible(ValueError):
    """No set of the candidates at hand satisfies everything."""


class Feasible(Polytope):
    """The feasible sets of m candidates, which are positions here; parameters are those of `Polytope`."""

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
