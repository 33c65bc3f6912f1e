"""The spread of a set: distances between its members, its effective size, what it stands for, labels."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from setwise import checks
from setwise.metrics.ids import Ids, counted, listed
from setwise.objectives.base import euclidean
from setwise.vectors import Floats, Vectors, check_metric


def ilad(vectors: ArrayLike, *, metric: str = "cosine") -> float:
    """Return the mean distance between two members (intra-list average distance).

    Zhang and Hurley, RecSys 2008; the diversity that CCBQP and MUSS report. Under cosine it is
    (k² - \\|Σ e\\|²) / (k (k - 1)), at O(k d).

    Parameters
    ----------
    vectors : array-like of shape (k, d)
        The members', k at least 2.
    metric : {"cosine", "euclidean"}
        1 - cosine, or the L2 distance.

    Raises
    ------
    TypeError, ValueError
        Fewer than two rows, NaN, Inf, or a zero row under cosine.
    """
    rows = _rows(vectors, metric)
    k = len(rows)
    if metric == "cosine":
        total = rows.sum(axis=0)
        return max(0.0, float((k * k - total @ total) / (k * (k - 1))))
    return float(euclidean(rows, rows).sum() / (k * (k - 1)))


def ilmd(vectors: ArrayLike, *, metric: str = "cosine") -> float:
    """Return the distance between the two closest members (intra-list minimum distance).

    What max-min dispersion maximizes; 0 where a member is repeated.

    Parameters
    ----------
    vectors, metric
        As for `ilad`. Memory: O(k²).

    Raises
    ------
    TypeError, ValueError
        As for `ilad`.
    """
    rows = _rows(vectors, metric)
    distances = 1.0 - rows @ rows.T if metric == "cosine" else euclidean(rows, rows)
    np.fill_diagonal(distances, np.inf)
    return max(0.0, float(distances.min()))


def vendi_score(vectors: ArrayLike, *, order: float = 1.0) -> float:
    """Return the effective number of different members, from 1 (all alike) to k (all orthogonal).

    Friedman and Dieng, TMLR 2023: the exponential of the entropy of the eigenvalues of K/k, with K the
    members' cosines. Other orders are the Hill numbers of Pasarkar and Dieng, AISTATS 2024.

    Parameters
    ----------
    vectors : array-like of shape (k, d)
        The members', k at least 2.
    order : float
        At least 0; 1 is the Vendi score, inf one over the largest eigenvalue. Small orders see rare members.

    Raises
    ------
    TypeError, ValueError
        Fewer than two rows, NaN, Inf, a zero row, or a negative order.
    """
    if isinstance(order, bool) or not isinstance(order, int | float | np.number) or not order >= 0:
        raise ValueError(f"order: expected a number of at least 0, got {order!r}")
    rows = _rows(vectors, "cosine")
    shares = np.linalg.svd(rows, compute_uv=False) ** 2 / len(rows)
    shares = shares[shares > 1e-12]
    if order == 1:
        return float(np.exp(-(shares * np.log(shares)).sum()))
    if np.isinf(order):
        return float(1 / shares.max())
    return float((shares**order).sum() ** (1 / (1 - order)))


def dc_score(vectors: ArrayLike, *, temperature: float = 1.0) -> float:
    """Return DCScore: the sum of each member's chance to be told from the others, from 1 to k.

    Zhu et al., ICML 2025: the trace of the softmax, row by row, of the cosines divided by a temperature.

    Parameters
    ----------
    vectors : array-like of shape (k, d)
        The members', k at least 2.
    temperature : float
        More than 0.

    Raises
    ------
    TypeError, ValueError
        Fewer than two rows, NaN, Inf, a zero row, or a temperature that is not positive.
    """
    scale = checks.positive("temperature", temperature)
    rows = _rows(vectors, "cosine")
    logits = (rows @ rows.T - 1.0) / scale  # no more than 0 off the diagonal, where it is 0
    return float((1.0 / np.exp(logits - np.diag(logits)[:, None]).sum(axis=1)).sum())


def wasserstein(a: ArrayLike, b: ArrayLike, *, metric: str = "euclidean") -> float:
    """Return the 1-Wasserstein distance between two sets of vectors, all members alike in weight.

    Exact: of equal sizes the assignment problem, otherwise a linear program (HiGHS) over all pairs.

    Parameters
    ----------
    a : array-like of shape (n, d)
    b : array-like of shape (m, d)
        Both at least 2 rows. Memory: O(n m), some 100 bytes a pair where the sizes differ.
    metric : {"cosine", "euclidean"}
        1 - cosine, or the L2 distance.

    Raises
    ------
    TypeError, ValueError
        Different widths, fewer than two rows, NaN, Inf, or a zero row under cosine.
    """
    from scipy.optimize import linear_sum_assignment, linprog
    from scipy.sparse import eye_array, kron, vstack

    left, right = _two(a, b, metric)
    cost = 1.0 - left @ right.T if metric == "cosine" else euclidean(left, right)
    n, m = cost.shape
    if n == m:
        pairs = linear_sum_assignment(cost)
        return max(0.0, float(cost[pairs].mean()))
    sums = vstack([kron(eye_array(n), np.ones((1, m))), kron(np.ones((1, n)), eye_array(m))]).tocsr()
    shares = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    found = linprog(cost.ravel(), A_eq=sums[:-1], b_eq=shares[:-1], bounds=(0, None), method="highs")
    if found.status != 0:
        raise RuntimeError(f"wasserstein: {found.message}")
    return max(0.0, float(found.fun))


def sliced_wasserstein(a: ArrayLike, b: ArrayLike, *, projections: int = 100, seed: int = 0) -> float:
    """Return the sliced 1-Wasserstein distance: the mean over random directions of the exact one along each.

    Rabin et al., SSVM 2011; Bonneel et al., J. Math. Imaging and Vision 51, 2015. For sets too large for
    `wasserstein`.

    Parameters
    ----------
    a : array-like of shape (n, d)
    b : array-like of shape (m, d)
        Both at least 2 rows.
    projections : int
        Directions, drawn uniformly.
    seed : int

    Raises
    ------
    TypeError, ValueError
        Different widths, fewer than two rows, NaN, Inf, or no projections.
    """
    left, right = _two(a, b, "euclidean")
    count = checks.integer("projections", projections, least=1)
    drawn = np.random.default_rng(checks.integer("seed", seed, least=0)).standard_normal(
        (left.shape[1], count)
    )
    drawn /= np.linalg.norm(drawn, axis=0)
    ours, theirs = np.sort(left @ drawn, axis=0), np.sort(right @ drawn, axis=0)
    # Both distribution functions are even steps: between all steps of either, the two quantiles are constant.
    steps = np.unique(
        np.concatenate([np.arange(1, len(ours) + 1) / len(ours), np.arange(1, len(theirs) + 1) / len(theirs)])
    )
    width = np.diff(steps, prepend=0.0)
    middle = steps - width / 2
    gaps = np.abs(
        ours[(middle * len(ours)).astype(np.int64)] - theirs[(middle * len(theirs)).astype(np.int64)]
    )
    return float((width @ gaps).mean())


def entropy(labels: Ids) -> float:
    """Return the Shannon entropy of the members' labels, in nats.

    Parameters
    ----------
    labels : sequence of hashable
        One label a member: its stance, class, task or source.

    Raises
    ------
    ValueError
        There are no labels.
    """
    counts = np.array(list(counted(labels).values()), np.float64)
    shares = counts / counts.sum()
    return max(0.0, float(-(shares * np.log(shares)).sum()))


def balance(labels: Ids, classes: Ids) -> float:
    """Return how evenly the members' labels spread over the classes: 0 for one class alone, 1 for all alike.

    The entropy of the labels divided by its largest value, the logarithm of the number of classes (Pielou's
    evenness, J. Theoretical Biology 13, 1966). With two stances, 1 means as many for as against.

    Parameters
    ----------
    labels : sequence of hashable
        One label a member.
    classes : collection of hashable
        All labels there are, at least two.

    Raises
    ------
    ValueError
        There are no labels, fewer than two classes, or a label that is none of them.
    """
    known = set(listed(classes, "classes"))
    if len(known) < 2:
        raise ValueError(f"classes: {len(known)} given, balance needs two or more")
    for label in counted(labels):
        if label not in known:
            raise ValueError(f"labels: {label!r} is none of the {len(known)} classes")
    return entropy(labels) / math.log(len(known))


def coverage(vectors: ArrayLike, selected: ArrayLike) -> float:
    """Return how well a set stands for all candidates: the mean of each one's largest cosine to a member.

    The facility-location function (Krause and Golovin, *Submodular Function Maximization*, 2014) over n; 1
    means that every candidate has its like in the set.

    Parameters
    ----------
    vectors : array-like of shape (n, d)
        All candidates'. Read in blocks.
    selected : array-like of shape (k,), int
        Rows of the members.

    Raises
    ------
    TypeError, ValueError
        A row that is not there, none at all, or bad vectors.
    """
    data = Vectors(vectors)
    members = _selected_rows(selected, data.n, "selected")
    if len(members) == 0:
        raise ValueError("selected: empty, nothing is covered by none")
    nearest = np.empty(data.n)

    def take(start: int, stop: int, cosines: Floats) -> None:
        nearest[start:stop] = cosines.max(axis=1)

    data.products(data.rows(members), take)
    return float(nearest.mean())


def catalog_coverage(selections: Iterable[ArrayLike], n: int) -> float:
    """Return the share of n candidates that stand in at least one of many selections.

    Ge, Delgado-Battenfeld and Jannach, RecSys 2010: how much of a catalog is ever shown.

    Parameters
    ----------
    selections : iterable of array-like of int
        Rows of each selection's members.
    n : int
        Number of candidates.

    Raises
    ------
    TypeError, ValueError
        A row outside 0 to n - 1.
    """
    size = checks.integer("n", n, least=1)
    seen = np.zeros(size, np.bool_)
    for number, rows in enumerate(selections):
        seen[_selected_rows(rows, size, f"selections[{number}]")] = True
    return float(seen.mean())


def _rows(vectors: ArrayLike, metric: str) -> NDArray[np.float64]:
    """Return checked rows in float64, of unit length under cosine; two or more."""
    data = Vectors(vectors, check_metric(metric))
    if data.n < 2:
        raise ValueError("vectors: one row has no distance to another; pass two or more")
    return np.asarray(data.rows(slice(None), np.float64), np.float64)


def _two(a: ArrayLike, b: ArrayLike, metric: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the checked rows of two sets of one width."""
    left, right = _rows(a, metric), _rows(b, metric)
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"b: width {right.shape[1]}, and a has {left.shape[1]}")
    return left, right


def _selected_rows(selected: ArrayLike, n: int, name: str) -> NDArray[np.int64]:
    """Return rows that exist."""
    rows = np.asarray(selected)
    if rows.size == 0:
        return np.empty(0, np.int64)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected rows (integers), got {rows.dtype} of shape {rows.shape}")
    wrong = np.flatnonzero((rows < 0) | (rows >= n))
    if len(wrong):
        raise ValueError(f"{name}: row {int(rows[wrong[0]])} is not one of the {n} candidates")
    return rows.astype(np.int64)
