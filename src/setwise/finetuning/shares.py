"""Caps and floors on the share that the rows of each label have of a distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.finetuning.distribution import Distribution
from setwise.limits import as_labels, codes_of

#: How often several columns are held in turn, and how near all must be then.
_TURNS, _CLOSE = 300, 1e-9

Kind = TypeVar("Kind", bound=Distribution)


def checked_limits(limits: Mapping[str, Any] | None) -> dict[str, tuple[float, float]]:
    """Return limits as the least and the most share of each label, by column.

    Raises
    ------
    TypeError, ValueError
        A limit is no share in [0, 1] or pair of shares, the most is 0, or the least is above the most.
    """
    found = {}
    for name, limit in (limits or {}).items():
        least, most = limit if isinstance(limit, tuple | list) else (0.0, limit)
        low, high = (checks.fraction("limits", one, "a share of the draws") for one in (least, most))
        if not high > 0.0 or low > high:
            raise ValueError(f"limits: {name!r} has {low:g} to {high:g}; expected a least and a larger most")
        found[name] = (low, high)
    return found


def check_sum(name: str, count: int, least: float, most: float) -> None:
    """Refuse limits under which the shares of a column's labels cannot sum to 1.

    Raises
    ------
    ValueError
        They cannot.
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
    their limits. Several columns are held in turn until all are (iterative scaling).

    Parameters
    ----------
    distribution : Distribution
    labels : mapping of str to sequence of length s
        By column the label of each row of positive probability.
    limits : mapping of str to float or (float, float)
        By column the most, or the least and the most, that each label may have, as shares of 1.

    Raises
    ------
    TypeError, ValueError
        As `checked_limits`; or no distribution over these rows is within the limits.
    """
    p = distribution.probabilities
    held = []
    for name, (least, most) in checked_limits(limits).items():
        names, codes = codes_of(as_labels(labels[name], len(p), name))
        count = len(names)
        check_sum(name, count, least, most)
        held.append((name, codes, least, most))
    for _ in range(_TURNS):
        worst = 0.0
        for name, codes, least, most in held:
            shares = np.asarray(np.bincount(codes, p), np.float64)
            if not shares.all():
                raise ValueError(f"limits: a label of {name!r} has no row of positive probability to draw")
            wanted = _within(shares, least, most)
            worst = max(worst, float(np.abs(wanted - shares).max()))
            p = p * (wanted / shares)[codes]
        if worst < _CLOSE:
            return replace(distribution, probabilities=p / p.sum())
    every = " and ".join(repr(name) for name, *_ in held)
    raise ValueError(
        f"limits: no distribution over the rows that can be drawn holds those of {every} at once"
    )


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
