"""The arithmetic of choosing responses, for a batch of prompts at once."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from setwise import checks, kernels
from setwise.kernels import medoids
from setwise.preference.responses.request import ResponseRequest
from setwise.preference.responses.selection import PROVEN, ResponseSelection
from setwise.solvers.k_medoids import dual, exact, means, search
from setwise.solvers.k_medoids.search import arrange
from setwise.solvers.k_medoids.stack import Stack, first_least, first_of_copies

#: Numbers of one (B, N, N) array of a batch, so that a handful of them stays in the processor's cache.
BATCH = 1 << 18

#: Steps of dual ascent that a certificate takes.
STEPS = 40

#: Largest entry of an embedding or reward, so that squares of differences are numbers.
LARGEST = 1e140


class Scaled(NamedTuple):
    """A batch on AMPO's scales.

    Attributes
    ----------
    rewards : ndarray of shape (B, N), float64
        As given; -inf where there is no response.
    positives : ndarray of shape (B, m), int64
        The best m, best first.
    products : ndarray of shape (B, N, N), float64
        Inner products of the embeddings around a common middle.
    stack : Stack
        Weighted, scaled distances; positives and padding may not be chosen, nor do they count, but for the
        positives under "equation-8".
    weights : ndarray of shape (B, N), float64
    """

    rewards: NDArray[np.float64]
    positives: NDArray[np.int64]
    products: NDArray[np.float64]
    stack: Stack
    weights: NDArray[np.float64]


def choose_batch(
    embeddings: NDArray[Any],
    rewards: NDArray[np.float64],
    sizes: NDArray[np.int64],
    request: ResponseRequest,
    draws: NDArray[np.float64],
) -> list[ResponseSelection]:
    """Choose responses for a batch of prompts.

    Parameters
    ----------
    embeddings : ndarray of shape (B, N, d)
        Rows beyond a prompt's size are zeros.
    rewards : ndarray of shape (B, N), float64
        -inf beyond a prompt's size.
    sizes : ndarray of shape (B,), int64
        Responses of each prompt, at least k + positives.
    draws : ndarray of shape (B, N), float64
        In [0, 1): what "random" goes by.

    Raises FloatingPointError: an embedding has NaN, Inf or an entry beyond 1e140.
    """
    began = time.perf_counter()
    scaled = scale(embeddings, rewards, sizes, request)
    places, lower, label = _choose_places(scaled, embeddings, request, draws)
    stack = scaled.stack
    rows = np.arange(len(sizes))[:, None]
    near = stack.near(places)
    costs = near.min(axis=1).sum(axis=1)
    covered = places[rows, first_least(near.transpose(0, 2, 1), costs[:, None])]
    covered[rows, places] = places  # itself, even where another is as near
    covered[~stack.free] = -1
    seconds = (time.perf_counter() - began) / len(sizes)
    bounds = [None] * len(sizes) if lower is None else np.minimum(lower, costs).tolist()
    for array in (places, covered, scaled.weights, scaled.positives, scaled.rewards):
        array.flags.writeable = False
    found = []
    for row, size in enumerate(sizes.tolist()):
        positives, negatives = scaled.positives[row], places[row]
        if request.split == "mean":
            positives, negatives = by_mean(rewards[row], positives, negatives)
        found.append(
            ResponseSelection(
                positives,
                negatives,
                places[row],
                float(costs[row]),
                bounds[row],
                scaled.weights[row, :size],
                covered[row, :size],
                scaled.rewards[row, :size],
                request.method,
                label,
                seconds,
                {"responses": size, "batch": len(sizes)},
            )
        )
    return found


def scale(
    embeddings: NDArray[Any], rewards: NDArray[np.float64], sizes: NDArray[np.int64], request: ResponseRequest
) -> Scaled:
    """Put a batch on the scales of AMPO's Appendix E, or of its Equations 6 to 8.

    Rewards go to [0, 1] by their least and largest (all 0.5 where they are equal); the best come out (the
    first of equals); the rest weigh ``exp(reward_weight · (mean - reward))``, and their distances are divided
    by the largest. By Equation 8 as it is printed the positives are covered too, the mean is over them as
    well, and distances are as they are.
    """
    n = rewards.shape[1]
    there = np.arange(n) < sizes[:, None]
    best = np.argsort(-rewards, axis=1, kind="stable")[:, : request.positives]
    low = rewards.min(axis=1, where=there, initial=np.inf, keepdims=True)
    span = rewards.max(axis=1, keepdims=True) - low
    unit = np.where(there, rewards, low)
    unit -= low
    unit /= np.where(span > 0, span, 1.0)
    unit[span[:, 0] == 0] = 0.5
    free = there.copy()
    free[np.arange(len(rewards))[:, None], best] = False
    printed = request.formulation == "equation-8"
    covered = there if printed else free
    mean = (unit * covered).sum(axis=1, keepdims=True) / covered.sum(axis=1, keepdims=True)
    weights = np.exp(request.reward_weight * (mean - unit)) * covered
    products, distances = distances_of(embeddings, covered)
    if not printed:
        largest = distances.max(axis=(1, 2))
        distances /= np.where(largest > 1e-12, largest, 1.0)[:, None, None]
    distances *= weights[:, :, None]
    return Scaled(rewards, best, products, Stack(distances, free), weights)


def distances_of(
    embeddings: NDArray[Any], free: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return inner products around a middle, and Euclidean distances, both (B, N, N) in float64.

    Distances are zero where a response is not free. Those much shorter than the vectors around their
    middle are taken by differences: near-duplicates lose nothing, and copies are at distance 0.
    """
    if kernels.available() and embeddings.flags.c_contiguous and kernels.readable(embeddings[0]):
        products, apart, most = medoids.distances(embeddings, free.astype(np.float64))
        _check_largest(most)
        return products, apart
    n = free.shape[1]
    counts = free.sum(axis=1, dtype=np.int64)[:, None, None]
    given = (
        embeddings if embeddings.dtype.kind == "f" and embeddings.itemsize > 2 else embeddings.astype(float)
    )
    with np.errstate(invalid="ignore", over="ignore"):
        # Of those that are free alone: padding must not move it, or results depended on a prompt's batch.
        middle = free[:, None, :].astype(given.dtype) @ given / counts.astype(given.dtype)
        rows = np.subtract(given, middle, dtype=np.float64)
        products = rows @ rows.transpose(0, 2, 1)
        squares = np.diagonal(products, axis1=1, axis2=2).copy()
    _check_largest(float(squares.max()))
    both = squares[:, :, None] + squares[:, None, :]
    apart = products * -2.0
    apart += both
    both *= 1e-6
    diagonal = np.arange(n)
    apart[:, diagonal, diagonal] = np.inf
    close = apart < both
    if close.any():
        batch, left, right = close.nonzero()
        upper = left < right
        batch, left, right = batch[upper], left[upper], right[upper]
        step = max(1, (1 << 20) // rows.shape[2])
        for start in range(0, len(batch), step):
            b, i, j = batch[start : start + step], left[start : start + step], right[start : start + step]
            delta = rows[b, i] - rows[b, j]
            apart[b, i, j] = apart[b, j, i] = np.vecdot(delta, delta)
    apart[:, diagonal, diagonal] = 0.0
    np.maximum(apart, 0.0, out=apart)
    np.sqrt(apart, out=apart)
    apart *= free[:, :, None]
    apart *= free[:, None, :]
    return products, apart


def _check_largest(square: float) -> None:
    """Refuse embeddings whose largest squared length around their middle is this."""
    if not square <= LARGEST**2 * 1e10:
        raise FloatingPointError("an embedding is not finite, or beyond 1e140")


def _choose_places(
    scaled: Scaled, embeddings: NDArray[Any], request: ResponseRequest, draws: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64] | None, str]:
    """Return the chosen responses, a bound on the cost of any (None if not asked), and the solver's name."""
    stack, k, method = scaled.stack, request.k, request.method
    if method == "opt-select":
        first = search.greedy(stack, k)
        places, lower = _searched(stack, first, request)
        return _arranged(stack, first_of_copies(stack, places), first), lower, request.solver
    scores = np.where(stack.free, scaled.rewards, np.inf)
    if method == "coreset":
        seeds = np.random.default_rng(request.seed).random(k)
        labels = means.cluster(scaled.products, stack.free, k, seeds)
        places = arrange(stack, means.lowest_of_each(labels, scores, k))
    elif method in ("bottom-k", "best-vs-worst"):
        places = lowest(scores, embeddings, k)
    elif method == "sigma":
        places = lowest(np.where(stack.free, two_deviations_below(scaled.rewards), np.inf), embeddings, k)
    else:
        places = np.argsort(np.where(stack.free, draws, np.inf), axis=1, kind="stable")[:, :k]
    label = "k-means" if method == "coreset" else method
    if not request.certify:
        return places, None, label
    return places, _bounded(stack, search.swap(stack, places)[0], request)[1], label


def _searched(
    stack: Stack, first: NDArray[np.int64], request: ResponseRequest
) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
    """Return the sets that a solver of "opt-select" makes of greedy's, and a bound if one is asked for."""
    places = first if request.solver == "greedy" else search.swap(stack, first)[0]
    if request.solver == "exact":
        if stack.cost.shape[2] > exact.LARGEST:
            raise ValueError(
                f"solver: 'exact' can search {exact.LARGEST} responses, got {stack.cost.shape[2]}; use "
                "solver='swap', or pass fewer"
            )
        places, lower = _exactly(stack, places, request.time_limit)
        totals = stack.totals(places)
        if open_ := int((totals - lower > PROVEN * totals).sum()):
            checks.warn(
                f"solver: 'exact' stopped after {request.time_limit:g} seconds without a proof "
                f"for {open_} of the prompts; their gaps say how far from the best they can be"
            )
        return places, lower if request.certify else None
    if not request.certify:
        return places, None
    polished = places if request.solver == "swap" else search.swap(stack, places)[0]
    better, bound = _bounded(stack, polished, request)
    return better if request.solver == "swap" else places, bound


def _bounded(
    stack: Stack, places: NDArray[np.int64], request: ResponseRequest
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return a bound on the cost of any set, and the best sets met on the way, given local minima."""
    climbed = dual.ascend(stack, places, steps=STEPS)
    better, lower = dual.improved(stack, places, climbed), climbed.lower
    if request.certify == "full":
        better, proven = _exactly(stack, better, request.time_limit)
        lower = np.maximum(lower, proven)
    return better, lower


def _arranged(stack: Stack, places: NDArray[np.int64], greedy: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return sets in selection order; those that are still greedy's are in it already."""
    changed = np.flatnonzero((places != greedy).any(axis=1))
    if len(changed) == len(stack):
        return arrange(stack, places)
    result = places.copy()
    if len(changed):
        result[changed] = arrange(stack.some(changed), places[changed])
    return result


def _exactly(
    stack: Stack, places: NDArray[np.int64], limit: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the best set of each problem, and the bound that proves it, after `limit` seconds for each."""
    climbed = dual.ascend(stack, places, steps=STEPS)
    places = dual.improved(stack, places, climbed)
    totals = stack.totals(places)
    lower = np.minimum(climbed.lower, totals)
    for row in np.flatnonzero(totals - lower > PROVEN * totals).tolist():
        found = exact.best_set(stack.some(np.array([row])), places.shape[1], places[row], limit=limit)
        places[row], lower[row] = found.places, found.lower
    return places, lower


def lowest(scores: NDArray[np.float64], embeddings: NDArray[Any], k: int) -> NDArray[np.int64]:
    """Return the k responses of least reward, lowest first (AMPO-BottomK, Eq. 5).

    Among equal rewards the next is the one whose largest cosine to those chosen before is least (the first
    of equals; a zero vector has cosine 0 to all).
    """
    order = np.argsort(scores, axis=1, kind="stable")[:, : k + 1]
    sorted_ = np.take_along_axis(scores, order, axis=1)
    tied = np.isfinite(sorted_[:, 1:]) & (sorted_[:, 1:] == sorted_[:, :-1])
    places = np.array(order[:, :k])
    for row in np.flatnonzero(tied.any(axis=1)).tolist():
        vectors = embeddings[row].astype(np.float64)
        lengths = np.sqrt(np.vecdot(vectors, vectors))
        vectors /= np.where(lengths > 0, lengths, 1.0)[:, None]
        left = scores[row].copy()
        closest = np.full(len(left), -np.inf)
        for step in range(k):
            equal = np.flatnonzero(left == left.min())
            pick = int(equal[first_least(closest[equal], 1.0)])
            places[row, step] = pick
            left[pick] = np.inf
            closest = np.maximum(closest, vectors @ vectors[pick])
    return places


def two_deviations_below(rewards: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far each reward is from its prompt's mean minus two deviations (arXiv:2502.16825).

    Padding, with a reward of -inf, gets inf.
    """
    there = np.isfinite(rewards)
    count = there.sum(axis=1, keepdims=True)
    known = np.where(there, rewards, 0.0)
    mean = known.sum(axis=1, keepdims=True) / count
    deviation = np.sqrt((np.where(there, rewards - mean, 0.0) ** 2).sum(axis=1, keepdims=True) / count)
    away: NDArray[np.float64] = np.abs(rewards - (mean - 2.0 * deviation))
    return away


def by_mean(
    rewards: NDArray[np.float64], positives: NDArray[np.int64], chosen: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split what was taken by its mean reward (AMPO, section 2): those above it, best first, and the rest.

    Where all rewards are the same, none is above: the first positive stays one.
    """
    taken = np.concatenate([chosen, positives])
    above = rewards[taken] > rewards[taken].mean()
    if not above.any() or (rewards[taken] == rewards[taken[0]]).all():
        above = taken == positives[0]
    high = taken[above]
    return high[np.lexsort((high, -rewards[high]))], taken[~above]
