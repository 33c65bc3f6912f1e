"""An exact index over a torch tensor, on any device: a search is one matrix product there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.extras import require
from setwise.index.base import Ids
from setwise.index.checking import as_mask, as_positions
from setwise.index.local import RowIndex, by_row
from setwise.missing import check_missing
from setwise.queries import as_queries
from setwise.vectors import check_metric

#: Rows of a narrow type that are widened at a time.
BLOCK = 262_144

#: Squared distances below this part of the squared lengths are computed again, by differences; where more
#: than so many are, all are.
NEAR, MANY = 0.05, 16_384


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
    missing : {"raise", "drop"}
        What becomes of a row that cannot be used (NaN, Inf, or zero under cosine): it is refused; or left
        out, with a warning, as if it were not there, though ids stay row numbers.

    Raises
    ------
    ImportError
        torch is not installed.
    TypeError
        ``tensor`` is no tensor, or of no floating type.
    ValueError
        It is not of two dimensions, both above 0; a row has NaN or Inf, or is zero under cosine; or `missing`
        is "drop" and every row is so.

    Warns
    -----
    UserWarning
        Rows are left out.

    Notes
    -----
    A filter is a boolean mask of shape (n,) (an array, or a tensor on the device) or row numbers.

    Rows that are changed in place need an index made anew: certificates are of the rows measured here.
    """

    exact = True

    def __init__(
        self,
        tensor: Any,
        *,
        metric: str = "cosine",
        fields: Mapping[str, Sequence[Any]] | None = None,
        missing: str = "raise",
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
        self._left_out = self._unusable(check_missing(missing, ("raise", "drop")))
        self._kept = None if self._left_out is None else np.flatnonzero(~self._left_out.cpu().numpy())
        self._fields = by_row(fields, self._total)

    def _blocks(self) -> Any:
        """Yield (start, stop, rows in the working dtype)."""
        plain = self._rows.dtype == self._work
        step = self._total if plain else BLOCK
        for start in range(0, self._total, step):
            stop = min(self._total, start + step)
            yield start, stop, self._rows[start:stop].to(self._work)

    def _measured(self) -> Any:
        """Return the square of every row's length, on the device."""
        torch = self._torch
        squares = torch.empty(self._total, dtype=self._work, device=self._rows.device)
        for start, stop, block in self._blocks():
            squares[start:stop] = torch.linalg.vector_norm(block, dim=1) ** 2
        return squares

    def _unusable(self, missing: str) -> Any:
        """Return which rows cannot be compared, on the device, or None; refuse the first unless dropped."""
        torch = self._torch
        bad = ~torch.isfinite(self._squares)
        if self.metric == "cosine":
            bad |= self._squares == 0
        count = int(bad.sum())
        if not count:
            return None
        row = int(bad.nonzero()[0, 0])
        zero = bool(torch.isfinite(self._squares[row]))
        why = "is all zero and has no direction under cosine" if zero else "has NaN or Inf"
        if missing == "raise":
            raise ValueError(f"tensor: row {row} {why}; missing='drop' leaves it out")
        if count == self._total:
            raise ValueError(f"tensor: none of the {count:,} rows can be used (row {row} {why})")
        checks.warn(f"tensor: {count:,} of {self._total:,} rows are left out (row {row} {why})")
        return bad

    @property
    def _total(self) -> int:
        """How many rows there are, with those that are left out."""
        return int(self._rows.shape[0])

    @property
    def size(self) -> int:
        return self._total if self._kept is None else len(self._kept)

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
        asked = min(k, self._total)
        on_device = torch.from_numpy(probes).to(self._rows.device, self._work)
        found = torch.empty(len(probes), self._total, dtype=self._work, device=self._rows.device)
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
        if self.metric == "cosine":
            return (probes @ block.T) * squares.rsqrt()
        lengths = squares + (probes * probes).sum(1, keepdim=True)
        far = lengths - 2 * (probes @ block.T)
        # Where little of the squares is left, that is mostly rounding: those by differences.
        one, row = (far < NEAR * lengths).nonzero(as_tuple=True)
        if len(row) > MANY:
            return -self._torch.cdist(probes, block, compute_mode="donot_use_mm_for_euclid_dist")
        far[one, row] = (probes[one] - block[row]).square().sum(1)
        return -far.sqrt()

    def _barred(self, filter: Any, exclude: Sequence[Any] | Ids) -> Any:
        """Return a mask of what may not be found, on the device, or None."""
        torch = self._torch
        gone = as_positions(exclude, self._total, "exclude")
        if filter is None and len(gone) == 0:
            return self._left_out
        barred = torch.zeros(self._total, dtype=torch.bool, device=self._rows.device)
        if filter is not None:
            listed = filter.cpu().numpy() if isinstance(filter, torch.Tensor) else filter
            mask = as_mask(listed, lambda: np.arange(self._total), self._total)
            rows = as_positions(listed, self._total, "filter") if mask is None else np.flatnonzero(mask)
            barred[:] = True
            barred[self._moved(rows)] = False
        barred[self._moved(gone)] = True
        return barred if self._left_out is None else barred | self._left_out

    def _moved(self, rows: NDArray[np.int64]) -> Any:
        """Return row numbers on the device."""
        return self._torch.from_numpy(rows).to(self._rows.device)

    def vectors(self, ids: Sequence[Any] | Ids) -> NDArray[Any]:
        places = as_positions(ids, self._total, "ids", missing=KeyError)
        if self._kept is not None and len(strange := places[~np.isin(places, self._kept)]):
            raise KeyError(f"ids: row {strange[0]} cannot be used, and was left out")
        rows = self._moved(places)
        found: NDArray[Any] = self._rows[rows].to(self._work).cpu().numpy()
        return found

    def _known(self, ids: Sequence[Any] | Ids) -> list[int]:
        known: list[int] = as_positions(ids, self._total, "ids", missing=KeyError).tolist()
        return known

    def _names(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return rows if self._kept is None else self._kept[rows]

    def __repr__(self) -> str:
        kind = f"{self._rows.dtype}, {self.device}, {self.metric}, exact"
        return f"TorchIndex of {self.size:,} × {self.dim} ({kind})"
