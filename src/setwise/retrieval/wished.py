"""Retrieval with wishes: the most relevant, to each facet too, until no others can be better."""

from __future__ import annotations

import numpy as np

from setwise import solvers
from setwise.feasible import Infeasible
from setwise.index.base import Ids
from setwise.retrieval.ask import GROWTH, MOST, Outcome, Plan, first_count, nothing, search
from setwise.retrieval.seen import Job, Seen, TooFew
from setwise.solvers.unseen import Unseen

#: A search for more is followed by another where it finds another set, or lowers the bound by this part.
WORTH = 0.05


def with_wishes(job: Job) -> Plan:
    """Gather the most relevant, and select among them; more, where others may be in a better set."""
    asked, goal = job.request, job.request.goal
    seen, rest = Seen(job), Unseen(job.query, goal.metric, job.exact, job.size)
    count = max(first_count(job), asked.k or 1)
    bounds = goal.name in solvers.WISHED_PROOFS
    before: tuple[Ids, float] | None = None
    while True:
        for weights in [job.query, *([] if asked.facets is None else asked.facets)]:
            yield from search(job, seen, rest, weights, count)
        if len(seen) == 0:
            return nothing(job, seen)
        complete = rest.exhausted or count > job.size
        last = complete or job.pool is not None or count >= MOST
        try:
            problem = seen.problem(min(asked.size, len(seen)) if asked.sized else asked.k)
            found = solvers.find(problem, asked.solver)
        except (TooFew, Infeasible):
            if last:
                raise
            count = min(job.most, MOST, count * GROWTH)
            continue
        if asked.certify:
            found = solvers.certify_beyond(problem, solvers.certify(problem, found), rest, job.scope)
        outcome = Outcome(problem, seen.ids, found)
        proof = found.certificate
        if last or not bounds or proof is None or proof.pool_sufficient:
            return outcome
        names, upper = np.sort(seen.ids[found.chosen]), proof.upper_bound or np.inf
        same = goal.name in solvers.ALIKE and before is not None and np.array_equal(before[0], names)
        if same and before is not None and before[1] - upper <= WORTH * abs(upper):
            return outcome  # more would prove little more
        before = names, upper
        count = min(job.most, MOST, count * GROWTH)
