"""Several targets at once: examples by name, each with its share of the draws, and how far they overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks, frames
from setwise.finetuning.distribution import Distribution
from setwise.finetuning.rows.repository import Repository
from setwise.finetuning.rows.sides import Source


@dataclass(frozen=True, eq=False)
class Target:
    """Examples of one task among several.

    Attributes
    ----------
    name : str
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
        Of each target, over the same candidates.
    """

    names: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    parts: tuple[Distribution, ...] = ()

    @classmethod
    def of(cls, names: Sequence[str], shares: Sequence[float], parts: Sequence[Distribution]) -> Mixture:
        """Return the mixture of distributions over the same candidates."""
        indices = np.unique(np.concatenate([part.indices for part in parts]))
        p = np.zeros(len(indices))
        for share, part in zip(shares, parts, strict=True):
            p[np.searchsorted(indices, part.indices)] += share * part.probabilities
        return cls(indices, p / p.sum(), parts[0].n, tuple(names), tuple(shares), tuple(parts))

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


def named_examples(examples: Any) -> list[tuple[str, float, Source | None]]:
    """Return each target's name, share and source; of one without a name "" and 1.

    Parameters
    ----------
    examples : source, or mapping of str to source or (source, weight)
        Weights are above 0 and 1 by default; shares are in proportion to them.

    Raises
    ------
    TypeError, ValueError
        There is no target, or a weight is no finite number above 0.
    """
    if not isinstance(examples, Mapping) or frames.has_splits(examples):
        return [("", 1.0, examples)]
    if not examples:
        raise ValueError("examples: there is no target; give at least one")
    found = []
    for name, given in examples.items():
        source, weight = given if isinstance(given, tuple) else (given, 1.0)
        found.append((str(name), checks.positive(f"examples: the weight of {name!r}", weight), source))
    total = sum(weight for _, weight, _ in found)
    return [(name, weight / total, source) for name, weight, source in found]
