"""Checks shared by every public call: one line each, naming the argument, what it got and the mend."""

from __future__ import annotations

import difflib
import math
import operator
import sys
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def brief(value: Any, most: int = 60) -> str:
    """Return how a value prints, in one short line: for messages."""
    return " ".join(repr(value).split())[:most]


def is_null(item: Any) -> bool:
    """Return whether an item is None or another package's mark of a missing value."""
    null = type(item).__name__ in ("NAType", "NaTType")
    return item is None or null or getattr(item, "is_valid", True) is False  # the last of Arrow


#: More names than these nobody reads.
_LISTED = 40


def choice(name: str, value: Any, allowed: Collection[str]) -> str:
    """Return ``value`` if it is one of ``allowed``, else raise with the nearest name.

    Raises TypeError: ``value`` is not a string; ValueError: ``value`` is not one of ``allowed``.
    """
    if isinstance(value, str) and value in allowed:
        return value
    names = {one.lower(): one for one in allowed}
    listed = ", ".join(repr(one) if "," in one else one for one in allowed)
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected one of {listed}; got {type(value).__name__}")
    near = difflib.get_close_matches(value.lower().replace("_", "-"), names, n=1, cutoff=0.4)
    hint = f"; did you mean {names[near[0]]!r}?" if near else ""
    told = f" (one of {listed})" if len(allowed) <= _LISTED else ""
    raise ValueError(f"{name}: {value!r} is unknown{hint}{told}")


def names(name: str, value: Any) -> tuple[str, ...]:
    """Return one or several strings, or None for none of them, as a tuple.

    Raises TypeError: ``value`` is something else.
    """
    found = () if value is None else (value,) if isinstance(value, str) else value
    if not isinstance(found, Sequence) or not all(isinstance(one, str) for one in found):
        raise TypeError(f"{name}: expected a string or a list of strings, got {brief(value)}")
    return tuple(found)


#: The largest integer that arrays can hold.
LARGEST = 2**63 - 1


def integer(name: str, value: Any, *, least: int, most: int = LARGEST) -> int:
    """Return ``value`` as an int in ``[least, most]``.

    Raises TypeError: ``value`` is not an integer (a bool or a fraction is not one); ValueError: it lies
    outside the range.
    """
    if isinstance(value, bool):
        raise TypeError(f"{name}: expected an integer, got a bool")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {brief(value)}") from None
    if number < least:
        raise ValueError(f"{name}: {number} is below {least}")
    if number > most:
        raise ValueError(f"{name}: {number if number <= LARGEST else 'it'} is above {most}")
    return number


def flag(name: str, value: Any) -> bool:
    """Return ``value`` as a bool. Raises TypeError: it is none; a text such as "no" is never a yes."""
    if type(value).__name__ not in ("bool", "bool_"):  # the second is NumPy's
        raise TypeError(f"{name}: expected True or False, got {brief(value)}")
    return bool(value)


def fraction(name: str, value: Any, ends: str = "0 = relevance alone, 1 = diversity alone") -> float:
    """Return ``value`` as a float in [0, 1]; NaN, strings and bools are refused.

    Parameters
    ----------
    name : str
        The argument's name in messages.
    value : object
    ends : str
        What 0 and 1 mean.

    Raises TypeError: ``value`` is not a real number; ValueError: it lies outside [0, 1].
    """
    number = _real(name, value, "in [0, 1]")
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"{name}: {number} is outside [0, 1] ({ends})")
    return number


def positive(name: str, value: Any) -> float:
    """Return ``value`` as a finite float above 0; NaN, strings and bools are refused.

    Raises TypeError: ``value`` is not a real number; ValueError: it is not above 0, or not finite.
    """
    number = _real(name, value, "above 0")
    if not 0.0 < number < float("inf"):
        raise ValueError(f"{name}: {number:g} is not a finite number above 0")
    return number


def finite(name: str, value: Any) -> float:
    """Return ``value`` as a finite float; NaN, strings and bools are refused.

    Raises TypeError: ``value`` is not a real number; ValueError: it is not finite.
    """
    number = _real(name, value, "that is finite")
    if not float("-inf") < number < float("inf"):
        raise ValueError(f"{name}: {number:g} is not finite")
    return number


def seconds(name: str, value: Any) -> float:
    """Return ``value`` as a number of seconds, at least 0; infinity is one, NaN is not.

    Raises TypeError: ``value`` is not a real number; ValueError: it is below 0 or NaN.
    """
    number = _real(name, value, "of seconds")
    if not number >= 0.0:
        raise ValueError(f"{name}: {number:g} is no number of seconds of at least 0")
    return number


def nonnegative(name: str, value: Any) -> float:
    """Return a Python number as a finite float of at least 0.

    Raises TypeError: ``value`` is not an int or a float; ValueError: it is below 0, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}: expected a number, got {brief(value)}")
    number = _real(name, value, "of at least 0")
    if not 0 <= number < float("inf"):
        raise ValueError(f"{name}: {value!s:.40} is not finite and at least 0")
    return number


def _real(name: str, value: Any, where: str) -> float:
    """Return ``value`` as a float; strings, bools and arrays of one (which older NumPy takes) are refused."""
    of_bools = getattr(getattr(value, "dtype", None), "kind", "") == "b"
    if isinstance(value, bool | str | bytes) or of_bools or getattr(value, "ndim", 0):
        raise TypeError(f"{name}: expected a number {where}, got {brief(value)}")
    try:
        return float(value)
    except OverflowError:  # an integer beyond all floats
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a number {where}, got {type(value).__name__}") from None


@contextmanager
def renamed(**arguments: str) -> Iterator[None]:
    """Let errors call arguments of what is called inside by these names."""
    try:
        yield
    except (FileNotFoundError, KeyError, TypeError, ValueError) as error:
        argument, colon, told = str(error.args[0] if error.args else "").partition(":")
        name, bracket, key = argument.partition("[")
        if colon and name in arguments:
            error.args = (f"{arguments[name]}{bracket}{key}:{told}",)
        raise


def warn(text: str) -> None:
    """Warn the first caller outside this package."""
    level = 2
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "setwise":
        frame = frame.f_back
        level += 1
    warnings.warn(text, UserWarning, stacklevel=level)
