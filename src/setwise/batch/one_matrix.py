"""One matrix of candidates and many queries: what the queries have in common is looked at once."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import api
from setwise.constraints import Constraints
from setwise.containers import as_matrix, to_numpy
from setwise.each import own_wishes, split
from setwise.queries import as_queries
from setwise.relevance import Relevance, or_never
from setwise.request import Request
from setwise.selection import Selection
from setwise.solvers import shared
from setwise.solvers.problem import Problem, Solved
from setwise.threads import beside, one_blas_thread
from setwise.vectors import Vectors

#: Queries whose relevance is scanned together: one pass over the data serves them all.
QUERIES = 16

#: From this many problems on, they are solved together where they can be.
FEW = 4


def select_each(request: Request, data: NDArray[Any], queries: Any, relevance: Any) -> list[Selection]:
    """Select from the same candidates for each query or row of relevance.

    Parameters
    ----------
    request : Request
        What is wished for each query by itself is taken apart by `setwise.request.split`.
    data : ndarray of shape (n, d)
    queries : array-like of shape (m, d), optional
    relevance : array-like of shape (m, n), optional
        -inf is never selected.

    Raises TypeError, ValueError: as `setwise.select_many`.
    """
    many = _Many.of(request, data, queries, relevance)
    found: list[Selection] = []
    count = len(many.requests)
    for start in range(0, count, QUERIES):
        stop = min(count, start + QUERIES)
        problems = many.problems(start, stop)
        together = _together(problems, many.vectors)

        def one(
            position: int,
            problems: list[Problem] = problems,
            together: dict[int, Solved] = together,
            start: int = start,
        ) -> Selection:
            place = position - start
            return api.run(problems[place], time.perf_counter(), together.get(place))

        found.extend(beside(one, start, stop, request.workers))
    return found


def _together(problems: list[Problem], vectors: Vectors) -> dict[int, Solved]:
    """Return the sets of those problems that are solved together, by their place."""
    places = [place for place, problem in enumerate(problems) if shared.serves(problem)]
    if len(places) < FEW:
        return {}
    with one_blas_thread():
        found = shared.search([problems[place] for place in places], vectors)
    return dict(zip(places, found, strict=True))


@dataclass(frozen=True)
class _Many:
    """Candidates and the queries that share them, checked.

    Attributes
    ----------
    requests : list of Request
        Of each query; one and the same where all wish the same.
    scores : ndarray of shape (m, n), or None
        Relevance as given.
    probes : ndarray of shape (m, d), float64, or None
    vectors : Vectors
        All candidates but those that `exclude` bars for every query.
    constraints : Constraints, or None
        Of every query, where they are the same.
    """

    requests: list[Request]
    scores: NDArray[Any] | None
    probes: NDArray[np.float64] | None
    vectors: Vectors
    constraints: Constraints | None

    @classmethod
    def of(cls, request: Request, data: NDArray[Any], queries: Any, relevance: Any) -> _Many:
        """Check what is wished of the candidates of a matrix."""
        n, d = data.shape
        constraints = None if own_wishes(request) else Constraints(n, request)
        metric, workers = request.goal.metric, request.workers
        probes = scores = None
        if queries is not None:
            probes = as_queries(as_matrix(queries, "queries"), d, "queries", metric=metric)
            count = len(probes)
        elif relevance is not None:
            scores = np.atleast_2d(to_numpy(relevance, "relevance"))
            count = len(scores)
            if scores.ndim != 2 or scores.shape[1] != n:
                raise ValueError(f"relevance: expected shape (m, {n}), got {scores.shape}")
        else:
            raise ValueError("queries: needed, or relevance of shape (m, n), or offsets")
        requests = split(request, count)
        for position, own in enumerate(requests if constraints is None else ()):
            try:
                Constraints(n, own)
            except ValueError as error:
                raise ValueError(f"query {position}: {error}") from None
        kept = None if constraints is None else constraints.kept
        vectors = Vectors(data, metric, workers=workers, kept=kept)
        return cls(requests, scores, probes, vectors, constraints)

    def problems(self, start: int, stop: int) -> list[Problem]:
        """Return the problems that some queries pose; their relevance is found in one pass."""
        near = None if self.probes is None else _similarities(self.vectors, self.probes[start:stop])
        alone = copy.copy(self.vectors)
        if len(self.requests) >= alone.workers:
            alone.workers = 1
        posed = []
        for position in range(start, stop):
            request, n = self.requests[position], len(self.vectors.raw)
            never = probe = None
            if near is not None and self.probes is not None:
                values, probe = near[position - start], self.probes[position]
            else:
                assert self.scores is not None
                values, never = or_never(self.scores[position], n, f"relevance[{position}]")
            constraints, vectors = self.constraints, alone
            if constraints is None or (never is not None and len(never)):
                try:
                    constraints = Constraints(n, request, never)
                except ValueError as error:
                    raise ValueError(f"query {position}: {error}") from None
                if constraints.kept is not None:
                    rows = constraints.kept
                    if alone.kept is not None:
                        rows = np.searchsorted(alone.kept, rows)
                    vectors = alone.restricted(rows)
                    values = values if probe is None else values[rows]
            if probe is None:
                values = constraints.left(values)
            known = Relevance(values, vectors, probe, request.relevance_scale)
            posed.append(Problem(vectors, known, request, constraints))
        return posed


def _similarities(vectors: Vectors, probes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each query's relevance for all candidates, in one pass, shape (q, n)."""
    found = np.empty((len(probes), vectors.n))
    if vectors.metric == "cosine":

        def take(start: int, stop: int, products: NDArray[Any]) -> None:
            found[:, start:stop] = products.T

        vectors.products(probes, take)
        return found

    def measure(start: int, stop: int, block: NDArray[Any]) -> None:
        for place, probe in enumerate(probes):
            delta = block - probe
            found[place, start:stop] = -np.sqrt(np.vecdot(delta, delta))

    vectors.map_blocks(measure)
    return found
