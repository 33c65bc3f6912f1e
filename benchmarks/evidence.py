"""What the quality benchmark measured, with intervals, the frontier, and the choice of a default from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from setwise import evaluate

#: What is measured of each set, in this order.
MEASURES = ("aspect recall", "alpha-nDCG", "ILAD", "ILMD", "all answers", "mean relevance")

#: The configurations that have no diversity; they come first, in this order.
BASELINES = ("top-k", "random", "oracle")

#: Resamples of the groups of questions.
RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured on a labeled set.

    Attributes
    ----------
    name, about : str
    k : int
    configurations : list of (method, diversity)
        The baselines first, with diversity None; top-k leads.
    values : ndarray of shape (configurations, questions, measures)
    groups : ndarray of shape (questions,), int64
        A number for each group of questions that belong together.
    proven : dict of label to list of float
        For methods of sharpness above 1, at each diversity the share of sets that no exchange with a passage
        outside their pool can improve.
    """

    name: str
    about: str
    k: int
    configurations: list[tuple[str, float | None]]
    values: NDArray[np.float64]
    groups: NDArray[np.int64]
    proven: dict[str, list[float]]

    @property
    def methods(self) -> list[str]:
        """The labels of the methods that have a diversity, in order."""
        return list(dict.fromkeys(label for label, t in self.configurations if t is not None))

    @property
    def diversities(self) -> list[float]:
        """The diversities, ascending."""
        return sorted({t for _, t in self.configurations if t is not None})

    def of(self, label: str, diversity: float | None = None) -> int:
        """Return the place of a configuration."""
        return self.configurations.index((label, diversity))

    def differences(self) -> NDArray[np.float64]:
        """Return values less those of top-k, question by question."""
        return self.values - self.values[:1]


def intervals(
    differences: NDArray[np.float64], groups: NDArray[np.int64], resamples: int = RESAMPLES
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of 95 % bootstrap intervals of means over questions.

    Parameters
    ----------
    differences : ndarray of shape (configurations, questions, measures)
    groups : ndarray of shape (questions,), int64
        Whole groups are drawn, with replacement.

    Returns
    -------
    low, high : ndarray of shape (configurations, measures)
    """
    _, places = np.unique(groups, return_inverse=True)
    return evaluate.intervals(np.moveaxis(differences, 1, -1), places, resamples=resamples)


def halves(groups: NDArray[np.int64], seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which questions are chosen on, and which are reported on: whole groups, drawn at random."""
    names = np.unique(groups)
    first = np.random.default_rng(seed).permutation(names)[: (len(names) + 1) // 2]
    chosen = np.isin(groups, first)
    return chosen, ~chosen


def choose(
    sets: Sequence[Measured], label: str, keep: Sequence[NDArray[np.bool_]], resamples: int = RESAMPLES
) -> tuple[float, dict[float, float]]:
    """Return the diversity that raises aspect recall most among those that harm on no set.

    A diversity harms where the interval of its difference from top-k lies below zero, of aspect recall or of
    α-nDCG. What it raises is the mean over the sets of the mean difference in aspect recall, over those sets
    where relevance is a signal at all, top-k being better than random: elsewhere anything helps that is not
    top-k, which says nothing about a trade-off.

    Returns
    -------
    diversity : float
        0 where every other harms somewhere, or helps nowhere.
    gains : dict of diversity to float
        Of the diversities that harm nowhere.
    """
    diversities = [t for t in sets[0].diversities if t]
    gains = {0.0: 0.0}
    for diversity in diversities:
        harmed, gained = False, []
        for measured, mask in zip(sets, keep, strict=True):
            place = measured.of(label, diversity)
            part = measured.differences()[place : place + 1, mask, :2]
            _, high = intervals(part, measured.groups[mask], resamples)
            harmed |= bool((high < 0).any())
            top, drawn = (
                measured.values[measured.of(label), mask, 0].mean() for label in ("top-k", "random")
            )
            if top > drawn:
                gained.append(float(part[0, :, 0].mean()))
        if not harmed and gained:
            gains[diversity] = float(np.mean(gained))
    return max(gains, key=lambda diversity: (gains[diversity], -diversity)), gains


def frontier(measured: Measured, measure: int) -> list[tuple[str, float | None]]:
    """Return the configurations that no other beats in both a measure and ILAD.

    Without the oracle, and without diversity 0, which is top-k.
    """
    means = measured.values.mean(axis=1)[:, [measure, MEASURES.index("ILAD")]]
    rivals = [
        place for place, (label, t) in enumerate(measured.configurations) if label != "oracle" and t != 0
    ]
    found = []
    for place in rivals:
        ahead = (means[rivals] >= means[place]).all(axis=1) & (means[rivals] > means[place]).any(axis=1)
        if not ahead.any():
            found.append(measured.configurations[place])
    return found
