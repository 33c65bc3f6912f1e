"""Containers in, NumPy out: arrays, memory maps, tensors, Arrow columns and lists as one kind of array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def as_matrix(data: Any, name: str = "vectors") -> NDArray[Any]:
    """Return two-dimensional numeric data as a NumPy array, without copying where that is possible.

    Parameters
    ----------
    data : array-like of shape (n, d)
        A NumPy array or memory map of any float or integer dtype, a torch tensor on the CPU, a
        pyarrow FixedSizeListArray (or chunked array of them), a data frame or nested lists.
    name : str
        The argument's name in messages.

    Raises
    ------
    TypeError
        The data is not numbers, or lives on a device.
    ValueError
        It is empty, ragged or not two-dimensional.
    """
    array = to_numpy(data, name)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: dtype {array.dtype} cannot be used; pass floats or integers")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if array.size == 0 and array.ndim < 2:
        raise ValueError(f"{name}: empty, there is nothing to select from")
    if array.ndim != 2:
        mend = "; one vector a row, so reshape it to (1, d)" if array.ndim == 1 else ""
        raise ValueError(f"{name}: expected shape (n, d), got {array.shape}{mend}")
    if array.shape[0] == 0:
        raise ValueError(f"{name}: empty, there is nothing to select from")
    if array.shape[1] == 0:
        raise ValueError(f"{name}: rows have no entries (d = 0)")
    return array


def to_numpy(data: Any, name: str, *, flat: bool = False) -> NDArray[Any]:
    """Return any supported container as an ndarray (a view where there is one).

    With `flat`, an Arrow column of numbers will do as well.
    """
    if isinstance(data, np.ma.MaskedArray):
        raise TypeError(f"{name}: masked arrays cannot be used; fill the masked entries or drop their rows")
    if isinstance(data, np.ndarray):
        return data.view(np.ndarray)
    module = type(data).__module__.partition(".")[0]
    if module == "torch":
        return _from_torch(data, name)
    if module == "pyarrow":
        return _from_arrow(data, name, flat)
    if module == "scipy":
        raise TypeError(
            f"{name}: sparse matrices cannot be used; pass .toarray(), or encode to fewer dimensions"
        )
    try:
        return np.asarray(data)
    except ValueError as error:
        if isinstance(data, list | tuple):
            widths = [len(row) if hasattr(row, "__len__") else None for row in data]
            for row, width in enumerate(widths):
                if width != widths[0]:
                    raise ValueError(
                        f"{name}: row {row} has {width} entries where row 0 has {widths[0]}; "
                        "all rows need the same length"
                    ) from None
        raise ValueError(f"{name}: cannot be read as an array ({error})") from None


def _from_torch(tensor: Any, name: str) -> NDArray[Any]:
    """Return a torch CPU tensor as an ndarray that shares its memory where the dtype allows."""
    if not hasattr(tensor, "detach"):
        raise TypeError(f"{name}: expected a tensor, got {type(tensor).__name__}")
    if tensor.device.type != "cpu":
        raise TypeError(f"{name}: the tensor is on {tensor.device}; pass {name}.cpu()")
    if str(tensor.layout) != "torch.strided":
        raise TypeError(f"{name}: sparse tensors cannot be used; pass {name}.to_dense()")
    tensor = tensor.detach()
    if str(tensor.dtype) == "torch.bfloat16":
        tensor = tensor.float()
    array: NDArray[Any] = tensor.numpy()
    return array


def _from_arrow(data: Any, name: str, flat: bool) -> NDArray[Any]:
    """Return an Arrow column of fixed-size lists (or equally long lists) as a 2-d ndarray."""
    if hasattr(data, "combine_chunks") and hasattr(data, "type"):
        data = data.combine_chunks()
    if hasattr(data, "chunks"):
        data = data.chunk(0) if data.num_chunks else data
    kind = str(getattr(data, "type", type(data).__name__))
    if "list" not in kind or not hasattr(data, "flatten"):
        if not flat or not hasattr(data, "null_count"):
            raise TypeError(f"{name}: expected an Arrow column of lists of numbers, got {kind}")
        if data.null_count:
            raise ValueError(
                f"{name}: row {data.is_null().to_pylist().index(True)} is null; pass a number for it"
            )
        column: NDArray[Any] = data.to_numpy(zero_copy_only=False)
        return column
    if data.null_count:
        row = data.is_null().to_pylist().index(True)
        raise ValueError(f"{name}: row {row} is null; drop it or pass a vector for it")
    if len(data) and not kind.startswith("fixed_size_list"):
        lengths = np.diff(np.asarray(data.offsets))
        uneven = np.flatnonzero(lengths != lengths[0])
        if len(uneven):
            row = int(uneven[0])
            raise ValueError(
                f"{name}: row {row} has {lengths[row]} entries where row 0 has {lengths[0]}; "
                "all rows need the same length"
            )
    values = data.flatten()
    if values.null_count:
        position = values.is_null().to_pylist().index(True)
        width = max(1, len(values) // max(1, len(data)))
        raise ValueError(
            f"{name}: row {position // width} has a null entry; drop it or pass an imputed value"
        )
    entries = values.to_numpy(zero_copy_only=False)
    if len(data) == 0:
        return np.empty((0, 0), np.float32)
    reshaped: NDArray[Any] = entries.reshape(len(data), -1)
    return reshaped


def as_query(query: ArrayLike, d: int, metric: str, name: str = "query") -> NDArray[np.float64]:
    """Return a query as d float64 numbers, of unit length under cosine.

    Raises
    ------
    TypeError, ValueError
        It is not d finite numbers, or is zero under cosine.
    """
    array = to_numpy(query, name, flat=True)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: dtype {array.dtype} cannot be used; pass floats or integers")
    if array.ndim == 2 and array.shape[0] == 1:
        array = array[0]
    if array.shape != (d,):
        raise ValueError(f"{name}: expected {d} numbers as in the vectors' rows, got shape {array.shape}")
    vector = array.astype(np.float64)
    if not np.isfinite(vector).all():
        raise ValueError(f"{name}: has NaN or Inf; pass finite numbers")
    if metric != "cosine" and np.abs(vector).max() > 1e150:
        raise ValueError(f"{name}: has entries beyond 1e150; rescale it and the vectors")
    if metric == "cosine":
        peak = np.abs(vector).max()
        if peak == 0:
            raise ValueError(
                f"{name}: all zero has no direction under cosine; pass another query or metric='euclidean'"
            )
        vector = vector / peak
        vector /= np.linalg.norm(vector)
    return vector
