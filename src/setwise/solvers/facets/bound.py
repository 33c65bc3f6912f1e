"""The bound of facets by cutting planes, and branch and bound below it; see `form`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from setwise.bounded import Bounded
from setwise.solvers.branching import Tree
from setwise.solvers.facets.form import FacetsForm
from setwise.solvers.moving import improved
from setwise.top import top_k

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]

#: Candidates that the linear program looks at first; those that its prices do not bar join.
LIKELY = 256

#: A cut whose weight in the linear program has been 0 for so many rounds is left out.
IDLE = 12


@dataclass
class Tangent:
    """A tangent, and the bound it proves; see `branching.Bounding`.

    center : ndarray of shape (m,), where it touches the quadratic part; levels : ndarray of shape (J, F), of
    the coverage; x : ndarray of shape (m,), the point of the linear program; ahead : what bounds the
    tangent's sum over a set; upper : no feasible set is worth more.
    """

    center: Vector
    levels: Vector
    x: Vector
    ahead: Bounded
    upper: float


@dataclass
class _Cut:
    """Tangents at a point: of the quadratic part, and of each facet."""

    center: Vector
    levels: Vector
    idle: int = 0


class Planes:
    """The tangents gathered so far; they hold for all sets, and so for every node of a search.

    Parameters
    ----------
    starts : list of positions of sets
        Where the first tangents touch.

    Attributes
    ----------
    active : ndarray of int64
        The candidates that the linear program looks at.
    """

    def __init__(self, form: FacetsForm, starts: list[Rows]) -> None:
        self.form = form
        self.cuts: list[_Cut] = []
        worth = form.linear + form.cover * form.facets.sum(axis=1)
        likely = top_k(worth, min(len(worth), LIKELY))
        self.active: Rows = np.unique(np.concatenate([likely, *starts, form.held.feasible.include]))
        for start in starts:
            x = np.zeros(len(form.held))
            x[start] = 1.0
            self.add(x)

    def add(self, x: Vector) -> None:
        """Take in the tangents at a point."""
        self.cuts.append(_Cut(x, self.form.levels_at(x)))

    def tangent(self, center: Vector, levels: Vector) -> tuple[Vector, float]:
        """Return the slope and the constant of the linear function that a point and levels give."""
        form = self.form
        pulled = form.near @ center
        slope = form.linear + form.pair - 2 * form.pair * pulled
        slope = slope + form.slopes(form.facets, levels).sum(axis=1)
        constant = form.pair * float(center @ pulled) + float(form.offsets(levels).sum())
        return slope, constant

    def bounded(
        self,
        center: Vector,
        levels: Vector,
        x: Vector,
        lower: Vector | None = None,
        upper: Vector | None = None,
    ) -> Tangent:
        """Return the bound that a point and levels prove, for sets between lower and upper."""
        slope, constant = self.tangent(center, levels)
        ahead = self.form.held.feasible.bound(slope, lower, upper)
        total = constant + ahead.upper
        total += self.form.slack
        return Tangent(center, levels, x, ahead, total)

    def lowered(
        self,
        *,
        steps: int,
        lower: Vector | None = None,
        upper: Vector | None = None,
        parent: Tangent | None = None,
        enough: float = -np.inf,
    ) -> Tangent:
        """Lower the bound by Kelley's cutting planes: the best point of all gets tangents of its own."""
        cut = self.cuts[-1]
        best = self.bounded(cut.center, cut.levels, cut.center, lower, upper)
        if parent is not None:
            above = self.bounded(parent.center, parent.levels, parent.x, lower, upper)
            best = above if above.upper < best.upper else best
        for _ in range(steps):
            if best.upper <= enough or best.upper == -np.inf:
                break
            found = self._program(lower, upper)
            if found is None:
                break
            x, top, point = found
            if point.upper < best.upper:
                best = point
            else:
                best = Tangent(best.center, best.levels, x, best.ahead, best.upper)
            joins = np.setdiff1d(np.flatnonzero(point.ahead.reduced > 0.0), self.active)
            if len(joins):  # not barred by the prices: the program looks at them, too
                leading = top_k(point.ahead.reduced[joins], min(len(joins), LIKELY))
                self.active = np.union1d(self.active, joins[leading])
            if not len(joins) and top - self._value_at(x) <= 1e-9 * max(1e-6, abs(top)):
                break
            self.add(x)
        return best

    def _value_at(self, x: Vector) -> float:
        """Return the concave value at a point."""
        form = self.form
        slope, constant = self.tangent(x, form.levels_at(x))
        return float(slope @ x) + constant

    def _program(self, lower: Vector | None, upper: Vector | None) -> tuple[Vector, float, Tangent] | None:
        """Maximize the least of the tangents over the relaxed feasible sets.

        Returns
        -------
        x : ndarray of shape (m,)
        top : float
            Its value there.
        point : Tangent
            The tangent that its prices mix, with the bound that proves.
        """
        from scipy import optimize, sparse

        form, feasible = self.form, self.form.held.feasible
        m, count = len(form.held), form.facets.shape[1]
        low_x = np.zeros(m) if lower is None else lower
        high_x = np.ones(m) if upper is None else upper
        some = self.active
        # Variables: x of the candidates, then what the quadratic part and each facet are worth.
        rows, sides = [], []
        for cut in self.cuts:
            pulled = form.near @ cut.center
            quadratic = -2 * form.pair * pulled[some]
            facets = form.slopes(form.facets[some], cut.levels)
            rows += [np.append(-quadratic, _unit(0, count + 1))]
            rows += [np.append(-facets[:, one], _unit(one + 1, count + 1)) for one in range(count)]
            sides += [form.pair * float(cut.center @ pulled), *form.offsets(cut.levels)]
        matrix, low, high = feasible.system()
        part = sparse.hstack([matrix[:, some], sparse.csr_array((len(low), count + 1))], format="csr")
        over, under = np.isfinite(high), np.isfinite(low) & (low > 0)
        table = np.array(rows)
        scale = float(np.abs(table).max(initial=0.0)) or 1.0
        target = np.append(form.linear[some] + form.pair, np.ones(count + 1))
        solved = optimize.linprog(
            -target,
            A_ub=sparse.vstack([sparse.csr_array(table), part[over], -part[under]], format="csr"),
            b_ub=np.concatenate([sides, high[over], -low[under]]),
            bounds=np.concatenate(
                [
                    np.stack([low_x[some], high_x[some]], axis=1),
                    np.tile([-1e6 * scale, 1e6 * scale], (count + 1, 1)),
                ]
            ),
            method="highs",
        )
        if solved.status != 0:
            return None
        x = np.zeros(m)
        x[some] = np.clip(solved.x[: len(some)], low_x[some], high_x[some])
        prices = np.maximum(-solved.ineqlin.marginals[: len(rows)], 0.0).reshape(len(self.cuts), count + 1)
        sums = prices.sum(axis=0)
        if not (sums > 0.5).all():
            return None
        prices = prices / sums
        center = np.asarray(prices[:, 0] @ np.stack([cut.center for cut in self.cuts]))
        levels = np.einsum("cf,cjf->jf", prices[:, 1:], np.stack([cut.levels for cut in self.cuts]))
        for cut, price in zip(self.cuts, prices.max(axis=1), strict=True):
            cut.idle = 0 if price > 1e-9 else cut.idle + 1
        self.cuts = [cut for cut in self.cuts if cut.idle < IDLE]
        return x, float(-solved.fun), self.bounded(center, levels, x, lower, upper)


def search(planes: Planes, chosen: Rows, root: Tangent, *, limit: int, steps: int) -> tuple[Rows, float, int]:
    """Look for a better set by branch and bound below a bound; see `branching.search`."""
    form = planes.form

    def below(lower: Vector, upper: Vector, parent: Tangent, enough: float) -> Tangent:
        return planes.lowered(steps=steps, lower=lower, upper=upper, parent=parent, enough=enough)

    tree = Tree(
        form.held.feasible,
        form.value,
        lambda one: improved(form, one),
        below,
        form.gains(chosen),
        form.slack,
    )
    best, upper, nodes = tree.search(chosen, root, limit=limit, ends=form.held.problem.ends)
    return chosen if best is None else best, upper, nodes


def _unit(place: int, count: int) -> Vector:
    """Return a vector of zeros with a one."""
    found = np.zeros(count)
    found[place] = 1.0
    return found
