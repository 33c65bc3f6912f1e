"""Caps and floors on the share that the rows of each label have of a distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

from setwise import checks
from setwise.finetuning.distribution import Distribution
from setwise.limits import as_labels, codes_of

#: How often several columns are held in turn, and how near all must be then.
_TURNS, _CLOSE = 5_000, 1e-9

Kind = TypeVar("Kind", bound=Distribution)


def checked_limits(limits: Mapping[str, Any] | None) -> dict[str, tuple[float, float]]:
    """Return limits as the least and the most share of each label, by column.

    Raises TypeError, ValueError: a limit is no share in [0, 1] or pair of shares, the most is 0, or the least
    is above the most.
    """
    if not isinstance(limits, Mapping | None):
        raise TypeError(f"limits: expected a mapping of columns to shares, got {checks.brief(limits)}")
    found = {}
    for name, limit in (limits or {}).items():
        ends = limit if isinstance(limit, tuple | list) else (0.0, limit)
        if len(ends) != 2:
            raise ValueError(f"limits: {name!r} has {checks.brief(limit)}; expected a most, or (least, most)")
        least, most = ends
        low, high = (checks.fraction("limits", one, "a share of the draws") for one in (least, most))
        if not high > 0.0 or low > high:
            raise ValueError(f"limits: {name!r} has {low:g} to {high:g}; expected a least and a larger most")
        found[name] = (low, high)
    return found


def check_sum(name: str, count: int, least: float, most: float) -> None:
    """Refuse limits under which the shares of a column's labels cannot sum to 1.

    Raises ValueError: they cannot.
    """
    if count * most < 1.0 - _CLOSE or count * least > 1.0 + _CLOSE:
        what = f"most {most:g}" if count * most < 1.0 else f"least {least:g}"
        raise ValueError(
            f"limits: {name!r} has {count} {'label' if count == 1 else 'labels'} among the rows that can "
            f"be drawn, whose shares at {what} do not sum to 1"
        )


def limited(
    distribution: Kind,
    labels: Mapping[str, Sequence[Any] | NDArray[Any]],
    limits: Mapping[str, Any],
) -> Kind:
    """Return the nearest distribution in which each label's share is within limits.

    Nearest in relative entropy: rows of one label keep their proportions, and so do labels that are within
    their limits. Several columns are held in turn until all are, each time from where its own last turn is
    taken back: without that, turns end within the limits, but not at the nearest.

    Parameters
    ----------
    distribution : Distribution
    labels : mapping of str to sequence of length s
        By column the label of each row of positive probability.
    limits : mapping of str to float or (float, float)
        By column the most, or the least and the most, that each label may have, as shares of 1.

    Raises TypeError, ValueError: as `checked_limits`; or no distribution over these rows is within the
    limits.

    References
    ----------
    Dykstra, An iterative procedure for obtaining I-projections onto the intersection of convex sets, 1985.
    """
    p = distribution.probabilities
    held = checked_limits(limits)
    codes = np.empty((len(held), len(p)), np.int64)
    for row, (name, (least, most)) in enumerate(held.items()):
        names, codes[row] = codes_of(as_labels(labels[name], len(p), name))
        check_sum(name, len(names), least, most)
        if not np.bincount(codes[row], p).all():
            raise ValueError(f"limits: a label of {name!r} has no row of positive probability to draw")
    # Rows of the same labels keep their proportions: what is moved is the mass of each such cell.
    cells, cell = np.unique(codes, axis=1, return_inverse=True)
    before = np.bincount(cell.ravel(), p)
    mass, factors = before.copy(), [np.ones(int(own.max()) + 1) for own in cells]
    for _ in range(_TURNS if len(held) < 2 or _can_hold(cells, list(held.values())) else 0):
        moved = 0.0
        for own, factor, (least, most) in zip(cells, factors, held.values(), strict=True):
            bare = mass / factor[own]
            shares = np.asarray(np.bincount(own, bare), np.float64)
            wanted = _within(shares, least, most)
            moved = max(moved, float(np.abs(wanted - np.bincount(own, mass)).max()))
            factor[:] = wanted / shares
            mass = bare * factor[own]
        if moved < _CLOSE:
            p = p * (mass / before)[cell.ravel()]
            return replace(distribution, probabilities=p / p.sum())
    every = " and ".join(map(repr, held))
    raise ValueError(
        f"limits: no distribution over the rows that can be drawn holds those of {every} at once"
    )


def _can_hold(cells: NDArray[np.int64], held: Sequence[tuple[float, float]]) -> bool:
    """Return whether some masses of the cells are within all limits (a linear program without a goal)."""
    count = cells.shape[1]
    sums = [sparse.coo_array((np.ones(count), (own, np.arange(count)))) for own in cells]
    low, high = (
        np.concatenate([np.full(part.shape[0], ends[side]) for part, ends in zip(sums, held, strict=True)])
        for side in (0, 1)
    )
    shares = sparse.vstack(sums)
    found = linprog(
        np.zeros(count),
        A_ub=sparse.vstack([shares, -shares]),
        b_ub=np.concatenate([high, -low]),
        A_eq=np.ones((1, count)),
        b_eq=np.ones(1),
    )
    return bool(found.status == 0)


def _within(shares: NDArray[np.float64], least: float, most: float) -> NDArray[np.float64]:
    """Return shares times one number, each cut to the limits, that sum to 1: found by bisection."""
    low, high = 0.0, 1.0
    while np.clip(shares * high, least, most).sum() < 1.0 - _CLOSE / 10:
        high *= 2.0
        if high > 1e300:
            break
    for _ in range(64):
        middle = 0.5 * (low + high)
        if np.clip(shares * middle, least, most).sum() < 1.0:
            low = middle
        else:
            high = middle
    found: NDArray[np.float64] = np.clip(shares * high, least, most)
    return np.asarray(found / found.sum())
