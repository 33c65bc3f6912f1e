"""`setwise.retrieve`: k vectors of an index for a query, relevant and diverse; one, many, or awaited."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise import threads as threading
from setwise.api import Certify, check_certify, describe
from setwise.constraints import Constraints
from setwise.containers import to_numpy
from setwise.index.array import ArrayIndex
from setwise.index.base import Found, Ids, Index
from setwise.index.checking import as_queries
from setwise.objectives import MaxSum, make
from setwise.relevance import Relevance
from setwise.retrieval.plan import Ask, Outcome, plan_for
from setwise.retrieval.retrieved import Retrieved, retrieved
from setwise.retrieval.seen import Job, labels_of
from setwise.retrieval.texts import DIVERSITY, default_sharpness
from setwise.selection import Certificate, Selection
from setwise.solvers import SOLVERS, greedy
from setwise.solvers.problem import Problem
from setwise.vectors import Vectors

#: How many vectors of a sample to start from where searches are approximate, and so cheap.
FEW = 512

#: Solvers that need all candidates, not those a search returns.
UNFIT = ("random", "clustering")


def retrieve(
    query: Any,
    index: Index,
    k: int = 10,
    *,
    diversity: float = DIVERSITY,
    sharpness: int | None = None,
    objective: Any = "max-sum",
    solver: str = "auto",
    pool: int | str = "auto",
    filter: Any = None,
    include: Sequence[Any] | Ids = (),
    exclude: Sequence[Any] | Ids = (),
    groups: Any = None,
    max_per_group: int | None = None,
    offset: int = 0,
    certify: Certify = True,
    seed: int = 0,
    threads: int | None = None,
) -> Any:
    """Retrieve k vectors of an index for a query: relevant, diverse, and certified.

    Parameters
    ----------
    query : array-like of shape (d,) or (m, d)
        A query, or many: those are searched for together, each search one call of the index.
    index : Index
        Where the vectors are: `Index.from_array`, `.from_faiss`, `.from_qdrant`, `.from_pgvector`,
        `.from_lance`, or your own subclass.
    k : int
        At most the index's size. Where a filter leaves fewer, those are returned, with a warning.
    diversity : float
        In [0, 1]: 0 = relevance alone, 1 = diversity alone.
    sharpness : int, optional
        Of max-sum under cosine: distances 1 - cos^sharpness. Default 8, which penalises near-duplicates;
        1 penalises the average similarity, as the papers do.
    objective : {"max-sum", "mmr", "log-det"} or Objective
    solver : str
        "auto", "greedy", "frank-wolfe", "swap", "exact" or "top-k", as for `setwise.select`. All but the
        first work on the candidates looked at.
    pool : "auto" or int
        How many candidates to look at. "auto" grows until the rest is proven not to matter; a number is
        kept to, and the certificate says whether it sufficed.
    filter : optional
        Which vectors may be found, in the index's own terms; applied inside every search.
    include : sequence of ids
        Must be in the set, whatever the filter; they come first.
    exclude : sequence of ids
        Must not.
    groups : str, mapping, callable or sequence, optional
        The group of each id: a field that the index stores, a mapping, a function, or for row numbers a
        sequence.
    max_per_group : int, optional
        At most this many of each group (the chunks of one document, say).
    offset : int
        Skip this many: the page after those. Pages of one k neither overlap nor skip; each is the best
        set to add to the pages before it.
    certify : False, True or "full"
    seed : int
    threads : int, optional

    Returns
    -------
    Retrieved, or a list of them for many queries

    Raises
    ------
    TypeError, ValueError
        Bad input: the argument and the mend.
    KeyError
        A must-have id that the index does not have.

    Notes
    -----
    Max-sum with sharpness 1 is solved by Frank-Wolfe whose linear oracle is the index's search (CCBQP
    Algorithm 1, with corrective steps over all candidates seen). With a sharpness above 1 the most relevant
    are proven sufficient by their relevance. An index that searches approximately yields a certificate
    relative to what it returns (``certificate.scope == "returned"``).

    Examples
    --------
    >>> import numpy as np, setwise
    >>> passages = np.random.default_rng(0).standard_normal((1000, 16))
    >>> index = setwise.Index.from_array(passages)
    >>> hits = setwise.retrieve(passages[0], index, 5, diversity=0.3)
    >>> int(hits.ids[0]), hits.certificate.pool_sufficient
    (0, True)
    """
    options = locals()
    began = time.perf_counter()
    call = _Call(query, index, k, options)
    jobs = call.jobs(index.vectors, index.sample() if call.wants_sample else None)
    results: list[Retrieved] = []
    pages = call.pages
    chosen: list[Ids] = [job.include for job in jobs]
    for page in range(pages):
        if page:
            jobs = [call.next_page(job, ids, index.vectors) for job, ids in zip(jobs, chosen, strict=True)]
        outcomes = _drive(call, jobs)
        results = [call.describe(job, outcome, began) for job, outcome in zip(jobs, outcomes, strict=True)]
        chosen = [result.ids for result in results]
    results = [call.cut(result) for result in results]
    return results if call.many else results[0]


async def aretrieve(query: Any, index: Index, k: int = 10, **options: Any) -> Any:
    """`retrieve` without blocking the event loop: searches are awaited, and solved on a thread.

    Parameters and results as for `retrieve`.
    """
    import asyncio

    began = time.perf_counter()
    call = _Call(query, index, k, _with_defaults(options))
    sample = await asyncio.to_thread(index.sample) if call.wants_sample else None
    jobs = await asyncio.to_thread(call.jobs, index.vectors, sample)
    results: list[Retrieved] = []
    chosen: list[Ids] = [job.include for job in jobs]
    for page in range(call.pages):
        if page:
            jobs = [
                await asyncio.to_thread(call.next_page, job, ids, index.vectors)
                for job, ids in zip(jobs, chosen, strict=True)
            ]
        outcomes = await _adrive(call, jobs)
        results = [call.describe(job, outcome, began) for job, outcome in zip(jobs, outcomes, strict=True)]
        chosen = [result.ids for result in results]
    results = [call.cut(result) for result in results]
    return results if call.many else results[0]


def _with_defaults(options: dict[str, Any]) -> dict[str, Any]:
    """Return `retrieve`'s keyword arguments, unknown ones refused."""
    known = retrieve.__kwdefaults__ or {}
    for name in options:
        if name not in known:
            raise TypeError(f"aretrieve() got an unexpected keyword argument {name!r}")
    return {**known, **options}


class _Call:
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
        self.solver = checks.choice("solver", options["solver"], [n for n in SOLVERS if n not in UNFIT])
        if self.objective.name not in SOLVERS[self.solver].objectives:
            raise ValueError(f"solver: {self.solver!r} is not for {self.objective.name}")
        check_certify(options["certify"])
        self.certify = options["certify"]
        self.k = checks.integer("k", k, least=1)
        if self.k > index.size:
            raise ValueError(
                f"k: {self.k} is more than the {index.size} vectors of the index; ask for at most that"
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
        self.threads = threading.count(options["threads"])
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
        given = to_numpy(query, "query")
        self.many = given.ndim == 2
        self.queries = self._unit(as_queries(given, index.dim, "query"))

    def _unit(self, queries: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the queries, of unit length under cosine."""
        if self.objective.metric != "cosine":
            return queries
        lengths = np.sqrt(np.vecdot(queries, queries))
        if not (lengths > 0.0).all():
            raise ValueError(
                f"query: row {int((lengths == 0.0).argmax())} is all zero and has no direction under cosine"
            )
        return np.asarray(queries / lengths[:, None])

    @property
    def wants_sample(self) -> bool:
        """Whether vectors drawn over the whole index are a useful start: where gradients are searched."""
        objective = self.objective
        return (
            isinstance(objective, MaxSum)
            and objective.low_rank
            and objective.diversity > 0.0
            and self.k > 1
            and self.pool is None
            and self.filter is None
        )

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
                size=self.index.size,
                seed=self.seed,
                sample=sample,
                known=known,
                threads=self.threads,
            )
            for query in self.queries
        ]

    def next_page(self, job: Job, ids: Ids, vectors: Any) -> Job:
        """Return the job of the page after a set: that set is in it, and the best to add is looked for."""
        known = Found(ids, np.zeros(len(ids)), vectors(ids)) if len(ids) else None
        return replace(
            job,
            k=min(len(ids) + self.k, self.index.size),
            include=ids,
            known=known,
            pool=None if self.pool is None else max(self.pool, len(ids) + self.k),
        )

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


def _drive(call: _Call, jobs: list[Job]) -> list[Outcome]:
    """Run the jobs' plans; the searches of one round are one call of the index."""
    whole = call.whole()
    if whole is not None:
        return [_greedy_over_all(job, whole) for job in jobs]
    plans = [plan_for(job) for job in jobs]
    outcomes: list[Outcome | None] = [None] * len(jobs)
    answers: list[Found | None] = [None] * len(jobs)
    waiting = list(range(len(jobs)))
    with threading.one_blas_thread():
        while waiting:
            asked = _step(plans, waiting, answers, outcomes, call.threads)
            waiting = [place for place, _ in asked]
            for group in _rounds(asked):
                found = call.index.fetch(
                    np.stack([ask.weights for _, ask in group]),
                    group[0][1].count,
                    filter=call.filter,
                    exclude=call.exclude,
                )
                for (place, _), one in zip(group, found, strict=True):
                    answers[place] = one
    return [outcome for outcome in outcomes if outcome is not None]


async def _adrive(call: _Call, jobs: list[Job]) -> list[Outcome]:
    """`_drive`, awaiting the index."""
    import asyncio

    whole = call.whole()
    if whole is not None:
        return [await asyncio.to_thread(_greedy_over_all, job, whole) for job in jobs]
    plans = [plan_for(job) for job in jobs]
    outcomes: list[Outcome | None] = [None] * len(jobs)
    answers: list[Found | None] = [None] * len(jobs)
    waiting = list(range(len(jobs)))

    def step(waiting: list[int]) -> list[tuple[int, Ask]]:
        with threading.one_blas_thread():
            return _step(plans, waiting, answers, outcomes, call.threads)

    while waiting:
        asked = await asyncio.to_thread(step, waiting)
        waiting = [place for place, _ in asked]
        for group in _rounds(asked):
            found = await call.index.afetch(
                np.stack([ask.weights for _, ask in group]),
                group[0][1].count,
                filter=call.filter,
                exclude=call.exclude,
            )
            for (place, _), one in zip(group, found, strict=True):
                answers[place] = one
    return [outcome for outcome in outcomes if outcome is not None]


def _step(
    plans: list[Any],
    waiting: list[int],
    answers: list[Found | None],
    outcomes: list[Outcome | None],
    workers: int,
) -> list[tuple[int, Ask]]:
    """Take every waiting plan to its next search; return those that have one, with what they ask."""

    def advance(place: int) -> Ask | None:
        try:
            answer = answers[place]
            ask: Ask = next(plans[place]) if answer is None else plans[place].send(answer)
            return ask
        except StopIteration as done:
            outcomes[place] = done.value
            return None

    def part(start: int, stop: int) -> list[Ask | None]:
        return [advance(place) for place in waiting[start:stop]]

    found = [ask for asks in threading.run(part, len(waiting), workers) for ask in asks]
    return [(place, ask) for place, ask in zip(waiting, found, strict=True) if ask is not None]


def _rounds(asked: list[tuple[int, Ask]]) -> list[list[tuple[int, Ask]]]:
    """Return searches by how many they ask for: those of one count are one call."""
    counts: dict[int, list[tuple[int, Ask]]] = {}
    for place, ask in asked:
        counts.setdefault(ask.count, []).append((place, ask))
    return list(counts.values())


def _greedy_over_all(job: Job, index: ArrayIndex) -> Outcome:
    """Select greedily over every row of an array: lazy, and identical to the scan over all of them."""
    vectors: Vectors = index.checked().queried(job.query)
    assert vectors.similarity is not None
    labels = None if job.labels is None else job.labels(np.arange(vectors.n))
    constraints = Constraints(vectors.n, job.k, job.include, labels, job.max_per_group)
    relevance = Relevance(vectors.similarity, vectors, job.query)
    problem = Problem(vectors, relevance, job.k, job.objective, constraints, job.seed, None, job.stats)
    with threading.one_blas_thread():
        chosen = greedy.solve(problem)
    certificate = None
    if job.certify:
        size = int(problem.stats.get("pool_size", problem.n))
        certificate = Certificate(None, None, False, size, True)
    label = "greedy" if job.solver == "auto" else job.solver
    return Outcome(problem, np.arange(vectors.n), chosen, True, certificate, label)


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
