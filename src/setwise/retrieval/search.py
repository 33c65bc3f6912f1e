"""`setwise.retrieve`: k vectors of an index for a query, relevant and diverse; one, many, or awaited."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from setwise import solvers
from setwise.certificate import unbounded
from setwise.constraints import Constraints
from setwise.index.base import Everything, Found, Index
from setwise.index.promised import Moved, checked, has_moved, is_known
from setwise.relevance import Relevance
from setwise.request import Listed, Options, Request, takes
from setwise.retrieval.ask import Ask, Outcome, cut
from setwise.retrieval.call import Call
from setwise.retrieval.defaults import DIVERSITY, request_of
from setwise.retrieval.plan import plan_for
from setwise.retrieval.retrieved import Retrieved
from setwise.retrieval.seen import Job
from setwise.solvers.problem import Problem, Solved
from setwise.steps import Step, Work, arun, run
from setwise.threads import one_blas_thread, run_ranges
from setwise.vectors import check_metric

_log = logging.getLogger(__name__)

#: How often a retrieval from an index that others write to is begun before its searches count as not exact.
ATTEMPTS = 2

#: A query as a vector of numbers, and several as rows.
OneVector = Sequence[float] | np.ndarray[tuple[int], np.dtype[np.number]]
ManyVectors = Sequence[Sequence[float]] | np.ndarray[tuple[int, int], np.dtype[np.number]]


class Searched(Options, total=False):
    """What `retrieve` takes by name: the options of every selecting call, and those of a search."""

    sharpness: int | None
    pool: int | str
    filter: object
    offset: int
    after: str | Listed


class AsArray(Protocol):
    """What becomes an array: a tensor, a column of a frame, an array of which no shape is known."""

    def __array__(self) -> NDArray[np.generic]:
        """Return the array."""
        ...


@overload
def retrieve(
    query: str | OneVector, index: Index, k: int | None = None, **options: Unpack[Searched]
) -> Retrieved: ...
@overload
def retrieve(
    query: list[str] | tuple[str, ...] | ManyVectors,
    index: Index,
    k: int | None = None,
    **options: Unpack[Searched],
) -> list[Retrieved]: ...
@overload
def retrieve(
    query: AsArray, index: Index, k: int | None = None, **options: Unpack[Searched]
) -> Retrieved | list[Retrieved]: ...
@takes(diversity=DIVERSITY)
def retrieve(
    query: object,
    index: Index,
    k: int | None = None,
    *,
    sharpness: int | None = None,
    pool: int | str = "auto",
    filter: object = None,
    offset: int = 0,
    after: str | Listed = (),
    **options: Unpack[Options],
) -> Retrieved | list[Retrieved]:
    """Retrieve k vectors of an index for a query: relevant, diverse, and certified.

    Parameters
    ----------
    query : array-like of shape (d,) or (m, d), str, or list of str
        A query, or many: those are searched for together, each search one call of the index. Texts need an
        index with an encoder (`setwise.open_index`).
    index : Index
        Where the vectors are: `Index.from_array`, `.from_faiss`, `.from_torch`, `.from_qdrant`,
        `.from_pgvector`, `.from_lance`, `.from_chroma`, `.from_milvus`, `.from_sqlite`, `.from_duckdb`, or
        your own subclass.
    k : int, optional
        At most the index's size, by default 10. Where a filter leaves fewer, those are returned, with a
        warning. With `budget` or `min_gain` the most there may be; with a budget by default as many as fit.
    diversity : float
        In [0, 1]: 0 = relevance alone, 1 = diversity alone.
    sharpness : int, optional
        Of max-sum under cosine: distances 1 - cos^sharpness. Default 8, which penalizes near-duplicates;
        1 penalizes the average similarity, as the papers do.
    objective : {"max-sum", "mmr", "log-det", "max-min", "facets"} or Objective
    solver : str
        "auto", "greedy", "frank-wolfe", "multilevel", "distributed", "swap", "exact" or "top-k", as for
        `setwise.select`. All but the first work on the candidates looked at; by levels, those are all, unless
        `pool` is given.
    solver_options : mapping of name to value, optional
        As for `setwise.select`; a `partition` may be given as `groups` are.
    pool : "auto" or int
        How many candidates to look at. "auto" grows until the rest is proven not to matter; a number is
        kept to, and the certificate says whether it sufficed.
    filter : optional
        Which vectors may be found, in the index's own terms; applied inside every search.
    include : sequence of ids
        Must be in the set, whatever the filter; they come first.
    exclude : sequence of ids, or one of them a query
        Must not. For many queries also a list of one sequence (None for none) each.
    groups : str, mapping, callable or sequence, optional
        The group of each id: a field that the index stores, a mapping, a function, or for row numbers a
        sequence. With `limits` and `shares` a mapping of names to such.
    max_per_group : int, optional
        At most this many of each group (the chunks of one document, say).
    limits, shares : mapping, optional
        As for `setwise.select`, by name; a name that `groups` does not have is a field that the index stores.
    costs : str, mapping, callable or sequence, optional
        What each id costs, given as `groups` are: the tokens of a passage, say.
    budget : float, optional
        The set's costs sum to at most this.
    min_gain, max_similarity, shown_weight : float, optional
        As for `setwise.select`.
    shown : sequence of ids, or array-like of shape (h, d), optional
        What was shown before: ids of the index, or vectors. It counts as members, and is not returned.
    facets : array-like of shape (m, d), or list of str, optional
        What the set should cover, for objective="facets": sub-questions, say. The index is searched for each,
        too. Texts need an index with an encoder.
    offset : int
        Skip this many: the page after those. Pages of one k neither overlap nor skip; each is the best
        set to add to the pages before it. All of them are selected on the way, so that it reaches 32 pages.
    after : str or sequence of ids
        Instead of an offset, what earlier pages had: the ``cursor`` of the page before, which is a text that
        can be handed over the wire, or ids (up to 4,096). What is asked for otherwise may change from page
        to page. ``hits.next()`` asks for the page after hits.
    certify : False, True or "full"
    time_limit : float
        Seconds that solver="exact" and certify="full" may take, for all of the call; see `setwise.select`.
    seed : int
    threads : int, optional

    Returns
    -------
    Retrieved, or a list of them for many queries

    Raises
    ------
    TypeError
        An argument is of the wrong type, or `index` is no index.
    ValueError
        The query is not finite, all zero under cosine, or of another width than the index's vectors; k is
        more than the index has; an argument is out of its range or unknown; the objective or the solver
        needs all candidates; an id is named twice; no set satisfies the constraints. Both name the argument
        and the mend, before the index is searched (but for what only searches can tell).
    KeyError
        A must-have id that the index does not have.

    Notes
    -----
    Max-sum with sharpness 1 is solved by Frank-Wolfe whose linear oracle is the index's search (CCBQP
    Algorithm 1, with corrective steps over all candidates seen). With a sharpness above 1 the most relevant
    are proven sufficient by their relevance. An index that searches approximately, or whose word alone says
    that it does not, yields a certificate relative to what it returns (``certificate.scope == "returned"``).

    Examples
    --------
    >>> import numpy as np, setwise
    >>> passages = np.random.default_rng(0).standard_normal((1000, 16))
    >>> index = setwise.Index.from_array(passages)
    >>> hits = setwise.retrieve(passages[0], index, 5, diversity=0.3)
    >>> int(hits.ids[0]), hits.certificate.pool_sufficient
    (0, True)
    """
    metric = metric_of(index)
    request = request_of(retrieve, options, k=k, sharpness=sharpness, metric=metric)
    found: Retrieved | list[Retrieved] = run(
        retrieving(request, query, index, pool=pool, filter=filter, offset=offset, after=after)
    )
    return found


@overload
async def aretrieve(
    query: str | OneVector, index: Index, k: int | None = None, **options: Unpack[Searched]
) -> Retrieved: ...
@overload
async def aretrieve(
    query: list[str] | tuple[str, ...] | ManyVectors,
    index: Index,
    k: int | None = None,
    **options: Unpack[Searched],
) -> list[Retrieved]: ...
@overload
async def aretrieve(
    query: AsArray, index: Index, k: int | None = None, **options: Unpack[Searched]
) -> Retrieved | list[Retrieved]: ...
@takes(diversity=DIVERSITY)
async def aretrieve(
    query: object,
    index: Index,
    k: int | None = None,
    *,
    sharpness: int | None = None,
    pool: int | str = "auto",
    filter: object = None,
    offset: int = 0,
    after: str | Listed = (),
    **options: Unpack[Options],
) -> Retrieved | list[Retrieved]:
    """`retrieve` without blocking the event loop: searches are awaited, and solved on a thread.

    Parameters and results as for `retrieve`.
    """
    metric = metric_of(index)
    request = request_of(aretrieve, options, k=k, sharpness=sharpness, metric=metric)
    return await arun(retrieving(request, query, index, pool=pool, filter=filter, offset=offset, after=after))


def metric_of(index: Any) -> str:
    """Return the metric of an index. Raises TypeError: it is none, or has no width; ValueError: unknown."""
    if not isinstance(index, Index):
        raise TypeError(
            f"index: expected a setwise.Index, got {type(index).__name__}; wrap your vectors with "
            "setwise.Index.from_array"
        )
    if not hasattr(index, "dim"):
        raise TypeError(f"index: {type(index).__name__} has no dim; set it to the width of its vectors")
    return check_metric(index.metric)


def retrieving(
    request: Request,
    query: Any,
    index: Index,
    *,
    pool: int | str = "auto",
    filter: Any = None,
    offset: int = 0,
    after: Any = (),
) -> Work[Any]:
    """Retrieve what a request asks for, with a step for each search of the index; see `retrieve`.

    Where the index is written to meanwhile, so that its answers do not fit together, all is done anew; where
    that goes on, the certificate is of what was returned.
    """
    asked = (request, query, index, pool, filter, offset, after)
    exact, gone = bool(index.exact), False
    for _ in range(ATTEMPTS):
        try:
            return (yield from _retrieving(*asked, exact=exact))
        except Moved as error:
            gone |= error.row is not None
            look = partial(has_moved, index, error)
            if not (yield Step(look, partial(asyncio.to_thread, look))):
                raise
    return (yield from _retrieving(*asked, exact=exact and not gone))


def _retrieving(
    request: Request,
    query: Any,
    index: Index,
    pool: int | str,
    filter: Any,
    offset: int,
    after: Any,
    *,
    exact: bool,
) -> Work[Any]:
    """Retrieve once, from an index whose searches are taken for exact or not."""
    began = time.perf_counter()
    call = Call.of(request, query, index, pool, filter, offset, after, exact=exact)
    jobs = call.jobs()
    reached = 0
    for page in range(call.pages):
        outcomes = yield from _solving(call, jobs)
        results = [call.describe(job, outcome, began) for job, outcome in zip(jobs, outcomes, strict=True)]
        before, reached = reached, max(map(len, results))
        if reached == before:  # the index holds no more
            break
        if page + 1 < call.pages:
            jobs = [call.next_page(*one) for one in zip(jobs, outcomes, results, strict=True)]
    pages = []
    for number, result in enumerate(results):
        asked = request if call.barred is None else replace(request, exclude=call.barred[number])
        one = partial(_page_after, asked, call.queries[number], index, pool, filter)
        pages.append(replace(call.cut(result), following=one))
        _log.debug("%d of %s by %s: %s", len(result), type(index).__name__, result.solver, result.stats)
    return pages if call.many else pages[0]


def _page_after(
    request: Request, query: Any, index: Index, pool: int | str, filter: Any, cursor: str
) -> Retrieved:
    """Return the page after another of the same call."""
    page: Retrieved = run(retrieving(request, query, index, pool=pool, filter=filter, after=cursor))
    return page


def _solving(call: Call, jobs: list[Job]) -> Work[list[Outcome]]:
    """Take the jobs' plans from search to search together; searches for as many are one call of the index."""
    whole = call.whole()
    if whole is not None:
        scope = "all" if is_known(call.index) else "returned"
        return [_over_all(job, each, scope) for job, each in zip(jobs, whole, strict=True)]
    plans = [plan_for(job) for job in jobs]
    outcomes: dict[int, Outcome] = {}
    found: dict[int, Found] = {}

    def advance(place: int) -> Ask | None:
        """Take one plan on; None when it has ended."""
        try:
            return plans[place].send(found.get(place))  # type: ignore[arg-type]
        except StopIteration as end:
            outcomes[place] = end.value
            return None

    waiting = list(range(len(plans)))

    def some(start: int, stop: int) -> list[tuple[int, Ask | None]]:
        return [(place, advance(place)) for place in waiting[start:stop]]

    index, filter = call.index, call.filter
    while waiting:
        with one_blas_thread():
            parts = run_ranges(some, len(waiting), call.request.workers)
        asked: dict[tuple[int, int], dict[int, Ask]] = {}
        for part in parts:
            for place, ask in part:
                if ask is not None:
                    asked.setdefault((ask.count, _alone(call, place, ask)), {})[place] = ask
        for (count, alone), asks in asked.items():
            weights = np.stack([ask.weights for ask in asks.values()])
            exclude = call.request.exclude if alone < 0 else jobs[alone].request.exclude
            # Those with few barred ids of their own search together, for so many more.
            own = [] if call.barred is None or alone >= 0 else [call.barred[place] for place in asks]
            wanted = count + max(map(len, own), default=0)
            options = {"filter": filter, "exclude": exclude}
            hits = yield Step.of(index.fetch, index.afetch, weights, wanted, **options)
            answers = checked(index, weights, wanted, hits, **options, exact=call.exact, held=call.size)
            if own:
                answers = [cut(one, ids, count) for one, ids in zip(answers, own, strict=True)]
            found.update(zip(asks, answers, strict=True))
        waiting = [place for asks in asked.values() for place in asks]
    return [outcomes[place] for place in range(len(plans))]


def _alone(call: Call, place: int, ask: Ask) -> int:
    """Return the place of a query that has to be searched for by itself; -1 where it need not be."""
    return place if call.barred is not None and len(call.barred[place]) > ask.count else -1


def _over_all(job: Job, whole: Everything, scope: str) -> Outcome:
    """Select from all that may be found: greedily, which is lazy and identical to a scan, or by levels."""
    if whole.vectors.n == 0:
        certificate = unbounded(0, True, scope) if job.request.certify else None
        return Outcome(
            None, whole.ids[:0], Solved(np.empty(0, np.int64), ordered=True, certificate=certificate)
        )
    vectors = whole.vectors.queried(job.query)
    assert vectors.similarity is not None
    names = whole.ids[vectors.places(np.arange(vectors.n))]
    place = {name: row for row, name in enumerate(names.tolist())} if len(job.request.include) else {}
    request = replace(
        job.request.mapped(lambda _, find: find(names)),
        k=min(job.request.size, vectors.n),
        include=[place[name] for name in np.asarray(job.request.include).tolist()],
        exclude=(),
    )
    constraints = Constraints(vectors.n, request)
    relevance = Relevance(vectors.similarity, vectors, job.query)
    problem = Problem(vectors, relevance, request, constraints, None, job.stats)
    problem.ends = job.ends
    with one_blas_thread():
        found = solvers.find(problem, request.solver)
        if request.certify:
            found = solvers.certify(problem, found)
            assert found.certificate is not None
            found = replace(found, certificate=replace(found.certificate, scope=scope))
    return Outcome(problem, whole.ids, found, whole=True)
