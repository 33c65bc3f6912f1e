"""The choice of a method and a diversity from labeled questions, or whether there is anything to choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from setwise import checks, metrics
from setwise.evaluate.compare import MEASURES, METHODS, TOP, Comparison, Configuration, told
from setwise.evaluate.statistics import intervals
from setwise.index.base import Index
from setwise.retrieval.search import retrieve


@dataclass(frozen=True)
class Tuned:
    """What was chosen, and what it does on questions that had no part in the choice.

    Attributes
    ----------
    configuration : Configuration
        Top-k where nothing is shown to beat it.
    settings : dict
        What `setwise.retrieve`, or a catalog's `select`, is told.
    measure : str
    top : float
        Top-k's mean of the measure.
    gain, low, high : float
        The mean held-out difference from top-k of what each fold's other questions choose, and the ends of
        its 95 % interval: what the way to choose is worth, not the luckiest configuration.
    picks : dict of Configuration to int
        How many folds chose what.
    """

    configuration: Configuration
    settings: dict[str, Any]
    measure: str
    top: float
    gain: float
    low: float
    high: float
    picks: dict[Configuration, int]

    @property
    def helps(self) -> bool:
        """Whether the interval of the held-out gain lies above 0."""
        return self.low > 0

    def __str__(self) -> str:
        between = f"[{self.low:+.4f}, {self.high:+.4f}]"
        found = f"{self.gain:+.4f} held-out {self.measure} over top-k's {self.top:.4f} {between}"
        if not self.helps:
            return f"nothing beats top-k here: {found}"
        one = self.configuration
        return f"{one.method}, diversity {one.diversity:g} at k = {one.k}: {found}"


def tune(
    comparison: Comparison,
    *,
    k: int | None = None,
    measure: str = "aspect recall",
    methods: Mapping[str, Mapping[str, Any]] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Tuned:
    """Choose a method and a diversity for one size, by cross-validation over groups of questions.

    In each fold the configuration with the best mean of the measure on the other folds' questions is taken
    (of equals the lower diversity), and judged on the fold's own. What is reported is the mean of those; what
    is returned is the choice on all questions, or top-k where the interval of the held-out gain does not lie
    above 0.

    Parameters
    ----------
    comparison : Comparison
    k : int, optional
        By default the only size compared.
    measure : str
        One of `MEASURES`, the higher the better.
    methods : mapping, optional
        The settings behind the labels; by default `METHODS`.
    folds : int
        At least 2; at most the number of groups.
    seed : int
        Of the split.

    Raises
    ------
    ValueError
        The size was not compared, or several were and none is named; there are fewer groups than folds.
    """
    sizes = sorted({one.k for one in comparison.configurations})
    if k is None and len(sizes) > 1:
        raise ValueError(f"k: compared were {', '.join(map(str, sizes))}; name one")
    size = sizes[0] if k is None else checks.integer("k", k, least=1)
    places = [place for place, one in enumerate(comparison.configurations) if one.k == size]
    if not places:
        raise ValueError(f"k: {size} was not compared (compared: {', '.join(map(str, sizes))})")
    groups = comparison.groups
    count = int(groups.max()) + 1
    parts = check_tune(count, measure, folds, seed)
    places.sort(key=lambda place: comparison.configurations[place].diversity)
    values = comparison.of(measure)[places]
    options = [comparison.configurations[place] for place in places]
    top = options.index(Configuration(TOP, 0.0, size))
    fold = (np.random.default_rng(seed).permutation(count) % parts)[groups]
    gains = np.empty(len(groups))
    picks: dict[Configuration, int] = {}
    for number in range(parts):
        own = fold == number
        best = _best(values[:, ~own])
        picks[options[best]] = picks.get(options[best], 0) + 1
        gains[own] = values[best, own] - values[top, own]
    low, high = intervals(gains, groups)
    chosen = options[_best(values)] if float(low) > 0 else options[top]
    known = METHODS if methods is None else methods
    settings = {"diversity": chosen.diversity, "k": size, **told(chosen, known)}
    return Tuned(
        chosen,
        settings,
        measure,
        float(values[top].mean()),
        float(gains.mean()),
        float(low),
        float(high),
        picks,
    )


def check_tune(groups: int, measure: str, folds: int, seed: int) -> int:
    """Return the number of folds; what `tune` refuses can be refused before anything is compared.

    Raises
    ------
    TypeError, ValueError
        The measure is unknown, or a time; the folds are fewer than 2, or more than the groups; the seed is
        below 0.
    """
    checks.choice("measure", measure, [name for name in MEASURES if name != "seconds"])
    checks.integer("seed", seed, least=0)
    parts = checks.integer("folds", folds, least=2)
    if groups < parts:
        mend = "bring more, or use fewer folds" if groups > 1 else "bring more"
        raise ValueError(f"folds: {parts} of {groups} groups of questions; {mend}")
    return parts


def _best(values: NDArray[np.float64]) -> int:
    """Return the configuration of the best mean, of those equal to rounding the first."""
    means = values.mean(axis=1)
    return int((means >= means.max() - 1e-12).argmax())


@dataclass(frozen=True)
class Crowding:
    """How much the most relevant of a corpus repeat each other.

    Attributes
    ----------
    k : int
    repeated : float
        Share of the k most relevant that are nearly the same as a more relevant one, mean over queries.
    affected : float
        Share of the queries with at least one.
    effective : float
        Effective number of different ones among the k (Vendi score), mean over queries.
    similarity : float
        What counts as nearly the same: at least this cosine.
    """

    k: int
    repeated: float
    affected: float
    effective: float
    similarity: float

    @property
    def needed(self) -> bool:
        """Whether one query in ten or more has a repetition among its k most relevant."""
        return self.affected >= 0.1

    def __str__(self) -> str:
        found = (
            f"{100 * self.affected:.0f} % of the queries have a near-duplicate (cosine {self.similarity:g}) "
            f"among their {self.k} most relevant, {100 * self.repeated:.1f} % of those are one; they are as "
            f"different as {self.effective:.1f} unrelated ones"
        )
        verdict = (
            "selecting by diversity has something to do here"
            if self.needed
            else "top-k hardly repeats itself here"
        )
        return f"{verdict}: {found}"


def crowding(index: Index, queries: ArrayLike, *, k: int = 10, similarity: float = 0.95) -> Crowding:
    """Return how much the k most relevant repeat each other: whether diversity has a task, without labels.

    Parameters
    ----------
    index : Index
    queries : array-like of shape (m, d)
    k : int
        At least 2.
    similarity : float
        In [0, 1]: the cosine from which two are nearly the same.

    Raises
    ------
    TypeError, ValueError
        As for `setwise.retrieve`; k is below 2; the similarity is outside [0, 1].
    """
    size = checks.integer("k", k, least=2)
    limit = checks.fraction("similarity", similarity, "0 = unrelated, 1 = the same direction")
    repeated, effective = [], []
    for query in np.atleast_2d(np.asarray(queries)):
        hits = retrieve(query, index, size, diversity=0.0, solver="top-k", certify=False)
        rows = np.asarray(index.vectors(hits.ids), np.float64)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        repeated.append((np.tril(rows @ rows.T, -1).max(axis=1) >= limit).mean())
        effective.append(metrics.vendi_score(rows))
    shares = np.array(repeated)
    return Crowding(size, float(shares.mean()), float((shares > 0).mean()), float(np.mean(effective)), limit)
