"""Constraints on a set: candidates it must contain, and at most m of each group."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.vectors import top_k


class Constraints:
    """What every selected set has to satisfy.

    Parameters
    ----------
    n, k : int
        Candidates, and the size of the set.
    include : sequence of int
        Rows that must be in the set, selected first, in this order.
    groups : array-like of shape (n,), optional
        A label a candidate (strings or numbers).
    max_per_group : int, optional
        At most this many of each group.

    Raises
    ------
    TypeError, ValueError
        Rows out of range or repeated, labels of another length, or no set of size k satisfies both.
    """

    def __init__(
        self, n: int, k: int, include: Any = (), groups: Any = None, max_per_group: int | None = None
    ) -> None:
        self.n, self.k = n, k
        self.include = self._rows(include)
        self.codes: NDArray[np.int64] | None = None
        self.quota = 0
        if (groups is None) != (max_per_group is None):
            missing, given = ("groups", "max_per_group") if groups is None else ("max_per_group", "groups")
            raise ValueError(f"{missing}: needed with {given}")
        if groups is not None:
            self.quota = checks.integer("max_per_group", max_per_group, least=1)
            self._read_groups(groups)

    def _rows(self, include: Any) -> NDArray[np.int64]:
        """Return the must-have rows as int64."""
        try:
            rows = np.asarray(include if hasattr(include, "__len__") else list(include))
        except (TypeError, ValueError):
            raise TypeError("include: expected row numbers") from None
        if rows.size == 0 and not isinstance(include, str):
            return np.empty(0, np.int64)
        if rows.dtype.kind not in "iu" or rows.ndim != 1:
            raise TypeError("include: expected row numbers")
        bad = np.flatnonzero((rows < 0) | (rows >= self.n))
        if len(bad):
            raise ValueError(f"include: {rows[bad[0]]} is not a row of the {self.n} candidates")
        values, counts = np.unique(rows, return_counts=True)
        if counts.max() > 1:
            raise ValueError(f"include: row {values[counts.argmax()]} is named twice")
        if len(rows) > self.k:
            raise ValueError(f"include: {len(rows)} rows do not fit into k = {self.k}")
        return rows.astype(np.int64)

    def _read_groups(self, groups: Any) -> None:
        """Turn labels into codes, and check that enough candidates may be chosen."""
        labels = np.asarray(groups)
        if labels.shape != (self.n,):
            raise ValueError(f"groups: expected {self.n} labels, one a candidate, got shape {labels.shape}")
        if labels.dtype.kind == "f" and np.isnan(labels).any():
            raise ValueError(
                f"groups: row {int(np.isnan(labels).argmax())} is NaN; give it a label of its own"
            )
        try:
            names, codes = np.unique(labels, return_inverse=True)
        except TypeError:
            raise TypeError(
                "groups: labels of different types cannot be compared; pass strings or numbers"
            ) from None
        self.codes = codes.astype(np.int64)
        sizes = np.bincount(self.codes)
        room = int(np.minimum(sizes, self.quota).sum())
        if room < self.k:
            raise ValueError(
                f"max_per_group: with at most {self.quota} of each of {len(names)} groups only {room} "
                f"candidates may be chosen, fewer than k = {self.k}"
            )
        held = np.bincount(self.codes[self.include], minlength=len(names))
        if len(held) and held.max() > self.quota:
            raise ValueError(
                f"include: {held.max()} rows of group {names[held.argmax()]!r}, above max_per_group"
            )

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
