"""Frank-Wolfe with exact line search on the tight relaxation (CCBQP Algorithm 1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from setwise.solver_options import FrankWolfe
from setwise.solvers.pools import Pool, Whole
from setwise.solvers.problem import POOLED, TIED, Problem

#: Gap, relative to the gradient's size, at which a point counts as stationary. The paper waits for a gap
#: of exactly zero, which single precision need not reach.
TOLERANCE = 1e-6

#: The paper's λ and T.
USUAL = FrankWolfe()

#: Rounding of sums in float64, relative to their size.
EXACT = 4e-15


def over_all(problem: Problem, asked: FrankWolfe = USUAL) -> NDArray[np.int64]:
    """Run the paper's algorithm over all candidates: where they are many, one pass over the data a step."""
    if problem.n > POOLED:
        return ascend(Whole(problem), asked=asked)
    pool = Pool(problem)
    return pool.ids[ascend(pool, asked=asked)]


def ascend(
    view: Pool | Whole,
    *,
    start: NDArray[np.int64] | None = None,
    tolerance: float = TOLERANCE,
    asked: FrankWolfe = USUAL,
) -> NDArray[np.int64]:
    """Return the k positions with the largest weight where Frank-Wolfe stops.

    Maximizes f(x) = linear·x + t·xᵀ(W + δI)x over {0 <= x <= 1, Σx = k}, with δ the largest distance: the
    paper's λ = 2 for cosine. The step is in closed form (Eq. 6); a product with W is needed for the new
    vertex alone, since W x then follows by the same convex combination.

    Parameters
    ----------
    view : Pool or Whole
        The candidates; of `Whole`, all are read once a step.
    start : ndarray of shape (k,), int64, optional
        A set to start from. Default: x = k/n everywhere, or the most relevant set where W has no low rank.
    tolerance : float
        Relative Frank-Wolfe gap to stop at.
    asked : FrankWolfe
        λ, which δ is in proportion to, and the most steps.
    """
    problem = view.problem
    k, size = problem.k, len(view)
    if k == size:
        return np.arange(k)
    ridge = _largest_distance(view) * asked.penalty / 2
    double = 2 * view.weight
    x = np.zeros(size)
    if start is None and view.objective.low_rank and not problem.constraints.any:
        x[:] = k / size
        pulled = view.pull_evenly()
    else:
        vertex = view.most_relevant() if start is None else start
        x[vertex] = 1.0
        pulled = view.pull(vertex, np.ones(k))
    for step in range(asked.steps):
        gradient = x * ridge
        gradient += pulled
        gradient *= double
        gradient += view.linear
        vertex = view.best(leveled(gradient))
        size_of_gradient = float(gradient @ x)
        gap = float(gradient[vertex].sum()) - size_of_gradient
        problem.count("frank_wolfe_steps")
        # The gap is relative to what distances add: relevance, however large, is exact.
        linear = float(view.linear @ x)
        least = tolerance * abs(size_of_gradient - linear) + EXACT * abs(linear)
        if gap <= least:
            break
        problem.tell(f"Frank-Wolfe step {step + 1}, gap {gap:.1e}")
        ahead = view.pull(vertex, np.ones(k))
        moved = -x
        moved[vertex] += 1.0
        curvature = double * (float(moved @ (ahead - pulled)) + ridge * float(moved @ moved))
        length = 1.0 if curvature >= 0.0 else min(1.0, gap / -curvature)
        x += length * moved
        if length == 1.0:
            x = np.zeros(size)
            x[vertex] = 1.0
            pulled = ahead
        else:
            pulled = pulled + length * (ahead - pulled)
    return view.best(leveled(x))


def leveled(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return numbers in levels of `TIED` of the largest: what rounding alone sets apart is a tie."""
    level = TIED * 2.0 ** max(-900, int(np.frexp(np.abs(numbers).max())[1]))
    return np.rint(numbers / level) * level


def _largest_distance(view: Pool | Whole) -> float:
    """Return an upper bound on any distance, which makes every local maximum of the relaxation a set."""
    objective = view.objective
    if objective.reach < np.inf:
        return objective.reach
    return 2.0 * view.radius()  # the triangle inequality over the mean
