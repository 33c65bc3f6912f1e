"""Checks that adapters share: queries, row numbers, widths and unit length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: How far from 1 the length of a vector may be that a store keeps by inner product: quantisation moves it.
UNIT = 0.05


def as_positions(
    ids: Any, size: int, name: str, *, missing: type[Exception] = ValueError
) -> NDArray[np.int64]:
    """Return row numbers as int64, all of them rows there are.

    Raises
    ------
    TypeError
        Not whole numbers.
    ValueError (or `missing`)
        A number is not a row.
    """
    rows = np.asarray(ids if hasattr(ids, "__len__") else list(ids))
    if rows.size == 0:
        return np.empty(0, np.int64)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected row numbers, got {rows.dtype} of shape {rows.shape}")
    bad = np.flatnonzero((rows < 0) | (rows >= size))
    if len(bad):
        raise missing(f"{name}: {rows[bad[0]]} is not one of the {size} rows")
    return rows.astype(np.int64)


def narrowed(raw: NDArray[Any], dtype: DTypeLike) -> Iterator[NDArray[Any]]:
    """Yield rows in another floating type, block by block.

    Raises
    ------
    ValueError
        A finite number is beyond what the type can hold.
    """
    for start in range(0, len(raw), 16_384):
        block = raw[start : start + 16_384]
        with np.errstate(over="ignore"):
            found = block.astype(dtype)
        lost = np.isinf(found) & np.isfinite(block)
        if lost.any():
            row = start + int(np.flatnonzero(lost.any(axis=1))[0])
            raise ValueError(f"storage: row {row} has a number beyond what {found.dtype} holds")
        yield found


def check_unit(
    vectors: NDArray[Any], ids: Sequence[Any] | NDArray[Any], store: str, *, tolerance: float = UNIT
) -> None:
    """Refuse vectors whose length is not 1, from a store that ranks by plain inner product.

    Raises
    ------
    ValueError
        The first such id, its length, and the mend.
    """
    if len(vectors) == 0:
        return
    lengths = np.sqrt(np.vecdot(vectors, vectors))
    odd = np.flatnonzero(~(np.abs(lengths - 1.0) <= tolerance))
    if len(odd):
        place = int(odd[0])
        raise ValueError(
            f"{store}: vector {ids[place]} has length {float(lengths[place]):.4g}, and the store ranks by "
            "inner product; divide the vectors by their length before storing them, or store them for cosine"
        )
