"""What a retrieval returns: a selection, by the index's own ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.ids import as_ids
from setwise.index.base import Ids, Index
from setwise.retrieval.pages import cursor_of
from setwise.selection import Selection


@dataclass(frozen=True, eq=False, repr=False)
class Retrieved(Selection):
    """A selection from an index, in selection order.

    Everything a `Selection` has; ``indices`` are the ids where those are integers, else the members' ranks
    by relevance among the candidates looked at.

    Attributes
    ----------
    ids : ndarray of shape (k,), int64 or object
        As the index knows them.
    scores : ndarray of shape (k,), float64
        Each member's relevance: cosine to the query, minus the distance to it, or what a reranker gave.
    novelty : ndarray of shape (k,), float64
        1 minus the largest cosine to an earlier member (1 for the first); under euclidean, the least
        distance to one (inf for the first).
    earlier : ndarray of shape (m,), int64 or object
        The ids of the pages before this one.
    """

    ids: Ids = field(default_factory=lambda: np.empty(0, np.int64))
    scores: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    novelty: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    earlier: Ids = field(default_factory=lambda: np.empty(0, np.int64))
    following: Callable[[str], Retrieved] | None = None

    @property
    def cursor(self) -> str:
        """A text that stands for this page and those before it: ``after=`` continues there, anywhere."""
        return cursor_of(as_ids([*self.earlier.tolist(), *self.ids.tolist()]))

    def next(self) -> Retrieved:
        """Return the page after this one, by the same call; an empty one where no more can be found.

        Raises
        ------
        ValueError
            The selection was read from a file or sent from another process; use its `cursor`.
        """
        if self.following is None:
            raise ValueError("next: the call that made this selection is not known; pass after=hits.cursor")
        return replace(self.following(self.cursor), candidates=self.candidates)

    def cut(self, start: int, stop: int | None = None) -> Retrieved:
        """Return the members from a place on, as the page after those before it."""
        if start == 0 and stop is None:
            return self
        names = ("indices", "gains", "ids", "scores", "novelty")
        part = {name: getattr(self, name)[start:stop] for name in names}
        return replace(self, **part, earlier=self.ids[:start].copy())

    def own_columns(self) -> Any:
        """Return the members' rows of the candidates' frame, or of an index that keeps columns."""
        if isinstance(self.candidates, Index):
            return self.candidates.rows(self.ids)
        return super().own_columns()

    def __getstate__(self) -> dict[str, Any]:
        kept = None if isinstance(self.candidates, Index) else self.candidates  # an open index stays here
        return {**super().__getstate__(), "following": None, "candidates": kept}

    def __post_init__(self) -> None:
        super().__post_init__()
        for array in (self.ids, self.scores, self.novelty):
            if array.flags.writeable:
                array.flags.writeable = False

    @property
    def members(self) -> NDArray[Any]:
        """The ids."""
        return self.ids

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return what is known of each member, by name; see `Selection.to_pandas`."""
        known = super().columns()
        return {
            "rank": known["rank"],
            "id": self.ids,
            "score": self.scores,
            "novelty": self.novelty,
            "gain": self.gains,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON."""
        novelty = [value if np.isfinite(value) else None for value in self.novelty.tolist()]
        return {
            **super().to_dict(),
            "ids": [name if isinstance(name, int | str) else str(name) for name in self.ids.tolist()],
            "scores": [value if np.isfinite(value) else None for value in self.scores.tolist()],
            "novelty": novelty,
            "cursor": self.cursor,
        }


def retrieved(
    selection: Selection,
    ids: Ids,
    scores: NDArray[np.float64],
    rows: NDArray[np.float64],
    metric: str,
    **more: Any,
) -> Retrieved:
    """Return a selection with its ids.

    Parameters
    ----------
    selection : Selection
        In selection order.
    ids : ndarray of shape (k,)
    scores : ndarray of shape (k,)
        Relevance of each.
    rows : ndarray of shape (k, d), float64
        The members' vectors, of unit length under cosine.
    metric : {"cosine", "euclidean"}
    **more
        Fields with other values than the selection's.
    """
    given = {**selection.known(), **more}
    return Retrieved(**given, ids=ids.copy(), scores=scores.copy(), novelty=novelty_of(rows, metric))


def novelty_of(rows: NDArray[np.float64], metric: str) -> NDArray[np.float64]:
    """Return how new each member is beside those before it, shape (k,)."""
    if len(rows) == 0:
        return np.empty(0)
    if metric == "euclidean":
        from setwise.objectives.base import euclidean

        far = euclidean(rows, rows)
        far[~np.tri(len(rows), k=-1, dtype=bool)] = np.inf
        return np.asarray(far.min(axis=1))
    near = rows @ rows.T
    near[~np.tri(len(rows), k=-1, dtype=bool)] = -np.inf
    found = 1.0 - near.max(axis=1)
    found[0] = 1.0
    return np.asarray(found.clip(0.0, 2.0))
