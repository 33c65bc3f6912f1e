"""Labels of candidates, and the limits on how many of each label a set may have, or must."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.ids import as_list

Codes = NDArray[np.int64]

#: Shares are fractions of k, which floating point may miss by this much.
ROUNDING = 1e-9


class Limit(NamedTuple):
    """How many of each label of one attribute a set must have, and may.

    Attributes
    ----------
    name : str
        Of the attribute.
    labels : list
        The distinct labels.
    codes : ndarray of shape (n,), int64
        Which of them each candidate has.
    least, most : ndarray of shape (len(labels),), int64
    """

    name: str
    labels: list[Any]
    codes: Codes
    least: Codes
    most: Codes

    def of(self, rows: Any) -> Limit:
        """Return the limit on some candidates alone."""
        return self._replace(codes=self.codes[rows])


def limits_of(
    groups: Any, limits: Mapping[str, Any] | None, shares: Mapping[str, Any] | None, n: int, k: int
) -> list[Limit]:
    """Return the limits that a request states, over n candidates.

    Parameters
    ----------
    groups : mapping of name to array-like of shape (n,), or None
    limits : mapping of name to (least, most), optional
        Of each label; most is None where there is none.
    shares : mapping of name to a mapping of label to a fraction, optional
        Of a set of k: at least the fraction of k rounded down, at most rounded up. Labels that are not named
        share what is left.

    Raises TypeError: a label is a list or another thing that is not looked up; ValueError: `groups` has no
    labels by a name, or labels of another number than n or missing.
    """
    found = []
    for argument, each in (("limits", limits), ("shares", shares)):
        for name, asked in (each or {}).items():
            if not isinstance(groups, Mapping) or name not in groups:
                raise ValueError(
                    f"{argument}: no labels {name!r}; pass groups={{{name!r}: one label a candidate}}"
                )
            names, codes = codes_of(as_labels(groups[name], n, f"groups[{name!r}]"))
            if argument == "limits":
                least, most = asked
                size = len(names)
                found.append(
                    Limit(
                        name, names, codes, np.full(size, least), np.full(size, n if most is None else most)
                    )
                )
            else:
                found.append(_shared(name, names, codes, asked, k))
    return found


def _shared(name: str, names: list[Any], codes: Codes, shares: Mapping[Any, float], k: int) -> Limit:
    """Return the limit that shares of k state; labels that are not named are one, the last."""
    missing = [label for label in shares if label not in names and shares[label] * k >= 1]
    if missing:
        raise ValueError(f"shares: no candidate has {name} {missing[0]!r}")
    listed = [label for label in names if label in shares]
    place = {label: number for number, label in enumerate(listed)}
    of_label = np.array([place.get(label, len(listed)) for label in names], np.int64)
    parts = np.array([*(shares[label] for label in listed), max(0.0, 1.0 - sum(shares.values()))]) * k
    least = np.floor(parts + ROUNDING).astype(np.int64)
    most = np.ceil(parts - ROUNDING).astype(np.int64)
    if len(listed) == len(names):  # nothing is left to have the rest
        least[-1] = 0
    return Limit(name, [*listed, "another label"], of_label[codes], least, most)


@dataclass(frozen=True)
class OwnIfMissing:
    """Groups of which a candidate without a label is a group of its own.

    ``groups=setwise.OwnIfMissing(labels)``; without it a missing label (None, NaN, NaT) is refused.

    Parameters
    ----------
    groups : object
        Labels, a stored field's name, or what else ``groups`` takes.
    """

    groups: Any

    def filled(self, labels: Iterable[Any], keys: Iterable[Any]) -> list[Any]:
        """Return labels, with one made of its key where there is none."""
        return [
            ("no label", key) if is_missing(label) else label for label, key in zip(labels, keys, strict=True)
        ]


def as_labels(groups: Any, n: int, name: str = "groups") -> NDArray[Any] | list[Any]:
    """Return one label a candidate, none of them missing: numbers as an array, others as they are.

    Raises TypeError: a label is a list or another thing that is not looked up; ValueError: there are not n,
    or one is missing.
    """
    if isinstance(groups, OwnIfMissing):
        listed = listed_labels(groups.groups, name)
        return as_labels(groups.filled(listed, range(len(listed))), n, name)
    if isinstance(groups, np.ndarray) and groups.dtype.kind in "mM":
        if np.isnat(groups).any():
            row = int(np.isnat(groups).argmax())
            raise ValueError(f"{name}: row {row} is NaT; give it a label of its own")
        groups = groups.view(np.int64)
    if isinstance(groups, np.ndarray) and groups.shape != (n,):
        raise ValueError(f"{name}: expected {n} labels, one a candidate, got shape {groups.shape}")
    if type(groups) is np.ndarray and groups.dtype.kind in "biuf":
        if groups.dtype.kind == "f" and np.isnan(groups).any():
            row = int(np.isnan(groups).argmax())
            raise ValueError(f"{name}: row {row} is NaN; give it a label of its own")
        return groups
    labels = listed_labels(groups, name)
    if len(labels) != n:
        raise ValueError(f"{name}: expected {n} labels, one a candidate, got shape ({len(labels)},)")
    for row, label in enumerate(labels):
        check_label(label, f"row {row}", name)
    return labels


def listed_labels(groups: Any, name: str = "groups") -> list[Any]:
    """Return the labels of a sequence, whatever holds them, as plain values.

    Raises TypeError: it is no sequence.
    """
    if isinstance(groups, str | bytes | Mapping | Set) or not hasattr(groups, "__iter__"):
        raise TypeError(f"{name}: expected one label a candidate, got {checks.brief(groups, 40)}")
    labels = as_list(groups)
    strange = any(hasattr(kind, "as_py") or hasattr(kind, "item") for kind in set(map(type, labels)))
    return list(map(plain_label, labels)) if strange else labels


def plain_label(label: Any) -> Any:
    """Return a scalar of Arrow, or a tensor of one number, as what it stands for: they are equal to none."""
    if label is np.ma.masked:
        return None
    if hasattr(label, "as_py"):
        return label.as_py()
    return label.item() if getattr(label, "ndim", None) == 0 and hasattr(label, "item") else label


def check_label(label: Any, place: str, name: str = "groups") -> None:
    """Refuse a label that is missing or cannot be compared.

    Parameters
    ----------
    label : object
    place : str
        Whose it is, in messages.
    name : str
        The argument's.

    Raises TypeError: it is a list, or something else that cannot be looked up; ValueError: it is None, NaN,
    NaT or another mark of a missing value.
    """
    try:
        hash(label)
    except TypeError:
        raise TypeError(
            f"{name}: {place} has {type(label).__name__} {checks.brief(label, 40)}; a label is a string or a "
            "number"
        ) from None
    if is_missing(label) and name == "costs":
        raise ValueError(f"costs: {place} has none ({label!r}); give it a number")
    if is_missing(label):
        raise ValueError(
            f"{name}: {place} has no label ({label!r}); give it a label of its own, as "
            "groups=setwise.OwnIfMissing(…) does"
        )


def is_missing(label: Any) -> bool:
    """Return whether a label is None, NaN, NaT or another mark of a missing value."""
    try:
        return label is None or label is np.ma.masked or bool(label != label)
    except (TypeError, ValueError):  # pandas.NA is neither equal to itself nor not; an array is no label
        return not hasattr(label, "__len__")


def codes_of(labels: NDArray[Any] | list[Any]) -> tuple[list[Any], Codes]:
    """Return the distinct labels, and which of them each is."""
    if isinstance(labels, np.ndarray):
        names, codes = np.unique(labels, return_inverse=True)
        return names.tolist(), codes.astype(np.int64)
    number: dict[Any, int] = {}
    numbers = [number.setdefault(label, len(number)) for label in labels]
    return list(number), np.array(numbers, np.int64)


def ranges_of(limits: Mapping[str, Any], shares: Mapping[str, Any]) -> dict[str, tuple[int, int | None]]:
    """Return limits as (least, most); refuse them, and shares, where they are none."""
    ranges = {name: _range(name, asked) for name, asked in limits.items()}
    for name, asked in shares.items():
        if not isinstance(asked, Mapping):
            raise TypeError(
                f"shares: {name} expected a mapping of labels to fractions, got {checks.brief(asked, 40)}"
            )
        parts = [
            checks.fraction(f"shares: {name} {label!r}", part, "of the set") for label, part in asked.items()
        ]
        if sum(parts) > 1 + 1e-9:
            raise ValueError(f"shares: those of {name} sum up to {sum(parts):g}, above 1")
    return ranges


def _range(name: str, asked: Any) -> tuple[int, int | None]:
    """Return a limit as (least, most)."""
    if isinstance(asked, tuple | list):
        if len(asked) != 2:
            got = checks.brief(asked, 40)
            raise ValueError(f"limits: {name} expected the most, or (least, most), got {got}")
        least = checks.integer(f"limits: {name}", asked[0], least=0)
        return least, None if asked[1] is None else checks.integer(f"limits: {name}", asked[1], least=least)
    return 0, checks.integer(f"limits: {name}", asked, least=0)
