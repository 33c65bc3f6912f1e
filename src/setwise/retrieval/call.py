"""One call of `retrieve`: its checked arguments, the jobs they make, and what becomes of the outcomes."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.api import describe
from setwise.containers import as_queries, to_numpy
from setwise.index.array import ArrayIndex
from setwise.index.base import Found, Ids, Index
from setwise.objectives import MaxSum, make
from setwise.request import check_certify
from setwise.retrieval.plan import Outcome, goes_along_gradients
from setwise.retrieval.retrieved import Retrieved, retrieved
from setwise.retrieval.seen import Job, labels_of
from setwise.retrieval.texts import default_sharpness
from setwise.selection import Selection
from setwise.solvers import SOLVERS
from setwise.threads import thread_count

#: How many vectors of a sample to start from where searches are approximate, and so cheap.
FEW = 512

#: Solvers that need all candidates, not those a search returns.
UNFIT = ("k-dpp", "random", "clustering")


class Call:
    """One call's checked arguments, and what turns them into jobs and results."""

    def __init__(self, query: Any, index: Index, k: int, options: dict[str, Any]) -> None:
        if not isinstance(index, Index):
            raise TypeError(
                f"index: expected a setwise.Index, got {type(index).__name__}; wrap your vectors with "
                "setwise.Index.from_array"
            )
        self.index = index
        metric = checks.choice("metric", index.metric, ("cosine", "euclidean"))
        sharpness = options["sharpness"]
        if sharpness is None:
            named = options["objective"] if isinstance(options["objective"], str) else "other"
            sharpness = default_sharpness(named, metric)
        self.objective = make(
            options["objective"], diversity=options["diversity"], sharpness=sharpness, metric=metric
        )
        if self.objective.name == "coverage":
            raise ValueError(
                "objective: coverage is of all candidates, and a search returns a few; use setwise.select"
            )
        self.solver = checks.choice("solver", options["solver"], [n for n in SOLVERS if n not in UNFIT])
        if self.objective.name not in SOLVERS[self.solver].objectives:
            raise ValueError(f"solver: {self.solver!r} is not for {self.objective.name}")
        check_certify(options["certify"])
        self.certify = options["certify"]
        self.k = checks.integer("k", k, least=1)
        self.size = index.size  # a store counts its rows: once a call
        if self.k > self.size:
            raise ValueError(
                f"k: {self.k} is more than the {self.size} vectors of the index; ask for at most that"
            )
        pool = options["pool"]
        if isinstance(pool, str):
            checks.choice("pool", pool, ("auto",))
            self.pool = None
        else:
            self.pool = checks.integer("pool", pool, least=self.k)
        self.filter = options["filter"]
        self.offset = checks.integer("offset", options["offset"], least=0)
        self.pages = -(-(self.offset + self.k) // self.k)
        self.seed = checks.integer("seed", options["seed"], least=0)
        self.threads = thread_count(options["threads"])
        self.include = _as_ids("include", options["include"])
        self.exclude = _as_ids("exclude", options["exclude"])
        if len(self.include) > self.k:
            raise ValueError(f"include: {len(self.include)} ids do not fit into k = {self.k}")
        both = set(self.include.tolist()) & set(self.exclude.tolist())
        if both:
            raise ValueError(f"include: {next(iter(both))!r} is in exclude, too")
        if (options["groups"] is None) != (options["max_per_group"] is None):
            missing = "groups" if options["groups"] is None else "max_per_group"
            raise ValueError(f"{missing}: needed with {'max_per_group' if missing == 'groups' else 'groups'}")
        self.labels = None if options["groups"] is None else labels_of(options["groups"], index.values)
        self.max_per_group = (
            None
            if options["max_per_group"] is None
            else checks.integer("max_per_group", options["max_per_group"], least=1)
        )
        self.many = np.ndim(given := to_numpy(query, "query")) == 2
        self.queries = as_queries(given, index.dim, "query", metric=metric)

    @property
    def wants_sample(self) -> bool:
        """Whether vectors drawn over the whole index are a useful start: where gradients are searched."""
        along = goes_along_gradients(self.objective, self.solver, self.k, self.pool)
        return along and self.filter is None

    def jobs(self, vectors: Any, sample: Found | None) -> list[Job]:
        """Return a job a query; must-have vectors are fetched once."""
        known = None
        if len(self.include):
            known = Found(self.include, np.zeros(len(self.include)), vectors(self.include))
        if sample is not None and not self.index.exact:  # a few: its searches cost less than the relaxation
            some = slice(None, None, max(1, len(sample) // FEW))
            sample = Found(sample.ids[some], sample.scores[some], sample.vectors[some])
        if sample is not None and len(self.exclude):
            keep = ~np.isin(sample.ids, self.exclude)
            sample = Found(sample.ids[keep], sample.scores[keep], sample.vectors[keep])
        return [
            Job(
                query=query,
                k=self.k,
                objective=self.objective,
                solver=self.solver,
                metric=self.objective.metric,
                pool=self.pool,
                include=self.include,
                labels=self.labels,
                max_per_group=self.max_per_group,
                certify=self.certify,
                scope="all" if self.index.exact else "returned",
                size=self.size,
                seed=self.seed,
                sample=sample,
                known=known,
                threads=self.threads,
            )
            for query in self.queries
        ]

    def next_page(self, jobs: list[Job], outcomes: list[Outcome], results: list[Retrieved]) -> list[Job]:
        """Return the jobs of the page after these: what is found is in it, and the best to add is wanted."""
        return [self._next(*one) for one in zip(jobs, outcomes, results, strict=True)]

    def _next(self, job: Job, outcome: Outcome, result: Retrieved) -> Job:
        """Return one query's next page; the vectors of the page before are at hand."""
        ids, known = result.ids, None
        if outcome.problem is not None and len(ids):
            rows = outcome.problem.vectors.raw[np.searchsorted(outcome.ids, ids)]
            known = Found(ids, np.zeros(len(ids)), np.asarray(rows, np.float32))
        return replace(
            job,
            k=min(len(ids) + self.k, self.size),
            include=ids,
            known=known,
            pool=None if self.pool is None else max(self.pool, len(ids) + self.k),
        )

    def describe_all(self, jobs: list[Job], outcomes: list[Outcome], began: float) -> list[Retrieved]:
        """Return the jobs' outcomes as what the caller gets, all pages so far in one."""
        return [self.describe(job, outcome, began) for job, outcome in zip(jobs, outcomes, strict=True)]

    def answer(self, results: list[Retrieved]) -> Any:
        """Return the page asked for, of one query or of many."""
        pages = [self.cut(result) for result in results]
        return pages if self.many else pages[0]

    def cut(self, result: Retrieved) -> Retrieved:
        """Return the page asked for."""
        if self.offset == 0:
            return result
        part = slice(self.offset, self.offset + self.k)
        return replace(
            result,
            indices=result.indices[part],
            gains=result.gains[part],
            ids=result.ids[part],
            scores=result.scores[part],
            novelty=result.novelty[part],
        )

    def whole(self) -> ArrayIndex | None:
        """Return the index where greedy selection may read all of it, which is exact and as fast."""
        if isinstance(self.objective, MaxSum) or self.solver == "top-k" or self.pool is not None:
            return None
        if self.filter is not None or len(self.exclude) or not isinstance(self.index, ArrayIndex):
            return None
        return self.index

    def describe(self, job: Job, outcome: Outcome, began: float) -> Retrieved:
        """Return an outcome as what the caller gets."""
        problem = outcome.problem
        if problem is None:
            checks.warn("nothing in the index passes the filter: an empty result")
            empty = Selection(
                np.empty(0, np.int64),
                np.empty(0),
                0.0,
                0.0,
                0.0,
                outcome.certificate,
                self.solver,
                time.perf_counter() - began,
                job.stats,
            )
            return retrieved(empty, outcome.ids, np.empty(0), np.empty((0, len(job.query))), job.metric)
        if len(outcome.chosen) < job.k and problem.n < job.k:
            checks.warn(f"k: only {problem.n} of the {job.k} asked for are in the index or pass the filter")
        selection = describe(
            problem, outcome.chosen, outcome.ordered, outcome.certificate, outcome.label, began
        )
        rows: NDArray[np.float64] = np.asarray(problem.vectors.rows(selection.indices, np.float64))
        ids = outcome.ids[selection.indices]
        if ids.dtype.kind in "iu":
            places = ids.astype(np.int64)
        else:
            rank = np.empty(problem.n, np.int64)
            rank[np.argsort(-problem.relevance.values, kind="stable")] = np.arange(problem.n)
            places = rank[selection.indices]
        scores = problem.relevance.at(selection.indices)
        found = retrieved(selection, ids, scores, rows, job.metric)
        return replace(found, indices=places)


def _as_ids(name: str, ids: Any) -> Ids:
    """Return ids as int64 or as an object array, none of them twice.

    Raises
    ------
    TypeError, ValueError
    """
    if isinstance(ids, str | bytes):
        raise TypeError(f"{name}: expected a sequence of ids, got a string")
    listed = ids.tolist() if hasattr(ids, "tolist") else list(ids)
    if len(set(listed)) != len(listed):
        twice = next(one for one in listed if listed.count(one) > 1)
        raise ValueError(f"{name}: {twice!r} is named twice")
    if any(isinstance(one, bool | float) for one in listed):
        raise TypeError(f"{name}: expected ids, whole numbers or strings")
    if all(isinstance(one, int) for one in listed):
        return np.array(listed, np.int64)
    return np.array([str(one) for one in listed], object)
