"""`setwise.retrieve`: k vectors of an index for a query, relevant and diverse; one, many, or awaited."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from setwise import threads as threading
from setwise.api import Certify
from setwise.constraints import Constraints
from setwise.index.array import ArrayIndex
from setwise.index.base import Found, Ids, Index
from setwise.relevance import Relevance
from setwise.retrieval.call import Call
from setwise.retrieval.plan import Ask, Outcome, plan_for
from setwise.retrieval.retrieved import Retrieved
from setwise.retrieval.seen import Job
from setwise.retrieval.texts import DIVERSITY
from setwise.selection import Certificate
from setwise.solvers import greedy
from setwise.solvers.problem import Problem
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
    call = Call(query, index, k, _with_defaults(options))
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


def _drive(call: Call, jobs: list[Job]) -> list[Outcome]:
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


async def _adrive(call: Call, jobs: list[Job]) -> list[Outcome]:
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
