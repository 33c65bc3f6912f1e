"""One call of `retrieve`: its checked arguments, the jobs they make, and what becomes of the outcomes."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks, solvers
from setwise.containers import to_numpy
from setwise.each import split
from setwise.facets import are_texts, directions_of
from setwise.ids import among, as_ids, check_apart, listed_ids
from setwise.index.array import ArrayIndex
from setwise.index.base import Everything, Found, Ids, Index
from setwise.index.promised import Moved, check_vectors, is_known, sampled
from setwise.queries import as_queries
from setwise.request import Request, Rows
from setwise.retrieval.ask import MOST, Outcome
from setwise.retrieval.pages import check_offset, check_pages, earlier, without
from setwise.retrieval.plan import goes_along_gradients, reads_all
from setwise.retrieval.retrieved import Retrieved, retrieved
from setwise.retrieval.seen import Job, encoded, labels_of, shown_of, vectors_of
from setwise.selection import Selection
from setwise.solvers.described import describe

#: How many vectors drawn over the whole index to start from: few where searches are approximate, and so cost
#: less than a larger relaxation does.
FEW, MANY = 512, 4096


@dataclass(frozen=True)
class Call:
    """One call's checked arguments, and what turns them into jobs and results.

    Attributes
    ----------
    request : Request
        Its `include` and `exclude` are ids, its `groups` and `costs` find those of ids.
    barred : list of ids, or None
        What each query may not find, where that is given for each by itself; `exclude` is empty then.
    queries : ndarray of shape (m, d), float64
        Of unit length under cosine.
    many : bool
        Whether a list is to be returned.
    size : int
        Of the index; 2**62 where it holds more than can matter.
    pool : int or None
        Candidates to look at; None lets the pool grow until it is proven sufficient.
    filter : object
    before : ndarray of ids
        What earlier pages had.
    exact : bool
        Whether the index's searches are taken for exact.
    """

    request: Request
    barred: list[Ids] | None
    index: Index
    queries: NDArray[np.float64]
    many: bool
    size: int
    pool: int | None
    filter: Any
    offset: int
    before: Ids
    exact: bool

    @classmethod
    def of(
        cls,
        request: Request,
        query: Any,
        index: Index,
        pool: int | str,
        filter: Any,
        offset: int,
        after: Any,
        *,
        exact: bool,
    ) -> Call:
        """Check what a request asks of an index.

        Raises TypeError: ids, the query or a number are of the wrong type; ValueError: the objective or the
        solver needs all candidates, or measures otherwise than the index; k is more than the index has; a
        number is out of its range; an id is named twice, or both must and must not be in the set; more ids
        must be in it than fit; the query is not finite, zero under cosine or of another width.
        """
        goal = request.goal
        if goal.of_all:
            raise ValueError(
                f"objective: {goal.name} is of all candidates, and a search returns a few; use setwise.select"
            )
        solvers.serving(goal.name, request.solver, "partial")
        if goal.metric != index.metric:
            raise ValueError(
                f"objective: it measures {goal.metric}, the index {index.metric}; make it with that metric"
            )
        k = request.k or 1
        check_offset(checks.integer("offset", offset, least=0), k)
        before = index.as_searched(earlier(after))
        check_pages(request, "offset" if offset else "after", bool(offset) or len(before) > 0)
        if len(before) and offset:
            raise ValueError("offset: after says where the page begins; leave one of them out")
        most = max(MOST, len(before) + offset + k, pool if isinstance(pool, int) else 0)
        count = checks.integer(
            "index: its size", index.counted(most + 1), least=0
        )  # a store counts its rows: once a call, and no more than matter
        size = count if count <= most else 2**62
        if request.sized and k > size:
            raise ValueError(f"k: {k} is more than the {size} vectors of the index; ask for at most that")
        if pool == "auto":
            looked = None
        elif isinstance(pool, str):
            raise ValueError(f"pool: {pool!r} is neither 'auto' nor a number")
        else:
            looked = checks.integer("pool", pool, least=k)
        given = to_numpy(index.encode(query) if _in_words(query) else query, "query")
        queries = as_queries(given, index.dim, "query", metric=index.metric)
        if len(before) and given.ndim == 2:
            raise ValueError("after: it goes with one query; ask for the further pages of each by itself")
        include = without(index.as_searched(_as_ids("include", request.include)), before)
        shown, seen = shown_of(request, index)
        seen = index.as_searched(as_ids(seen)).tolist() if seen else seen
        facets = request.facets
        if facets is not None:
            facets = encoded(index, facets, "facets") if are_texts(facets) else facets
            facets = directions_of(facets, index.dim, index.metric)
        each = split(replace(request, include=()), len(queries))
        alike = all(one.exclude is each[0].exclude for one in each)
        exclude = [_as_ids("exclude", one.exclude) for one in (each[:1] if alike else each)]
        if seen:
            exclude = [_as_ids("exclude", list(dict.fromkeys([*one.tolist(), *seen]))) for one in exclude]
        exclude = [index.as_searched(one) for one in exclude]
        if request.k is not None and len(include) > k:
            raise ValueError(f"include: {len(include)} ids do not fit into k = {k}")
        for barred in exclude:
            check_apart(include.tolist(), barred.tolist(), seen)
        before = without(before, exclude[0])

        def stored(ids: Ids, field: str) -> Any:
            try:
                return index.values(ids, field)
            except KeyError as error:  # it was found a moment ago
                raise Moved(error.args[0] if error.args else "an id is gone") from None

        def of_ids(name: str, given: Any) -> Any:
            find = labels_of(given, stored, name, getattr(index, "frame", None))
            return lambda ids: find(index.as_given(ids))

        request = request.mapped(of_ids, fields=True)
        shared = exclude[0] if alike else np.empty(0, np.int64)
        return cls(
            request=replace(request, include=include, exclude=shared, shown=shown, facets=facets),
            barred=None if alike else exclude,
            index=index,
            queries=queries,
            many=given.ndim == 2,
            size=size,
            pool=looked,
            filter=filter,
            offset=offset,
            before=before,
            exact=exact,
        )

    @property
    def pages(self) -> int:
        """How many pages to select, the one asked for among them."""
        size = self.request.k
        return 1 if self.offset == 0 or size is None else -(-(self.offset + size) // size)

    @property
    def must(self) -> Ids:
        """The ids in the set whatever the filter: those of earlier pages, then the must-have ones."""
        include = np.asarray(self.request.include)
        return as_ids([*self.before.tolist(), *include.tolist()]) if len(self.before) else include

    def jobs(self) -> list[Job]:
        """Return a job a query; must-have vectors, those of earlier pages and the sample are fetched once."""
        request, index, pool = self.request, self.index, self.pool
        if len(self.before):
            wanted = len(self.before) + request.size
            request = replace(request, include=self.must, k=min(wanted, self.size))
            pool = None if pool is None else max(pool, wanted)
        name, known, drawn = type(index).__name__, None, self._drawn()
        if len(request.include):
            ids = np.asarray(request.include)
            try:
                known = Found(ids, np.zeros(len(ids)), vectors_of(index, ids, "include"))
            except KeyError as error:
                if not len(self.before):
                    raise
                told = error.args[0].removeprefix("include: ").partition(";")[0]
                raise KeyError(f"after: {told}, which an earlier page had; begin with the first") from None
            check_vectors(name, known.ids, known.vectors, index.dim, index.metric)
        compared = is_known(index) or (drawn is not None and len(drawn) == self.size)
        scope = "all" if self.exact and compared else "returned"
        ends = time.monotonic() + request.time_limit if request.timed else np.inf
        exclude = [np.asarray(request.exclude)] * len(self.queries) if self.barred is None else self.barred
        jobs = []
        for query, ids in zip(self.queries, exclude, strict=True):
            left = _without(drawn, ids)
            jobs.append(
                Job(
                    replace(request, exclude=ids),
                    query,
                    pool,
                    name,
                    self.size,
                    self.exact,
                    scope,
                    sample=left if goes_along_gradients(self.request, self.pool) else None,
                    witnesses=None if is_known(index) else left,
                    known=known,
                    ends=ends,
                )
            )
        return jobs

    def _drawn(self) -> Found | None:
        """Return vectors drawn over the whole index, for what they are a use.

        They are a start for gradient searches; what an index that is not setwise's own says of its searches
        is compared with them.
        """
        doubted = self.exact and not is_known(self.index)
        if self.filter is not None or not (doubted or goes_along_gradients(self.request, self.pool)):
            return None
        many = self.exact and (is_known(self.index) or self.size <= MANY)
        return sampled(self.index, MANY if many else FEW)

    def next_page(self, job: Job, outcome: Outcome, result: Retrieved) -> Job:
        """Return the job of the page after these: what is found is in it, and the best to add is wanted.

        Searches get the vectors of the page before; a selection from everything reads them where they are.
        """
        ids, known = result.ids, None
        if outcome.problem is not None and len(ids) and not outcome.whole:
            rows = outcome.problem.vectors.raw[np.searchsorted(outcome.ids, ids)]
            known = Found(ids, np.zeros(len(ids)), rows)
        wanted = len(ids) + self.request.size
        return replace(
            job,
            request=replace(job.request, k=min(wanted, self.size), include=ids),
            known=known,
            pool=None if self.pool is None else max(self.pool, wanted),
        )

    def cut(self, result: Retrieved) -> Retrieved:
        """Return the page asked for, of all pages so far, its ids as they were given to the index."""
        start = len(self.before) + self.offset
        page = result.cut(start, start + self.request.size) if start else result
        return replace(page, ids=self.index.as_given(page.ids))

    def whole(self) -> list[Everything] | None:
        """Return all that each query may find, where the solver reads all of it and the index has it at hand.

        Selection by levels does, and greedy selection from an array, which is exact and as fast so.
        """
        request, index = self.request, self.index
        name, barred = request.goal.name, self.barred or [np.asarray(request.exclude)]
        if request.wishes or self.pool is not None:
            return None
        if not reads_all(request):
            greedily = name not in solvers.UNSEEN and solvers.label_of(name, request.solver) == "greedy"
            some = self.filter is not None or any(map(len, barred))
            if not greedily or some or not isinstance(index, ArrayIndex):
                return None
        found = [index.everything(filter=self.filter, exclude=gone, include=self.must) for gone in barred]
        had = [one for one in found if one is not None]
        if len(had) < len(found):
            return None
        return had if self.barred else had * len(self.queries)

    def describe(self, job: Job, outcome: Outcome, began: float) -> Retrieved:
        """Return an outcome as what the caller gets, all pages so far in one."""
        problem, metric, found = outcome.problem, self.index.metric, outcome.found
        wished = bool(job.request.wishes)
        label = solvers.label_of(job.request.goal.name, job.request.solver, wished=wished)
        if problem is None:
            checks.warn("nothing in the index passes the filter: an empty result")
            seconds, none = time.perf_counter() - began, np.empty(0)
            empty = Selection(
                none.astype(np.int64),
                none,
                0.0,
                0.0,
                0.0,
                found.certificate,
                label,
                seconds,
                job.stats,
            )
            return retrieved(empty, outcome.ids, none, none, metric)
        asked, count = job.request, len(found.chosen)
        if asked.sized and count < asked.size and not len(self.before):  # pages end some time
            if problem.n < asked.size:
                checks.warn(
                    f"k: only {problem.n} of the {asked.size} asked for are in the index or pass the filter"
                )
            elif problem.open:
                checks.warn(
                    f"{problem.objective.name}: only {count} of the {asked.size} asked for are selected of "
                    f"the {problem.n:,} looked at, {problem.objective.shortage}"
                )
        selection = describe(problem, found, label, began)
        names = self.index.as_given(outcome.ids)
        selection = replace(selection, reasoner=selection.reasoner.named(names))
        chosen, kept = selection.indices, problem.vectors.kept
        ids = outcome.ids[chosen]
        if kept is not None:
            chosen = np.searchsorted(kept, chosen)
        if ids.dtype.kind in "iu":
            places = ids.astype(np.int64)
        else:
            rank = np.empty(problem.n, np.int64)
            rank[np.argsort(-problem.relevance.values, kind="stable")] = np.arange(problem.n)
            places = rank[chosen]
        rows = np.asarray(problem.vectors.rows(chosen, np.float64), np.float64)
        result = retrieved(selection, ids, problem.relevance.given(chosen), rows, metric)
        return replace(result, indices=places, candidates=getattr(self.index, "frame", None))


def _without(found: Found | None, ids: Ids) -> Found | None:
    """Return what was found without some ids."""
    if found is None or len(ids) == 0:
        return found
    kept = ~among(found.ids, ids)
    return Found(found.ids[kept], found.scores[kept], found.vectors[kept])


def _as_ids(name: str, ids: Rows) -> Ids:
    """Return ids as int64 or as an object array, none of them twice; of both kinds, all as strings."""
    if any(isinstance(one, bool | float) for one in listed_ids(ids, name)):
        raise TypeError(f"{name}: expected ids, whole numbers or strings")
    found = as_ids(ids, name)
    listed = found.tolist()
    if len(set(listed)) != len(listed):
        twice = next(one for one in listed if listed.count(one) > 1)
        raise ValueError(f"{name}: {twice!r} is named twice")
    if len({type(one) for one in listed}) > 1:
        found = np.array([str(one) for one in listed], object)
    return found


def _in_words(query: Any) -> bool:
    """Return whether a query is a text, or a list of texts."""
    return isinstance(query, str) or (
        isinstance(query, list | tuple) and any(isinstance(q, str) for q in query)
    )
