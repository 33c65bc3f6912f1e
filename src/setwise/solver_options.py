"""What a solver can be told: parameters of its own, checked when a request is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from setwise import checks

#: The most that the relaxation's penalty may be.
WEIGHTIEST = 1e9


@dataclass(frozen=True, kw_only=True, eq=False)
class FrankWolfe:
    """CCBQP's Algorithm 1.

    Attributes
    ----------
    penalty : float
        λ, from 2, where the relaxation is tight (Theorem 2.1), to 1e9; more of it adds local maxima (Theorem
        2.5). Where the largest distance is not 2, in proportion to it.
    steps : int
        T, the most steps.

    Raises TypeError, ValueError: one is no number, or outside its range.
    """

    penalty: float = 2.0
    steps: int = 200

    def __post_init__(self) -> None:
        penalty = checks.finite("penalty", self.penalty)
        if penalty < 2.0:
            raise ValueError(f"penalty: {penalty:g} is below 2, the least at which the relaxation is tight")
        if penalty > WEIGHTIEST:
            raise ValueError(f"penalty: {penalty:g} is above {WEIGHTIEST:g}, where it alone would count")
        object.__setattr__(self, "penalty", penalty)
        checks.integer("steps", self.steps, least=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Levels:
    """Selection inside partitions, and from what those yield.

    Attributes
    ----------
    partition : int, array-like of shape (n,), or what `groups` may be elsewhere; optional
        How many parts to make, or a label a candidate. By default the root of the number of candidates, at
        most 200.
    per_cluster : int, optional
        k', the candidates that each part yields, all of a smaller one; by default k/10, and at least enough
        for k.
    top_up : bool
        Whether the k most relevant join the last step.
    final_quality_scale : float
        The factor of relevance in the last step, in (0, 1].

    Raises TypeError, ValueError: one is of the wrong type, or out of its range.
    """

    partition: Any = None
    per_cluster: int | None = None
    top_up: bool = True
    final_quality_scale: float = 1.0

    def __post_init__(self) -> None:
        scale = checks.positive("final_quality_scale", self.final_quality_scale)
        if scale > 1.0:
            raise ValueError(f"final_quality_scale: {scale} is outside (0, 1]")
        checks.flag("top_up", self.top_up)
        if self.per_cluster is not None:
            checks.integer("per_cluster", self.per_cluster, least=1)
        if not self.is_given and self.partition is not None:
            checks.integer("partition", self.partition, least=1)

    @property
    def is_given(self) -> bool:
        """Whether the partition is given by labels, rather than to be made."""
        return self.partition is not None and not isinstance(self.partition, int | np.integer)

    def parts(self, n: int) -> int:
        """Return how many parts to make of n candidates.

        Raises ValueError: more are asked for than there are candidates.
        """
        if self.partition is None:
            return min(200, max(1, int(n**0.5)))
        if self.partition > n:
            raise ValueError(f"partition: {self.partition} is more than the {n} candidates; ask for fewer")
        return int(self.partition)

    def items_inside(self, k: int, m: int, largest: int) -> int:
        """Return k', the items to select in each of m parts.

        Raises ValueError: more are asked for than the largest part has.
        """
        if self.per_cluster is None:
            return max(1, k // 10, -(-k // m))
        if self.per_cluster > largest and not self.is_given:  # of given parts some may have none left
            raise ValueError(
                f"per_cluster: {self.per_cluster} is more than the largest cluster's {largest} items"
            )
        return self.per_cluster

    def check_yield(self, union: int, k: int) -> None:
        """Refuse a union of fewer items than are to be selected. Raises ValueError: ``union`` is below k."""
        if union < k:
            raise ValueError(
                f"per_cluster: the kept clusters yield {union} items, fewer than k = {k}; take more "
                "clusters, more items of each, or top_up=True"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Multilevel(Levels):
    """MUSS: clusters are selected first (Algorithm 2).

    The defaults are those of the paper's second version; its first has ``top_up=False``,
    ``final_quality_scale=0.5`` and ``per_cluster`` k.

    Attributes
    ----------
    clusters : int, optional
        m, how many to keep: half of them by default.
    cluster_diversity : float
        1 - λ_c, of the selection of clusters, in [0, 1].
    """

    clusters: int | None = None
    cluster_diversity: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.fraction("cluster_diversity", self.cluster_diversity)
        if self.clusters is not None:
            checks.integer("clusters", self.clusters, least=1)

    def clusters_kept(self, total: int, argument: str = "clusters") -> int:
        """Return m, the clusters to keep of so many. Raises ValueError: more are asked for than there are."""
        if self.clusters is None:
            return max(1, total // 2)
        if self.clusters > total:
            raise ValueError(
                f"{argument}: {self.clusters} are more than the {total} clusters; ask for at most that"
            )
        return self.clusters


@dataclass(frozen=True, kw_only=True, eq=False)
class Distributed(Levels):
    """DGDS (Ghadiri and Schmidt 2019): parts are random, and all kept."""

    top_up: bool = False


#: The solvers that have options, and which.
OPTIONS: dict[str, type[FrankWolfe | Multilevel | Distributed]] = {
    "frank-wolfe": FrankWolfe,
    "multilevel": Multilevel,
    "distributed": Distributed,
}


def options_of(solver: Any, given: Mapping[str, Any] | None) -> FrankWolfe | Multilevel | Distributed | None:
    """Return a solver's options, checked; None where it has none.

    Raises TypeError: they are no mapping, or one is of the wrong type; ValueError: the solver has none, or
    none of that name; or one is out of its range.
    """
    if not isinstance(given, Mapping | None):
        raise TypeError(f"solver_options: expected a mapping of names, got {type(given).__name__}")
    made = OPTIONS.get(solver) if isinstance(solver, str) else None
    if made is None:
        if given:
            raise ValueError(f"solver_options: {solver!r} has none; {', '.join(OPTIONS)} have")
        return None
    names = [one.name for one in fields(made)]
    for name in given or {}:
        checks.choice("solver_options", name, names)
    try:
        return made(**(given or {}))
    except (TypeError, ValueError) as error:
        raise type(error)(f"solver_options: {error}") from None
