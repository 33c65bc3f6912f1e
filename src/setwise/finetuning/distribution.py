"""A sampling distribution over a repository's rows, and the samples drawn from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks, frames

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow


@dataclass(frozen=True, repr=False)
class Distribution:
    """Which rows of a repository to train on, and how often.

    Attributes
    ----------
    indices : ndarray of shape (s,), int64
        Rows of positive probability, in ascending order.
    probabilities : ndarray of shape (s,), float64
        They sum to 1.
    n : int
        Rows of the repository.
    """

    indices: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    n: int

    @classmethod
    def over(cls, weights: NDArray[np.floating], n: int | None = None) -> Distribution:
        """Return the distribution in proportion to one weight a row, shape (n,), at least one above 0.

        Raises
        ------
        ValueError
            A weight is negative or not finite, or none is positive.
        """
        weights = np.asarray(weights, np.float64)
        if weights.ndim != 1:
            raise ValueError(f"weights: expected one number a row, got shape {weights.shape}")
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise ValueError("weights: expected finite numbers of at least 0")
        rows = np.flatnonzero(weights).astype(np.int64)
        if not len(rows):
            raise ValueError("weights: none is positive, so there is nothing to sample")
        mass = weights[rows] / weights[rows].sum()
        return Distribution(rows, mass / mass.sum(), len(weights) if n is None else n)

    @classmethod
    def uniform(cls, rows: NDArray[np.integer], n: int) -> Distribution:
        """Return the distribution that gives each of these rows, of 0 to n - 1, the same probability.

        Raises TypeError, ValueError: as `row_numbers`, or there is no row.
        """
        distinct = np.unique(row_numbers(rows, n, "rows"))
        if not len(distinct):
            raise ValueError("rows: empty, there is nothing to sample")
        return Distribution(distinct, np.full(len(distinct), 1.0 / len(distinct)), n)

    @property
    def effective(self) -> float:
        """The effective number of distinct rows: the exponential of the entropy (1 to s)."""
        p = self.probabilities[self.probabilities > 0]
        return float(np.exp(-(p * np.log(p)).sum()))

    def dense(self) -> NDArray[np.float64]:
        """Return one probability a row, shape (n,)."""
        p = np.zeros(self.n)
        p[self.indices] = self.probabilities
        return p

    def sample(self, n: int, *, seed: int = 0, replace: bool = True) -> NDArray[np.int64]:
        """Draw rows, in the order in which to train on them.

        Parameters
        ----------
        n : int
            At least 1; without replacement at most the rows of positive probability.
        seed : int
            The same seed draws the same rows.
        replace : bool
            True: independent draws (multinomial, TSDS section 2.3). False: each row at most once, by
            the Gumbel top-k trick, which draws one row after the other in proportion to what is left.

        Returns
        -------
        ndarray of shape (n,), int64

        Raises
        ------
        ValueError
            ``n`` is below 1, or above what can be drawn without replacement.
        """
        return self._draw(n, np.random.default_rng(np.random.SeedSequence([_seed(seed), 0])), replace)

    def epochs(
        self, n: int, epochs: int, *, seed: int = 0, replace: bool = True
    ) -> Iterator[NDArray[np.int64]]:
        """Yield a fresh sample for every epoch; epoch e is the same whichever others are drawn.

        Parameters
        ----------
        n : int
            Rows an epoch.
        epochs : int
            At least 1. The first equals ``sample(n, seed=seed)``.
        seed, replace
            As in `sample`.

        Raises
        ------
        ValueError
            As in `sample`.
        """
        checks.integer("epochs", epochs, least=1)
        self._check(n, replace)
        seed = _seed(seed)
        return (
            self._draw(n, np.random.default_rng(np.random.SeedSequence([seed, epoch])), replace)
            for epoch in range(epochs)
        )

    def _check(self, n: int, replace: bool) -> int:
        n = checks.integer("n", n, least=1)
        if not checks.flag("replace", replace) and n > len(self.indices):
            raise ValueError(
                f"n: {n} is above the {len(self.indices)} rows of positive probability; draw with "
                "replacement, ask for fewer, or spread the distribution (diversity, neighbors)"
            )
        return n

    def _draw(self, n: int, rng: np.random.Generator, replace: bool) -> NDArray[np.int64]:
        n = self._check(n, replace)
        if replace:
            edges = np.cumsum(self.probabilities)
            edges /= edges[-1]
            try:
                drawn = rng.random(n)
            except MemoryError:
                raise ValueError(f"n: {n:,} rows do not fit into memory; draw fewer") from None
            places = np.argsort(drawn)  # looked up in order: millions at random miss the cache each time
            found = np.empty(n, np.int64)
            found[places] = self.indices[np.searchsorted(edges, drawn[places], side="right")]
            return found
        keys = np.log(self.probabilities) + rng.gumbel(size=len(self.indices))
        first = np.argpartition(-keys, n - 1)[:n]
        return self.indices[first[np.argsort(-keys[first], kind="stable")]]

    def to_pandas(self, candidates: Any = None) -> pandas.DataFrame:
        """Return the rows of positive probability as a pandas frame: row and probability.

        Parameters
        ----------
        candidates : frame, optional
            The repository, of pandas, polars, Arrow or a Hugging Face dataset: its columns come first. By
            default what was matched, where that was a frame.

        Raises
        ------
        ImportError
            pandas is not installed.
        ValueError
            The frame has another number of rows than the repository.
        """
        return self._framed("pandas", candidates)

    def to_polars(self, candidates: Any = None) -> polars.DataFrame:
        """Return the rows of positive probability as a polars frame; see `to_pandas`."""
        return self._framed("polars", candidates)

    def to_arrow(self, candidates: Any = None) -> pyarrow.Table:
        """Return the rows of positive probability as an Arrow table; see `to_pandas`."""
        return self._framed("pyarrow", candidates)

    def _framed(self, kind: str, candidates: Any) -> Any:
        frame = getattr(self, "candidates", None) if candidates is None else candidates
        if frame is not None and frames.kind_of(frame, "candidates") is None:
            raise TypeError(f"candidates: expected a frame, got {type(frame).__name__}")
        if frame is not None and len(frame) != self.n:
            raise ValueError(f"candidates: {len(frame)} rows, the repository has {self.n}")
        own = None if frame is None else frames.taken(frame, self.indices)
        return frames.made(kind, {"row": self.indices, "probability": self.probabilities}, own)

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self.indices):,} of {self.n:,} rows, "
            f"as spread as {self.effective:,.0f} equal ones)"
        )


@dataclass(frozen=True, repr=False)
class Chosen(Distribution):
    """The distribution that gives each of some chosen rows the same probability.

    Attributes
    ----------
    order : ndarray of shape (s,), int64
        The rows in the order in which they were chosen, the first choice first.
    """

    order: NDArray[np.int64]

    @classmethod
    def of(cls, order: NDArray[np.integer], n: int) -> Chosen:
        """Return the distribution over distinct rows that were chosen in this order, of n in all."""
        even = Distribution.uniform(order, n)
        return cls(even.indices, even.probabilities, n, np.asarray(order, np.int64))


def row_numbers(rows: Any, n: int, argument: str) -> NDArray[np.int64]:
    """Return numbers of rows as int64.

    Raises TypeError: they are no list of integers, such as a mask; ValueError: one is none of 0 to n - 1.
    """
    found = np.asarray(rows)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        mend = "; np.flatnonzero gives those of a mask" if found.dtype == bool else ""
        raise TypeError(f"{argument}: expected a list of row numbers, got {checks.brief(rows)}{mend}")
    outside = found[(found < 0) | (found >= n)]
    if len(outside):
        raise ValueError(f"{argument}: {outside[0]} is none of the rows 0 to {n - 1}")
    return found.astype(np.int64)


def _seed(seed: int) -> int:
    return checks.integer("seed", seed, least=0)
