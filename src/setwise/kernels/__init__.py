"""Compiled kernels for small pools, where they are installed; NumPy does the same work without them.

Whatever they compute is in double precision, in an order of its own for every sum: it is the same on every
processor. What they select is what `setwise.solvers` selects, by the same rules.

The environment variable ``SETWISE_KERNELS`` says which are used: ``0`` for none, or an instruction set's name
(``baseline``, ``avx2``, ``avx512``).
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray


def _load() -> Any:
    """Return the compiled module, None where it is not installed."""
    try:
        return importlib.import_module("setwise.kernels._native")
    except ImportError:
        return None


__all__ = ["available", "greedy", "installed", "instructions", "measure", "readable", "use"]

#: What objectives are called by the kernels.
OBJECTIVES = {"max-sum": 0, "mmr": 1, "log-det": 2}

#: Types of numbers that are read where they lie.
TYPES = (np.float16, np.float32, np.float64)

_installed = _load()
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


def measure(
    rows: NDArray[Any],
    squares: NDArray[np.float64],
    query: NDArray[np.float64] | None = None,
    products: NDArray[np.float64] | None = None,
) -> None:
    """Write the square of each row's length, and its inner product with a query, in one pass.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        `readable`.
    squares : ndarray of shape (n,)
        Written to: NaN or infinite where a row holds NaN or Inf.
    query : ndarray of shape (d,), optional
    products : ndarray of shape (n,), optional
        Written to.
    """
    _native.measure(rows, squares, query, products)


def greedy(
    rows: NDArray[Any],
    kept: NDArray[np.int64] | None,
    squares: NDArray[np.float64],
    relevance: NDArray[np.float64],
    *,
    objective: str,
    diversity: float,
    sharpness: int,
    k: int,
    first: NDArray[np.int64],
    groups: NDArray[np.int64] | None = None,
    quota: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Select k candidates greedily under cosine, as `setwise.solvers.greedy.pick_greedily` says.

    Parameters
    ----------
    rows : ndarray of shape (m, d)
        `readable`.
    kept : ndarray of shape (n,), int64, optional
        Those that count, by default all.
    squares : ndarray of shape (n,)
        Of their lengths: finite, above zero.
    relevance : ndarray of shape (n,), float64
    objective : str
        One of `OBJECTIVES`.
    diversity : float
    sharpness : int
        Of max-sum; else 1.
    k : int
    first : ndarray of int64
        The candidates that come first.
    groups : ndarray of shape (n,), int64, optional
        Numbers below m.
    quota : int
        At most this many of each.

    Returns
    -------
    chosen : ndarray of int64
        At most k: those that may be chosen.
    numbers : ndarray of float64
        What each had when it joined those before it: for mmr the largest similarity to one of them, for
        max-sum the sum of the distances, for log-det the residual.
    """
    chosen, numbers = np.empty(k, np.int64), np.empty(k)
    chosen[: len(first)] = first
    count = _native.greedy(
        rows,
        kept,
        squares,
        relevance,
        groups,
        quota,
        OBJECTIVES[objective],
        diversity,
        sharpness,
        chosen,
        len(first),
        numbers,
    )
    return chosen[:count], numbers[:count]


use(os.environ.get("SETWISE_KERNELS"))
