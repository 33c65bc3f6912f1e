"""What came of the prompts: counts and means, kept up prompt by prompt."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Summary:
    """Counts, and means over the prompts selected from.

    Attributes
    ----------
    prompts, skipped : int
        Prompts selected from, and those left out for too few responses.
    responses : int
        Chosen from, in all.
    blank : int
        Responses left out since they say nothing.
    duplicates : int
        Responses that repeat an earlier one of their prompt word for word, left out or kept.
    ties : int
        Responses left out since they are no worse than a positive.
    rows : int
        Rows made.
    first_skipped : str or None
        Where the first prompt left out stands, and why it was.
    """

    def __init__(self) -> None:
        self.prompts = 0
        self.skipped = 0
        self.responses = 0
        self.blank = 0
        self.duplicates = 0
        self.ties = 0
        self.rows = 0
        self.first_skipped: str | None = None
        self._proven = 0
        self._sums = dict.fromkeys(("cost", "lower_bound", "gap", "chosen_reward", "rejected_reward"), 0.0)
        self._optimal = 0

    def skip(self, reason: str) -> None:
        """Count a prompt that was left out."""
        self.skipped += 1
        self.first_skipped = self.first_skipped or reason

    def add(
        self,
        rewards: NDArray[np.float64],
        positives: list[int],
        negatives: list[int],
        *,
        cost: float,
        lower_bound: float | None,
        gap: float | None,
        optimal: bool,
        rows: int,
    ) -> None:
        """Count a prompt that was selected from."""
        self.prompts += 1
        self.responses += len(rewards)
        self.rows += rows
        self._sums["cost"] += cost
        self._sums["chosen_reward"] += float(rewards[positives].mean())
        self._sums["rejected_reward"] += float(rewards[negatives].mean())
        if lower_bound is not None and gap is not None:
            self._proven += 1
            self._optimal += optimal
            self._sums["lower_bound"] += lower_bound
            self._sums["gap"] += gap

    def _mean(self, name: str, over: int) -> float | None:
        return self._sums[name] / over if over else None

    @property
    def cost(self) -> float | None:
        """Mean coverage cost of the negatives (AMPO, Equation 8)."""
        return self._mean("cost", self.prompts)

    @property
    def lower_bound(self) -> float | None:
        """Mean of what no choice can cost less than; None where that was not computed for all."""
        return self._mean("lower_bound", self.prompts if self._proven == self.prompts else 0)

    @property
    def gap(self) -> float | None:
        """Mean of the share of a cost that another choice can save at most; None as `lower_bound`."""
        return self._mean("gap", self.prompts if self._proven == self.prompts else 0)

    @property
    def optimal(self) -> int | None:
        """Prompts whose choice is proven the best possible; None as `lower_bound`."""
        return self._optimal if self._proven == self.prompts else None

    @property
    def chosen_reward(self) -> float | None:
        """Mean reward of the chosen."""
        return self._mean("chosen_reward", self.prompts)

    @property
    def rejected_reward(self) -> float | None:
        """Mean reward of the rejected."""
        return self._mean("rejected_reward", self.prompts)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        names = (
            "prompts",
            "skipped",
            "responses",
            "blank",
            "duplicates",
            "ties",
            "rows",
            "cost",
            "lower_bound",
            "gap",
        )
        more = ("optimal", "chosen_reward", "rejected_reward", "first_skipped")
        return {name: getattr(self, name) for name in names + more}
