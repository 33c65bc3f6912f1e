"""Branch and bound for max-sum over few candidates: the best set, or a proof that a given one is best.

Each node bounds the sets below it by the concave relaxation (ARCHITECTURE.md, section 1), tightened by a
diagonal shift: on sets x_i² = x_i, so δ_i (x_i² - x_i) may be added to the summed form, and as long as it
stays concave the bound only falls. The shift is tuned by subgradients inside the largest that keeps the
matrix semidefinite.

Below, M = -W: on vectors that sum to zero it is the similarity matrix, and positive semidefinite. With some
members fixed the sets of a node have the same form: f(S ∪ T) = f(S) + Σ_j (linear_j + 2t Σ_{i∈S} W_ij) + f's
quadratic part over T.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.constraints import Constraints
from setwise.solvers.relaxation import _project, quadratic_program
from setwise.top import top_k

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass
class MaxSumTree:
    """A branch and bound search over m candidates for the k of largest f(x) = linear·x + weight·xᵀWx.

    Attributes
    ----------
    linear : ndarray of shape (m,), float64
    distances : ndarray of shape (m, m), float64
        W, with zero diagonal.
    best : ndarray of shape (k,), int64
        The best feasible set known, as positions.
    value : float
        Its f.
    rounding : float
        How far f, and a node's bound, may be off: a bound within this of the best set known closes a node.
    codes, quota
        Group codes of the candidates and how many of each may be chosen; None without groups.
    nodes : int
        Nodes looked at.
    upper : float
        Once `search` ends: no feasible set has a larger f, rounding allowed for.
    ends : float
        When to give up, on the clock of `time.monotonic`.
    """

    linear: Vector
    distances: NDArray[np.float64]
    weight: float
    k: int
    best: Rows
    value: float
    rounding: float = 0.0
    codes: Rows | None = None
    quota: int = 0
    nodes: int = 0
    upper: float = np.inf
    ends: float = np.inf
    tell: Callable[[str], None] | None = None
    _open: list[float] = field(default_factory=list)

    def search(self, fixed: Rows, candidates: Rows, limit: int, *, tune: int = 24) -> bool:
        """Search below a node, depth first; returns whether the best set is proven best.

        Parameters
        ----------
        fixed : ndarray of int64
            Positions that are in every set.
        candidates : ndarray of int64
            Positions that may be.
        limit : int
            Give up after this many nodes; `upper` then holds what is proven.
        tune : int
            Rounds of tuning the root's diagonal shift.
        """
        # Depth first: a stack of open nodes, the most promising child on top.
        if self._late():
            return False
        root = self._bound(fixed, candidates, None, tune=tune)
        if root is None:
            self.upper = self._target() + self.rounding
            return True
        bound, candidates, x, shift = root
        self.upper = bound
        stack = [(bound, fixed, candidates, x, shift)]
        while stack:
            if self.nodes >= limit or self._late():  # no set is worth more than the best open node's bound
                self.upper = max([self._target(), *[entry[0] for entry in stack]]) + self.rounding
                return False
            bound, fixed, candidates, x, shift = stack.pop()
            if bound <= self._target():
                continue
            # Two children: without the candidate, and with it.
            place = self._branch_on(candidates, x)
            chosen = candidates[place]
            rest = np.delete(candidates, place)
            shift_rest = np.delete(shift, place)
            x_rest = np.delete(x, place)
            children = []
            for joined in (False, True):
                held = np.append(fixed, chosen) if joined else fixed
                below = self._below(held, rest, x_rest, shift_rest, joined)
                if below is not None:
                    children.append(below)
            children.sort(key=lambda entry: entry[0])
            stack.extend(children)
            if self.tell is not None and self.nodes % 64 < 2:
                self.tell(f"branch and bound: {self.nodes} nodes, {len(stack)} open")
        self.upper = self._target() + self.rounding
        return True

    def _late(self) -> bool:
        """Return whether the time for the search is over."""
        return time.monotonic() >= self.ends

    def _target(self) -> float:
        """Return the bound at which a node cannot hold a better set."""
        return self.value + self.rounding

    def _below(
        self, fixed: Rows, candidates: Rows, x: Vector, shift: Vector, joined: bool
    ) -> tuple[float, Rows, Rows, Vector, Vector] | None:
        """Return a child node with its bound; None if nothing better can be below."""
        if self.codes is not None and joined:
            full = np.bincount(self.codes[fixed], minlength=int(self.codes.max()) + 1) >= self.quota
            keep = ~full[self.codes[candidates]]
            candidates, x, shift = candidates[keep], x[keep], shift[keep]
        free = self.k - len(fixed)
        if len(candidates) < free:
            return None
        bounded = self._bound(fixed, candidates, (x, shift), tune=0)
        if bounded is None:
            return None
        bound, candidates, x, shift = bounded
        return bound, fixed, candidates, x, shift

    def _bound(
        self, fixed: Rows, candidates: Rows, start: tuple[Vector, Vector] | None, *, tune: int
    ) -> tuple[float, Rows, Vector, Vector] | None:
        """Bound the sets of a node; drop candidates that cannot be in a better one; offer sets found.

        Returns None when the node holds nothing better than the best set known.
        """
        self.nodes += 1
        free = self.k - len(fixed)
        base = self.linear
        offset = 0.0
        if len(fixed):  # what the fixed members are worth by themselves, and what they add to the others
            pull = self.distances[:, fixed].sum(axis=1)
            base = self.linear + 2 * self.weight * pull
            offset = float(self.linear[fixed].sum() + self.weight * pull[fixed].sum())
        if free == 0:
            self._offer(fixed, offset)
            return None
        x: Vector | None = None
        shift: Vector | None = None
        if start is not None:
            x, _ = (
                _project(start[0] + 0.0, free, 0.0)
                if free < len(candidates)
                else (np.ones(len(candidates)), 0.0)
            )
            shift = start[1]
        # Bound, drop what cannot be in a better set, and bound again while much is dropped.
        while True:
            m = len(candidates)
            if m < free:
                return None
            if m == free:
                self._offer(np.concatenate([fixed, candidates]), None)
                return None
            linear = base[candidates]
            matrix = -self.distances[np.ix_(candidates, candidates)]
            if x is None:
                x = np.zeros(m)
                x[top_k(linear, free)] = 1.0
            if shift is None:
                shift, x, rounds = np.zeros(m), x, tune
                if tune:
                    shift, x = self._tune(linear, matrix, free, x, rounds)
            else:
                x = _relaxed(linear, matrix, self.weight, free, x, shift)
            gradient, bound = self._evaluate(linear, matrix, free, x, shift)
            bound += offset
            # Two sets to offer: the vertex of largest gradient, and x's heaviest (ties by the gradient).
            order = top_k(gradient, free + 1)
            self._offer(np.concatenate([fixed, candidates[order[:free]]]), None)
            heavy = top_k(x + 1e-9 * gradient / (float(np.abs(gradient).max()) + 1e-300), free)
            self._offer(np.concatenate([fixed, candidates[heavy]]), None)
            target = self._target()
            if bound <= target:
                return None
            # Reduced-cost fixing: with j in place of the least of the vertex, bound - (kth - gradient_j).
            kth = float(gradient[order[free - 1]])
            keep = bound - (kth - gradient) > target
            if keep.all() or (keep.sum() > 0.9 * m and not tune):
                break
            candidates, shift_kept, x_kept = candidates[keep], shift[keep], x[keep]
            if len(candidates) <= free:
                if len(candidates) == free:
                    self._offer(np.concatenate([fixed, candidates]), None)
                return None
            x, _ = _project(x_kept, free, 0.0)
            shift = None if tune else shift_kept
        return bound, candidates, x, shift

    def _evaluate(
        self, linear: Vector, matrix: Vector, free: int, x: Vector, shift: Vector
    ) -> tuple[Vector, float]:
        """Return the shifted form's gradient at x and the bound it proves.

        The shifted form is h(x) = (linear - tδ)·x - t xᵀ(M - diag δ)x: f on sets, and concave, so that
        h(s) <= h(x) + ∇h(x)·(s - x), which is largest at the vertex of the `free` largest gradients.
        """
        x = x * (free / float(x.sum()))  # h is concave where Σx = free alone, to the last digit
        pulled = matrix @ x
        slope = linear - self.weight * shift
        gradient = slope - 2 * self.weight * (pulled - shift * x)
        here = float(slope @ x) - self.weight * float(x @ pulled - (shift * x) @ x)
        front = top_k(gradient, free)
        return gradient, here + float(gradient[front].sum()) - float(gradient @ x)

    def _tune(
        self, linear: Vector, matrix: Vector, free: int, x: Vector, rounds: int
    ) -> tuple[Vector, Vector]:
        """Return the diagonal shift with the least bound found, and the relaxation's solution under it.

        At a fixed x, h falls by t x_i (1 - x_i) with each δ_i: a subgradient of the bound in δ, largest where
        x is most fractional. Steps along it, of falling length, are scaled back to where M - diag δ is
        semidefinite.
        """
        m = len(linear)
        none = np.zeros(m)
        x = _relaxed(linear, matrix, self.weight, free, x, none)
        best = (self._evaluate(linear, matrix, free, x, none)[1], none, x)
        room = _room(matrix)
        if room is None:
            return none, x
        inverse, own = room
        shift = _fit(inverse, own)
        lowest = self._target()
        for number in range(rounds):
            if self._late():
                break
            x = _relaxed(linear, matrix, self.weight, free, x, shift)
            bound = self._evaluate(linear, matrix, free, x, shift)[1]
            if bound < best[0]:
                best = (bound, shift, x)
            if best[0] <= lowest:
                break
            pushed = x * (1 - x)
            size = float(pushed.max())
            if size < 1e-9:
                break
            shift = _fit(
                inverse,
                shift + (float(own.max()) * 0.5 / (1 + 0.3 * number) / size) * pushed * own / own.max(),
            )
        return best[1], best[2]

    def _branch_on(self, candidates: Rows, x: Vector) -> int:
        """Return the position of the candidate to decide next: the heaviest undecided one."""
        undecided = np.where(x < 1 - 1e-7, x, -1.0)
        place = int(undecided.argmax())
        if undecided[place] <= 1e-9:
            place = int(x.argmax())
        return place

    def _offer(self, chosen: Rows, value: float | None) -> None:
        """Take a set as the best if it is feasible and better."""
        if len(chosen) != self.k:
            return
        if self.codes is not None and np.bincount(self.codes[chosen]).max() > self.quota:
            return
        if value is None:
            among = self.distances[np.ix_(chosen, chosen)]
            value = float(self.linear[chosen].sum()) + self.weight * float(among.sum())
        if value > self._target():
            self.best, self.value = chosen.copy(), value


def _relaxed(linear: Vector, matrix: Vector, weight: float, free: int, x: Vector, shift: Vector) -> Vector:
    """Maximize the shifted relaxation."""
    if shift.any():
        matrix = matrix - np.diag(shift)
    return quadratic_program(linear - weight * shift, matrix, weight, free, x)


def _room(matrix: Vector) -> tuple[NDArray[np.float64], Vector] | None:
    """Return the inverse of the similarity matrix (held stiff along 1) and each entry's own largest shift.

    Only vectors that sum to zero count (Σx is fixed), so M is centered and made large along 1. Of entry i
    alone, 1 / (M⁻¹)_ii can be taken off the diagonal (Schur complement). None where M is singular: no room.
    """
    m = len(matrix)
    centered = matrix - matrix.mean(axis=1)[:, None]
    centered -= matrix.mean(axis=1)
    centered += matrix.mean()
    stiff = float(np.abs(np.diag(centered)).max())
    centered += 1e3 * stiff / m
    values, vectors = np.linalg.eigh(centered)
    if values[0] <= 1e-7 * stiff:
        return None
    inverse = (vectors / values) @ vectors.T
    return inverse, 1.0 / np.diag(inverse)


def _fit(inverse: NDArray[np.float64], wanted: Vector) -> Vector:
    """Return the largest multiple of a shift that keeps the matrix positive semidefinite.

    M - c diag(w) is that up to c = 1 / λ_max(diag(√w) M⁻¹ diag(√w)).
    """
    root = np.sqrt(wanted)
    scaled = root[:, None] * inverse * root
    largest = float(np.linalg.eigvalsh(scaled)[-1])
    return wanted * ((1 - 1e-9) / largest)


def tree_of(
    linear: Vector,
    distances: NDArray[np.float64],
    weight: float,
    constraints: Constraints,
    rows: Rows,
    best: Rows,
    rounding: float,
) -> MaxSumTree:
    """Return a search over some candidates (rows), starting from the best set known (also rows)."""
    place = {int(row): position for position, row in enumerate(rows)}
    positions = np.array([place[int(row)] for row in best], np.int64)
    among = distances[np.ix_(positions, positions)]
    value = float(linear[positions].sum()) + weight * float(among.sum())
    codes = None if constraints.codes is None else constraints.codes[rows]
    return MaxSumTree(
        linear, distances, weight, len(best), positions, value, rounding, codes, constraints.quota
    )


def warn_unproven(nodes: int, seconds: float) -> None:
    """Say that the search gave up, after so many nodes or the seconds that it had."""
    checks.warn(
        f"exact: gave up after {nodes} nodes; the set is the best found (in time_limit={seconds:g} s), and "
        "its certificate says how far it can be from the best possible"
    )
