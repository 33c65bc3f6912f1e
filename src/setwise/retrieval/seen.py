"""The candidates that searches have returned so far, as a problem to select from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.constraints import Constraints
from setwise.ids import among, as_ids, by_plain_id, listed_beside
from setwise.index.base import Found, Ids, Index
from setwise.index.checking import scale_of, scores_of
from setwise.index.promised import ROUNDING, Moved, are_other
from setwise.limits import OwnIfMissing, check_label, plain_label
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
        Its `include` is ids, its `groups` and `costs` find those of ids.
    query : ndarray of shape (d,), float64
        Of unit length under cosine.
    pool : int or None
        Candidates to look at; None lets the pool grow until it is proven sufficient.
    name : str
        Of the index, in messages.
    size : int
        Of the index; 2**62 where it holds more than are counted.
    exact : bool
        Whether the index is held to what it says of exact searches.
    scope : {"all", "returned"}
        See `setwise.Certificate`.
    sample : Found, optional
        Vectors drawn over the whole index, which the search may return.
    witnesses : Found, optional
        Vectors that each exact search has to return, or to leave out for others that score more.
    known : Found, optional
        The must-have candidates, with their vectors.
    ends : float
        When searches for proofs give up, on the clock of `time.monotonic`: one time for the whole call.
    stats : dict
        Counts of the work done, filled in on the way.
    """

    request: Request
    query: Vector
    pool: int | None
    name: str
    size: int
    exact: bool
    scope: str
    sample: Found | None = None
    witnesses: Found | None = None
    known: Found | None = None
    ends: float = np.inf
    stats: dict[str, Any] = field(default_factory=dict)

    @property
    def most(self) -> int:
        """What is asked for at most: one more than there are, so that fewer come back once it is all."""
        return self.size + 1


class TooFew(ValueError):
    """No set of the wanted size satisfies the constraints among the candidates seen."""


class Seen:
    """Candidates by id: each counts once, whichever searches return it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        include = np.asarray(job.request.include)
        self.ids: Ids = np.empty(0, include.dtype if len(include) else np.int64)
        self._rows: NDArray[Any] = np.empty((0, len(job.query)), np.float32)
        self._placed: Ids = self.ids
        self._waiting: list[tuple[Ids, NDArray[Any]]] = []
        self._of_ids: dict[str, dict[Any, Any]] = {}
        self._size: float | None = None
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
            new = ~among(ids, self.ids)
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
        """Refuse a search that left out what others have returned, or a witness, though it scores more.

        Must-have candidates do not count: a filter need not let them through.

        Raises Moved: the index says that its searches are exact; the message names it and the candidate.
        """
        self._check_there(weights, found, self.ids, self._settled())
        if self.job.witnesses is not None:
            self._check_there(weights, found, self.job.witnesses.ids, self.job.witnesses.vectors)

    def _check_there(self, weights: Vector, found: Found, ids: Ids, rows: NDArray[Any]) -> None:
        """Refuse a search that left out one of some candidates, though it scores more than the floor."""
        others = ~among(ids, found.ids)
        if self.job.known is not None:
            others &= ~among(ids, self.job.known.ids)
        if not others.any():
            return
        metric = self.job.request.goal.metric
        scores = scores_of(weights, rows, metric, dtype=rows.dtype)
        best = int(np.where(others, scores, -np.inf).argmax())
        slack = ROUNDING * scale_of(weights, rows, metric)
        if scores[best] > (-np.inf if found.floor is None else found.floor) + slack:
            one = ids.tolist()[best]
            raise Moved(
                f"index: {self.job.name} says that its searches are exact, and one left out id {one!r}, "
                f"which scores {scores[best]:.6g}",
                (one, rows[best]),
            )

    def check_unchanged(self, found: Found) -> None:
        """Refuse a search that returned a candidate with another vector than it had before.

        Raises Moved: the message names the index and the candidate.
        """
        again = among(found.ids, self.ids)
        if not again.any():
            return
        ids, rows = found.ids[again], found.vectors[again]
        before = self._settled()[self.locate(ids)]
        other = are_other(rows, before)
        if other.any():
            place = int(other.argmax())
            one = ids.tolist()[place]
            raise Moved(
                f"index: {self.job.name} returned id {one!r} with one vector, and then with another",
                (one, before[place]),
            )

    def problem(self, k: int | None) -> Problem:
        """Return the selection problem over everything seen.

        Raises TooFew: the constraints leave no set of k.
        """
        job = self.job
        wanted = job.request.mapped(self._of_each)
        vectors = Vectors(self._settled(), wanted.goal.metric, query=job.query, workers=wanted.workers)
        assert vectors.similarity is not None
        relevance = Relevance(vectors.similarity, vectors, job.query)
        request = replace(
            wanted, k=k, include=self.locate(wanted.include), exclude=(), reference_size=self._size
        )
        try:
            constraints = Constraints(len(self), request)
        except ValueError as error:
            raise TooFew(str(error)) from None
        if k is None and self._size is None:  # the first candidates say what one costs on average
            self._size = constraints.reference_size(request)
            request = replace(request, reference_size=self._size)
        problem = Problem(vectors, relevance, request, constraints, None, job.stats)
        problem.ends = job.ends
        return problem

    def _of_each(self, name: str, find: Labels) -> list[Any]:
        """Return the label or the cost of every candidate; each is asked for once."""
        known = self._of_ids.setdefault(name, {})
        names = self.ids.tolist()
        missing = [one for one in names if one not in known]
        if missing:
            found = find(np.array(missing, dtype=self.ids.dtype))
            if len(found) != len(missing):
                what = "costs" if name == "costs" else "labels"
                raise ValueError(f"{name}: {len(found)} {what} for {len(missing)} ids; give one for each")
            for one, label in zip(missing, found, strict=True):
                known[one] = label = plain_label(label)
                check_label(label, f"id {one!r}", name)
        return [known[one] for one in names]

    def locate(self, ids: Any) -> NDArray[np.int64]:
        """Return the rows of some candidates that have been seen."""
        if len(ids) == 0:
            return np.empty(0, np.int64)
        return np.asarray(np.searchsorted(self.ids, ids), np.int64)


def labels_of(
    given: Any, values: Callable[[Ids, str], Sequence[Any]], name: str = "groups", frame: Any = None
) -> Labels:
    """Return what finds the label, or the cost, of ids.

    Parameters
    ----------
    given : str, mapping, callable or sequence
        A stored field's name; a mapping from ids; a function of an id; or one for every row number.
    values : callable
        The index's own.
    name : str
        The argument's, in messages.
    frame : object, optional
        What the candidates came in.

    Raises ValueError: a pandas column's index has a label twice, or lacks one of a frame's.
    """
    if isinstance(given, OwnIfMissing):
        find = labels_of(given.groups, values, name, frame)
        return lambda ids: given.filled(find(ids), ids.tolist())
    if isinstance(given, str):
        return lambda ids: _stored(values, ids, given, name)
    if callable(given):
        return lambda ids: [given(one) for one in ids.tolist()]
    what = "cost" if name == "costs" else "label"
    given = listed_beside(given, frame, name)
    if hasattr(given, "iloc"):  # a pandas column: by its index
        if not given.index.is_unique:
            twice = given.index[given.index.duplicated()].tolist()[0]
            raise ValueError(f"{name}: its index has {twice!r} twice; give each id one {what}")
        given = given.to_dict()
    if isinstance(given, Mapping):
        known = by_plain_id(given)
        return lambda ids: list(_looked_up(known, ids, name, what))
    labels = given if hasattr(given, "__getitem__") else list(given)
    return lambda ids: list(_by_row(labels, ids, name, what))


def _stored(values: Callable[[Ids, str], Sequence[Any]], ids: Ids, field: str, name: str) -> Sequence[Any]:
    """Return a stored field, or refuse one that there is not by the argument that named it."""
    with checks.renamed(groups=name):
        return values(ids, field)


def encoded(index: Index, texts: Sequence[str], argument: str) -> NDArray[Any]:
    """Return the vectors of texts that an argument has, by an index's encoder.

    Raises TypeError, ValueError: it has none, or it cannot encode one of them; the message names the
    argument.
    """
    with checks.renamed(query=argument):
        return index.encode(list(texts))


def vectors_of(index: Index, ids: Ids, argument: str) -> NDArray[Any]:
    """Return stored vectors by ids that an argument has.

    Raises KeyError, TypeError, ValueError: the index has not all of them, or cannot have them; the message
    names the argument.
    """
    try:
        with checks.renamed(ids=argument):
            return np.asarray(index.vectors(ids))
    except KeyError as error:
        told = str(error.args[0]) if error.args else "an id is gone"
        raise KeyError(f"{argument}: {told.removeprefix(f'{argument}: ')}") from None


def _looked_up(labels: Mapping[Any, Any], ids: Ids, name: str, what: str) -> Iterator[Any]:
    """Yield each id's label."""
    for one in ids.tolist():
        if one not in labels:
            raise ValueError(f"{name}: no {what} for id {one!r}")
        yield labels[one]


def _by_row(labels: Any, ids: Ids, name: str, what: str) -> Iterator[Any]:
    """Yield each row number's label."""
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{name}: the index's ids are no row numbers; pass a mapping from ids to {what}s")
    for row in ids.tolist():
        if not 0 <= row < len(labels):
            raise ValueError(f"{name}: no {what} for id {row}, there are {len(labels)}")
        yield labels[row]


def shown_of(request: Request, index: Index | None) -> tuple[Any, list[Any]]:
    """Return the vectors of what was shown, and its ids where it was given by ids.

    Raises TypeError: it was given by ids, and there is no index that has their vectors.
    """
    shown = request.shown
    if shown is None or np.ndim(shown) != 1:
        return shown, []
    ids = list(shown.tolist() if hasattr(shown, "tolist") else shown)
    if not ids:
        return None, []
    if index is None:
        raise TypeError("shown: expected vectors; ids are of an index")
    return vectors_of(index, as_ids(ids, "shown"), "shown"), ids
