"""What pictures of a set show, as numbers: a map, what came in place of what, likeness, a frontier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.extras import require

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

#: Diversities of a frontier where none are named.
DIVERSITIES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

#: Candidates of a map, the most relevant: at least so many, and so many times k.
MAPPED, MAPPED_TIMES = 400, 8

#: Rows that t-SNE takes each for neighbors of a row, on the whole; and the fewest rows that it is asked of.
PERPLEXITY, NEIGHBORED = 30, 10


@dataclass(frozen=True)
class Map:
    """Candidates in two dimensions.

    Attributes
    ----------
    places : ndarray of shape (m, 2), float64
    share : tuple of float
        The part of the variance along each axis.
    chosen, ranked : ndarray of shape (k,), int64
        Which of the m are the set, in selection order, and as many of the most relevant.
    came : list of (int, int)
        Members that are not among the most relevant, each with the one that it came for.
    names : list of length k
        What the members are called.
    """

    places: Floats
    share: tuple[float, float]
    chosen: Places
    ranked: Places
    came: list[tuple[int, int]]
    names: list[Any]

    @classmethod
    def of(
        cls,
        rows: Floats,
        chosen: Places,
        ranked: Places,
        names: Sequence[Any],
        alike: Callable[[Floats, Floats], Floats],
    ) -> Map:
        """Return that of some rows, shape (m, d), on their principal axes.

        Parameters
        ----------
        rows : ndarray of shape (m, d), float64
        chosen, ranked, names
            As the attributes.
        alike : callable
            How alike the rows of two arrays are.
        """
        axes = Axes.of(rows)
        new, gone = np.setdiff1d(chosen, ranked), np.setdiff1d(ranked, chosen)
        came = instead(new, gone, alike(rows[new], rows[gone]))
        return cls(axes.places(rows), axes.share, chosen, ranked, came, list(names))


@dataclass(frozen=True)
class Likeness:
    """How alike the members of two sets are, each in its own order.

    Attributes
    ----------
    before, after : ndarray of shape (k, k), float64
        Of the most relevant, and of the set: cosines, or minus distances.
    metric : {"cosine", "euclidean"}
    """

    before: Floats
    after: Floats
    metric: str


@dataclass(frozen=True)
class Frontier:
    """What the sets of several diversities are worth.

    Attributes
    ----------
    diversities, relevance, spread : ndarray of shape (p,), float64
        The two terms of each set; see `Selection`.
    here : tuple of float
        Diversity, relevance and spread of the set itself.
    """

    diversities: Floats
    relevance: Floats
    spread: Floats
    here: tuple[float, float, float]
    objective: str


@dataclass(frozen=True)
class Axes:
    """The first two principal axes of some rows.

    Attributes
    ----------
    center : ndarray of shape (d,)
        Their mean.
    directions : ndarray of shape (d, 2)
        Of unit length, or zero where the rows vary in fewer directions. The row that lies farthest out along
        one is on its positive side: an axis has no sign of its own.
    share : tuple of float
        The part of the variance along each.
    """

    center: Floats
    directions: Floats
    share: tuple[float, float]

    @classmethod
    def of(cls, rows: Floats) -> Axes:
        """Return those of some rows, shape (m, d), float64."""
        center = rows.mean(axis=0)
        centered = rows - center
        # The smaller of the two products has the same nonzero eigenvalues.
        wide = centered.shape[1] > len(centered)
        values, vectors = np.linalg.eigh(centered @ centered.T if wide else centered.T @ centered)
        total = float(values.clip(min=0.0).sum())
        directions, share = np.zeros((rows.shape[1], 2)), [0.0, 0.0]
        for axis in range(min(2, len(values))):
            value, direction = float(values[-1 - axis]), vectors[:, -1 - axis]
            if value <= 1e-12 * max(total, 1e-300):  # nothing but rounding is left
                break
            if wide:
                direction = direction @ centered / np.sqrt(value)
            along = centered @ direction
            directions[:, axis] = direction * (1.0 if along[np.abs(along).argmax()] > 0 else -1.0)
            share[axis] = value / total
        return cls(center, directions, (share[0], share[1]))

    def places(self, rows: Floats) -> Floats:
        """Return where rows lie, shape (m, 2)."""
        return (rows - self.center) @ self.directions


def neighborhoods(rows: Floats, seed: int = 0) -> Floats:
    """Return places at which rows that are alike lie together: t-SNE, begun at the principal axes.

    Parameters
    ----------
    rows : ndarray of shape (m, d), float64

    Returns
    -------
    ndarray of shape (m, 2), float64
        Distances between groups mean little (van der Maaten and Hinton 2008).

    Raises ImportError: scikit-learn is not installed (the extra ``text``).
    """
    manifold = require("sklearn.manifold", "text", "a map of neighborhoods")
    begun = Axes.of(rows).places(rows)
    spread = float(begun[:, 0].std())
    if len(rows) < NEIGHBORED or not spread:
        return begun
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    # As small a start as scikit-learn's own.
    found = manifold.TSNE(perplexity=perplexity, init=begun / spread * 1e-4, random_state=seed, n_jobs=1)
    return np.asarray(found.fit_transform(rows), np.float64)


def instead(came: Places, gone: Places, likeness: Floats) -> list[tuple[int, int]]:
    """Return who came in place of whom: one for one, so that the pairs are as alike as can be in all.

    Parameters
    ----------
    came, gone : ndarray of shape (m,) and (l,), int64
    likeness : ndarray of shape (m, l), float64
    """
    if not len(came) or not len(gone):
        return []
    from scipy.optimize import linear_sum_assignment

    new, old = linear_sum_assignment(-likeness)
    return list(zip(came[new].tolist(), gone[old].tolist(), strict=True))
