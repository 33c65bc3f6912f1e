"""`setwise.select_many`: many queries over one matrix, or many pools, in one call."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import api, checks, solvers
from setwise import relevance as relevances
from setwise.certificate import unbounded
from setwise.constraints import Constraints
from setwise.containers import to_numpy
from setwise.objectives import Objective, make
from setwise.relevance import Relevance
from setwise.selection import Selection
from setwise.solvers import batched
from setwise.solvers.problem import Problem
from setwise.threads import one_blas_thread, run_ranges, thread_count
from setwise.vectors import Vectors, as_matrix, as_query

#: Pools up to this size are solved in batches.
SMALL = 2048

#: Bytes of a batch of pools, so that it stays in the processor's cache.
BATCH_BYTES = 4 << 20

#: Queries whose relevance is scanned together: one pass over the data serves them all.
QUERIES = 16


def select_many(
    vectors: Any,
    k: int,
    *,
    queries: Any = None,
    relevance: Any = None,
    offsets: Any = None,
    relevance_scale: str = "none",
    diversity: float = 0.2,
    objective: str | Objective = "max-sum",
    sharpness: int = 1,
    solver: str = "auto",
    metric: str = "cosine",
    include: Any = (),
    groups: Any = None,
    max_per_group: int | None = None,
    certify: api.Certify = True,
    seed: int = 0,
    threads: int | None = None,
) -> list[Selection]:
    """Make many selections: the same as calling `setwise.select` for each, several times faster.

    Three shapes of work:

    * one matrix, many queries: `vectors` (n, d) and `queries` (m, d), or `relevance` (m, n);
    * ragged pools: `vectors` (n, d) whose rows ``offsets[i]`` to ``offsets[i + 1]`` are pool i, with
      `relevance` (n,) or one query a pool;
    * equal pools: `vectors` (m, n, d) with `relevance` (m, n) or one query a pool.

    Indices count from the start of each pool.

    Parameters
    ----------
    vectors : array-like of shape (n, d) or (m, n, d)
    k : int
        Size of every set; no pool may be smaller.
    queries : array-like of shape (m, d), optional
    relevance : array-like, optional
        See above.
    offsets : array-like of shape (m + 1,), int, optional
        Ascending, from 0 to n.
    include : sequence of int
        Must-have rows of every selection; for one matrix only.
    groups : array-like of shape (n,) or (m, n), optional
        One label a row of `vectors`.
    relevance_scale, diversity, objective, sharpness, solver, metric, max_per_group, certify, seed
        As in `setwise.select`.
    threads : int, optional
        Selections run beside each other on this many threads. Default: what BLAS is set to.

    Returns
    -------
    list of Selection, one a query or pool, in order

    Raises
    ------
    TypeError, ValueError
        As `setwise.select`; a bad pool or query is named.
    """
    goal = make(objective, diversity=diversity, sharpness=sharpness, metric=metric)
    api.check_certify(certify)
    relevances.check_scale(relevance_scale)
    checks.integer("seed", seed, least=0)
    size = checks.integer("k", k, least=1)
    if queries is not None and relevance is not None:
        raise ValueError("relevance: pass relevance or queries, not both")
    workers = thread_count(threads)
    work = _Work(goal, size, solver, relevance_scale, certify, seed, workers, max_per_group)
    stacked = vectors if isinstance(vectors, np.ndarray) else to_numpy(vectors, "vectors")
    with one_blas_thread():
        if stacked.ndim == 3:
            if offsets is not None:
                raise ValueError(
                    "offsets: not with vectors of shape (m, n, d), whose pools are already apart"
                )
            count, n, d = stacked.shape
            if count == 0 or n == 0:
                raise ValueError("vectors: empty, there is nothing to select from")
            cuts = np.arange(count + 1, dtype=np.int64) * n
            flat = stacked.reshape(count * n, d)
            given = None if relevance is None else _reshaped(relevance, (count, n), "relevance")
            labels = None if groups is None else np.asarray(groups).reshape(-1)
            try:
                return work.pools(flat, cuts, given, queries, include, labels)
            except ValueError as error:
                raise ValueError(_in_stack(str(error), n)) from None
        if offsets is not None:
            data = as_matrix(stacked)
            cuts = _cuts(offsets, len(data))
            given = None if relevance is None else relevances.as_relevance(relevance, len(data))
            return work.pools(data, cuts, given, queries, include, groups)
        return work.one_matrix(stacked, queries, relevance, include, groups)


class _Work:
    """The settings that all selections of a call share, and the three shapes of work."""

    def __init__(
        self,
        objective: Objective,
        k: int,
        solver: str,
        scale: str,
        certify: Any,
        seed: int,
        workers: int,
        max_per_group: int | None,
    ) -> None:
        self.objective, self.k, self.solver, self.scale = objective, k, solver, scale
        self.certify, self.seed, self.workers, self.max_per_group = certify, seed, workers, max_per_group

    def one_matrix(
        self, data: NDArray[Any], queries: Any, relevance: Any, include: Any, groups: Any
    ) -> list[Selection]:
        """Select from the same candidates for each query or row of relevance."""
        data = as_matrix(data)
        n, d = data.shape
        if self.k > n:
            raise ValueError(f"k: {self.k} is more than the {n} candidates; ask for at most {n}")
        if queries is None and relevance is None:
            raise ValueError("queries: needed, or relevance of shape (m, n), or offsets")
        if queries is not None:
            probes = _probes(queries, d, self.objective.metric)
            count = len(probes)
        else:
            scores = np.atleast_2d(to_numpy(relevance, "relevance"))
            count = len(scores)
            if scores.ndim != 2 or scores.shape[1] != n:
                raise ValueError(f"relevance: expected shape (m, {n}), got {scores.shape}")
        constraints = Constraints(n, self.k, include, groups, self.max_per_group)
        name = solvers.check(self.solver, self.objective.name, constraints)
        vectors = Vectors(data, self.objective.metric, workers=self.workers)
        alone = Vectors.__new__(Vectors)
        alone.__dict__.update(vectors.__dict__)
        alone.workers = 1 if count >= self.workers else self.workers
        found: list[Selection] = []
        for start in range(0, count, QUERIES):
            stop = min(count, start + QUERIES)
            near = None if queries is None else _similarities(vectors, probes[start:stop])

            def one(position: int, start: int = start, near: NDArray[np.float64] | None = near) -> Selection:
                began = time.perf_counter()
                if near is not None:
                    known = Relevance(near[position - start], alone, probes[position], self.scale)
                else:
                    values = relevances.as_relevance(scores[position], n, f"relevance[{position}]")
                    known = Relevance(values, alone, None, self.scale)
                problem = Problem(alone, known, self.k, self.objective, constraints, self.seed)
                return api.run(problem, name, self.certify, began)

            found.extend(self._beside(one, start, stop))
        return found

    def pools(
        self,
        data: NDArray[Any],
        cuts: NDArray[np.int64],
        relevance: NDArray[np.float64] | None,
        queries: Any,
        include: Any,
        groups: Any,
    ) -> list[Selection]:
        """Select from each pool of rows."""
        data = as_matrix(data)
        count, d = len(cuts) - 1, data.shape[1]
        sizes = np.diff(cuts)
        if np.size(include):
            raise ValueError("include: rows of one matrix only; with pools, call setwise.select for each")
        if sizes.min() < self.k:
            pool = int(sizes.argmin())
            raise ValueError(f"k: {self.k} is more than the {sizes[pool]} candidates of pool {pool}")
        probes = None if queries is None else _probes(queries, d, self.objective.metric)
        if probes is not None and len(probes) != count:
            raise ValueError(f"queries: expected one for each of {count} pools, got {len(probes)}")
        labels = None if groups is None else np.asarray(groups)
        if labels is not None and labels.shape != (len(data),):
            raise ValueError(
                f"groups: expected {len(data)} labels, one a row of vectors, got shape {labels.shape}"
            )
        for pool in range(count if labels is not None else 0):
            own = labels[cuts[pool] : cuts[pool + 1]] if labels is not None else None
            try:
                Constraints(int(sizes[pool]), self.k, (), own, self.max_per_group)
            except ValueError as error:
                raise ValueError(f"pool {pool}: {error}") from None
        checked = Vectors(data, self.objective.metric, workers=self.workers)
        trial = Constraints(
            int(sizes[0]), self.k, (), None if labels is None else labels[: cuts[1]], self.max_per_group
        )
        name = solvers.check(self.solver, self.objective.name, trial)

        def one(position: int) -> Selection:
            rows = slice(int(cuts[position]), int(cuts[position + 1]))
            return api.select(
                data[rows],
                self.k,
                relevance=None if relevance is None else relevance[rows],
                query=None if probes is None else probes[position],
                relevance_scale=self.scale,
                objective=self.objective,
                solver=self.solver,
                certify=self.certify,
                groups=None if labels is None else labels[rows],
                max_per_group=self.max_per_group,
                seed=self.seed,
                threads=1,
            )

        quick = (
            name in ("auto", "greedy")
            and self.objective.name != "coverage"
            and self.objective.metric == "cosine"
            and labels is None
            and self.scale == "none"
            and sizes.max() <= SMALL
            and (not self.certify or self.objective.name != "max-sum")
        )
        if not quick:
            return self._beside(one, 0, count)
        return self._in_batches(checked, cuts, relevance, probes, name, one)

    def _in_batches(
        self,
        vectors: Vectors,
        cuts: NDArray[np.int64],
        relevance: NDArray[np.float64] | None,
        probes: NDArray[np.float64] | None,
        name: str,
        one: Callable[[int], Selection],
    ) -> list[Selection]:
        """Solve pools of similar size together, batches beside each other."""
        sizes = np.diff(cuts)
        order = np.argsort(sizes, kind="stable")
        found: list[Selection | None] = [None] * len(sizes)
        batches: list[NDArray[np.int64]] = []
        start = 0
        while start < len(order):
            widest = int(sizes[order[start]])
            stop = start
            while stop < len(order):
                widest = max(widest, int(sizes[order[stop]]))
                if (
                    stop - start + 1
                ) * widest * vectors.d * vectors.dtype.itemsize > BATCH_BYTES and stop > start:
                    break
                stop += 1
            batches.append(order[start:stop])
            start = stop

        def some(first: int, last: int) -> None:
            for number in range(first, last):
                members = np.sort(batches[number])
                for position, selection in self._batch(vectors, cuts, relevance, probes, name, members):
                    found[position] = selection if selection is not None else one(position)

        run_ranges(some, len(batches), self.workers)
        return [selection for selection in found if selection is not None]

    def _batch(
        self,
        vectors: Vectors,
        cuts: NDArray[np.int64],
        relevance: NDArray[np.float64] | None,
        probes: NDArray[np.float64] | None,
        name: str,
        members: NDArray[np.int64],
    ) -> list[tuple[int, Selection | None]]:
        """Solve one batch; None stands for a pool to be solved by itself."""
        began = time.perf_counter()
        sizes = np.diff(cuts)[members]
        count, n = len(members), int(sizes.max())
        first = int(cuts[members[0]])
        if (sizes == n).all() and int(cuts[members[-1] + 1]) - first == count * n:
            span = slice(first, first + count * n)
            rows = vectors.rows(span).reshape(count, n, vectors.d)
            values = np.zeros((count, n)) if relevance is None else relevance[span].reshape(count, n)
        else:
            rows = np.zeros((count, n, vectors.d), vectors.dtype)
            values = np.full((count, n), -np.inf)
            for place, position in enumerate(members):
                span = slice(int(cuts[position]), int(cuts[position + 1]))
                rows[place, : sizes[place]] = vectors.rows(span)
                values[place, : sizes[place]] = 0.0 if relevance is None else relevance[span]
        if probes is not None:
            exact = np.matmul(rows, probes[members].astype(rows.dtype)[:, :, None])[:, :, 0].astype(
                np.float64
            )
            values = np.where(np.isneginf(values), -np.inf, exact)
        picked = batched.solve(batched.Batch(rows, values, sizes), self.k, self.objective, name)
        globals_ = picked.places + cuts[members][:, None]
        chosen = vectors.rows(globals_.reshape(-1), np.float64).reshape(count, self.k, vectors.d)
        if probes is not None:
            own = np.matmul(chosen, probes[members][:, :, None])[:, :, 0]
        elif relevance is None:
            own = np.zeros((count, self.k))
        else:
            own = relevance[globals_]
        doubtful = picked.doubtful
        try:
            order, gains, value, mean, spread = batched.evaluate(self.objective, chosen, own, picked)
        except np.linalg.LinAlgError:
            return [(int(position), None) for position in members]
        places = np.take_along_axis(picked.places, order, 1)
        label = "frank-wolfe+swap" if name == "auto" and self.objective.name == "max-sum" else "greedy"
        seconds = (time.perf_counter() - began) / count
        results: list[tuple[int, Selection | None]] = []
        for place, position in enumerate(members.tolist()):
            if doubtful[place]:
                results.append((position, None))
                continue
            certificate = unbounded(int(sizes[place]), True) if self.certify else None
            results.append(
                (
                    position,
                    Selection(
                        places[place],
                        gains[place],
                        float(value[place]),
                        float(mean[place]),
                        float(spread[place]),
                        certificate,
                        label,
                        seconds,
                        {},
                    ),
                )
            )
        return results

    def _beside(self, one: Callable[[int], Selection], start: int, stop: int) -> list[Selection]:
        """Run selections beside each other, and return them in order."""
        parts = run_ranges(
            lambda first, last: [one(start + position) for position in range(first, last)],
            stop - start,
            self.workers,
        )
        return [selection for part in parts for selection in part]


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


def _probes(queries: Any, d: int, metric: str) -> NDArray[np.float64]:
    """Return queries as (m, d) float64, of unit length under cosine."""
    array = as_matrix(to_numpy(queries, "queries"), "queries")
    return np.stack([as_query(row, d, metric, f"queries[{place}]") for place, row in enumerate(array)])


def _cuts(offsets: Any, n: int) -> NDArray[np.int64]:
    """Return checked offsets."""
    cuts = np.asarray(offsets)
    if cuts.dtype.kind not in "iu" or cuts.ndim != 1 or len(cuts) < 2:
        raise TypeError("offsets: expected m + 1 integers, from 0 to n")
    if cuts[0] != 0 or cuts[-1] != n:
        raise ValueError(f"offsets: must run from 0 to n = {n}, got {cuts[0]} to {cuts[-1]}")
    falls = np.flatnonzero(np.diff(cuts.astype(np.int64)) <= 0)
    if len(falls):
        raise ValueError(f"offsets: pool {int(falls[0])} is empty; offsets must ascend")
    return cuts.astype(np.int64)


def _reshaped(values: Any, shape: tuple[int, int], name: str) -> NDArray[np.float64]:
    """Return (m, n) relevance as checked flat numbers."""
    array = to_numpy(values, name)
    if array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    try:
        return relevances.as_relevance(array.reshape(-1), shape[0] * shape[1], name)
    except ValueError as error:
        raise ValueError(_in_stack(str(error), shape[1])) from None


def _in_stack(message: str, n: int) -> str:
    """Return a message about a row of stacked pools with its pool named, and its row counted in that."""

    def place(found: re.Match[str]) -> str:
        row = int(found[2])
        return f"{found[1]}[{row // n}]: row {row % n}"

    return re.sub(r"^(\w+): row (\d+)", place, message)
