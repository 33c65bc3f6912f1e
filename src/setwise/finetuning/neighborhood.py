"""The neighbors of some examples, searched once, from which matches of any diversity are made."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.finetuning import parameters, search
from setwise.finetuning.candidates import Candidates
from setwise.finetuning.density import Density
from setwise.finetuning.matched import Match
from setwise.finetuning.neighbors import Progress
from setwise.objectives.base import euclidean
from setwise.objectives.transport import Transport
from setwise.solvers import matching
from setwise.threads import thread_count

#: Rows whose density is counted to estimate the weight of all candidates.
ESTIMATED = 2_048


@dataclass(eq=False)
class Neighborhood:
    """The neighbors of some examples, searched once, from which a match of any diversity is made.

    Make one by `of`. Densities are counted as far out as a diversity needs them, and kept.
    """

    candidates: Candidates
    examples: NDArray[Any]
    found: search.Found
    regularizer: str
    scale: float
    kernel_width: float
    density_neighbors: int
    workers: int | str | None
    seed: int
    threads: int
    progress: Progress | None
    seconds: dict[str, float]
    _known: NDArray[np.float64] = field(init=False, repr=False)
    _sums: matching.Sums | None = field(init=False, default=None, repr=False)
    _counter: Any = field(init=False, default=None, repr=False)
    _counted: int = field(init=False, default=0, repr=False)
    _weight: float = field(init=False, default=0.0, repr=False)

    def __post_init__(self) -> None:
        self._known = np.full(0, np.nan)

    @classmethod
    def of(
        cls,
        candidates: Any,
        examples: Any,
        *,
        regularizer: str = "kde",
        scale: float | str = 5.0,
        kernel_width: float | str = 0.1,
        neighbors: int = 2_000,
        density_neighbors: int = 1_000,
        index: Any = "auto",
        workers: int | str | None = None,
        seed: int = 0,
        threads: int | None = None,
        progress: Progress | None = None,
        diversity: float = 0.4,
    ) -> Neighborhood:
        """Check everything and search; see `match` for the parameters."""
        Transport(diversity, regularizer=regularizer)  # refuses what is out of range
        count = checks.integer("neighbors", neighbors, least=2)
        limit = checks.integer("density_neighbors", density_neighbors, least=1)
        checks.integer("seed", seed, least=0)
        _check_number("scale", scale)
        _check_number("kernel_width", kernel_width)
        number = thread_count(threads)
        if workers is not None and not (isinstance(index, str) and index in ("auto", "exact")):
            raise ValueError("workers: parts are searched exactly; leave index at 'exact'")
        began = time.perf_counter()
        rows = Candidates(candidates, number)
        probes = search.check_examples(examples, rows)
        width = parameters.width(rows, kernel_width, seed) if regularizer == "kde" else float("nan")
        size = parameters.scale(rows, scale, seed)
        count = min(count, rows.n)
        if workers is None:
            found = search.find(rows, probes, count, index, seed=seed, progress=progress)
        else:
            found = search.find_in_parts(rows, probes, count, workers, progress)
        seconds = {"search": time.perf_counter() - began}
        return cls(
            rows, probes, found, regularizer, size, width, limit, workers, seed, number, progress, seconds
        )

    @property
    def reach(self) -> int:
        """L: neighbors of each example."""
        return self.found.reach

    def match(self, diversity: float) -> Match:
        """Return the match of a diversity, in [0, 1]."""
        goal = Transport(diversity, regularizer=self.regularizer, scale=self.scale)
        seconds = {**self.seconds, "density": 0.0, "assignment": 0.0}
        began = time.perf_counter()
        if diversity == 1.0 and (self.found.among is None or self.regularizer != "kde"):
            return self._even(goal, seconds)
        distances = self.found.neighbors.distances
        everything = self.reach == self.candidates.n
        if self.regularizer == "tv":
            plan = matching.total_variation(distances, goal, self.candidates.n)
            total = float(self.candidates.n)
        elif self.regularizer == "uniform":
            total = float(self.candidates.n)
            sums = matching.Sums(distances, None)
            plan = matching.capped(sums, goal, least_total=total, total=total if everything else None)
        else:
            plan, total, spent = self._kde(goal, everything)
            seconds["density"] = spent
        if plan.fits is None and diversity > 0.0 and plan.limit > 0.5 * total:
            # The optimum is then the plan at s̄/2 or the even one: it takes all neighbors to tell.
            plan = replace(plan, complete=False, fits=False)
        seconds["assignment"] = time.perf_counter() - began - seconds["density"]
        return self._result(goal, plan, total, seconds)

    def _kde(self, goal: Transport, everything: bool) -> tuple[matching.Plan, float, float]:
        """Solve with the densities of ever more neighbors, until none further out can matter."""
        distances = self.found.neighbors.distances
        reach = distances.shape[1]
        if everything:
            columns = reach
        else:  # a row counts at most once, so that neighborhoods are at least as large as without densities
            ones = matching.Sums(distances, None)
            first = matching.capped(ones, goal, least_total=float(reach), total=None)
            columns = min(reach, int(first.limit * 1.1) + 16)
        spent = 0.0
        while True:
            began = time.perf_counter()
            sums = self._weigh(columns)
            least = self._weight
            spent += time.perf_counter() - began
            plan = matching.capped(sums, goal, least_total=least, total=least if everything else None)
            if plan.complete or columns >= reach:
                break
            columns = min(reach, max(sums.distances.shape[1] + 16, int(columns * 1.5)))
        began = time.perf_counter()
        total = least if everything else self._total()
        return plan, total, spent + time.perf_counter() - began

    def _weigh(self, columns: int) -> matching.Sums:
        """Return the sums over at least so many columns of neighbors, counting what is not known yet."""
        if self._sums is None or columns > self._sums.distances.shape[1]:
            near = self.found.neighbors
            ids = near.ids[:, :columns]
            self._count(np.unique(ids))
            weights = 1.0 / self._known[ids]
            self._sums = matching.Sums(near.distances[:, :columns], weights, workers=self.threads)
        return self._sums

    def _count(self, rows: NDArray[np.int64]) -> None:
        """Count the densities of some rows, unless they are known."""
        if not len(self._known):
            self._known = np.full(self.candidates.n, np.nan)
        new = rows[np.isnan(self._known[rows])]
        if not len(new):
            return
        if self.workers is not None:
            rho = search.density_in_parts(
                self.candidates, new, self.kernel_width, self.density_neighbors, self.workers
            )
        else:
            if self._counter is None:
                self._counter = Density(
                    self.candidates,
                    self.kernel_width,
                    self.density_neighbors,
                    among=self.found.among,
                    seed=self.seed,
                    workers=self.threads,
                )
            rho = self._counter.of(new, self.progress)
        self._known[new] = rho
        self._counted += len(new)
        self._weight += float((1.0 / rho).sum())

    def _total(self) -> float:
        """Estimate s̄, the weight 1/ρ of all candidates, from some drawn at random."""
        pool = self.found.among
        n = self.candidates.n if pool is None else len(pool)
        rng = np.random.default_rng(self.seed)
        drawn = rng.choice(n, min(ESTIMATED, n), replace=False)
        rows = np.sort(drawn if pool is None else pool[drawn]).astype(np.int64)
        self._count(rows)
        return float((1.0 / self._known[rows]).mean() * self.candidates.n)

    def _even(self, goal: Transport, seconds: dict[str, float]) -> Match:
        """Return the plan in proportion to 1/ρ over the whole repository."""
        n, m = self.candidates.n, len(self.examples)
        began = time.perf_counter()
        rho = np.ones(n)
        if self.regularizer == "kde":
            self._count(np.arange(n))
            rho = self._known.copy()
        seconds["density"] = time.perf_counter() - began
        weights = 1.0 / rho
        total = float(weights.sum())
        p = weights / total
        costs = np.zeros(m)
        for start, block in self.candidates.blocks(8_192):
            costs += euclidean(self.examples, block) @ p[start : start + len(block)]
        cost = float(costs.mean())
        return Match(
            np.arange(n),
            p,
            n,
            value=goal.combined(cost, 0.0),
            transport_cost=cost,
            regularization=0.0,
            complete=True,
            fits=False,
            limit=total if self.regularizer != "tv" else float("nan"),
            neighborhoods=np.full(m, n),
            remainder=0.0,
            densities=rho,
            nearest=self.found.neighbors.distances[:, 0],
            costs=costs,
            seconds=seconds,
            stats=self._stats(total, exact=True),
            **self._settings(goal),
        )

    def _result(self, goal: Transport, plan: matching.Plan, total: float, seconds: dict[str, float]) -> Match:
        near = self.found.neighbors
        n, m = self.candidates.n, len(self.examples)
        counts = np.diff(plan.starts)
        ids = plan.entries(near.ids)
        distances = plan.entries(near.distances)
        carried = plan.mass * distances
        costs = np.add.reduceat(carried, plan.starts[:-1]) * m
        cost = float(carried.sum())
        if n <= 16 * len(ids) + 1_000_000:
            dense = np.bincount(ids, plan.mass, minlength=n)
            indices = np.flatnonzero(dense)
            p = dense[indices]
        else:
            indices, where = np.unique(ids, return_inverse=True)
            p = np.bincount(where, plan.mass)
            indices, p = indices[p > 0.0], p[p > 0.0]
        if plan.even:
            regularization = 0.0
        elif self.regularizer == "tv":
            regularization = float((n - counts).sum()) / (m * n)
        elif goal.diversity == 0.0:
            # All on the nearest: mass 1/M on rows of any density.
            rho = np.ones(m) if self._sums is None else 1.0 / self._sums.weight(1)[:, 0]
            regularization = float(max(rho.max() - 1.0 / total, 1.0 / total if n > 1 else 0.0))
        else:
            regularization = max(1.0 / plan.limit - 1.0 / total, 1.0 / total)
        return Match(
            indices,
            p / p.sum(),
            n,
            value=goal.combined(cost, regularization),
            transport_cost=cost,
            regularization=regularization,
            complete=plan.complete,
            fits=plan.fits,
            limit=plan.limit,
            neighborhoods=counts,
            remainder=plan.remainder,
            densities=self._known[indices] if self.regularizer == "kde" else np.ones(len(indices)),
            nearest=near.distances[:, 0],
            costs=costs,
            seconds=seconds,
            stats=self._stats(total, exact=self.regularizer != "kde" or self.reach == n),
            entries=(plan.mass, ids, plan.starts),
            **self._settings(goal),
        )

    def _settings(self, goal: Transport) -> dict[str, Any]:
        return {
            "diversity": goal.diversity,
            "scale": self.scale,
            "kernel_width": self.kernel_width,
            "regularizer": self.regularizer,
            "neighbors": self.reach,
        }

    def _stats(self, total: float, *, exact: bool) -> dict[str, Any]:
        return {
            "search": self.found.kind,
            "union": None if self.found.among is None else len(self.found.among),
            "densities_counted": self._counted,
            "total": total,
            "total_exact": exact,
        }


def _check_number(name: str, value: Any) -> None:
    if isinstance(value, str):
        if value != "auto":
            raise ValueError(f"{name}: expected a number above 0 or 'auto', got {value!r}")
        return
    checks.positive(name, value)
