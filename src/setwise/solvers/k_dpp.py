"""k-DPP: a set drawn with probability proportional to its determinant (Kulesza and Taskar 2012)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from setwise.objectives import LogDet
from setwise.solvers.problem import Problem, Solved
from setwise.threads import one_blas_thread, run_ranges
from setwise.vectors import Floats, Vectors

#: Under euclidean the kernel is n × n: at most this many candidates.
DENSE = 4_000

#: Most multiplications the decomposition under cosine may take: n · d², or d · n² where n is below d.
WORK = 4e13

#: Blocks factored beside each other, whatever the number of threads, so that this changes no bit.
WAVE = 8

#: Most proposals looked at together.
BATCH = 256

#: A step that refuses this many times the expected proposals has met a kernel that is not one.
PATIENCE = 200

_EPS = float(np.finfo(np.float64).eps)

Rows = Callable[[NDArray[np.int64] | slice, NDArray[np.int64]], NDArray[np.float64]]


class Spectrum(NamedTuple):
    """The kernel's eigenvalues and eigenvectors.

    Attributes
    ----------
    n : int
        Candidates.
    logs : ndarray of shape (m,), float64
        Logarithms of the eigenvalues above rounding noise.
    rows : callable (ids, which)
        Rows of some orthonormal eigenvectors, shape (len(ids), len(which)).
    step : int
        Rows to ask for at a time in a pass over all.
    workers : int
        Threads for such a pass.
    """

    n: int
    logs: NDArray[np.float64]
    rows: Rows
    step: int
    workers: int


def draw(problem: Problem) -> Solved:
    """Draw one set of k from the seed, with probability proportional to exp(value / t) = det(L_Y).

    L = diag(q) S diag(q) with S the objective's kernel and q = exp((1 - t) r / (2 t)). The draw is exact,
    to float64: first an elementary DPP by the elementary symmetric polynomials of the eigenvalues
    (Kulesza and Taskar 2012, algorithm 8), then its items one at a time, by rejection.

    Under cosine the eigenvectors come from the (d, d) triangle of a blocked QR, the dual of their section
    3.3 without its squared condition number. Time: O(n d² + n d k), whatever is drawn. Memory: O(n + d²)
    and a few blocks. Under euclidean the n × n Gaussian kernel is decomposed.

    Parameters
    ----------
    problem : Problem
        Objective log-det, without constraints.

    Returns
    -------
    Solved

    Raises
    ------
    ValueError
        `diversity` is 0, k above the kernel's numerical rank, or more work than `WORK` or `DENSE` allow.
    """
    objective, vectors, k = cast(LogDet, problem.objective), problem.vectors, problem.k
    if objective.diversity == 0.0:
        raise ValueError(
            "diversity: 0 leaves no determinant to draw by; use solver='top-k', or a diversity above 0"
        )
    check_size(vectors, k)
    with one_blas_thread():
        problem.tell("k-dpp: decomposing the kernel")
        # All of the candidates are one set, whatever their relevance.
        quality = quality_of(problem) if k < problem.n else np.ones(k)
        spectrum = (
            dual(vectors, quality, k)
            if vectors.metric == "cosine"
            else primal(objective.kernel, vectors, quality, k)
        )
        problem.tell("k-dpp: drawing")
        chosen, proposals = Sampler(spectrum, k).draw(np.random.default_rng(problem.seed))
    problem.stats["rank"] = len(spectrum.logs)
    problem.stats["proposals"] = proposals
    return Solved(chosen, drawn=True)


def check_size(vectors: Vectors, k: int) -> None:
    """Refuse what cannot be decomposed, and a k that no kernel of these vectors has the rank for."""
    n, d = vectors.n, vectors.d
    if vectors.metric == "euclidean":
        if n > DENSE:
            raise ValueError(
                f"vectors: {n} candidates are too many for 'k-dpp' under euclidean, whose kernel is n × n; "
                f"pass at most {DENSE}, or metric='cosine'"
            )
        return
    if k > d:
        raise ValueError(f"k: {k} is more than the kernel's rank, at most {d} with vectors of {d} d")
    work = float(n) * d * min(n, d)
    if work > WORK:
        raise ValueError(
            f"vectors: decomposing {n} × {d} takes {work:.1g} multiplications and 'k-dpp' stops at "
            f"{WORK:.0e}; pass fewer candidates or dimensions"
        )


def quality_of(problem: Problem) -> NDArray[np.float64]:
    """Return exp((1 - t) r / (2 t)) of every candidate over the largest, in float64, shape (n,)."""
    known, t = problem.relevance, problem.objective.diversity
    values = known.all()
    with np.errstate(over="ignore", under="ignore"):
        # Halved first: the difference of two finite numbers may not be one.
        return np.asarray(np.exp((values / 2 - float(values.max()) / 2) * (1 - t) / t))


def dual(vectors: Vectors, quality: NDArray[np.float64], k: int) -> Spectrum:
    """Return the spectrum, of rank k, of the cosine kernel, from the singular values of its weighed rows.

    Raises ValueError: k exceeds the numerical rank, of the vectors or with this quality, shape (n,).
    """
    _, sizes, right = np.linalg.svd(_triangle(vectors, quality), full_matrices=False)
    if int((sizes > _tolerance(sizes, vectors)).sum()) < k:
        # Either the vectors have no such rank, or only their quality makes it seem so.
        plain = np.linalg.svd(_triangle(vectors, np.ones(vectors.n)), compute_uv=False)
        rank = int((plain > _tolerance(plain, vectors)).sum())
        if rank < k:
            raise ValueError(f"k: {k} is more than the kernel's numerical rank; ask for at most {rank}")
    kept = sizes > 4 * _EPS * float(np.linalg.norm(sizes))
    _check_rank(int(kept.sum()), k)
    sizes, right = sizes[kept], right[kept]

    def rows(ids: NDArray[np.int64] | slice, which: NDArray[np.int64]) -> NDArray[np.float64]:
        found = vectors.rows(ids, np.float64) @ (right[which] / sizes[which, None]).T
        found *= quality[ids][:, None]
        return np.asarray(found, np.float64)

    return Spectrum(vectors.n, 2 * np.log(sizes), rows, _step(vectors.d), vectors.workers)


def primal(
    kernel: Callable[[Floats, Floats], Floats], vectors: Vectors, quality: NDArray[np.float64], k: int
) -> Spectrum:
    """Return the spectrum of any kernel by its n × n matrix.

    Parameters
    ----------
    kernel : callable (left, right)
        Kernel between every two rows; 1 between a row and itself.
    quality : ndarray of shape (n,), float64
    k : int
        Rank that is needed.

    Raises ValueError: k exceeds the numerical rank.
    """
    every = vectors.rows(slice(0, vectors.n), np.float64)
    gram = np.asarray(kernel(every, every), np.float64)
    np.fill_diagonal(gram, 1.0)
    weighed = quality[:, None] * gram * quality
    values, columns = np.linalg.eigh(weighed)
    kept = values > vectors.n * _EPS * float(values[-1])
    if int(kept.sum()) < k:
        # Either the kernel has no such rank, or only the quality makes it seem so.
        plain = np.linalg.eigvalsh(gram)
        rank = int((plain > vectors.n * _EPS * float(plain[-1])).sum())
        if rank < k:
            raise ValueError(f"k: {k} is more than the kernel's numerical rank; ask for at most {rank}")
    _check_rank(int(kept.sum()), k)
    columns = columns[:, kept]

    def rows(ids: NDArray[np.int64] | slice, which: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(columns[ids][:, which])

    return Spectrum(vectors.n, np.log(values[kept]), rows, vectors.n, 1)


class Sampler:
    """Draws sets of k from a spectrum.

    Parameters
    ----------
    k : int
        At most the number of its eigenvalues.
    """

    def __init__(self, spectrum: Spectrum, k: int) -> None:
        self.spectrum, self.k = spectrum, k
        self.table = log_elementary(spectrum.logs, k)

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.int64], int]:
        """Return one set, shape (k,), int64, and how many proposals it took (about k ln k)."""
        return self._items(self._eigenvectors(rng), rng)

    def _eigenvectors(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the k eigenvectors of the elementary DPP to draw from (algorithm 8, first phase)."""
        table, logs, left = self.table, self.spectrum.logs, self.k
        picked: list[int] = []
        for j, level in zip(range(len(logs), 0, -1), rng.random(len(logs)).tolist(), strict=True):
            if level < math.exp(logs[j - 1] + table[j - 1, left - 1] - table[j, left]):
                picked.append(j - 1)
                left -= 1
                if left == 0:
                    break
        return np.array(picked, np.int64)

    def _items(self, which: NDArray[np.int64], rng: np.random.Generator) -> tuple[NDArray[np.int64], int]:
        """Return a set of the elementary DPP that some eigenvectors span (algorithm 8, second phase).

        The next item is due with probability proportional to its row's squared length outside the span of
        the rows chosen. That never exceeds the whole squared length: items are proposed by the latter and
        kept by the ratio. No pass over the candidates is needed after the first.
        """
        k, spectrum = self.k, self.spectrum
        lengths = self._lengths(which)
        mass = np.cumsum(lengths)
        last = int(np.flatnonzero(lengths)[-1])
        span = np.empty((k, k))
        chosen: list[int] = []
        size = min(BATCH, 2 * k)
        proposals = refused = 0
        while True:
            ids = np.minimum(np.searchsorted(mass, rng.random(size) * mass[-1], side="right"), last)
            levels = rng.random(size) * lengths[ids]
            rest = spectrum.rows(ids, which)
            for _ in range(2):  # the second time takes out what rounding left
                rest = rest - (rest @ span[: len(chosen)].T) @ span[: len(chosen)]
            for place, item in enumerate(ids.tolist()):
                proposals += 1
                own = rest[place]
                if item in chosen or levels[place] >= own @ own:
                    refused += 1
                    continue
                done = span[: len(chosen)]
                direction = own - (own @ done.T) @ done
                direction /= math.sqrt(direction @ direction)
                span[len(chosen)] = direction
                chosen.append(item)
                refused = 0
                if len(chosen) == k:
                    return np.array(chosen, np.int64), proposals
                rest[place + 1 :] -= np.outer(rest[place + 1 :] @ direction, direction)
            if refused > PATIENCE * k + size:
                raise ValueError(
                    f"k: {k} is more than the kernel's numerical rank; ask for at most {len(chosen)}"
                )

    def _lengths(self, which: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the squared length of every candidate's row in some eigenvectors, shape (n,)."""
        spectrum = self.spectrum
        found = np.empty(spectrum.n)

        def measure(first: int, stop: int) -> None:
            for start in range(first * spectrum.step, min(spectrum.n, stop * spectrum.step), spectrum.step):
                part = slice(start, min(spectrum.n, start + spectrum.step))
                rows = spectrum.rows(part, which)
                found[part] = np.vecdot(rows, rows)

        run_ranges(measure, -(-spectrum.n // spectrum.step), spectrum.workers)
        return found


def log_elementary(logs: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return logarithms of the elementary symmetric polynomials of numbers above 0 (algorithm 7).

    Parameters
    ----------
    logs : ndarray of shape (m,), float64
        The numbers' logarithms.
    k : int
        Highest degree.

    Returns
    -------
    ndarray of shape (m + 1, k + 1), float64
        Entry (j, l): degree l of the first j numbers; -inf where l > j.
    """
    table = np.full((len(logs) + 1, k + 1), -np.inf)
    table[:, 0] = 0.0
    for j, logarithm in enumerate(logs):
        np.logaddexp(table[j, 1:], table[j, :-1] + logarithm, out=table[j + 1, 1:])
    return table


def _triangle(vectors: Vectors, quality: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the triangle R of the QR decomposition of diag(quality) · rows, shape (min(n, d), d)."""
    n, d = vectors.n, vectors.d
    step = _step(d)
    blocks = -(-n // step)
    found = np.empty((0, d))
    for first in range(0, blocks, WAVE):

        def factor(start: int, stop: int, first: int = first) -> list[NDArray[Any]]:
            parts = []
            for number in range(first + start, first + stop):
                part = slice(number * step, min(n, (number + 1) * step))
                weighed = vectors.rows(part, np.float64) * quality[part, None]
                parts.append(_upper(weighed))
            return parts

        wave = run_ranges(factor, min(WAVE, blocks - first), vectors.workers)
        found = _upper(np.vstack([found, *(one for parts in wave for one in parts)]))
    return found


def _upper(block: Floats) -> NDArray[np.float64]:
    """Return R of a block's QR decomposition."""
    return np.asarray(np.linalg.qr(block, mode="r"), np.float64)


def _step(d: int) -> int:
    """Return the rows of a block: enough that its triangle is small beside it."""
    return max(2048, 4 * d)


def _tolerance(sizes: Floats, vectors: Vectors) -> float:
    """Return what a singular value of rows rounded to their dtype may be by rounding alone."""
    dtype = vectors.raw.dtype
    stored = float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0
    return 4 * float(np.linalg.norm(sizes)) * max(_EPS, stored / math.sqrt(len(sizes)))


def _check_rank(rank: int, k: int) -> None:
    """Refuse a k above the rank that quality leaves."""
    if rank < k:
        raise ValueError(
            f"diversity: so low that relevance leaves only {rank} of {k} directions within float64; "
            "raise it, narrow the relevance, or use solver='top-k'"
        )
