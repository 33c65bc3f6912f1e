"""Arrays out of requests: lists, float32 in base64, .npy, .npz and Arrow; checked before they are made."""

from __future__ import annotations

import binascii
import io
import math
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.containers import as_matrix, to_numpy
from setwise.extras import needs
from setwise.files.arrays import DAMAGED_ARCHIVE
from setwise.serve.settings import Limits

with needs("serve", "setwise serve"):
    import pybase64  # the standard library's takes longer than the set does

#: Arrays that an archive may have.
MEMBERS = ("vectors", "relevance", "query", "costs", "shown", "facets")


def as_vectors(given: Any, name: str, limits: Limits) -> NDArray[Any]:
    """Return vectors, one a row.

    Parameters
    ----------
    given : ndarray, list of lists of numbers, or list of str
        Each a vector's bytes in base64: float32, little-endian.
    name : str
        In messages.

    Raises TypeError, ValueError: they are no vectors of one width, or more or wider than may be.
    """
    if isinstance(given, list) and given and all(isinstance(row, str) for row in given):
        packed = _all_unpacked(given, name)
        width = len(packed[0])
        for place, row in enumerate(packed):
            if len(row) != width or not width:
                raise ValueError(
                    f"{name}: row {place} has {len(row) // 4} numbers, the first has {width // 4}"
                )
        given = np.frombuffer(b"".join(packed), "<f4").reshape(len(packed), width // 4)
    rows = as_matrix(given, name)
    check_size(rows.shape, name, limits)
    return rows


def shown_of(given: Any, limits: Limits) -> dict[str, NDArray[Any]]:
    """Return what was shown before as an option, see `as_vectors`; nothing of none."""
    if given is None or (isinstance(given, list | np.ndarray) and not len(given)):
        return {}
    return {"shown": as_vectors(given, "shown", limits)}


def facets_of(given: Any, limits: Limits) -> Any:
    """Return facets: numbers by name as they are, else vectors; see `as_vectors`."""
    return given if isinstance(given, Mapping) else as_vectors(given, "facets", limits)


def as_vector(given: Any, name: str, limits: Limits) -> NDArray[Any]:
    """Return one vector; see `as_vectors`."""
    if isinstance(given, str):
        given = np.frombuffer(_unpacked(given, name), "<f4")
    row = to_numpy(given, name)
    if row.ndim != 1 or not len(row):
        raise ValueError(f"{name}: expected one vector, got shape {row.shape}")
    check_size((1, len(row)), name, limits)
    return row


def _all_unpacked(texts: list[str], name: str) -> list[bytes]:
    """Return the bytes of vectors of float32; which of them is none is looked for where one is."""
    try:
        packed = [pybase64.b64decode(text, validate=True) for text in texts]
    except ValueError:
        packed = []
    if packed and not any(len(row) % 4 for row in packed):
        return packed
    return [_unpacked(text, f"{name}: row {place}") for place, text in enumerate(texts)]


def _unpacked(text: str, name: str) -> bytes:
    """Return the bytes of a vector of float32."""
    try:
        packed = pybase64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{name}: no base64; pass numbers, or float32 in base64") from None
    if len(packed) % 4:
        raise ValueError(f"{name}: {len(packed)} bytes are no float32 numbers")
    return packed


def check_size(shape: tuple[int, ...], name: str, limits: Limits) -> None:
    """Refuse more vectors, or wider ones, than may be. Raises ValueError: they are."""
    if len(shape) == 2 and shape[0] > limits.documents:
        raise ValueError(f"{name}: {shape[0]:,} are more than the {limits.documents:,} of one request")
    if len(shape) == 2 and shape[1] > limits.width:
        raise ValueError(f"{name}: {shape[1]:,} numbers a vector are more than {limits.width:,}")


def from_npy(body: bytes, name: str) -> NDArray[Any]:
    """Return the array of a .npy file's bytes, as a view of them.

    Raises ValueError: they are none, of another length than its head says, or of anything but numbers.
    """
    stream = io.BytesIO(body)
    try:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(stream, max_header_size=4096)
    except Exception:  # a damaged header makes NumPy raise nearly anything
        raise ValueError(f"{name}: no .npy file") from None
    if dtype.kind not in "fiu" or dtype.itemsize > 8:
        raise ValueError(f"{name}: dtype {dtype} cannot be used; pass floats or integers")
    if any(type(size) is not int for size in shape):
        raise ValueError(f"{name}: no .npy file")
    start = stream.tell()
    if len(body) - start != math.prod(shape) * dtype.itemsize or min(shape, default=1) < 0:
        raise ValueError(f"{name}: {len(body) - start} bytes are not {dtype} of shape {shape}")
    flat = np.frombuffer(body, dtype, offset=start)
    return flat.reshape(shape, order="F" if fortran else "C")


def from_npz(body: bytes, limits: Limits) -> dict[str, NDArray[Any]]:
    """Return the arrays of a .npz file's bytes, those of `MEMBERS`, by name.

    Raises ValueError: they are none, unpack to more than a body may have, or hold another array.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            listed = archive.infolist()
            if sum(one.file_size for one in listed) > limits.body:
                raise ValueError(f"body: unpacked it has more than {limits.body:,} bytes")
            found = {one.filename.removesuffix(".npy"): one for one in listed}
            for name in found:
                if name not in MEMBERS:
                    raise ValueError(f"body: it has an array {name!r:.40}; call them {', '.join(MEMBERS)}")
            return {name: from_npy(archive.read(one), name) for name, one in found.items()}
    except DAMAGED_ARCHIVE as error:
        if type(error) is ValueError:
            raise
        raise ValueError("body: no .npz file, or a damaged one") from None


def from_arrow(body: bytes, limits: Limits) -> Any:
    """Return the table of an Arrow IPC stream's or file's bytes.

    Raises ImportError: pyarrow is not installed; ValueError: they are neither, damaged, or compressed: what
    they unpack to could be anything.
    """
    from setwise.extras.arrow import arrow

    try:
        if body[:6] == b"ARROW1":  # a file is a stream with a magic word before it
            body = body[8:]
        for message in arrow.ipc.MessageReader.open_stream(body):
            if _is_compressed(message.metadata.to_pybytes()):
                raise ValueError("body: its buffers are compressed; write it with compression=None")
        with arrow.ipc.open_stream(body) as reader:
            table = reader.read_all()
        table.validate(full=True)
    except ValueError as error:
        if type(error) is ValueError:
            raise
        raise ValueError("body: no Arrow IPC stream, or a damaged one") from None
    except (OSError, KeyError, TypeError, NotImplementedError, struct.error):
        raise ValueError("body: no Arrow IPC stream, or a damaged one") from None
    twice = [name for place, name in enumerate(table.column_names) if name in table.column_names[:place]]
    if twice:
        raise ValueError(f"body: two columns are called {twice[0]!r:.60}")
    if table.num_rows > limits.documents:
        raise ValueError(
            f"body: {table.num_rows:,} rows are more than the {limits.documents:,} of one request"
        )
    return table


#: Kinds of a message's header that hold buffers, and the place of a message's and a batch's fields; see
#: Arrow's Message.fbs.
_DICTIONARY, _BATCH = 2, 3
_HEADER_TYPE, _HEADER, _DATA, _COMPRESSION = 1, 2, 1, 3


def _is_compressed(message: bytes) -> bool:
    """Return whether a message's buffers are compressed, as its flatbuffer says."""

    def number(kind: str, at: int) -> int:
        value: int = struct.unpack_from(f"<{kind}", message, at)[0]
        return value

    def field(table: int, place: int) -> int:
        """Return where a table's field is; 0 where it has none."""
        fields = table - number("i", table)
        slot = 4 + 2 * place
        offset = number("H", fields + slot) if slot < number("H", fields) else 0
        return table + offset if offset else 0

    def target(at: int) -> int:
        return at + number("I", at)

    root = target(0)
    kind, header = field(root, _HEADER_TYPE), field(root, _HEADER)
    if not kind or not header or message[kind] not in (_DICTIONARY, _BATCH):
        return False
    batch = target(header)
    if message[kind] == _DICTIONARY:
        data = field(batch, _DATA)
        if not data:
            return False
        batch = target(data)
    return field(batch, _COMPRESSION) != 0
