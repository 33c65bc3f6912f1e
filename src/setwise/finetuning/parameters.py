"""What a match is asked for, checked once; and the scale and kernel width that follow from the data."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import pdist, squareform

from setwise import checks
from setwise.containers import to_numpy
from setwise.finetuning.distribution import row_numbers
from setwise.finetuning.repository_vectors import RepositoryVectors
from setwise.ids import in_rows_of
from setwise.objectives.transport import REGULARIZERS
from setwise.vectors import Vectors

#: Rows that "auto" looks at.
SAMPLED = 1_024

#: A scale that many times larger or smaller than "auto" is said to be far from the data's.
FAR = 10.0

#: Which part of the median distance between neighbors in the sample is still a near-duplicate's.
QUARTER = 0.25


@dataclass(frozen=True, kw_only=True, eq=False)
class MatchParameters:
    """What neighbors are searched and densities counted by; see `match` for each.

    Raises
    ------
    TypeError
        A number is no number, or a name no string.
    ValueError
        The regularizer is unknown; a number is outside its range; there are workers beside an index that is
        not exact; or qualities or densities that the regularizer does not look at.
    """

    regularizer: str = "kde"
    scale: float | str = "auto"
    kernel_width: float | str = "auto"
    neighbors: int = 2_000
    density_neighbors: int = 1_000
    index: Any = "auto"
    workers: int | str | None = None
    seed: int = 0
    threads: int | None = None
    quality: Any = None
    densities: Any = None

    def __post_init__(self) -> None:
        checks.choice("regularizer", self.regularizer, REGULARIZERS)
        _number_or_auto("scale", self.scale)
        width = _number_or_auto("kernel_width", self.kernel_width)
        if width is not None and not 1e-150 < width < 1e150:
            raise ValueError(f"kernel_width: the square of {width:g} is no float64; scale the vectors")
        checks.integer("neighbors", self.neighbors, least=2)
        checks.integer("density_neighbors", self.density_neighbors, least=1)
        checks.integer("seed", self.seed, least=0)
        if self.threads is not None:
            checks.integer("threads", self.threads, least=1)
        if self.quality is not None and self.regularizer == "tv":
            raise ValueError("quality: it weighs rows under kde and uniform; tv counts every row alike")
        if self.densities is not None and self.regularizer != "kde":
            raise ValueError(f"densities: they go with kde; {self.regularizer} counts every row alike")
        if self.workers is None:
            return
        if not isinstance(self.workers, str):
            checks.integer("workers", self.workers, least=1)
        if not (isinstance(self.index, str) and self.index in ("auto", "exact")):
            raise ValueError("workers: parts are searched exactly; leave index at 'exact'")

    def at_work(self) -> contextlib.AbstractContextManager[object]:
        """Return a context in which the workers, if there are any, stay from one step to the next."""
        if self.workers is None:
            return contextlib.nullcontext()
        from setwise.engine import at_work

        return at_work(self.workers)


class MatchOptions(TypedDict, total=False):
    """The keywords of `MatchParameters`, for calls that hand them on."""

    regularizer: str
    scale: float | str
    kernel_width: float | str
    neighbors: int
    density_neighbors: int
    index: Any
    workers: int | str | None
    seed: int
    threads: int | None
    quality: Any
    densities: Any


def weights_of(parameters: MatchParameters, n: int, beside: Any = None) -> NDArray[np.float64] | None:
    """Return what each of n rows weighs beside its counted density: q over its mean, or q/ρ of given ρ.

    None where every row weighs 1. Of pandas columns beside a frame, by its index.

    Raises TypeError, ValueError: qualities or densities are not n finite numbers above 0.
    """
    weights = None
    if parameters.quality is not None:
        weights = _above_zero("quality", in_rows_of(parameters.quality, beside, "quality"), n)
        weights = weights / weights.mean()
    if parameters.densities is not None:
        given = _above_zero("densities", in_rows_of(parameters.densities, beside, "densities"), n)
        weights = (1.0 if weights is None else weights) / given
    return weights


def _above_zero(name: str, values: Any, n: int) -> NDArray[np.float64]:
    found = to_numpy(values, name, flat=True)
    if found.dtype.kind not in "iuf":
        raise TypeError(f"{name}: expected one number a row, got {found.dtype}")
    if found.shape != (n,):
        raise ValueError(f"{name}: expected one number a row, shape ({n},); got {found.shape}")
    numbers: NDArray[np.float64] = found.astype(np.float64)
    # Of what is smaller, or 1 over what is larger, no float64 is left.
    bad = np.flatnonzero(~((numbers > 1e-150) & (numbers < 1e150)))
    if len(bad):
        raise ValueError(
            f"{name}: row {bad[0]} has {found[bad[0]]}, expected a finite number above 0 (1e-150 to 1e150); "
            "drop such rows"
        )
    return numbers


def scale_of(vectors: RepositoryVectors, parameters: MatchParameters) -> float:
    """Return C: as asked, or 5 (TSDS Appendix C, for unit vectors) times the rows' root mean square length.

    Warns where what is asked is more than `FAR` times larger or smaller than that.

    Raises ValueError: "auto", and every row looked at is zero.
    """
    rows = vectors.sample(SAMPLED, parameters.seed)
    usual = 5.0 * float(np.sqrt((rows.astype(np.float64) ** 2).sum(axis=1).mean()))
    if not isinstance(parameters.scale, str):
        given = float(parameters.scale)
        if usual > 0.0 and not 1.0 / FAR < given / usual < FAR:
            checks.warn(
                f"scale: {given:g} is far from the {usual:.3g} that 'auto' takes for vectors of this length, "
                "so that a diversity reaches much less far, or further, than usual; leave it at 'auto'"
            )
        return given
    if usual == 0.0:
        raise ValueError("scale: 'auto' finds only zero vectors; give a number")
    return usual


def width_of(vectors: RepositoryVectors, parameters: MatchParameters) -> float:
    """Return h: as asked, or a quarter of the median distance to the nearest other row within a sample.

    Copies in the sample do not count as its neighbors.

    Raises ValueError: "auto", and all rows looked at are alike.
    """
    if not isinstance(parameters.kernel_width, str):
        return float(parameters.kernel_width)
    rows = vectors.sample(SAMPLED, parameters.seed)
    apart = squareform(pdist(rows.astype(np.float64)))
    largest = float(apart.max(initial=0.0))
    apart[apart <= 1e-6 * largest] = np.inf
    nearest = apart.min(axis=1, initial=np.inf)
    nearest = nearest[np.isfinite(nearest)]
    if not len(nearest):
        raise ValueError("kernel_width: 'auto' finds only copies of one row; give a number above 0")
    return QUARTER * float(np.median(nearest))


def kernel_width(near_duplicates: ArrayLike, groups: Iterable[Sequence[int]] | None = None) -> float:
    """Return h from near-duplicates that you mark: the largest distance within a group (TSDS Appendix C).

    Parameters
    ----------
    near_duplicates : array-like of shape (m, d)
        Encoded rows; the paper takes 10 written by hand.
    groups : iterable of sequences of int, optional
        Rows that are near-duplicates of each other; by default all of them are.

    Returns
    -------
    float
        Above 0, to pass to `match`.

    Raises
    ------
    TypeError
        A group's entry is no integer, or the vectors are no numbers.
    ValueError
        Every group has fewer than two rows, all rows of the groups are the same, or a group names a row
        that is not there.
    """
    rows = Vectors(near_duplicates, "euclidean", name="near_duplicates")
    every: NDArray[np.float64] = rows.rows(slice(0, rows.n)).astype(np.float64)
    given = [range(rows.n)] if groups is None else groups
    named = [row_numbers(group, rows.n, f"groups[{number}]") for number, group in enumerate(given)]
    if not any(len(group) > 1 for group in named):
        raise ValueError("near_duplicates: mark at least two rows that are near-duplicates of each other")
    largest = max(float(pdist(every[group]).max(initial=0.0)) for group in named)
    if largest == 0.0:
        raise ValueError("near_duplicates: they are exact copies, so any small kernel_width serves; give one")
    return largest


def _number_or_auto(name: str, value: float | str) -> float | None:
    """Return a number above 0, or None for "auto"."""
    if not isinstance(value, str):
        return checks.positive(name, value)
    if value != "auto":
        raise ValueError(f"{name}: expected a number above 0 or 'auto', got {value!r}")
    return None
