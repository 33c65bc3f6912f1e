"""What a plan asks for, what it ends with, and the steps that all plans share."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from setwise.certificate import unbounded
from setwise.ids import among
from setwise.index.base import Found, Ids
from setwise.retrieval.seen import Job, Seen
from setwise.solvers.problem import Problem, Solved
from setwise.solvers.unseen import Unseen

Vector = NDArray[np.float64]

#: Candidates asked for first: at least this many, and this many times k.
FIRST, TIMES = 400, 8

#: Each further search asks for this many times more, up to this many in all.
GROWTH, MOST = 4, 16_384


@dataclass(frozen=True)
class Ask:
    """One search: what for, and how many to return."""

    weights: Vector
    count: int


@dataclass(frozen=True)
class Outcome:
    """A set among the candidates seen.

    problem : what was solved; ids : the candidates' ids; found : rows of them, and what is proven of these;
    whole : whether the ids are an index's own, in its order, and not in rising order as searches gather them.
    """

    problem: Problem | None
    ids: Ids
    found: Solved
    whole: bool = False


Plan = Generator[Ask, Found, Outcome]


def nothing(job: Job, seen: Seen) -> Outcome:
    """Return the outcome where nothing was found."""
    certificate = unbounded(0, True, job.scope) if job.request.certify else None
    return Outcome(None, seen.ids, Solved(np.empty(0, np.int64), ordered=True, certificate=certificate))


def first_count(job: Job) -> int:
    """Return how many candidates to ask for first."""
    return min(job.most, max(FIRST, TIMES * (job.request.k or 1))) if job.pool is None else job.pool


def search(
    job: Job, seen: Seen, rest: Unseen, weights: Vector, count: int
) -> Generator[Ask, Found, tuple[Found, int]]:
    """Search, take in what is found, and return it and how many of it are new."""
    count = min(count, job.most)
    found = yield Ask(weights, count)
    assert found.floor is not None  # `index.promised.checked` has seen to it
    if job.exact:
        seen.check_unchanged(found)
        seen.check_none_left_out(weights, found)
    rest.note(weights, found.floor, len(found), count)
    job.stats["searches"] = job.stats.get("searches", 0) + 1
    return found, seen.add(found)


def cut(found: Found, barred: Ids, count: int) -> Found:
    """Return the best of what was found for a query, without the ids that are barred for it.

    What is cut off or was not returned scores at most the last that stays, or the floor of all.
    """
    kept = np.flatnonzero(~among(found.ids, barred))
    if len(kept) <= count:
        return Found(found.ids[kept], found.scores[kept], found.vectors[kept], found.floor)
    assert found.floor is not None
    slack = found.floor - float(found.scores[-1])  # what rounding adds to the last score
    kept = kept[:count]
    floor = float(found.scores[kept[-1]]) + max(slack, 0.0)
    return Found(found.ids[kept], found.scores[kept], found.vectors[kept], floor)
