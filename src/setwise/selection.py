"""What every selection returns: the set, what it is worth, and how good that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.certificate import Certificate


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
