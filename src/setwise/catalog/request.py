"""What a selection from a catalog or from shards is asked for: checked once, and handed on whole."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, fields
from typing import ClassVar

from setwise import checks, solvers
from setwise.objectives import MaxMarginal, Objective
from setwise.request import Request, SetOptions
from setwise.solver_options import Multilevel

#: Most n · k for which ``auto`` takes Frank-Wolfe under euclidean: some ten seconds.
EUCLIDEAN_WORK = 50_000_000

#: What a catalog's call has for `diversity` where nothing is said.
DIVERSITY = 0.1

#: The method that is the core's default solver, by the label that its selections have.
DEFAULT = solvers.label_of("max-sum", "auto")

#: What `Catalog.select` takes as method for max-sum, with what each does in one line.
METHODS = {
    "auto": "by size, metric and diversity: see `choose`",
    DEFAULT: "Frank-Wolfe over the whole catalog, and exchanges: the core's default",
    "frank-wolfe": "Frank-Wolfe over the whole catalog alone (CCBQP Algorithm 1)",
    "muss": "greedy over clusters, inside the selected ones, and over the union (MUSS Algorithm 2)",
    "dgds": "greedy inside every part of a random partition, and over the union (Ghadiri and Schmidt 2019)",
    "greedy": "greedy over all items (MUSS Algorithm 1; the paper's MMR)",
    "clustering": "the best item of each of k clusters",
    "k-dpp": "drawn by its determinant and its qualities, exactly (Kulesza and Taskar 2012)",
    "top-k": "the best by quality alone",
    "random": "drawn at random",
    "muss-random-clusters": "muss with clusters drawn at random (rand.A)",
    "muss-random-partition": "muss with a random partition for clusters (rand.B)",
}

#: The core's solvers that methods are, where another name says so; other methods are solvers by their names.
SOLVER = {DEFAULT: "auto"}

#: The methods that select by levels.
LEVELS = ("muss", "dgds", "muss-random-clusters", "muss-random-partition")

#: The methods that some options are for; others do not look at them.
_FOR = {
    "clusters": LEVELS,
    "per_cluster": LEVELS,
    "final_quality_scale": LEVELS,
    "cluster_diversity": ("muss", "muss-random-partition"),
    "top_up": ("muss", "muss-random-clusters", "muss-random-partition"),
    "criterion": (*LEVELS, "greedy"),
}


class ManyOptions(SetOptions, total=False):
    """The keywords of `Catalog.select_many`."""

    method: str


class CatalogOptions(ManyOptions, total=False):
    """The keywords of `Catalog.select`."""

    clusters: int | None
    per_cluster: int | None
    cluster_diversity: float
    top_up: bool
    final_quality_scale: float
    criterion: str


@dataclass(frozen=True, kw_only=True, eq=False)
class CatalogRequest(Request):
    """A request, and what methods by levels are asked for; see `Catalog.select`.

    Attributes
    ----------
    method : str
        One of `METHODS`; for another objective than max-sum one of the core's solvers for it.
    clusters, per_cluster : int or None
        m and k' of MUSS; None for their defaults.
    cluster_diversity : float
        In [0, 1].
    final_quality_scale : float
        In (0, 1].
    criterion : {"sum", "min"}
    processes : int, str or None
        Where partitions run, as `setwise.engine.engine_for` takes it; None for threads of this process.
    levels : Multilevel
        What of these the selection by levels is told.

    Raises TypeError: a field is of the wrong type; ValueError: a field is out of its range or unknown.
    """

    solver_word: ClassVar[str] = "method"

    method: str = "auto"
    clusters: int | None = None
    per_cluster: int | None = None
    cluster_diversity: float = 0.5
    top_up: bool = True
    final_quality_scale: float = 1.0
    criterion: str = "sum"
    processes: int | str | None = None
    levels: Multilevel = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.choice("criterion", self.criterion, ("sum", "min"))
        if self.goal.metric != self.metric:
            raise ValueError(
                f"objective: it measures {self.goal.metric}, the items {self.metric}; make it so, too"
            )
        if self.is_max_sum:
            checks.choice("method", self.method, METHODS)
        else:
            if self.method in (DEFAULT, *LEVELS):
                raise ValueError(f"method: {self.method!r} is for max-sum; leave it out for {self.goal.name}")
            if self.criterion != "sum":
                raise ValueError(f"criterion: it is of max-sum; leave it out for {self.goal.name}")
            solvers.serving(self.goal.name, self.method, word="method")
        levels = Multilevel(
            per_cluster=self.per_cluster,
            top_up=self.top_up,
            final_quality_scale=self.final_quality_scale,
            clusters=self.clusters,
            cluster_diversity=self.cluster_diversity,
        )
        object.__setattr__(self, "levels", levels)

    @property
    def limited(self) -> bool:
        """Whether some sets of its size may not be chosen: groups, limits and the other wishes."""
        return bool(self.wishes) or self.max_per_group is not None

    @property
    def is_max_sum(self) -> bool:
        """Whether the objective is the one that all of `METHODS` are for."""
        return self.goal.name == "max-sum"

    @property
    def is_core(self) -> bool:
        """Whether the core's solver finds the set and proves it, as for `setwise.select`."""
        if not self.is_max_sum:
            return True
        return bool(self.wishes) and self.criterion == "sum" and self.method not in (*LEVELS, "k-dpp")

    @property
    def found_by(self) -> str:
        """What a selection by the method is said to be found by."""
        if self.is_max_sum:
            return self.method
        return solvers.label_of(self.goal.name, self.method, wished=bool(self.wishes))

    def taken(self, n: int) -> tuple[str, str]:
        """Return the method for n items, and why where ``auto`` took it; see `choose`."""
        if self.method != "auto":
            return self.method, ""
        if not self.is_max_sum:
            return self.method, f"it is what {self.goal.name} is solved by"
        if self.limited:
            return DEFAULT, "it keeps every wish"
        elsewhere = self.processes is not None
        return choose(n, self.size, self.goal.diversity, self.metric, elsewhere=elsewhere)

    def warn_of_idle(self, method: str) -> None:
        """Warn of options that were given and that a method does not look at."""
        for one in fields(self):
            methods = _FOR.get(one.name)
            if methods and method not in methods and getattr(self, one.name) != one.default:
                warnings.warn(
                    f"{one.name}: it does nothing for {method}, it is for {', '.join(methods)}", stacklevel=5
                )

    @property
    def of_items(self) -> Objective:
        """What greedy maximizes: mean distance to the chosen ("sum"), or the least one ("min").

        The least distance to the chosen is 1 minus the largest similarity under cosine: maximal marginal
        relevance, up to a constant.
        """
        if self.criterion == "sum":
            return self.goal
        return MaxMarginal(self.goal.diversity, metric=self.goal.metric)


def choose(n: int, k: int, diversity: float, metric: str, *, elsewhere: bool = False) -> tuple[str, str]:
    """Return the method that ``auto`` takes, and why: what was measured to be best.

    Parameters
    ----------
    n, k : int
    diversity : float
    metric : {"cosine", "euclidean"}
    elsewhere : bool
        Whether partitions are to run in other processes.
    """
    if diversity == 0.0:
        return "top-k", "at diversity 0 quality alone decides"
    if elsewhere:
        return "muss", "partitions that run elsewhere are what its levels are for"
    if metric == "cosine":
        return DEFAULT, "the highest objective of the methods measured, in a few passes whatever k is"
    if n * k <= EUCLIDEAN_WORK:
        return DEFAULT, "the highest objective of the methods measured, and few enough items for it"
    return "muss", f"passes over {n:,} items cost k times as much under euclidean as under cosine"
