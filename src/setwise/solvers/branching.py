"""Branch and bound over feasible sets, whatever bounds a node."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from setwise.bounded import Bounded
from setwise.feasible import Feasible

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]


class Bounding(Protocol):
    """What bounds the sets below a node."""

    @property
    def x(self) -> Vector:
        """A point of the relaxation, shape (m,)."""

    @property
    def upper(self) -> float:
        """What no such set is worth more than."""

    @property
    def ahead(self) -> Bounded:
        """What shows it, with what holding a candidate lowers the bound by."""


Node = TypeVar("Node", bound=Bounding)


@dataclass(frozen=True)
class Tree(Generic[Node]):
    """A search for the best feasible set.

    Attributes
    ----------
    feasible : Feasible
        The sets, of m candidates.
    value : callable (positions) -> float
        What a set is worth.
    improved : callable (positions) -> positions
        A set that is worth no less.
    below : callable (lower, upper, parent, enough) -> node
        Bounds the sets between lower and upper, of shape (m,), given the node above; may stop where the bound
        is at most `enough`.
    worth : ndarray of shape (m,)
        Where every weight is whole, the one of largest worth is decided next.
    slack : float
        What values and bounds may be off by: less is no difference.
    """

    feasible: Feasible
    value: Callable[[Rows], float]
    improved: Callable[[Rows], Rows]
    below: Callable[[Vector, Vector, Node, float], Node]
    worth: Vector
    slack: float

    def search(
        self,
        chosen: Rows | None,
        root: Node,
        *,
        limit: int,
        ends: float = np.inf,
        floor: float = -np.inf,
        upper: Vector | None = None,
    ) -> tuple[Rows | None, float, int]:
        """Look for a better set.

        Parameters
        ----------
        chosen : ndarray of int64, optional
            The best set known.
        root : node
            Bounds all sets.
        limit : int
            At most so many nodes are looked at.
        ends : float
            When to give up, on the clock of `time.monotonic`.
        floor : float
            Sets worth no more than this are of no interest.
        upper : ndarray of shape (m,), optional
            0 for candidates that are out of the set.

        Returns
        -------
        chosen : ndarray of int64 or None
            The best set found.
        upper : float
            No feasible set is worth more, but for those of no interest.
        nodes : int
        """
        feasible, m = self.feasible, self.feasible.m
        best, nodes = chosen, 0
        value = floor if chosen is None else max(self.value(chosen), floor)

        def target() -> float:
            return value + self.slack

        def consider(trial: Rows) -> None:
            nonlocal best, value
            if feasible.keeps(trial) and self.value(trial) > target():
                best = self.improved(trial)
                value = self.value(best)

        lower, upper = np.zeros(m), np.ones(m) if upper is None else upper
        lower[feasible.include] = 1.0
        stack = [(root.upper, lower, upper, root)]
        while stack:
            bound, lower, upper, point = stack.pop()
            if bound <= target():
                continue
            if nodes >= limit or time.monotonic() >= ends:
                stack.append((bound, lower, upper, point))
                break
            # What the point bars from a better set, with the bound that it proves itself, not one from above.
            gone = (point.upper + np.minimum(point.ahead.reduced, 0.0) <= target()) & (lower < 0.5)
            upper = np.where(gone, 0.0, upper)
            undecided = np.flatnonzero((upper > 0.5) & (lower < 0.5))
            consider(np.flatnonzero(point.x > 0.5))
            if len(undecided) == 0:
                consider(np.flatnonzero(lower > 0.5))
                continue
            fraction = np.minimum(point.x, 1 - point.x)[undecided]
            if fraction.max() > 1e-6:
                place = int(undecided[fraction.argmax()])
            else:
                likely = np.where(point.x[undecided] > 0.5, self.worth[undecided], -np.inf)
                place = int(undecided[likely.argmax()])
            children = []
            for joined in (False, True):
                low, high = lower.copy(), upper.copy()
                (low if joined else high)[place] = float(joined)
                if joined:
                    held = np.flatnonzero(low > 0.5)
                    high = np.where(feasible.open(held) | (low > 0.5), high, 0.0)
                node = self.below(low, high, point, target())
                nodes += 1
                if min(bound, node.upper) > target():
                    children.append((min(bound, node.upper), low, high, node))
            children.sort(key=lambda entry: entry[0])
            stack.extend(children)
        return best, max([target(), *[entry[0] for entry in stack]]), nodes
