"""The neighbors of some examples, searched once, from which matches of any diversity are made.

The stages are those of TSDS: GetKNN and ComputeKDE of Algorithms 1 and 2, then the plan in closed form
(`setwise.solvers.matching`). Names follow the paper: M examples, N candidates, L neighbors of an example,
ρ the kernel density, s̄ = Σ 1/ρ over all candidates, s* the limit of a neighborhood.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.finetuning import search
from setwise.finetuning.density import Density
from setwise.finetuning.matched import Match
from setwise.finetuning.neighbors import Neighbors
from setwise.finetuning.parameters import MatchParameters, scale_of, weights_of, width_of
from setwise.finetuning.repository_vectors import RepositoryVectors
from setwise.objectives.base import euclidean
from setwise.objectives.transport import Transport
from setwise.progress import StepProgress
from setwise.solvers import matching
from setwise.threads import thread_count

#: Rows whose density is counted to estimate the weight of all candidates.
ESTIMATED = 2_048


@dataclass(eq=False)
class Neighborhood:
    """The neighbors of some examples, searched once, from which a match of any diversity is made.

    Make one by `of`. Densities are counted as far out as a diversity needs them, and kept. Exact copies are
    searched as one row: each has the same distances and density, so together they weigh their number over
    that density, and share alike whatever mass falls on them.
    """

    candidates: RepositoryVectors
    examples: NDArray[Any]
    near: Neighbors
    parameters: MatchParameters
    scale: float
    kernel_width: float
    threads: int
    progress: StepProgress | None
    seconds: dict[str, float]
    weights: NDArray[np.float64] | None = None
    _densities: NDArray[np.float64] = field(init=False, repr=False)
    _more: NDArray[np.bool_] = field(init=False, repr=False)
    _sums: matching.Sums = field(init=False, repr=False)
    _counter: Density | None = field(init=False, default=None, repr=False)
    _counted: int = field(init=False, default=0, repr=False)
    _weight: float = field(init=False, default=0.0, repr=False)
    _together: NDArray[np.float64] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._densities, self._more = np.full(0, np.nan), np.zeros(0, bool)
        fold = self.candidates.fold
        if fold is not None:
            self._together = self.candidates.times(np.arange(self.candidates.n)).astype(np.float64)
            if self.weights is not None:
                self._together = np.asarray(np.bincount(fold.group, self.weights), np.float64)
        else:
            self._together = self.weights
        even = self.known and self._together is None
        self._sums = matching.Sums(self.near.distances, even=even, workers=self.threads)
        if self.known and not even:
            self._sums.extend(self._weighed(self.near.ids))

    @property
    def known(self) -> bool:
        """Whether what rows weigh is known without counting near-duplicates."""
        return self.parameters.regularizer != "kde" or self.parameters.densities is not None

    def _weighed(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what different rows weigh with their copies, beside their density: q, or their number."""
        return np.ones(ids.shape) if self._together is None else self._together[ids]

    @classmethod
    def of(
        cls, candidates: Any, examples: Any, parameters: MatchParameters, progress: StepProgress | None = None
    ) -> Neighborhood:
        """Check the vectors and search; see `match` for the arguments."""
        threads = thread_count(parameters.threads)
        began = time.perf_counter()
        rows = RepositoryVectors(candidates, threads)
        probes = search.check_examples(examples, rows)
        weights = weights_of(parameters, rows.n, candidates)
        counted = parameters.regularizer == "kde" and parameters.densities is None
        width = width_of(rows, parameters) if counted else float("nan")
        scale = scale_of(rows, parameters)
        rows = rows.folded()
        if rows.fold is not None:
            rows.fold = replace(rows.fold, weights=weights)
        near = search.find(rows, probes, parameters, progress)
        seconds = {"search": time.perf_counter() - began}
        return cls(rows, probes, near, parameters, scale, width, threads, progress, seconds, weights)

    @property
    def reach(self) -> int:
        """L: neighbors of each example."""
        return self.near.reach

    def uncounted(self, found: Match) -> str:
        """Return what to tell of rows that have more near-duplicates than are counted; mostly nothing."""
        fold, limit = self.candidates.fold, self.parameters.density_neighbors
        own = found.indices if fold is None else fold.group[found.indices]
        if not len(self._more) or not self._more[own].any():
            return ""
        times = self.candidates.times(own)
        most = int(times.max())
        told, weigh = (
            f"of a row's near-duplicates {limit:,} are counted, and it has more",
            "more than one row",
        )
        if most > limit:
            told = f"a row has {most:,} copies, of which {limit:,} are counted"
            weigh = f"as {most / found.densities[times.argmax()]:,.1f} rows, not one"
        return f"density_neighbors: {told}, so that together they weigh {weigh}; raise it"

    def match(self, diversity: float) -> Match:
        """Return the match of a diversity, in [0, 1]."""
        regularizer, n = self.parameters.regularizer, self.candidates.total
        goal = Transport(diversity, regularizer=regularizer, scale=self.scale)
        seconds = {**self.seconds, "density": 0.0, "assignment": 0.0}
        began = time.perf_counter()
        if diversity == 1.0 and (self.near.among is None or self.known):
            return self._even(goal, seconds)
        everything = self.reach == self.candidates.n
        total = float(n) if self.weights is None else float(self.weights.sum())  # s̄ where it is known
        if regularizer == "tv":
            times = self.candidates.times(self.near.ids)
            plan = matching.total_variation(self.near.distances, times, goal, n, everything=everything)
        elif self.known:
            plan = matching.capped(self._sums, goal, least_total=total, total=total if everything else None)
        else:
            plan, total, seconds["density"] = self._kde(goal, everything)
        if plan.fits is None and diversity > 0.0 and plan.limit > 0.5 * total:
            # Past s̄/2 Theorem 3.2 does not hold: the optimum is the plan at s̄/2 or the even one, and it
            # takes all neighbors to tell which.
            plan = replace(plan, complete=False, fits=False)
        seconds["assignment"] = time.perf_counter() - began - seconds["density"]
        return self._result(goal, plan, total, seconds)

    def _kde(self, goal: Transport, everything: bool) -> tuple[matching.Plan, float, float]:
        """Solve with the densities of ever more neighbors, until none further out can matter.

        Returns
        -------
        plan : Plan
        total : float
            s̄, estimated where the neighbors are not all candidates.
        seconds : float
            What the densities took.
        """
        reach = columns = self.reach
        if not everything:
            # 1/ρ is mostly at most 1, so that s* takes at least as many neighbors as where each weighs 1.
            ones = matching.Sums(self.near.distances, even=True)
            first = matching.capped(ones, goal, least_total=float(reach), total=None)
            columns = min(reach, int(first.limit * 1.1) + 16)
        spent = 0.0
        while True:
            began = time.perf_counter()
            self._weigh(columns)
            least = self._weight  # of the rows counted so far, so at most s̄
            spent += time.perf_counter() - began
            plan = matching.capped(self._sums, goal, least_total=least, total=least if everything else None)
            if plan.complete or columns >= reach:
                break
            columns = min(reach, max(self._sums.reach + 16, int(columns * 1.5)))
        began = time.perf_counter()
        total = least if everything else self._total()
        return plan, total, spent + time.perf_counter() - began

    def _weigh(self, columns: int) -> None:
        """Give the sums the weights 1/ρ of at least so many neighbors of every example."""
        if columns > self._sums.reach:
            further = self.near.ids[:, self._sums.reach : columns]
            self._count(np.unique(further))
            self._sums.extend(self._weighed(further) / self._densities[further])

    def _count(self, rows: NDArray[np.int64]) -> None:
        """Count the densities of some rows, unless they are known (ComputeKDE of Algorithm 2)."""
        if not len(self._densities):
            self._densities = np.full(self.candidates.n, np.nan)
            self._more = np.zeros(self.candidates.n, bool)
        new = rows[np.isnan(self._densities[rows])]
        if not len(new):
            return
        limit, workers = self.parameters.density_neighbors, self.parameters.workers
        if workers is not None:
            found = search.density_in_parts(self.candidates, new, self.kernel_width, limit, workers)
        else:
            if self._counter is None:
                self._counter = Density(
                    self.candidates,
                    self.kernel_width,
                    limit,
                    among=self.near.among,
                    seed=self.parameters.seed,
                    workers=self.threads,
                )
            found = self._counter.of(new, self.progress)
        rho = self._densities[new] = found.rho
        self._more[new] = found.more
        self._counted += len(new)
        self._weight += float((self._weighed(new) / rho).sum())

    def _total(self) -> float:
        """Estimate s̄, the weight 1/ρ of all candidates, from some drawn at random."""
        pool, n = self.near.among, self.candidates.total
        if self.candidates.fold is not None:  # copies are drawn as often as they are
            group = self.candidates.fold.group
            pool = group if pool is None else np.repeat(pool, self.candidates.times(pool))
        size = n if pool is None else len(pool)
        drawn = np.random.default_rng(self.parameters.seed).choice(size, min(ESTIMATED, size), replace=False)
        rows = np.sort(drawn if pool is None else pool[drawn]).astype(np.int64)
        self._count(np.unique(rows))
        each = self._weighed(rows) / (self.candidates.times(rows) * self._densities[rows])
        return float(each.mean() * n)

    def _even(self, goal: Transport, seconds: dict[str, float]) -> Match:
        """Return the plan in proportion to 1/ρ over the whole repository, at which G(γ) = 0."""
        n, m = self.candidates.n, len(self.examples)
        fold = self.candidates.fold
        began = time.perf_counter()
        rho = np.ones(n)
        if not self.known:
            self._count(np.arange(n))
            rho = self._densities.copy()
        seconds["density"] = time.perf_counter() - began
        weights = self._weighed(np.arange(n)) / rho
        total = float(weights.sum())
        p = weights / total
        costs = np.zeros(m)
        for start, block in self.candidates.blocks(8_192):
            costs += euclidean(self.examples, block) @ p[start : start + len(block)]
        cost = float(costs.mean())
        rows = np.arange(n)
        if fold is not None:
            rows, p = fold.unfolded(p)
            rho = rho[fold.group]
        if self.parameters.densities is not None:
            rho = np.asarray(self.parameters.densities, np.float64)
        return Match(
            rows,
            p,
            self.candidates.total,
            value=goal.combined(cost, 0.0),
            transport_cost=cost,
            regularization=0.0,
            complete=True,
            fits=False,
            limit=total if goal.regularizer != "tv" else float("nan"),
            neighborhoods=np.full(m, self.candidates.total),
            remainder=0.0,
            densities=rho,
            costs=costs,
            **self._facts(goal, seconds, total, exact=True),
        )

    def _result(self, goal: Transport, plan: matching.Plan, total: float, seconds: dict[str, float]) -> Match:
        n, m, fold = self.candidates.n, len(self.examples), self.candidates.fold
        ids = plan.entries(self.near.ids)
        carried = plan.mass * plan.entries(self.near.distances)
        cost = float(carried.sum())
        p: NDArray[Any]
        if fold is not None:
            indices, p = fold.unfolded(np.bincount(ids, plan.mass, minlength=n))
            own = fold.group[indices]
        elif n <= 16 * len(ids) + 1_000_000:  # one array over all is faster than sorting the entries
            dense = np.bincount(ids, plan.mass, minlength=n)
            indices = own = np.flatnonzero(dense)
            p = dense[indices]
        else:
            indices, where = np.unique(ids, return_inverse=True)
            p = np.bincount(where, plan.mass)
            indices, p = indices[p > 0.0], p[p > 0.0]
            own = indices
        sizes = np.add.reduceat(self.candidates.times(ids), plan.starts[:-1])
        rho = np.ones(len(indices)) if self.known else self._densities[own]
        if self.parameters.densities is not None:
            rho = np.asarray(self.parameters.densities, np.float64)[indices]
        regularization = self._regularization(goal, plan, total, sizes)
        return Match(
            indices,
            p / p.sum(),
            self.candidates.total,
            value=goal.combined(cost, regularization),
            transport_cost=cost,
            regularization=regularization,
            complete=plan.complete,
            fits=plan.fits,
            limit=plan.limit,
            neighborhoods=sizes,
            remainder=plan.remainder,
            densities=rho,
            costs=np.add.reduceat(carried, plan.starts[:-1]) * m,
            entries=(plan.mass, ids, plan.starts),
            fold=fold,
            **self._facts(goal, seconds, total, exact=self.known or self.reach == n),
        )

    def _regularization(
        self, goal: Transport, plan: matching.Plan, total: float, sizes: NDArray[np.int64]
    ) -> float:
        """Return G(γ) of a plan from what is known of it, without all M N entries (TSDS section 3).

        ``sizes`` are the entries of mass that each example has, those of copies among them.
        """
        n, m = self.candidates.total, len(self.examples)
        if plan.even:
            return 0.0
        if goal.regularizer == "tv":
            # G_TV is what the entries of zero lack of 1/(M N): the others have as much too much.
            return float((n - sizes).sum()) / (m * n)
        # Else M max ρ |γ - 1/(ρ M s̄)|, over entries of mass and over those of none, which lack 1/s̄.
        least = 1.0 / total
        if goal.diversity > 0.0:  # the largest entries have γ = 1/(M s* ρ)
            return max(1.0 / plan.limit - least, least)
        # All on the nearest: γ = 1/M on rows of any density.
        rho = np.ones(m) if self._sums.even else 1.0 / self._sums.weight(1)[:, 0]
        return float(max(rho.max() - least, least if n > 1 else 0.0))

    def _facts(
        self, goal: Transport, seconds: dict[str, float], total: float, *, exact: bool
    ) -> dict[str, Any]:
        """Return what every match says of the search and of the parameters used."""
        among = self.near.among
        return {
            "nearest": self.near.distances[:, 0],
            "diversity": goal.diversity,
            "scale": self.scale,
            "kernel_width": self.kernel_width,
            "regularizer": goal.regularizer,
            "neighbors": self.reach,
            "seconds": seconds,
            "stats": {
                "search": self.near.kind,
                "union": None if among is None else len(among),
                "densities_counted": self._counted,
                "copies": self.candidates.total - self.candidates.n,
                "total": total,
                "total_exact": exact,
            },
        }
