"""The candidates that searches have returned so far, as a problem to select from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.constraints import Constraints, check_label
from setwise.index.base import Found, Ids
from setwise.index.checking import scale_of, scores_of
from setwise.index.promised import ROUNDING
from setwise.relevance import Relevance
from setwise.request import Request
from setwise.solvers.problem import Problem
from setwise.vectors import Vectors

Vector = NDArray[np.float64]
Labels = Callable[[Ids], Sequence[Any]]


@dataclass(frozen=True)
class Job:
    """One query's retrieval: what is asked for, and what the index brings.

    Attributes
    ----------
    request : Request
        Its `include` is ids, its `groups` finds the group of ids.
    query : ndarray of shape (d,), float64
        Of unit length under cosine.
    pool : int or None
        Candidates to look at; None lets the pool grow until it is proven sufficient.
    name : str
        Of the index, in messages.
    size : int
        Of the index; 2**62 where it holds more than are counted.
    scope : {"all", "returned"}
        See `setwise.Certificate`.
    sample : Found, optional
        Vectors drawn over the whole index, which the search may return.
    known : Found, optional
        The must-have candidates, with their vectors.
    stats : dict
        Counts of the work done, filled in on the way.
    """

    request: Request
    query: Vector
    pool: int | None
    name: str
    size: int
    scope: str
    sample: Found | None = None
    known: Found | None = None
    stats: dict[str, Any] = field(default_factory=dict)

    @property
    def most(self) -> int:
        """What is asked for at most: one more than there are, so that fewer come back once it is all."""
        return self.size + 1


class TooFew(ValueError):
    """No set of the wanted size satisfies the constraints among the candidates seen."""


class Seen:
    """Candidates by id: each counts once, whichever searches return it.

    Parameters
    ----------
    job : Job
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        include = np.asarray(job.request.include)
        self.ids: Ids = np.empty(0, include.dtype if len(include) else np.int64)
        self._rows: NDArray[Any] = np.empty((0, len(job.query)), np.float32)
        self._placed: Ids = self.ids
        self._waiting: list[tuple[Ids, NDArray[Any]]] = []
        self._labels: dict[Any, Any] = {}
        if job.known is not None:
            self.add(job.known)

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, found: Found) -> int:
        """Take in what a search returned; return how many are new."""
        if len(found) == 0:
            return 0
        ids, first = np.unique(found.ids, return_index=True)
        if len(self):
            new = ~np.isin(ids, self.ids)
            ids, first = ids[new], first[new]
        if len(ids):
            self._waiting.append((ids, found.vectors[first]))
            self.ids = np.sort(np.concatenate([self.ids, ids]), kind="stable") if len(self) else ids
        return len(ids)

    def _settled(self) -> NDArray[Any]:
        """Return the rows in the order of the ids, what has come since the last time merged in."""
        if self._waiting:
            widest = np.result_type(self._rows, *[vectors for _, vectors in self._waiting])
            rows = np.empty((len(self), self._rows.shape[1]), widest)
            rows[np.searchsorted(self.ids, self._placed)] = self._rows
            for ids, vectors in self._waiting:
                rows[np.searchsorted(self.ids, ids)] = vectors
            self._rows, self._placed, self._waiting = rows, self.ids, []
        return self._rows

    def check_none_left_out(self, weights: Vector, found: Found) -> None:
        """Refuse a search that left out what others have returned, though it scores more.

        Must-have candidates do not count: a filter need not let them through.

        Raises
        ------
        ValueError
            The index says that its searches are exact; the message names it and the candidate.
        """
        others = ~np.isin(self.ids, found.ids)
        if self.job.known is not None:
            others &= ~np.isin(self.ids, self.job.known.ids)
        if not others.any():
            return
        metric, rows = self.job.request.goal.metric, self._settled()
        scores = scores_of(weights, rows, metric, dtype=rows.dtype)
        best = int(np.where(others, scores, -np.inf).argmax())
        slack = ROUNDING * scale_of(weights, rows, metric)
        if scores[best] > (-np.inf if found.floor is None else found.floor) + slack:
            raise ValueError(
                f"index: {self.job.name} says that its searches are exact, and one left out id "
                f"{self.ids.tolist()[best]!r}, which scores {scores[best]:.6g}"
            )

    def problem(self, k: int) -> Problem:
        """Return the selection problem over everything seen.

        Raises
        ------
        TooFew
            The constraints leave no set of k.
        """
        job, wanted = self.job, self.job.request
        vectors = Vectors(self._settled(), wanted.goal.metric, query=job.query, workers=wanted.workers)
        assert vectors.similarity is not None
        relevance = Relevance(vectors.similarity, vectors, job.query)
        request = replace(wanted, k=k, include=self.locate(wanted.include), exclude=(), groups=self._groups())
        try:
            constraints = Constraints(len(self), request)
        except ValueError as error:
            raise TooFew(str(error)) from None
        return Problem(vectors, relevance, request, constraints, None, job.stats)

    def _groups(self) -> list[Any] | None:
        """Return the group of every candidate; each is asked for once."""
        find = self.job.request.groups
        if find is None:
            return None
        names = self.ids.tolist()
        missing = [name for name in names if name not in self._labels]
        if missing:
            labels = find(np.array(missing, dtype=self.ids.dtype))
            if len(labels) != len(missing):
                raise ValueError(f"groups: {len(labels)} labels for {len(missing)} ids; give one for each")
            for name, label in zip(missing, labels, strict=True):
                check_label(label, f"id {name!r}")
                self._labels[name] = label
        return [self._labels[name] for name in names]

    def locate(self, ids: Any) -> NDArray[np.int64]:
        """Return the rows of some candidates that have been seen."""
        if len(ids) == 0:
            return np.empty(0, np.int64)
        return np.asarray(np.searchsorted(self.ids, ids), np.int64)


def labels_of(groups: Any, values: Callable[[Ids, str], Sequence[Any]]) -> Labels:
    """Return what finds the group of ids.

    Parameters
    ----------
    groups : str, mapping, callable or sequence
        A stored field's name; a mapping from ids; a function of an id; or a label for every row number.
    values : callable
        The index's own.
    """
    if isinstance(groups, str):
        return lambda ids: values(ids, groups)
    if callable(groups):
        return lambda ids: [groups(name) for name in ids.tolist()]
    if hasattr(groups, "index") and hasattr(groups, "to_dict"):  # a pandas Series: by its index
        groups = groups.to_dict()
    if isinstance(groups, Mapping):
        return lambda ids: list(_looked_up(groups, ids))
    labels = groups if hasattr(groups, "__getitem__") else list(groups)
    return lambda ids: list(_by_row(labels, ids))


def _looked_up(groups: Mapping[Any, Any], ids: Ids) -> Iterator[Any]:
    """Yield each id's label."""
    for name in ids.tolist():
        if name not in groups:
            raise ValueError(f"groups: no label for id {name!r}")
        yield groups[name]


def _by_row(labels: Any, ids: Ids) -> Iterator[Any]:
    """Yield each row number's label."""
    if ids.dtype.kind not in "iu":
        raise TypeError("groups: the index's ids are no row numbers; pass a mapping from ids to labels")
    for row in ids.tolist():
        if not 0 <= row < len(labels):
            raise ValueError(f"groups: no label for id {row}, there are {len(labels)}")
        yield labels[row]
