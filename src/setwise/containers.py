"""Containers in, NumPy out: arrays, memory maps, tensors, columns, frames and lists as one kind of array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks, frames

#: How many bytes one number of an ``ml_dtypes`` type may have to be read as float32 without loss.
NARROW = 2

_UNPACK = "unpack packed bits by np.unpackbits"


def as_matrix(data: Any, name: str = "vectors") -> NDArray[Any]:
    """Return two-dimensional numeric data as a NumPy array, without copying where that is possible.

    Parameters
    ----------
    data : array-like of shape (n, d)
        A NumPy array or memory map of any float or integer dtype (bfloat16 and float8 of ml_dtypes become
        float32), a torch tensor on the CPU, an Arrow column of lists of every kind or of fixed-shape
        tensors, a pandas or polars column of arrays, a column of a Hugging Face dataset, a sequence of any of
        these with one row each, or a frame (of pandas, polars, Arrow or a dataset) of which one column holds
        vectors, or all columns numbers.
    name : str
        The argument's name in messages.

    Raises TypeError: the data holds something other than numbers (the message names the first such row where
    there is one), is packed bits, a struct or sparse, or lives on a device; ValueError: it is empty, ragged,
    not two-dimensional, or has a row that is null.
    """
    array = to_numpy(data, name)
    if array.size == 0 and (array.ndim < 2 or array.shape[0] == 0):
        raise ValueError(f"{name}: empty, there is nothing to select from")
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: dtype {array.dtype} cannot be used; pass floats or integers")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if array.ndim != 2:
        mend = "; one vector a row, so reshape it to (1, d)" if array.ndim == 1 else ""
        raise ValueError(f"{name}: expected shape (n, d), got {array.shape}{mend}")
    if array.shape[1] == 0:
        raise ValueError(f"{name}: rows have no entries (d = 0)")
    return array


def to_numpy(data: Any, name: str, *, flat: bool = False) -> NDArray[Any]:
    """Return any supported container as an ndarray (a view where there is one).

    Parameters
    ----------
    data : array-like
        See `as_matrix`; its dtype and shape are for the caller to check.
    name : str
        The argument's name in messages.
    flat : bool
        Whether a plain column of numbers will do as well as one of vectors.

    Raises TypeError: the data holds something other than numbers, or lives on a device; see `as_matrix`;
    ValueError: its rows are of different lengths, or one is null.
    """
    if type(data) is np.ndarray and data.dtype.kind in "fiu":
        return data
    reader = _READERS.get(_package(data))
    try:
        if frames.kind_of(data, name) is not None and not flat:
            held = frames.vectors_in(data, name)
            if held is not None:
                return to_numpy(held, name)
        if reader is not None:
            return reader(data, name, flat)
        if isinstance(data, list | tuple) and len(data) and (_is_container(data[0]) or _has_masks(data)):
            return _stacked(data, name, flat)
        array = data if isinstance(data, np.ndarray) else np.asarray(data)
        if array.dtype.kind in "US" and isinstance(data, list | tuple):  # numbers became texts beside one
            _refuse_cell(np.asarray(data, object), name)
        return _from_numpy(array, name, flat)
    except (TypeError, ValueError) as error:
        if str(error).startswith(name):
            raise
        if isinstance(data, list | tuple):
            _refuse_ragged(data, name)
        raise type(error)(f"{name}: cannot be read as an array ({_line(error)})") from None
    except Exception as error:  # whatever a foreign container's own conversion raises
        raise TypeError(
            f"{name}: cannot be read as an array ({type(error).__name__}: {_line(error)})"
        ) from None


def _package(data: Any) -> str:
    """Return the name of the package that an object's type comes from."""
    return type(data).__module__.partition(".")[0]


def _line(error: Exception) -> str:
    """Return an error's text in one short line."""
    return " ".join(str(error).split())[:120]


def _is_container(item: Any) -> bool:
    """Return whether a sequence's item is an array of some package, to be read by itself."""
    return _package(item) in _READERS or (isinstance(item, np.ndarray) and _is_odd(item.dtype))


def _has_masks(rows: Sequence[Any]) -> bool:
    """Return whether some row is a masked array, whose mask NumPy would leave out."""
    return any(issubclass(kind, np.ma.MaskedArray) for kind in set(map(type, rows)))


def _is_odd(dtype: np.dtype[Any]) -> bool:
    """Return whether NumPy knows a dtype by name alone, as it does bfloat16 and float8."""
    return dtype.kind == "V" and dtype.names is None and dtype.type is not np.void


def _from_numpy(array: NDArray[Any], name: str, flat: bool) -> NDArray[Any]:
    """Return an ndarray of numbers: number types of other packages converted, arrays in cells stacked."""
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name}: masked arrays cannot be used; fill the masked entries or drop their rows")
    array = array.view(np.ndarray)
    if _is_odd(array.dtype) and array.dtype.itemsize <= NARROW:
        return array.astype(np.float32)
    if array.dtype.kind == "O" and array.size and all(map(_is_number, array.flat)):
        return array.astype(np.float64)
    if array.dtype.kind == "O" and array.ndim == 1 and len(array):
        return _stacked(array.tolist(), name, flat)
    if array.dtype.kind == "O" and array.ndim == 2 and array.size:
        _refuse_cell(array, name)
    if array.dtype.kind == "O" and array.ndim == 0:
        kind = type(array.item()).__name__
        if ": row " in name:
            raise TypeError(f"{name} is {kind}, expected numbers")
        raise TypeError(f"{name}: dtype object cannot be used; pass an array or a list of rows, no {kind}")
    if array.dtype.kind in "SV" and array.dtype.names is None:
        raise TypeError(f"{name}: dtype {array.dtype} cannot be used; pass floats or integers; {_UNPACK}")
    return array


def _refuse_cell(rows: NDArray[Any], name: str) -> None:
    """Raise for the first cell of objects that is no number; each has a row, or a row has several."""
    each = ((row, cells if isinstance(cells, np.ndarray) else [cells]) for row, cells in enumerate(rows))
    row, cell = next((row, one) for row, cells in each for one in cells if not _is_number(one))
    if checks.is_null(cell):
        raise ValueError(f"{name}: row {row} has a null entry; drop it or pass an imputed value")
    kind = type(cell).__name__
    mend = f"; {_UNPACK}" if isinstance(cell, bytes) else ""
    raise TypeError(f"{name}: row {row} has {checks.brief(cell, 40)} ({kind}); pass floats or integers{mend}")


def _is_number(value: Any) -> bool:
    """Return whether an object is one number, such as a decimal of a database."""
    return isinstance(value, Real | Decimal) and not isinstance(value, bool)


def _stacked(rows: Sequence[Any], name: str, flat: bool = False) -> NDArray[Any]:
    """Return rows that are containers themselves (or numbers) as one array."""
    read: list[NDArray[Any]] = []
    for row, item in enumerate(rows):
        place = f"{name}: {'entry' if ': row ' in name else 'row'} {row}"
        if checks.is_null(item) and ": row " in name:
            raise ValueError(f"{name} has a null entry; drop it or pass an imputed value")
        if checks.is_null(item):
            raise ValueError(f"{place} is null; drop it or pass {'a number' if flat else 'a vector'} for it")
        if isinstance(item, str | bytes | bytearray):
            packed = "" if isinstance(item, str) else "; for packed bits pass np.unpackbits"
            raise TypeError(f"{place} is {type(item).__name__}, expected numbers{packed}")
        array = to_numpy(item, place, flat=True)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{place} is {type(item).__name__}, expected numbers")
        read.append(array)
    _refuse_ragged(read, name)
    return np.stack(read)


def _refuse_ragged(rows: Sequence[Any], name: str) -> None:
    """Raise where a row is null, or has another length than the first."""
    for row, item in enumerate(rows):
        gap = isinstance(item, float | np.ndarray) and np.ndim(item) == 0 and bool(item != item)
        if checks.is_null(item) or (gap and any(map(_has_length, rows))):
            raise ValueError(f"{name}: row {row} is null; drop it or pass a vector for it") from None
    lengths = [f"{len(row)} entries" if _has_length(row) else "no entries" for row in rows]
    for row, length in enumerate(lengths):
        if length != lengths[0]:
            raise ValueError(
                f"{name}: row {row} has {length} where row 0 has {lengths[0].removesuffix(' entries')}; "
                "all rows need the same length"
            ) from None


def _has_length(row: Any) -> bool:
    """Return whether a row is more than one number."""
    return getattr(row, "shape", None) != () and hasattr(row, "__len__")


def _from_torch(tensor: Any, name: str, flat: bool) -> NDArray[Any]:
    """Return a torch CPU tensor as an ndarray that shares its memory where the dtype allows."""
    if not hasattr(tensor, "detach"):
        raise TypeError(f"{name}: expected a tensor, got {type(tensor).__name__}")
    if tensor.device.type != "cpu":
        raise TypeError(f"{name}: the tensor is on {tensor.device}; pass its .cpu()")
    if str(tensor.layout) != "torch.strided":
        raise TypeError(f"{name}: sparse tensors cannot be used; pass its .to_dense()")
    if tensor.is_quantized:
        raise TypeError(f"{name}: quantized tensors cannot be used; pass its .dequantize()")
    tensor = tensor.detach().resolve_conj().resolve_neg()
    if tensor.is_floating_point() and str(tensor.dtype).partition(".")[2] not in _NUMPY_FLOATS:
        tensor = tensor.float()
    array: NDArray[Any] = tensor.numpy()
    return array


#: torch's floats that NumPy has too; bfloat16 and the float8 types are widened.
_NUMPY_FLOATS = ("float16", "float32", "float64")


def _from_pandas(data: Any, name: str, flat: bool) -> NDArray[Any]:
    """Return a pandas column of numbers or of arrays, or a frame of numbers; row labels play no part."""
    if not hasattr(data, "ndim"):  # an interval, a period
        return _from_numpy(np.asarray(data, object), name, flat)
    if data.ndim == 1:
        dtype = data.dtype
        if hasattr(dtype, "pyarrow_dtype"):
            return _from_arrow(data.array.__arrow_array__(), name, flat)
        if not isinstance(dtype, np.dtype) and getattr(dtype, "kind", "O") in "fiub":
            return np.asarray(data.to_numpy(np.float64, na_value=np.nan))
    elif any(not isinstance(dtype, np.dtype) for dtype in data.dtypes):
        return np.column_stack([_from_pandas(data.iloc[:, at], name, True) for at in range(data.shape[1])])
    return _from_numpy(data.to_numpy(), name, flat)


def _from_polars(data: Any, name: str, flat: bool) -> NDArray[Any]:
    """Return a polars column of numbers, of lists or of arrays, or a frame of numbers; null becomes NaN."""
    if data.__class__.__name__ == "DataFrame":
        return np.column_stack([_from_polars(column, name, True) for column in data.get_columns()])
    if data.dtype.is_nested():
        numbers = None if flat else _even_lists(data)
        if numbers is not None:
            return numbers
        return _from_numpy(np.asarray([None, *data.to_list()], object)[1:], name, flat)
    array: NDArray[Any] = data.to_numpy()
    return _from_numpy(array, name, flat)


def _even_lists(data: Any) -> NDArray[Any] | None:
    """Return a polars column of lists of equally many numbers without making lists of them; else None."""
    inner = getattr(data.dtype, "inner", None)
    if inner is None or not inner.is_numeric() or inner.is_decimal() or len(data) == 0 or data.null_count():
        return None
    if not hasattr(data.dtype, "size") and data.list.len().n_unique() > 1:
        return None
    numbers = data.explode()
    if numbers.null_count() or len(numbers) % len(data):
        return None
    return np.asarray(numbers.to_numpy()).reshape(len(data), -1)


def _from_dataset(data: Any, name: str, flat: bool) -> NDArray[Any]:
    """Return a column of a Hugging Face dataset, or a dataset of numbers."""
    if hasattr(data, "column_names"):
        return _from_arrow(frames.as_arrow(data), name, flat)
    return to_numpy(data[:], name, flat=flat)


def _from_scipy(data: Any, name: str, flat: bool) -> NDArray[Any]:
    """Refuse a sparse matrix."""
    raise TypeError(f"{name}: sparse matrices cannot be used; pass .toarray(), or encode to fewer dimensions")


def _from_arrow(data: Any, name: str, flat: bool) -> NDArray[Any]:
    """Return an Arrow column of lists of every kind (or of numbers), its chunks one below the other.

    Of a table of numbers, its columns side by side.
    """
    if hasattr(data, "column_names"):
        return np.column_stack([_from_arrow(data.column(one), name, True) for one in data.column_names])
    if hasattr(data, "as_py"):  # one row of a column
        return to_numpy(data.to_numpy() if hasattr(data, "to_numpy") else data.as_py(), name, flat=flat)
    if not hasattr(data, "null_count"):
        mend = "its .to_numpy()" if hasattr(data, "to_numpy") else "one of its columns"
        raise TypeError(f"{name}: expected an Arrow column, got {type(data).__name__}; pass {mend}")
    if not hasattr(data, "chunks"):
        return _from_arrow_array(data, name, flat)
    parts: list[NDArray[Any]] = []
    first = 0
    for chunk in data.chunks:
        if len(chunk) or not parts:
            parts.append(_from_arrow_array(chunk, name, flat, first))
        first += len(chunk)
    parts = [part for part in parts if len(part)] or parts
    if not parts:
        return np.empty(0 if flat else (0, 0), np.float32)
    for part in parts:
        if part.shape[1:] != parts[0].shape[1:]:
            widths = f"{part.shape[1:]} where row 0 has {parts[0].shape[1:]}"
            raise ValueError(
                f"{name}: a later chunk's rows have shape {widths}; all rows need the same length"
            )
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _from_arrow_array(data: Any, name: str, flat: bool, first: int = 0) -> NDArray[Any]:
    """Return one Arrow array, whose rows count from `first` in messages."""
    from setwise.extras.arrow import arrow, compute, types

    kind = data.type
    if isinstance(kind, arrow.BaseExtensionType):
        shape = getattr(kind, "shape", None)
        inner = _from_arrow_array(data.storage, name, flat, first)
        if isinstance(kind, arrow.FixedShapeTensorType) and shape is not None:
            return _tensors(inner, kind)
        return inner
    if types.is_dictionary(kind):
        return _from_arrow_array(data.dictionary_decode(), name, flat, first)
    if types.is_run_end_encoded(kind):
        return _from_arrow_array(compute.run_end_decode(data), name, flat, first)
    if data.null_count:
        row = first + data.is_null().to_pylist().index(True)
        raise ValueError(
            f"{name}: row {row} is null; drop it or pass {'a number' if flat else 'a vector'} for it"
        )
    if _is_arrow_number(types, kind):
        if not flat:
            raise TypeError(f"{name}: expected an Arrow column of lists of numbers, got {kind}")
        if types.is_decimal(kind):
            data = data.cast(arrow.float64())
        numbers: NDArray[Any] = data.to_numpy(zero_copy_only=False)
        return numbers
    if types.is_struct(kind):
        held = [field.name for field in kind if hasattr(field.type, "value_type")] or [kind.field(0).name]
        raise TypeError(
            f"{name}: expected an Arrow column of lists of numbers, got {kind}; write its field {held[0]!r} "
            "as a column of its own (pyarrow.compute.struct_field takes it out)"
        )
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        raise TypeError(f"{name}: {kind} holds packed bits or bytes; unpack them into numbers first")
    if not hasattr(kind, "value_type") or not hasattr(data, "flatten"):
        raise TypeError(f"{name}: expected an Arrow column of lists of numbers, got {kind}")
    if len(data) == 0:
        return np.empty((0, 0), np.float32)
    lengths = compute.list_value_length(data).to_numpy(zero_copy_only=False)
    uneven = np.flatnonzero(lengths != lengths[0])
    if len(uneven):
        row = int(uneven[0])
        raise ValueError(
            f"{name}: row {first + row} has {lengths[row]} entries where row {first} has {lengths[0]}; "
            "all rows need the same length"
        )
    values = data.flatten()
    if values.null_count:
        row = first + values.is_null().to_pylist().index(True) // int(lengths[0])
        raise ValueError(f"{name}: row {row} has a null entry; drop it or pass an imputed value")
    if lengths[0] == 0:
        return np.empty((len(data), 0), np.float32)
    entries = _from_arrow_array(values, name, True)
    return entries.reshape(len(data), int(lengths[0]), *entries.shape[1:])


def _is_arrow_number(types: Any, kind: Any) -> bool:
    """Return whether an Arrow type is of numbers (or of truth values, which are refused by dtype later)."""
    return bool(
        types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind)
    )


def _tensors(entries: NDArray[Any], kind: Any) -> NDArray[Any]:
    """Return a fixed-shape tensor column from its flat storage, in the order of its logical dimensions."""
    shape = tuple(kind.shape)
    stored = entries.reshape(len(entries), *shape)
    order = kind.permutation
    return stored if order is None else stored.transpose(0, *(1 + int(at) for at in order))


#: What reads the containers of each package.
_READERS: dict[str, Callable[[Any, str, bool], NDArray[Any]]] = {
    "torch": _from_torch,
    "pyarrow": _from_arrow,
    "pandas": _from_pandas,
    "polars": _from_polars,
    "datasets": _from_dataset,
    "scipy": _from_scipy,
}
