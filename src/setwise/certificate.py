"""Certificates: what is proven about a selection. They are made here alone, and worded here alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Certificate:
    """What is proven about a selection.

    Attributes
    ----------
    upper_bound : float or None
        No feasible set of this size has a larger value. None where the objective has no such bound.
    gap : float or None
        (upper_bound - value) over the value's size, at least 0: how far, relatively, from the best
        possible set the selection can be at most. Both are counted from what a set of the least relevance
        there is would be worth: a constant added to every relevance changes no gap.
    optimal : bool
        Whether the selection is proven to be a best possible set (to float64 precision).
    pool_size : int
        How many candidates the solver looked at closely.
    pool_sufficient : bool
        Whether the rest is proven not to matter: for max-sum, no exchange with any candidate outside the
        pool improves the set; for mmr and log-det, the selection is that of the scan over all candidates.
    scope : {"all", "returned"}
        What "all candidates" means: all there are, or, where an index searches approximately or nothing but
        its word says that it does not, those that its searches would return if they were exact. Nothing can
        be proven about what an index misses.
    """

    upper_bound: float | None
    gap: float | None
    optimal: bool
    pool_size: int
    pool_sufficient: bool
    scope: str = "all"

    def moved(self, amount: float) -> Certificate:
        """Return this certificate for values that are all larger by an amount; the gap stays."""
        return self if self.upper_bound is None else replace(self, upper_bound=self.upper_bound + amount)

    def at_least(self, value: float) -> Certificate:
        """Return this certificate with no bound below a value that a set is known to have."""
        if self.upper_bound is None or self.upper_bound >= value:
            return self
        return replace(self, upper_bound=value)

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        proven = self._bounded("the best possible set")
        if proven is None and self.pool_sufficient:
            proven = (
                f"proven identical to the scan over all candidates (looked closely at {self.pool_size:,})"
            )
        return f"{proven or 'nothing proven'}{self._relative()}"

    def explain(self, k: int, n: int, objective: str, solver: str, before: int = 0) -> str:
        """Return what is proven about a set, in one line.

        Parameters
        ----------
        k, n : int
            Size of the set, and number of candidates.
        objective, solver : str
            Their names.
        before : int
            How many stand on the pages before this one; what is proven is then of all of them together.
        """
        best = f"the best possible {k} of {n:,}"
        if before:
            best = f"the best {k} of {n:,} to add to the {before:,} before"
        proven = self._bounded(best)
        if proven is not None:
            return proven + self._relative()
        if self.pool_sufficient:
            over = f"all {n:,}" if self.scope == "all" else "all that the index returns"
            return f"no bound exists for {objective}; the scan over {over} picks exactly the same"
        if objective == "max-sum":
            return f"no bound from this pool, and nothing is proven of {solver}"
        return f"no bound exists for {objective}, and nothing is proven of {solver}"

    def explain_pool(self, n: int) -> str:
        """Return whether enough of n candidates were looked at, in one line."""
        looked = f"looked at {self.pool_size:,} of {n:,}"
        if self.pool_size >= n:
            return f"{looked}: all there are"
        if self.pool_sufficient:
            scope = " that the index would return" if self.scope == "returned" else ""
            return f"{looked}: enough, no other{scope} would change the set"
        if self.gap is None:
            return f"{looked}: may be too few"
        return f"{looked}: others could improve the set by at most {percent(self.gap)}"

    def _bounded(self, best: str) -> str | None:
        """Return how close the set is to the best one, in words; None where there is no bound."""
        if self.optimal:
            return f"proven {best}"
        return None if self.gap is None else f"within {percent(self.gap)} of {best}"

    def _relative(self) -> str:
        """Return what the words before are relative to."""
        return ", relative to what the index returns" if self.scope == "returned" else ""


def bounded(
    value: float,
    upper: float,
    *,
    size: float,
    rounding: float,
    pool_size: int,
    sufficient: bool,
    scope: str = "all",
) -> Certificate:
    """Return the certificate of a set's value and an upper bound on the best one's.

    Parameters
    ----------
    upper : float
        Infinite where nothing is proven; one below the value is rounding.
    size : float
        Magnitude of the terms that the value is a sum of. The gap is relative to the value, or where that is
        next to nothing, to this.
    rounding : float
        What the sums may be off by: a difference up to this is never reported as a gap.
    pool_size, sufficient, scope
        See `Certificate`.
    """
    if not np.isfinite(upper - value):
        return unbounded(pool_size, sufficient, scope)
    upper = max(upper, value)
    optimal = upper - value <= rounding
    gap = (upper - value) / (abs(value) if abs(value) > 1e-6 * size else size or 1.0)
    return Certificate(upper, 0.0 if optimal else gap, optimal, pool_size, sufficient, scope)


def unbounded(pool_size: int, sufficient: bool, scope: str = "all") -> Certificate:
    """Return the certificate of a set whose objective has no bound, or a pool that proves none."""
    return Certificate(None, None, False, pool_size, sufficient, scope)


def percent(fraction: float) -> str:
    """Return a fraction as a percentage of two digits or a whole number, rounded up.

    It never claims more than is proven: what is shown is at least the fraction.
    """
    exact = Decimal(repr(float(fraction))) * 100
    if exact <= Decimal("0.001"):
        return "0.001 %"
    digits = max(0, 1 - exact.adjusted())
    return f"{exact.quantize(Decimal(1).scaleb(-digits), ROUND_CEILING, Context(prec=330)):f} %"
