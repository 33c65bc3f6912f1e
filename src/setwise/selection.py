"""What every selection returns: the set, what it is worth, and how good that is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Certificate:
    """What is proven about a selection.

    Attributes
    ----------
    upper_bound : float or None
        No feasible set of this size has a larger value. None where the objective has no such bound.
    gap : float or None
        (upper_bound - value) / max(\\|value\\|, tiny), at least 0: how far, relatively, from the best
        possible set the selection can be at most.
    optimal : bool
        Whether the selection is proven to be a best possible set (to float64 precision).
    pool_size : int
        How many candidates the solver looked at closely.
    pool_sufficient : bool
        Whether the rest is proven not to matter: for max-sum, no exchange with any candidate outside the
        pool improves the set; for mmr and log-det, the selection is that of the scan over all candidates.
    scope : {"all", "returned"}
        What "all candidates" means: all there are, or, where an index searches approximately, those that
        its searches would return if they were exact. Nothing can be proven about what an index misses.
    """

    upper_bound: float | None
    gap: float | None
    optimal: bool
    pool_size: int
    pool_sufficient: bool
    scope: str = "all"

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON."""
        return {
            "upper_bound": self.upper_bound,
            "gap": self.gap,
            "optimal": self.optimal,
            "pool_size": self.pool_size,
            "pool_sufficient": self.pool_sufficient,
            "scope": self.scope,
        }

    def __str__(self) -> str:
        return self._proven() + (", relative to what the index returns" if self.scope == "returned" else "")

    def _proven(self) -> str:
        """Return what is proven, in words."""
        if self.optimal:
            return "proven the best possible set"
        if self.gap is not None and math.isfinite(self.gap):
            return f"within {_percent(self.gap)} of the best possible set"
        if self.pool_sufficient:
            return f"proven identical to the scan over all candidates (looked closely at {self.pool_size:,})"
        return "nothing proven"


@dataclass(frozen=True, eq=False)
class Selection:
    """A selected set of candidates.

    ``len(sel)``, iteration and ``np.asarray(sel)`` give the indices.

    Attributes
    ----------
    indices : ndarray of shape (k,), int64
        Rows of the candidates in selection order: every prefix is itself a sensible selection.
    gains : ndarray of shape (k,), float64
        The objective's score of each when it was selected, given those before it.
    value : float
        The objective's value of the set, (1 - diversity) * relevance + diversity * (the second term).
    relevance, diversity : float
        The two terms. max-sum: mean relevance, and mean distance between two members (ILAD). mmr: mean
        relevance, and minus the mean largest similarity to an earlier member. log-det: summed relevance,
        and the log-determinant.
    certificate : Certificate or None
        What is proven about it; None when not asked for.
    solver : str
        How it was found.
    seconds : float
        Wall time.
    stats : mapping
        Counts of the work done, by name.
    """

    indices: NDArray[np.int64]
    gains: NDArray[np.float64]
    value: float
    relevance: float
    diversity: float
    certificate: Certificate | None
    solver: str
    seconds: float
    stats: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for array in (self.indices, self.gains):
            if array.flags.writeable:
                array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices.tolist())

    def __getitem__(self, position: Any) -> Any:
        return self.indices[position]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if dtype is None and not copy:
            return self.indices
        return np.array(self.indices, dtype=dtype)

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON."""
        return {
            "indices": self.indices.tolist(),
            "gains": self.gains.tolist(),
            "value": self.value,
            "relevance": self.relevance,
            "diversity": self.diversity,
            "certificate": None if self.certificate is None else self.certificate.to_dict(),
            "solver": self.solver,
            "seconds": self.seconds,
            "stats": dict(self.stats),
        }

    def __repr__(self) -> str:
        shown = ", ".join(map(str, self.indices[:8].tolist()))
        more = f", … {len(self) - 8} more" if len(self) > 8 else ""
        proof = "no certificate" if self.certificate is None else str(self.certificate)
        return (
            f"Selection of {len(self)} by {self.solver}: [{shown}{more}]\n"
            f"  value {self.value:.5f}: relevance {self.relevance:.4f}, diversity {self.diversity:.4f}\n"
            f"  {proof}; {self.seconds * 1e3:.1f} ms"
        )


def _percent(gap: float) -> str:
    """Return a gap as a percentage of two digits, rounded up: it never claims more than is proven."""
    percent = gap * 100
    if percent <= 0.001:
        return "0.001 %"
    digits = 1 - math.floor(math.log10(percent))
    raised = math.ceil(percent * 10.0**digits - 1e-9) / 10.0**digits
    return f"{raised:.{max(digits, 0)}f} %"
