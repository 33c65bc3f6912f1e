"""Several targets at once: examples by name, each with its share of the draws, and how far they overlap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks, frames
from setwise.finetuning.distribution import Chosen, Distribution
from setwise.finetuning.rows.repository import Repository
from setwise.finetuning.rows.sides import Source


@dataclass(frozen=True, eq=False)
class Target:
    """Examples of one task among several.

    Attributes
    ----------
    share : float
        Of the draws; those of all targets sum to 1.
    examples : ndarray of shape (M, d)
    shown : Repository or None
        Their rows, for their texts.
    rows : ndarray of shape (M,), int64
        The row of each example in its file.
    """

    name: str
    share: float
    examples: NDArray[Any]
    shown: Repository | None
    rows: NDArray[np.int64]


@dataclass(frozen=True, repr=False)
class Mixture(Distribution):
    """The mixture of the distributions of several targets.

    Attributes
    ----------
    names : tuple of str
    shares : tuple of float
        Of each target; they sum to 1.
    parts : tuple of Distribution
        What each target would have by itself, over the same candidates.
    whole : Distribution, optional
        What is drawn from, where it is more than the mixture of probabilities.
    """

    names: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    parts: tuple[Distribution, ...] = ()
    whole: Distribution | None = None

    @classmethod
    def of(cls, names: Sequence[str], shares: Sequence[float], parts: Sequence[Distribution]) -> Mixture:
        """Return the mixture of distributions over the same candidates."""
        indices = np.unique(np.concatenate([part.indices for part in parts]))
        p = np.zeros(len(indices))
        for share, part in zip(shares, parts, strict=True):
            p[np.searchsorted(indices, part.indices)] += share * part.probabilities
        return cls(indices, p / p.sum(), parts[0].n, tuple(names), tuple(shares), tuple(parts))

    @classmethod
    def chosen(cls, targets: Sequence[Target], size: int, choose: Callable[[Target, int], Chosen]) -> Mixture:
        """Return ``size`` distinct rows, each target's share of them chosen for it, even over all of them.

        Targets choose one after the other; a row that another has taken is passed over for the next.

        Parameters
        ----------
        targets : sequence of Target
        choose : callable
            Gives so many rows for a target, in the order of choice: the first of more are those of fewer.

        Raises ValueError: so few rows leave a target without any.
        """
        names, shares = zip(*((target.name, target.share) for target in targets), strict=True)
        budgets = split(size, shares)
        if 0 in budgets:
            raise ValueError(
                f"rows: {size:,} are too few for the share of {names[budgets.index(0)]!r}; ask for more"
            )
        taken, parts = np.empty(0, np.int64), []
        for target, budget in zip(targets, budgets, strict=True):
            found = choose(target, budget + len(taken))
            parts.append(Chosen.of(found.order[:budget], found.n))
            fresh = found.order[~np.isin(found.order, taken)]
            taken = np.concatenate([taken, fresh[:budget]])
        even = Chosen.of(taken, parts[0].n)
        return cls(even.indices, even.probabilities, even.n, tuple(names), tuple(shares), tuple(parts))

    def _draw(self, n: int, rng: np.random.Generator, replace: bool) -> NDArray[np.int64]:
        if self.whole is not None:
            return self.whole._draw(n, rng, replace)
        return super()._draw(n, rng, replace)

    @property
    def overlap(self) -> NDArray[np.float64]:
        """How much of their probability two targets have in common, Σ min(p, p'): 1 = all; shape (T, T)."""
        count = len(self.parts)
        found = np.eye(count)
        for one in range(count):
            for other in range(one):
                a, b = self.parts[one], self.parts[other]
                _, left, right = np.intersect1d(a.indices, b.indices, True, return_indices=True)
                common = np.minimum(a.probabilities[left], b.probabilities[right]).sum()
                found[one, other] = found[other, one] = common
        return found


def split(size: int, shares: Sequence[float]) -> list[int]:
    """Return how many of ``size`` rows each share is, by largest remainder; they sum to ``size``."""
    exact = size * np.asarray(shares)
    counts = np.floor(exact + 1e-9).astype(np.int64)
    left = np.argsort(counts - exact, kind="stable")[: size - counts.sum()]
    counts[left] += 1
    return [int(count) for count in counts]


def named_examples(examples: Any) -> list[tuple[str, float, Source | None]]:
    """Return each target's name, share and source; of one without a name "" and 1.

    Several are a mapping of names to a source or to (source, weight): weights are above 0 and 1 by default,
    shares in proportion to them.

    Raises TypeError, ValueError: there is no target, or a weight is no finite number above 0.
    """
    if not isinstance(examples, Mapping) or frames.has_splits(examples):
        return [("", 1.0, examples)]
    if not examples:
        raise ValueError("examples: there is no target; give at least one")
    found = []
    for name, given in examples.items():
        pair = given if isinstance(given, tuple) else (given, 1.0)
        if len(pair) != 2:
            raise ValueError(f"examples: {name!r} has {len(pair)} values; expected (source, weight)")
        source, weight = pair
        found.append((str(name), checks.positive(f"examples: the weight of {name!r}", weight), source))
    total = sum(weight for _, weight, _ in found)
    return [(name, weight / total, source) for name, weight, source in found]
