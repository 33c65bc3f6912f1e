"""An exact index over a torch tensor, on any device: a search is one matrix product there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.containers import as_queries
from setwise.extras import require
from setwise.index.base import Ids
from setwise.index.checking import as_positions
from setwise.index.local import RowIndex
from setwise.vectors import check_metric

#: Rows of a narrow type that are widened at a time.
BLOCK = 262_144


class TorchIndex(RowIndex):
    """Exact search over the rows of a torch tensor, where it lies: on a GPU, or on the CPU.

    The rows are checked and measured once, on their device. A search moves its queries there and the few
    rows it returns back; the rest of a selection works on those, as with any index. Ids are row numbers.

    Parameters
    ----------
    tensor : torch.Tensor of shape (n, d)
        float32, float64, float16 or bfloat16, on any device; never modified or copied whole. Narrow types
        are multiplied in float32.
    metric : {"cosine", "euclidean"}
    fields : mapping of str to sequence of length n, optional
        Columns to group by.

    Raises
    ------
    ImportError
        torch is not installed.
    TypeError
        ``tensor`` is no tensor, or of no floating type.
    ValueError
        It is not of two dimensions, both above 0; a row has NaN or Inf, or is zero under cosine.

    Notes
    -----
    A filter is a boolean mask of shape (n,) (an array, or a tensor on the device) or row numbers.
    """

    exact = True

    def __init__(
        self, tensor: Any, *, metric: str = "cosine", fields: Mapping[str, Sequence[Any]] | None = None
    ) -> None:
        self._torch = torch = require("torch", "torch", "an index over a tensor")
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"tensor: expected a torch.Tensor, got {type(tensor).__name__}")
        if tensor.ndim != 2 or 0 in tensor.shape:
            raise ValueError(f"tensor: expected shape (n, d), got {tuple(tensor.shape)}")
        if not tensor.is_floating_point():
            raise TypeError(f"tensor: dtype {tensor.dtype} cannot be used; pass a floating one")
        self._rows = tensor.detach()
        self.metric = check_metric(metric)
        self.dim = int(tensor.shape[1])
        self._work = torch.float64 if tensor.dtype == torch.float64 else torch.float32
        self._squares = self._measured()
        self._fields = dict(fields or {})

    def _blocks(self) -> Any:
        """Yield (start, stop, rows in the working dtype)."""
        plain = self._rows.dtype == self._work
        step = self.size if plain else BLOCK
        for start in range(0, self.size, step):
            stop = min(self.size, start + step)
            yield start, stop, self._rows[start:stop].to(self._work)

    def _measured(self) -> Any:
        """Return the square of every row's length, on the device; refuse rows that cannot be compared."""
        torch = self._torch
        squares = torch.empty(self.size, dtype=self._work, device=self._rows.device)
        for start, stop, block in self._blocks():
            squares[start:stop] = torch.linalg.vector_norm(block, dim=1) ** 2
        fine = torch.isfinite(squares)
        if self.metric == "cosine":
            fine &= squares > 0
        if not bool(fine.all()):
            row = int((~fine).nonzero()[0, 0])
            if bool(torch.isfinite(squares[row])):
                raise ValueError(f"tensor: row {row} is all zero and has no direction under cosine; drop it")
            raise ValueError(f"tensor: row {row} has NaN or Inf; drop it or pass finite numbers")
        return squares

    @property
    def size(self) -> int:
        return int(self._rows.shape[0])

    @property
    def device(self) -> str:
        """Where the rows lie."""
        return str(self._rows.device)

    def search(
        self, queries: NDArray[Any], k: int, *, filter: Any = None, exclude: Sequence[Any] | Ids = ()
    ) -> tuple[NDArray[np.float64], Ids]:
        torch = self._torch
        probes = as_queries(queries, self.dim)
        k = checks.integer("k", k, least=1)
        asked = min(k, self.size)
        on_device = torch.from_numpy(probes).to(self._rows.device, self._work)
        found = torch.empty(len(probes), self.size, dtype=self._work, device=self._rows.device)
        for start, stop, block in self._blocks():
            found[:, start:stop] = self._scored(block, on_device, self._squares[start:stop])
        barred = self._barred(filter, exclude)
        if barred is not None:
            found.masked_fill_(barred, -torch.inf)
        best = torch.topk(found, asked, dim=1)
        scores = np.full((len(probes), k), -np.inf)
        ids = np.full((len(probes), k), -1, np.int64)
        scores[:, :asked] = best.values.cpu().numpy()
        ids[:, :asked] = best.indices.cpu().numpy()
        ids[np.isneginf(scores)] = -1
        return scores, ids

    def _scored(self, block: Any, probes: Any, squares: Any) -> Any:
        """Return a block's scores for every query, shape (m, rows)."""
        products = probes @ block.T
        if self.metric == "cosine":
            return products * squares.rsqrt()
        far = (squares - 2 * products + (probes * probes).sum(1, keepdim=True)).clamp_min(0)
        return -far.sqrt()

    def _barred(self, filter: Any, exclude: Sequence[Any] | Ids) -> Any:
        """Return a mask of what may not be found, on the device, or None."""
        torch = self._torch
        gone = as_positions(exclude, self.size, "exclude")
        if filter is None and len(gone) == 0:
            return None
        barred = torch.zeros(self.size, dtype=torch.bool, device=self._rows.device)
        if filter is not None:
            allowed = filter if isinstance(filter, torch.Tensor) else np.asarray(filter)
            if allowed.dtype in (torch.bool, np.bool_):
                if tuple(allowed.shape) != (self.size,):
                    raise ValueError(
                        f"filter: expected a mask of {self.size} rows, got shape {tuple(allowed.shape)}"
                    )
                barred |= ~torch.as_tensor(allowed, device=self._rows.device)
            else:
                listed = allowed.cpu().numpy() if isinstance(allowed, torch.Tensor) else allowed
                barred[:] = True
                barred[self._moved(as_positions(listed, self.size, "filter"))] = False
        barred[self._moved(gone)] = True
        return barred

    def _moved(self, rows: NDArray[np.int64]) -> Any:
        """Return row numbers on the device."""
        return self._torch.from_numpy(rows).to(self._rows.device)

    def vectors(self, ids: Sequence[Any] | Ids) -> NDArray[Any]:
        rows = self._moved(as_positions(ids, self.size, "ids", missing=KeyError))
        found: NDArray[Any] = self._rows[rows].to(self._work).cpu().numpy()
        return found

    def _known(self, ids: Sequence[Any] | Ids) -> list[int]:
        known: list[int] = as_positions(ids, self.size, "ids", missing=KeyError).tolist()
        return known

    def __repr__(self) -> str:
        kind = f"{self._rows.dtype}, {self.device}, {self.metric}, exact"
        return f"TorchIndex of {self.size:,} × {self.dim} ({kind})"
