"""What choosing responses returns: the positives, the negatives, and how well these cover the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.certificate import Certificate, bounded, percent

#: A cost within this of its bound, relatively, is the least there is: what the exact solver can tell.
PROVEN = 1e-7

#: Characters of a text that `explain` shows.
SHOWN = 60


@dataclass(frozen=True, eq=False, slots=True)
class ResponseSelection:
    """Which of a prompt's responses to train on.

    Attributes
    ----------
    positives : ndarray of int64
        Responses to prefer, best first. With `split="mean"`, those above the mean reward of all that were
        taken.
    negatives : ndarray of int64
        Responses to disprefer, in selection order: every prefix covers sensibly.
    chosen : ndarray of shape (k,), int64
        The k responses that stand for the rest, in selection order. They are the negatives, but for those
        that `split="mean"` counts as positives.
    cost : float
        Weighted distance of the responses to the nearest chosen one (AMPO Eq. 8, on its scales: distances
        over their largest, weights `weights`).
    lower_bound : float or None
        No k responses cost less; None when not asked for.
    weights : ndarray of shape (N,), float64
        How much each response counts in the cost: ``exp(mean r - r)`` of scaled rewards; 0 for the positives
        that were taken out first.
    covered_by : ndarray of shape (N,), int64
        The chosen response that stands for each; -1 for the positives that were taken out first.
    rewards : ndarray of shape (N,), float64
        As they were given.
    method, solver : str
        How it was found.
    seconds : float
        Wall time; for many prompts, this one's share of its batch's.
    stats : mapping
        Counts of the work done, by name.
    texts : sequence of str, or None
        The responses themselves, where they were given.
    """

    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]
    chosen: NDArray[np.int64]
    cost: float
    lower_bound: float | None
    weights: NDArray[np.float64]
    covered_by: NDArray[np.int64]
    rewards: NDArray[np.float64]
    method: str
    solver: str
    seconds: float
    stats: Mapping[str, Any] = field(default_factory=dict)
    texts: Sequence[str] | None = None

    @property
    def positive(self) -> int:
        """The best response."""
        return int(self.positives[0])

    @property
    def gap(self) -> float | None:
        """What share of the cost another choice can save at most: (cost - lower_bound) / cost."""
        return None if self.certificate is None else self.certificate.gap

    @property
    def optimal(self) -> bool:
        """Whether no other k responses are proven to cost less (to 1e-7 of the cost)."""
        return self.gap == 0.0

    @property
    def certificate(self) -> Certificate | None:
        """What is proven, for minus the cost as the value; None when not asked for."""
        if self.lower_bound is None:
            return None
        return bounded(
            -self.cost,
            -self.lower_bound,
            size=self.cost,
            rounding=PROVEN * self.cost,
            pool_size=int(np.count_nonzero(self.covered_by >= 0)),
            sufficient=True,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON."""
        return {
            "positives": self.positives.tolist(),
            "negatives": self.negatives.tolist(),
            "chosen": self.chosen.tolist(),
            "cost": self.cost,
            "lower_bound": self.lower_bound,
            "gap": self.gap,
            "optimal": self.optimal,
            "weights": self.weights.tolist(),
            "covered_by": self.covered_by.tolist(),
            "rewards": self.rewards.tolist(),
            "method": self.method,
            "solver": self.solver,
            "seconds": self.seconds,
            "stats": dict(self.stats),
        }

    def explain(self) -> str:
        """Return in a few lines what was chosen, and what each negative stands for."""
        lines = [f"{self._how()}: {self._what()}; {self._proof()}"]
        negatives = set(self.negatives.tolist())
        for row in [*self.positives.tolist(), *self.negatives.tolist()]:
            sign = "-" if row in negatives else "+"
            others = np.flatnonzero(self.covered_by == row)
            others = others[others != row]
            stands = ""
            if row in self.chosen:
                shown = ", ".join(map(str, others[:8].tolist())) + (", …" if len(others) > 8 else "")
                stands = (
                    f", stands for {len(others)} more ({shown})" if len(others) else ", stands for itself"
                )
            lines.append(f"  {sign} {row:>3}  reward {self.rewards[row]:.4g}{stands}{self._text(row)}")
        return "\n".join(lines)

    def _text(self, row: int) -> str:
        """Return the start of a response's text, if it is known."""
        if self.texts is None:
            return ""
        text = " ".join(self.texts[row].split())
        return f': "{text[:SHOWN]}{"…" if len(text) > SHOWN else ""}"'

    def _how(self) -> str:
        """Return the method's name, and its solver's where it has one."""
        return f"{self.method} by {self.solver}" if self.method == "opt-select" else self.method

    def _what(self) -> str:
        """Return how many of each there are."""
        plural = "" if len(self.positives) == 1 else "s"
        return (
            f"{len(self.positives)} positive{plural}, {len(self.negatives)} negatives "
            f"of {len(self.rewards)} responses"
        )

    def _proof(self) -> str:
        """Return the cost and what is proven about it, in words."""
        told = f"coverage cost {self.cost:.4f}"
        if self.gap is None:
            return told
        if self.optimal:
            return f"{told}, proven the least possible"
        return f"{told}; no other choice costs over {percent(self.gap)} less"

    def __repr__(self) -> str:
        best = ", ".join(map(str, self.positives[:8].tolist()))
        rest = ", ".join(map(str, self.negatives[:8].tolist()))
        more = f", … {len(self.negatives) - 8} more" if len(self.negatives) > 8 else ""
        return (
            f"ResponseSelection by {self._how()}: + [{best}]  - [{rest}{more}]\n"
            f"  {self._proof()}; {self.seconds * 1e3:.2f} ms"
        )
