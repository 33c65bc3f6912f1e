"""Sets for many requests: those that wish the same are selected together."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.api import selected
from setwise.batch.pools import select_pools
from setwise.request import Request
from setwise.selection import Selection
from setwise.serve.work import Task

#: Fields of a request that a set of its own kind hangs on; with any other, it is selected by itself.
_ALIKE = (
    "k",
    "diversity",
    "objective",
    "sharpness",
    "solver",
    "metric",
    "relevance_scale",
    "certify",
    "seed",
)


@dataclass(frozen=True)
class PoolAsked:
    """Candidates, and what is asked for of them.

    Attributes
    ----------
    job : Task
        What it is for.
    vectors : ndarray of shape (n, d)
    relevance : ndarray of shape (n,), or None
    query : ndarray of shape (d,), or None
    explain : bool
        Whether the set is to be explained.
    """

    job: Task
    request: Request
    vectors: NDArray[Any]
    relevance: NDArray[Any] | None
    query: NDArray[Any] | None = None
    explain: bool = False

    @property
    def kind(self) -> Hashable:
        """What pools that are selected from together have in common; None for one that is alone."""
        request = self.request
        own = request.groups is not None or request.facets is not None or bool(request.solver_options)
        own = own or bool(request.wishes or len(request.include) or len(request.exclude))
        if own or self.explain or self.relevance is None:
            return None
        same = tuple(getattr(request, name) for name in _ALIKE)
        return *same, self.vectors.shape[1], self.vectors.dtype.str

    def select(self) -> Selection:
        """Select from it alone, unless nobody waits for the set any longer."""
        self.job.check()
        return selected(
            self.request,
            self.vectors,
            relevance=self.relevance,
            query=self.query,
            progress=self.job.check,
            began=time.perf_counter(),
        )


def select_all(pools: Sequence[PoolAsked | Exception]) -> list[Selection | Exception]:
    """Select from each of some pools; an error stands in its pool's place."""
    found: list[Any] = list(pools)
    alike: dict[Hashable, list[int]] = {}
    for place, pool in enumerate(pools):
        if isinstance(pool, PoolAsked):
            kind = pool.kind
            alike.setdefault((place,) if kind is None else kind, []).append(place)
    for places in alike.values():
        some = [pool for place in places if isinstance(pool := pools[place], PoolAsked)]
        together = _together(some) if len(some) > 1 else None
        for number, place in enumerate(places):
            found[place] = tried(PoolAsked.select, some[number]) if together is None else together[number]
    return found


def _together(pools: list[PoolAsked]) -> list[Selection] | None:
    """Return the sets of pools that wish the same; None where one is refused, which is found by itself."""
    sizes = [len(pool.vectors) for pool in pools]
    try:
        return select_pools(
            replace(pools[0].request, threads=1),
            np.concatenate([pool.vectors for pool in pools]),
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            None,
            np.concatenate([np.asarray(pool.relevance, np.float64) for pool in pools]),
        )
    except (TypeError, ValueError):
        return None


def tried(step: Callable[..., Any], given: Any) -> Any:
    """Return what a step makes of something, or the error that it raises; an error stays one."""
    if isinstance(given, Exception):
        return given
    try:
        return step(given)
    except Exception as error:
        return error
