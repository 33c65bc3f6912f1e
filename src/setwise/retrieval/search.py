"""`setwise.retrieve`: k vectors of an index for a query, relevant and diverse; one, many, or awaited."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from setwise.certificate import unbounded
from setwise.constraints import Constraints
from setwise.index.array import ArrayIndex
from setwise.index.base import Found, Ids, Index
from setwise.relevance import Relevance
from setwise.request import Certify, Request
from setwise.retrieval.call import Call
from setwise.retrieval.plan import Ask, Outcome, plan_for
from setwise.retrieval.retrieved import Retrieved
from setwise.retrieval.seen import Job
from setwise.retrieval.texts import DIVERSITY
from setwise.solvers import greedy
from setwise.solvers.problem import Problem
from setwise.threads import one_blas_thread, run_ranges
from setwise.vectors import Vectors


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
    call = Call(query, index, k, options)
    jobs = call.jobs(index.vectors, index.sample() if call.wants_sample else None)
    outcomes: list[Outcome] = []
    results: list[Retrieved] = []
    for page in range(call.pages):
        if page:
            jobs = call.next_page(jobs, outcomes, results)
        outcomes = _drive(call, jobs)
        results = call.describe_all(jobs, outcomes, began)
    return call.answer(results)


async def aretrieve(query: Any, index: Index, k: int = 10, **options: Any) -> Any:
    """`retrieve` without blocking the event loop: searches are awaited, and solved on a thread.

    Parameters and results as for `retrieve`.
    """
    import asyncio

    began = time.perf_counter()
    call = await asyncio.to_thread(Call, query, index, k, _with_defaults(options))
    sample = await asyncio.to_thread(index.sample) if call.wants_sample else None
    jobs = await asyncio.to_thread(call.jobs, index.vectors, sample)
    outcomes: list[Outcome] = []
    results: list[Retrieved] = []
    for page in range(call.pages):
        if page:
            jobs = call.next_page(jobs, outcomes, results)
        outcomes = await _adrive(call, jobs)
        results = call.describe_all(jobs, outcomes, began)
    return call.answer(results)


def _with_defaults(options: dict[str, Any]) -> dict[str, Any]:
    """Return `retrieve`'s keyword arguments, unknown ones refused."""
    known = retrieve.__kwdefaults__ or {}
    for name in options:
        if name not in known:
            raise TypeError(f"aretrieve() got an unexpected keyword argument {name!r}")
    return {**known, **options}


def _drive(call: Call, jobs: list[Job]) -> list[Outcome]:
    """Run the jobs' plans; the searches of one round are one call of the index."""
    whole = call.whole()
    if whole is not None:
        return [_greedy_over_all(job, whole) for job in jobs]
    rounds = _Rounds(jobs, call.threads)
    while groups := rounds.searches():
        for group in groups:
            weights, count = group.question()
            found = call.index.fetch(weights, count, filter=call.filter, exclude=call.exclude)
            rounds.take(group, found)
    return rounds.outcomes()


async def _adrive(call: Call, jobs: list[Job]) -> list[Outcome]:
    """`_drive`, awaiting the index."""
    import asyncio

    whole = call.whole()
    if whole is not None:
        return [await asyncio.to_thread(_greedy_over_all, job, whole) for job in jobs]
    rounds = _Rounds(jobs, call.threads)
    while groups := await asyncio.to_thread(rounds.searches):
        for group in groups:
            weights, count = group.question()
            found = await call.index.afetch(weights, count, filter=call.filter, exclude=call.exclude)
            rounds.take(group, found)
    return rounds.outcomes()


class _Group(NamedTuple):
    """Searches of one round that ask for as many: one call of the index."""

    places: list[int]
    asks: list[Ask]

    def question(self) -> tuple[NDArray[np.float64], int]:
        """Return what is searched for, shape (m, d), and how many are wanted of each."""
        return np.stack([ask.weights for ask in self.asks]), self.asks[0].count


class _Rounds:
    """Plans taken from search to search together, each with what the last one found."""

    def __init__(self, jobs: list[Job], workers: int) -> None:
        self._plans = [plan_for(job) for job in jobs]
        self._workers = workers
        self._done: dict[int, Outcome] = {}
        self._answers: list[Found | None] = [None] * len(jobs)
        self._waiting = list(range(len(jobs)))

    def searches(self) -> list[_Group]:
        """Take every waiting plan to its next search, several at a time; none is left when all are done."""

        def part(start: int, stop: int) -> list[Ask | None]:
            return [self._advance(place) for place in self._waiting[start:stop]]

        with one_blas_thread():
            asks = [ask for some in run_ranges(part, len(self._waiting), self._workers) for ask in some]
        groups: dict[int, _Group] = {}
        for place, ask in zip(self._waiting, asks, strict=True):
            if ask is not None:
                group = groups.setdefault(ask.count, _Group([], []))
                group.places.append(place)
                group.asks.append(ask)
        self._waiting = [place for group in groups.values() for place in group.places]
        return list(groups.values())

    def _advance(self, place: int) -> Ask | None:
        """Take one plan on; None when it has ended."""
        answer, plan = self._answers[place], self._plans[place]
        try:
            return next(plan) if answer is None else plan.send(answer)
        except StopIteration as done:
            self._done[place] = done.value
            return None

    def take(self, group: _Group, found: list[Found]) -> None:
        """Keep what a group's searches found for their plans."""
        for place, one in zip(group.places, found, strict=True):
            self._answers[place] = one

    def outcomes(self) -> list[Outcome]:
        """Return every plan's outcome, in the jobs' order."""
        return [self._done[place] for place in range(len(self._plans))]


def _greedy_over_all(job: Job, index: ArrayIndex) -> Outcome:
    """Select greedily over every row of an array: lazy, and identical to the scan over all of them."""
    vectors: Vectors = index.checked().queried(job.query)
    assert vectors.similarity is not None
    labels = None if job.labels is None else job.labels(np.arange(vectors.n))
    request = Request(
        k=job.k,
        objective=job.objective,
        seed=job.seed,
        include=job.include,
        groups=labels,
        max_per_group=job.max_per_group,
    )
    constraints = Constraints(vectors.n, request)
    relevance = Relevance(vectors.similarity, vectors, job.query)
    problem = Problem(vectors, relevance, request, constraints, None, job.stats)
    with one_blas_thread():
        chosen = greedy.solve(problem)
    certificate = None
    if job.certify:
        certificate = unbounded(int(problem.stats.get("pool_size", problem.n)), True)
    label = "greedy" if job.solver == "auto" else job.solver
    return Outcome(problem, np.arange(vectors.n), chosen, True, certificate, label)
