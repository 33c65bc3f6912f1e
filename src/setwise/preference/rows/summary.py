"""What came of the prompts: counts and means, kept up prompt by prompt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from setwise.preference.responses.selection import ResponseSelection

#: Means over the prompts selected from, in the order of `Summary.to_dict`.
_MEANS = ("cost", "lower_bound", "gap", "chosen_reward", "rejected_reward")


@dataclass
class Summary:
    """Counts, and means over the prompts selected from.

    Attributes
    ----------
    prompts, skipped : int
        Prompts selected from, and those left out for too few responses.
    responses : int
        Chosen from, in all.
    unscored : int
        Responses left out since they have no reward.
    blank : int
        Responses left out since they say nothing.
    duplicates : int
        Responses that repeat an earlier one of their prompt word for word, left out or kept.
    near_copies : int
        Responses left out since they are nearly the words of a better rewarded one.
    ties : int
        Responses left out since they are no worse than a positive, or not by enough.
    rows : int
        Rows made.
    first_skipped : str or None
        Where the first prompt left out stands, and why it was.
    """

    prompts: int = 0
    skipped: int = 0
    responses: int = 0
    unscored: int = 0
    blank: int = 0
    duplicates: int = 0
    near_copies: int = 0
    ties: int = 0
    rows: int = 0
    first_skipped: str | None = None
    _proven: int = 0
    _optimal: int = 0
    _sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_MEANS, 0.0))

    def skip(self, reason: str) -> None:
        """Count a prompt that was left out."""
        self.skipped += 1
        self.first_skipped = self.first_skipped or reason

    def add(self, selection: ResponseSelection, rows: int) -> None:
        """Count a prompt that was selected from, and the rows that were made of it."""
        self.prompts += 1
        self.responses += len(selection.rewards)
        self.rows += rows
        found = {
            "cost": selection.cost,
            "chosen_reward": float(selection.rewards[selection.positives].mean()),
            "rejected_reward": float(selection.rewards[selection.negatives].mean()),
        }
        if selection.lower_bound is not None and selection.gap is not None:
            self._proven += 1
            self._optimal += selection.optimal
            found |= {"lower_bound": selection.lower_bound, "gap": selection.gap}
        for name, value in found.items():
            self._sums[name] += value

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
        counts = ("prompts", "skipped", "responses", "unscored", "blank", "duplicates")
        others = ("near_copies", "ties", "rows")
        return {name: getattr(self, name) for name in (*counts, *others, *_MEANS, "optimal", "first_skipped")}
