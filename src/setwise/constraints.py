"""Constraints on a set: candidates it must contain or must not, and at most m of each group."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.request import Request, Rows
from setwise.vectors import top_k


class Constraints:
    """What every selected set has to satisfy, over the candidates that are not barred.

    Parameters
    ----------
    n : int
        Number of candidates.
    request : Request
        Its `include` and `exclude` are rows, its `groups` a label a candidate (strings or numbers).
    never : ndarray of int64, optional
        Rows that are barred because their relevance is -inf.

    Attributes
    ----------
    n, k : int
        Candidates that are left, and the size of the set.
    kept : ndarray of int64, ascending, or None
        The rows that `exclude` leaves; None for all. What follows counts these alone.
    include : ndarray of int64
        Rows that must be in the set, selected first, in this order.
    codes : ndarray of shape (n,), int64, or None
        The group of each.
    quota : int
        At most this many of each group.

    Raises
    ------
    TypeError
        Rows are no integers, or a label is a list or another thing that is not looked up.
    ValueError
        Rows are out of range or repeated, labels of another number than candidates or missing (None, NaN,
        NaT), or no set of size k satisfies everything.
    """

    def __init__(self, n: int, request: Request, never: NDArray[np.int64] | None = None) -> None:
        self.k = request.k
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
        if self.k > self.n:
            raise ValueError(
                f"k: {self.k} is more than the {self.n} candidates{left}; ask for at most {self.n}"
            )
        if len(include) > self.k:
            raise ValueError(f"include: {len(include)} rows do not fit into k = {self.k}")
        self.include = include
        self.codes: NDArray[np.int64] | None = None
        self.quota = 0
        if request.max_per_group is not None:
            self.quota = request.max_per_group
            self._read_groups(_as_labels(request.groups, n))

    def _read_groups(self, labels: NDArray[Any] | list[Any]) -> None:
        """Turn labels into codes, and check that enough candidates may be chosen."""
        names, codes = _codes(labels)
        self.codes = self.left(codes)
        sizes = np.bincount(self.codes)
        room = int(np.minimum(sizes, self.quota).sum())
        if room < self.k:
            raise ValueError(
                f"max_per_group: with at most {self.quota} of each of {np.count_nonzero(sizes)} groups only "
                f"{room} candidates may be chosen, fewer than k = {self.k}"
            )
        held = np.bincount(self.codes[self.include], minlength=len(names))
        if len(held) and held.max() > self.quota:
            raise ValueError(
                f"include: {held.max()} rows of group {names[held.argmax()]!r}, above max_per_group"
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
    if len(given) == 0:
        return np.empty(0, np.int64)
    try:
        rows = np.asarray(given)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected row numbers") from None
    if rows.size == 0:
        return np.empty(0, np.int64)
    if rows.dtype.kind not in "iu" or rows.ndim != 1:
        raise TypeError(f"{name}: expected row numbers")
    bad = np.flatnonzero((rows < 0) | (rows >= n))
    if len(bad):
        raise ValueError(f"{name}: {rows[bad[0]]} is not a row of the {n} candidates")
    values, counts = np.unique(rows, return_counts=True)
    if counts.max() > 1:
        raise ValueError(f"{name}: row {values[counts.argmax()]} is named twice")
    return rows.astype(np.int64)


def _as_labels(groups: Any, n: int) -> NDArray[Any] | list[Any]:
    """Return one label a candidate, none of them missing: numbers as an array, others as they are."""
    if isinstance(groups, np.ndarray) and groups.dtype.kind in "mM":
        if np.isnat(groups).any():
            row = int(np.isnat(groups).argmax())
            raise ValueError(f"groups: row {row} is NaT; give it a label of its own")
        groups = groups.view(np.int64)
    if isinstance(groups, np.ndarray) and groups.shape != (n,):
        raise ValueError(f"groups: expected {n} labels, one a candidate, got shape {groups.shape}")
    if type(groups) is np.ndarray and groups.dtype.kind in "biuf":
        if groups.dtype.kind == "f" and np.isnan(groups).any():
            row = int(np.isnan(groups).argmax())
            raise ValueError(f"groups: row {row} is NaN; give it a label of its own")
        return groups
    listing = next((name for name in ("tolist", "to_pylist", "to_list") if hasattr(groups, name)), None)
    labels: list[Any] = getattr(groups, listing)() if listing else list(groups)
    if len(labels) != n:
        raise ValueError(f"groups: expected {n} labels, one a candidate, got shape ({len(labels)},)")
    for row, label in enumerate(labels):
        check_label(label, f"row {row}")
    return labels


def check_label(label: Any, place: str) -> None:
    """Refuse a label that is missing or cannot be compared.

    Parameters
    ----------
    label : object
    place : str
        Whose it is, in messages.

    Raises
    ------
    TypeError
        It is a list, or something else that cannot be looked up.
    ValueError
        It is None, NaN, NaT or another mark of a missing value.
    """
    try:
        hash(label)
    except TypeError:
        raise TypeError(
            f"groups: {place} has {type(label).__name__} {label!r:.40}; a label is a string or a number"
        ) from None
    try:
        missing = label is None or bool(label != label)
    except TypeError:  # pandas.NA is neither equal to itself nor not
        missing = True
    if missing:
        raise ValueError(f"groups: {place} has no label ({label!r}); give it a label of its own")


def _codes(labels: NDArray[Any] | list[Any]) -> tuple[Any, NDArray[np.int64]]:
    """Return the distinct labels, and which of them each is."""
    if isinstance(labels, np.ndarray):
        names, codes = np.unique(labels, return_inverse=True)
        return names, codes.astype(np.int64)
    number: dict[Any, int] = {}
    numbers = [number.setdefault(label, len(number)) for label in labels]
    return list(number), np.array(numbers, np.int64)
