"""The rows that get most of the examples' mass by unbalanced optimal transport."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.finetuning.distribution import Chosen
from setwise.threads import thread_count
from setwise.top import top_k
from setwise.vectors import Vectors

#: Distances that are held at once.
_HELD = 1 << 22

#: Change of the logarithms of an example's scaling below which it has converged, and steps to get there.
_CLOSE, _STEPS = 1e-12, 1_000

#: The least entropy: costs are up to 1.
_LEAST = 0.002


def uot(
    candidates: Any,
    examples: Any,
    rows: int,
    *,
    entropy: float = 0.01,
    relaxation: float = 0.0001,
    threads: int | None = None,
) -> Chosen:
    """Choose the rows that receive the most mass from the examples under unbalanced optimal transport.

    Each of M examples gives away all of its mass 1/M; rows need not receive even shares, but pay for it:

        min_γ Σ γ_ij (1 - cos_ij) / 2 + entropy KL(γ | 1/(M n)) + relaxation KL(Σ_i γ_ij | 1/n).

    The scaling algorithm solves it, one pass over the rows a step, in memory of M numbers a row of a block.

    Parameters
    ----------
    candidates : array-like of shape (n, d)
    examples : array-like of shape (M, d)
    rows : int
        How many to choose, 1 to n. Ties by lowest row.
    entropy, relaxation : float
        Above 0, ``entropy`` at least 0.002; by default those of the authors' code.
    threads : int, optional

    Returns
    -------
    Chosen
        Uniform over the chosen rows.

    Raises TypeError: vectors or numbers are none; ValueError: vectors have NaN, a zero row or different
    widths; ``rows`` is below 1 or above n; or a weight is out of range.

    Warns
    -----
    UserWarning
        It has not converged: far more relaxation than entropy takes many steps.

    References
    ----------
    A critical look at targeted instruction selection: disentangling what matters (and what doesn't),
    arXiv 2602.14696, 2026. Chizat et al., Scaling algorithms for unbalanced optimal transport problems, 2018.
    """
    data = Vectors(candidates, "cosine", workers=thread_count(threads), name="candidates")
    rows = checks.integer("rows", rows, least=1, most=data.n)
    probes = Vectors(examples, "cosine", name="examples")
    if probes.d != data.d:
        raise ValueError(f"examples: {probes.d} wide where the candidates are {data.d}")
    entropy, relaxation = checks.positive("entropy", entropy), checks.positive("relaxation", relaxation)
    if entropy < _LEAST:
        raise ValueError(
            f"entropy: {entropy:g} is below {_LEAST:g}, where exp(-cost / entropy) is no float64"
        )
    unit = np.asarray(probes.rows(slice(None), np.float64), np.float64)
    received = _received(data, unit, entropy, relaxation)
    # A block's product rounds equal rows apart by where they stand: what is that close ties.
    border = np.partition(received, data.n - rows)[data.n - rows]
    rounded = np.where(np.abs(received - border) <= 1e-9 * border, border, received)
    return Chosen.of(top_k(rounded, rows), data.n)


def _received(
    data: Vectors, examples: NDArray[np.float64], entropy: float, relaxation: float
) -> NDArray[np.float64]:
    """Return the mass that each row receives, shape (n,).

    With E = exp(-cost / entropy), γ_ij = u_i E_ij v_j / (M n): the examples' shares ask for
    u_i = 1 / mean_j(E_ij v_j), the rows' for v_j = mean_i(u_i E_ij)^-f with f = relaxation / (relaxation +
    entropy). A step shrinks what log u is off by f at least.
    """
    m, n = len(examples), data.n
    power = relaxation / (relaxation + entropy)
    scaling = np.ones(m)
    mass = np.empty(n)
    for _ in range(_STEPS):
        sums = np.zeros(m)
        for rows, nearness in _nearness(data, examples, entropy):
            reached = nearness @ scaling / m
            weights = reached**-power
            mass[rows] = reached * weights / n
            sums += weights @ nearness
        after = n / sums
        moved = float(np.abs(np.log(after / scaling)).max())
        scaling = after
        if moved < _CLOSE:
            break
    else:
        checks.warn(f"relaxation: not converged in {_STEPS:,} steps (the last moved {moved:.1g}); lower it")
    return mass


def _nearness(
    data: Vectors, examples: NDArray[np.float64], entropy: float
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield exp(-cost / entropy) of the rows with every example, block by block, in float64."""
    step = max(1, _HELD // max(len(examples), data.d))
    for start in range(0, data.n, step):
        rows = slice(start, min(start + step, data.n))
        cosines = np.asarray(data.rows(rows, np.float64)) @ examples.T
        yield rows, np.exp((cosines - 1.0) / (2.0 * entropy))
