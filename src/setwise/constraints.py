"""Constraints on a set: members it must have or must not, limits on labels, and what it may cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.feasible import Feasible, spent
from setwise.ids import as_list
from setwise.limits import Limit, as_labels, codes_of, limits_of
from setwise.relevance import as_relevance
from setwise.request import Request, Rows
from setwise.top import top_k


class Constraints:
    """What every selected set has to satisfy, over the candidates that are not barred.

    Parameters
    ----------
    n : int
        Number of candidates.
    request : Request
        Its `include` and `exclude` are rows, its `groups` a label a candidate (strings or numbers), or with
        limits a mapping of names to such.
    never : ndarray of int64, optional
        Rows that are barred because their relevance is -inf.

    Attributes
    ----------
    n, k : int
        Candidates that are left, and the size of the set; where it has none, the most there may be.
    sized : bool
        Whether sets have exactly k members.
    kept : ndarray of int64, ascending, or None
        The rows that `exclude` leaves; None for all. What follows counts these alone.
    include : ndarray of int64
        Rows that must be in the set, selected first, in this order.
    codes : ndarray of shape (n,), int64, or None
        The group of each.
    quota, cap : int, str
        At most this many of each group, and what that limit is called.
    limits : list of Limit
        How many of each label there must be, and may: what `codes` and `quota` do not say.
    costs : ndarray of shape (n,), float64, or None
        What each costs, above 0.
    budget : float
        The most that a set may cost.

    Raises
    ------
    TypeError
        Rows are no integers, or a label is a list or another thing that is not looked up.
    ValueError
        Rows are out of range or repeated, labels of another number than candidates or missing (None, NaN,
        NaT), costs are not above 0, or no set satisfies everything.
    """

    def __init__(self, n: int, request: Request, never: NDArray[np.int64] | None = None) -> None:
        self.sized = request.sized
        include = _as_rows("include", request.include, n)
        exclude = _as_rows("exclude", request.exclude, n)
        if never is not None and len(never):
            both = np.isin(include, never)
            if both.any():
                raise ValueError(f"include: row {include[both.argmax()]} has relevance -inf, which is never")
            exclude = np.union1d(exclude, never)
        left = ""
        self.kept: NDArray[np.int64] | None = None
        if len(exclude):
            both = np.isin(include, exclude)
            if both.any():
                raise ValueError(f"include: row {include[both.argmax()]} is in exclude, too")
            self.kept = np.delete(np.arange(n), exclude)
            include = np.searchsorted(self.kept, include)
            left = " that exclude leaves" if never is None or not len(never) else " that are not barred"
        self.n = n - len(exclude)
        self.k = self.n if request.k is None else request.k
        if not self.sized:
            if left and self.n == 0:  # with a size, the next line says so
                infinite = never is not None and len(never)
                what = "relevance: -inf and exclude leave" if infinite else "exclude: it leaves"
                raise ValueError(f"{what} no item; exclude fewer")
            self.k = min(self.k, self.n)
        if self.k > self.n:
            raise ValueError(
                f"k: {self.k} is more than the {self.n} candidates{left}; ask for at most {self.n}"
            )
        if len(include) > self.k:
            raise ValueError(f"include: {len(include)} rows do not fit into k = {self.k}")
        self.include = include
        self.codes: NDArray[np.int64] | None = None
        self.quota, self.cap = 0, request.cap
        self.limits: list[Limit] = []
        self.costs: NDArray[np.float64] | None = None
        self.budget = np.inf if request.budget is None else request.budget
        if request.wishes:
            self._read_wishes(request, n)
        elif request.max_per_group is not None:
            self.quota = request.max_per_group
            named = "groups" if self.cap == "max_per_group" else f"groups[{self.cap!r}]"
            self._read_groups(as_labels(request.groups, n, named), request.cap_argument)

    def _read_wishes(self, request: Request, n: int) -> None:
        """Take in limits and costs, and refuse what no set satisfies."""
        named = limits_of(request.groups, request.limits, request.shares, n, self.k)
        if request.max_per_group is not None:
            names, codes = codes_of(as_labels(request.groups, n))
            size = len(names)
            most = np.full(size, request.max_per_group)
            named.append(Limit(request.cap, names, codes, np.zeros(size, np.int64), most))
        self.limits = [one._replace(codes=self.left(one.codes)) for one in named]
        if request.costs is not None:
            costs = self.left(as_relevance(request.costs, n, "costs"))
            if not (costs > 0).all():
                row = int(np.argmin(costs > 0))
                row = row if self.kept is None else int(self.kept[row])
                raise ValueError(f"costs: row {row} costs {costs.min():g}; a cost is above 0")
            self.costs = costs
        self._check_wishes(request.argument("budget"))

    def _check_wishes(self, budget: str) -> None:
        """Refuse limits and a budget that no set keeps, and name them."""
        size = f"of k = {self.k}" if self.sized else f"of at most {self.k}"
        for one in self.limits:
            counts = np.bincount(one.codes, minlength=len(one.most))
            held = np.bincount(one.codes[self.include], minlength=len(one.most))
            what = one.name if one.name == "max_per_group" else f"limits: {one.name}"
            for label, short in zip(one.labels, counts < one.least, strict=True):
                if short:
                    place = one.labels.index(label)
                    raise ValueError(
                        f"{what}: {one.least[place]} of {label!r} must be in the set, and there are "
                        f"{counts[place]}"
                    )
            if (held > one.most).any():
                place = int((held - one.most).argmax())
                raise ValueError(
                    f"include: {held[place]} rows of {one.name} {one.labels[place]!r}, above its limit of "
                    f"{one.most[place]}"
                )
            room = int(np.minimum(counts, one.most).sum())
            if self.sized and room < self.k:
                raise ValueError(f"{what}: only {room} candidates may be chosen, fewer than k = {self.k}")
            needed = int(np.maximum(one.least, held).sum())
            if needed > self.k:
                raise ValueError(f"{what}: {needed} candidates must be in a set {size}")
        if self.costs is not None:
            least = spent(self.costs[self.include])
            if least > self.budget:
                raise ValueError(f"{budget}: the rows of include cost {least:g}, above {self.budget:g}")
            if len(self.include) == 0 and self.costs.min() > self.budget:
                least = self.costs.min()
                raise ValueError(
                    f"{budget}: {self.budget:g} buys nothing; the cheapest candidate costs {least:g}"
                )
        if len(self.limits) > (self.costs is None):
            feasible = self.among(np.arange(self.n))
            if feasible.best(np.zeros(self.n) if self.costs is None else -self.costs) is None:
                names = ", ".join(dict.fromkeys(one.name for one in self.limits))
                within = "" if self.costs is None else f" within {budget} = {self.budget:g}"
                raise ValueError(
                    f"limits: each of {names} can be kept, but not all by one set {size}{within}; loosen one"
                )

    def reference_size(self, request: Request) -> float:
        """Return κ, the size at which a set of any size is worth κ times one of that size.

        k where it is given, else the budget over the mean cost, at least 2.
        """
        if request.reference_size is not None:
            return request.reference_size
        if request.k is not None:
            return float(request.k if self.sized else max(2, request.k))
        assert self.costs is not None
        return max(2.0, self.budget / float(self.costs.mean()))

    def among(self, rows: NDArray[np.int64], alike: NDArray[np.bool_] | None = None) -> Feasible:
        """Return the feasible sets among some candidates, the must-have ones among them.

        Parameters
        ----------
        rows : ndarray of shape (m,), int64
        alike : ndarray of shape (m, m), bool, optional
            Which of them no set may have both of.
        """
        order = np.argsort(rows)
        limits = self.limits
        if self.codes is not None:
            size = int(self.codes.max()) + 1
            least, most = np.zeros(size, np.int64), np.full(size, self.quota)
            limits = [Limit(self.cap, list(range(size)), self.codes, least, most)]
        return Feasible(
            len(rows),
            self.k if self.sized else len(self.include),
            self.k,
            order[np.searchsorted(rows, self.include, sorter=order)],
            [one.of(rows) for one in limits],
            None if self.costs is None else self.costs[rows],
            self.budget,
            alike,
        )

    def traits(self, row: Any) -> bytes:
        """Return what the constraints tell a candidate by."""
        parts = [] if self.codes is None else [self.codes[row]]
        parts += [one.codes[row] for one in self.limits]
        return b"".join(
            each.tobytes() for each in ([*parts, self.costs[row]] if self.costs is not None else parts)
        )

    def _read_groups(self, labels: NDArray[Any] | list[Any], argument: str) -> None:
        """Turn labels into codes, and check that enough candidates may be chosen."""
        names, codes = codes_of(labels)
        self.codes = self.left(codes)
        sizes = np.bincount(self.codes)
        room = int(np.minimum(sizes, self.quota).sum())
        if room < self.k:
            raise ValueError(
                f"{argument}: with at most {self.quota} of each of {np.count_nonzero(sizes)} groups only "
                f"{room} candidates may be chosen, fewer than k = {self.k}"
            )
        held = np.bincount(self.codes[self.include], minlength=len(names))
        if len(held) and held.max() > self.quota:
            raise ValueError(
                f"include: {held.max()} rows of group {names[held.argmax()]!r}, above {argument}"
            )

    def left(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return what belongs to the candidates that are left, of what belongs to all."""
        return values if self.kept is None else values[self.kept]

    @property
    def any(self) -> bool:
        """Whether there is any constraint beside the size."""
        return len(self.include) > 0 or self.codes is not None

    def best(
        self, scores: NDArray[Any], ids: NDArray[np.int64] | None = None, k: int | None = None
    ) -> NDArray[np.int64]:
        """Return the positions of the feasible set with the largest sum of scores, largest first.

        Must-have rows come in whatever their score. Greedy by score is exact here: the feasible sets
        are the bases of a (truncated partition) matroid. Ties by lowest position.

        Parameters
        ----------
        scores : ndarray of shape (m,)
        ids : ndarray of shape (m,), optional
            The candidates that the scores belong to; default all n in order.
        k : int, optional
            Size of the set, by default the constraints' own.
        """
        k = self.k if k is None else k
        if not self.any:
            return top_k(scores, k)
        rows = np.arange(self.n) if ids is None else ids
        forced = np.flatnonzero(np.isin(rows, self.include)) if len(self.include) else np.empty(0, np.int64)
        if self.codes is None:
            free = np.delete(np.arange(len(rows)), forced)
            chosen = np.concatenate([forced, free[top_k(scores[free], k - len(forced))]])
            return chosen[np.argsort(-scores[chosen], kind="stable")]
        size = min(len(rows), 4 * k + 64)
        while True:
            front = np.unique(np.concatenate([forced, top_k(scores, size)]))
            keyed = scores[front].astype(np.float64)
            keyed[np.isin(front, forced)] = np.inf
            front = front[np.argsort(-keyed, kind="stable")]
            kept = front[self.rank_in_group(rows[front]) < self.quota][:k]
            if len(kept) == k or size == len(rows):
                return kept[np.argsort(-scores[kept], kind="stable")]
            size = min(len(rows), size * 4)

    def rank_in_group(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many earlier rows of the list share each row's group, shape (m,)."""
        if self.codes is None:
            return np.zeros(len(rows), np.int64)
        codes = self.codes[rows]
        order = np.argsort(codes, kind="stable")
        ordered = codes[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        lengths = np.diff(np.r_[starts, len(ordered)])
        rank = np.empty(len(rows), np.int64)
        rank[order] = np.arange(len(rows)) - np.repeat(starts, lengths)
        return rank

    def blocked(self, chosen: NDArray[np.int64], rows: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
        """Return which rows a set of chosen ones leaves no room for (their group is full)."""
        codes = self.codes
        size = self.n if rows is None else len(rows)
        if codes is None or len(chosen) == 0:
            return np.zeros(size, np.bool_)
        full = np.bincount(codes[chosen], minlength=int(codes.max()) + 1) >= self.quota
        return np.asarray(full[codes if rows is None else codes[rows]])

    def feasible(self, chosen: NDArray[np.int64]) -> bool:
        """Return whether a set satisfies every constraint."""
        if len(np.unique(chosen)) != self.k or not np.isin(self.include, chosen).all():
            return False
        return self.codes is None or bool(np.bincount(self.codes[chosen]).max() <= self.quota)


def _as_rows(name: str, given: Rows, n: int) -> NDArray[np.int64]:
    """Return row numbers as int64, each of them a row there is, none twice."""
    if isinstance(given, tuple) and not given:
        return np.empty(0, np.int64)
    if not isinstance(given, np.ndarray) or given.dtype.kind not in "iu" or np.ma.isMA(given):
        given = [given] if isinstance(given, Mapping) else as_list(given)
        for one in given:
            if isinstance(one, bool | np.bool_) or np.ndim(one) or not hasattr(one, "__index__"):
                mend = "; of a mask pass np.flatnonzero(mask)" if isinstance(one, bool | np.bool_) else ""
                raise TypeError(f"{name}: expected row numbers, got {checks.brief(one, 40)}{mend}")
        given = [int(one) for one in given]
    if len(given) == 0:
        return np.empty(0, np.int64)
    rows = np.asarray(given)
    bad = np.flatnonzero((rows < 0) | (rows >= n))
    if len(bad):
        raise ValueError(f"{name}: {rows[bad[0]]} is not a row of the {n} candidates")
    values, counts = np.unique(rows, return_counts=True)
    if counts.max() > 1:
        raise ValueError(f"{name}: row {values[counts.argmax()]} is named twice")
    return rows.astype(np.int64)
