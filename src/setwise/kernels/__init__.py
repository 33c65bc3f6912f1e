"""Compiled kernels for small pools, where they are installed; NumPy does the same work without them.

Whatever they compute is in double precision, in an order of its own for every sum: it is the same on every
processor. What they select is what `setwise.solvers` selects, by the same rules.

The environment variable ``SETWISE_KERNELS`` says which are used: ``0`` for none, or an instruction set's name
(``baseline``, ``avx2``, ``avx512``).
"""

from __future__ import annotations

import importlib
import os
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What the compiled module's functions take and mean; native.c has the same number.
INTERFACE = 3


def _load() -> tuple[Any, str]:
    """Return the compiled module; None where there is none that fits, and why."""
    try:
        found = importlib.import_module("setwise.kernels._native")
    except ImportError:
        return None, "not compiled"
    if getattr(found, "INTERFACE", 0) == INTERFACE:
        return found, ""
    stale = "compiled from another version of setwise; install it again, as by pip install -e ."
    warnings.warn(f"setwise's kernels are {stale}. NumPy does their work until then.", stacklevel=2)
    return None, stale


__all__ = [
    "available",
    "installed",
    "instructions",
    "legible",
    "measure",
    "native",
    "readable",
    "reason",
    "scan",
    "span",
    "use",
]

#: Types of numbers that are read where they lie.
TYPES = (np.float16, np.float32, np.float64)

#: Up to so many numbers are copied where kernels cannot read them as they lie.
FEW_NUMBERS = 4_000_000

_installed, _lacking = _load()
_native: Any = None
_instructions = "numpy"


def use(name: str | None = None) -> None:
    """Choose what computes, in this process.

    Parameters
    ----------
    name : str, optional
        An instruction set, or "0" for NumPy. Default: the widest that runs here; NumPy where none is
        installed.

    Raises
    ------
    ValueError
        Kernels for these instructions are not installed, or do not run on this processor.
    """
    global _native, _instructions
    found = None if _installed is None or name == "0" else _installed.instructions(name or None)
    if found is None and name not in (None, "", "0"):
        raise ValueError(f"SETWISE_KERNELS: no kernels for {name!r} run here; pass 0, or leave it unset")
    _native, _instructions = (None, "numpy") if found is None else (_installed, found)


def installed() -> bool:
    """Return whether compiled kernels are installed."""
    return _installed is not None


def available() -> bool:
    """Return whether compiled kernels are installed and used."""
    return _native is not None


def reason() -> str:
    """Return why NumPy does the work of the kernels; "" where they do it."""
    return "" if available() else _lacking or "turned off by SETWISE_KERNELS=0"


def native() -> Any:
    """Return the compiled module, None where it is not used."""
    return _native


def instructions() -> str:
    """Return the instruction set that is used, or "numpy"."""
    return _instructions


def readable(rows: NDArray[Any]) -> bool:
    """Return whether the kernels read these rows where they lie: aligned floats, no gap within a row."""
    return (
        rows.dtype.type in TYPES
        and rows.dtype.isnative
        and rows.flags.aligned
        and (rows.strides[1] == rows.itemsize or rows.shape[1] == 1)
        and rows.strides[0] % rows.itemsize == 0
    )


def legible(rows: NDArray[Any]) -> NDArray[Any]:
    """Return rows as kernels read them: few that lie otherwise, or are whole numbers, in one clear copy.

    Whole numbers become the floats that hold them, and so rows of every layout give the same bits.
    """
    if readable(rows) or rows.size > FEW_NUMBERS:
        return rows
    floats = rows.dtype.kind == "f"
    return np.ascontiguousarray(rows, rows.dtype.newbyteorder("=") if floats else working(rows.dtype))


def working(kind: np.dtype[Any]) -> np.dtype[np.floating[Any]]:
    """Return the floats that numbers of a type are worked on in: float64 where float32 may lose some."""
    wide = kind.itemsize > (4 if kind.kind == "f" else 2)
    return np.dtype(np.float64 if wide else np.float32)


def measure(
    rows: NDArray[Any],
    squares: NDArray[np.float64],
    query: NDArray[np.float64] | None = None,
    cosines: NDArray[np.float64] | None = None,
) -> tuple[float, float]:
    """Write the square of each row's length, and its cosine to a query, in one pass.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        `readable`.
    squares : ndarray of shape (n,)
        Written to: not finite where a row holds NaN or Inf.
    query : ndarray of shape (d,), optional
        Of unit length.
    cosines : ndarray of shape (n,), optional
        Written to.

    Returns
    -------
    least, most : float
        Of the squares; `most` is infinite where one is not finite.
    """
    found: tuple[float, float] = _native.measure(rows, squares, query, cosines)
    return found


def scan(rows: NDArray[np.float16], other: NDArray[np.float32], products: NDArray[np.float32]) -> None:
    """Write the inner product of each row with a vector, in single precision, in one pass.

    Parameters
    ----------
    rows : ndarray of shape (n, d), float16
        `readable`.
    other : ndarray of shape (d,), float32
    products : ndarray of shape (n,), float32
        Written to.
    """
    _native.scan(rows, other, products)


def span(numbers: NDArray[np.float64]) -> tuple[float, float]:
    """Return the least and the largest of some numbers, both NaN where one is.

    Parameters
    ----------
    numbers : ndarray of shape (n,), float64
    """
    if _native is None or not numbers.flags.c_contiguous:
        return float(numbers.min()), float(numbers.max())
    found: tuple[float, float] = _native.span(numbers)
    return found


use(os.environ.get("SETWISE_KERNELS"))
