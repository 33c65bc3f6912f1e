"""Regularized transport (TSDS): how well a sampling distribution matches examples, and how spread it is."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from setwise import checks

#: The regularizers by name: G∞ (TSDS section 3.1), G_KDE (section 3.3), G_TV (Appendix A).
REGULARIZERS = ("kde", "uniform", "tv")


class TransportTerms(NamedTuple):
    """A plan's value and its terms; value = (1 - diversity) / scale * cost + diversity * regularization."""

    value: float
    cost: float
    regularization: float


class Transport:
    """Problem RT of TSDS (section 3.1): the cost of carrying mass to candidates, and the distance from even.

    Unlike the other objectives this one is of a plan γ, not of a set, and the lower the better.

    Parameters
    ----------
    diversity : float
        In [0, 1]: 0 = transport cost alone, 1 = evenness alone. The paper's α is 1 - diversity.
    regularizer : {"kde", "uniform", "tv"}
    scale : float
        The paper's C, above 0: what a distance is divided by.

    Raises TypeError: a number is no number, or the regularizer no string; ValueError: ``diversity`` is
    outside [0, 1], ``scale`` not above 0, or the regularizer unknown.
    """

    name: ClassVar[str] = "transport"

    def __init__(self, diversity: float = 0.4, *, regularizer: str = "kde", scale: float = 5.0) -> None:
        self.diversity = checks.fraction("diversity", diversity)
        self.regularizer = checks.choice("regularizer", regularizer, REGULARIZERS)
        self.scale = checks.positive("scale", scale)

    def combined(self, cost: float, regularization: float) -> float:
        """Return the value of a plan from its two terms."""
        alpha = 1.0 - self.diversity
        return alpha / self.scale * cost + self.diversity * regularization

    def terms(self, plan: Any, distances: Any, density: ArrayLike | None = None) -> TransportTerms:
        """Return a plan's value and terms by their definitions, in float64.

        Parameters
        ----------
        plan : array-like or sparse array of shape (M, N)
            γ ≥ 0; each row sums to 1/M.
        distances : array-like of shape (M, N), or a sparse array with an entry wherever the plan has one
        density : array-like of shape (N,), optional
            ρ, needed by "kde" alone.

        Raises ValueError: "kde" without a density.
        """
        gamma = sparse.csr_array(plan)
        gamma.eliminate_zeros()
        where = sparse.csr_array(distances) if sparse.issparse(distances) else np.asarray(distances)
        cost = float(gamma.multiply(where).sum())
        return self._with(cost, self.regularization(gamma, density))

    def _with(self, cost: float, regularization: float) -> TransportTerms:
        return TransportTerms(self.combined(cost, regularization), cost, regularization)

    def regularization(self, plan: Any, density: ArrayLike | None = None) -> float:
        """Return G(γ) by its definition; see `terms`."""
        gamma = sparse.csr_array(plan)
        gamma.eliminate_zeros()
        m, n = gamma.shape
        if self.regularizer == "tv":
            stored = float(np.abs(gamma.data - 1.0 / (m * n)).sum())
            return float(0.5 * (stored + (m * n - gamma.nnz) / (m * n)))
        if self.regularizer == "uniform":
            rho: NDArray[np.float64] = np.ones(n)
        elif density is None:
            raise ValueError("density: the kde regularizer needs one number a candidate")
        else:
            rho = np.asarray(density, np.float64)
        even = 1.0 / (m * float((1.0 / rho).sum()))
        worst = float(np.abs(rho[gamma.indices] * gamma.data - even).max(initial=0.0))
        if gamma.nnz < m * n:  # an entry of zero is short by all of its even share
            worst = max(worst, even)
        return float(m * worst)

    def __repr__(self) -> str:
        return (
            f"Transport(diversity={self.diversity}, regularizer={self.regularizer!r}, scale={self.scale:g})"
        )
