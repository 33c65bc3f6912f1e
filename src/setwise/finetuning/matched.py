"""What a match returns, and a sweep of them: distributions over a repository, how good and how spread."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from setwise import frames, page
from setwise.extras import require
from setwise.files.names import ending
from setwise.files.writing import check_output, write_atomic
from setwise.finetuning.copies import Fold
from setwise.finetuning.distribution import Distribution


@dataclass(frozen=True, repr=False, eq=False)
class Match(Distribution):
    """The optimal sampling distribution of TSDS for some examples, with what it achieves.

    Attributes
    ----------
    indices, probabilities, n
        See `Distribution`.
    value : float
        Problem RT's value: (1 - diversity) / scale * transport_cost + diversity * regularization.
    transport_cost : float
        Mean distance that the examples' mass is carried, in the vectors' units.
    regularization : float
        G(γ): how far from even the plan is. Where the weight of all candidates is estimated, to that
        estimate (``stats["total"]``).
    complete : bool
        False where ``neighbors`` ran out before the optimum was reached: raise it, or lower diversity.
    fits : bool or None
        Whether the papers' theorem applies (neighborhoods of at most half the repository). Where it does
        not, the completed closed form is used. None where too few neighbors are known to tell.
    limit : float
        s*, the weight 1/ρ of a neighborhood: its size in distinct rows. NaN for "tv".
    neighborhoods : ndarray of shape (M,), int64
        Rows that each example spreads its mass over (K_i of TSDS, Table 12).
    remainder : float
        Mass that fell on the examples' (K_i + 1)th neighbors.
    densities : ndarray of shape (s,), float64
        ρ of each row of ``indices``: 1 = no near-duplicate, 3 = as two exact copies besides. Ones where the
        regularizer asks for none.
    nearest : ndarray of shape (M,), float64
        Each example's distance to its nearest candidate: where it is large, the repository lacks its like.
    costs : ndarray of shape (M,), float64
        Mean distance that each example's mass is carried.
    diversity, scale, kernel_width, regularizer, neighbors
        As used; ``scale`` and ``kernel_width`` in numbers where "auto" was asked.
    seconds : mapping of str to float
        Per stage: search, density, assignment.
    stats : mapping
        What was done: rows whose density was counted, the weight of all candidates, the kind of search.
    candidates : frame, optional
        The candidates, where they came as a frame.
    """

    value: float = 0.0
    transport_cost: float = 0.0
    regularization: float = 0.0
    complete: bool = True
    fits: bool | None = True
    limit: float = float("nan")
    neighborhoods: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    remainder: float = 0.0
    densities: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    nearest: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    costs: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    diversity: float = 0.4
    scale: float = 5.0
    kernel_width: float = 0.1
    regularizer: str = "kde"
    neighbors: int = 2_000
    seconds: Mapping[str, float] = field(default_factory=dict)
    stats: Mapping[str, Any] = field(default_factory=dict)
    entries: tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]] | None = None
    fold: Fold | None = None
    candidates: Any = None

    @property
    def plan(self) -> sparse.csr_array:
        """γ, shape (M, n), sparse: each row sums to 1/M. Copies that share mass have an entry each.

        Raises
        ------
        ValueError
            It is even over all candidates and was not written out.
        """
        if self.entries is None:
            raise ValueError("plan: it is even over all candidates; every entry is a row's probability / M")
        entries = self.entries if self.fold is None else self.fold.entries(*self.entries)
        return sparse.csr_array(entries, shape=(len(self.nearest), self.n))

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values, without the arrays over rows."""
        return {
            "rows": self.n,
            "chosen": len(self),
            "effective": self.effective,
            "value": self.value,
            "transport_cost": self.transport_cost,
            "regularization": self.regularization,
            "complete": self.complete,
            "fits": self.fits,
            "limit": None if np.isnan(self.limit) else self.limit,
            "neighborhood_mean": float(self.neighborhoods.mean()),
            "neighborhood_least": int(self.neighborhoods.min()),
            "neighborhood_most": int(self.neighborhoods.max()),
            "remainder": self.remainder,
            "near_duplicates": self.near_duplicates,
            "near_duplicate_share": self.near_duplicate_share,
            "diversity": self.diversity,
            "scale": self.scale,
            "kernel_width": None if np.isnan(self.kernel_width) else self.kernel_width,
            "regularizer": self.regularizer,
            "neighbors": self.neighbors,
            "seconds": dict(self.seconds),
            "stats": dict(self.stats),
        }

    @property
    def short_of_index(self) -> bool:
        """Whether an index returned fewer rows than ``neighbors`` asked for: more of these would not help."""
        return bool(self.stats.get("union") == self.neighbors < self.n)

    @property
    def near_duplicates(self) -> float:
        """Near-duplicates of the average row drawn (ρ - 1, weighted by probability)."""
        return float((self.densities - 1.0) @ self.probabilities)

    @property
    def near_duplicate_share(self) -> float:
        """The probability of drawing a row that has a near-duplicate in the repository."""
        return float(self.probabilities[self.densities > 1.0 + 1e-6].sum())

    def __repr__(self) -> str:
        cut = "" if self.complete else f"; {self._completeness()}"
        return f"Match({self._spread()}; {self._carried()}{cut})"

    def _repr_html_(self) -> str:
        likely = np.argsort(-self.probabilities, kind="stable")
        columns = [
            ("row", self.indices[likely].tolist()),
            ("probability", self.probabilities[likely].tolist()),
        ]
        if len(self.densities):
            columns.append(("density", self.densities[likely].tolist()))
        if self.candidates is not None:
            first = likely[: page.ROWS]
            own = frames.readable(frames.taken(self.candidates, self.indices[first]))
            rest = [None] * (len(likely) - len(first))
            columns += [(name, [*values, *rest]) for name, values in own]
        facts = [self._spread(), self._carried(), self._completeness()]
        return page.block(f"Match of {len(self):,} rows, the likeliest first", facts, page.table(columns))

    def _spread(self) -> str:
        """Return how many rows may be drawn, in words."""
        return f"{len(self):,} of {self.n:,} rows, as spread as {self.effective:,.0f} equal ones"

    def _carried(self) -> str:
        """Return how far the examples' mass is carried, in words."""
        return (
            f"{self.neighborhoods.mean():,.1f} neighbors an example, mean distance {self.transport_cost:.4g}"
        )

    def _completeness(self) -> str:
        """Return whether the neighbors sufficed, in words."""
        if self.complete:
            return "complete: more neighbors would change nothing"
        mend = "search the index wider" if self.short_of_index else "raise neighbors"
        return f"incomplete: {mend} above {self.neighbors:,}"


class Sweep(Sequence[Match]):
    """The matches of several diversities, in the order asked.

    Parameters
    ----------
    matches : list of Match
    """

    def __init__(self, matches: list[Match]) -> None:
        self.matches = matches

    @overload
    def __getitem__(self, place: int) -> Match: ...
    @overload
    def __getitem__(self, place: slice) -> list[Match]: ...
    def __getitem__(self, place: int | slice) -> Match | list[Match]:
        return self.matches[place]

    def __len__(self) -> int:
        return len(self.matches)

    def rows(self) -> list[dict[str, Any]]:
        """Return one record a diversity.

        ``neighborhood``, ``least``, ``most``: rows an example spreads over (mean, least, most; TSDS Table
        12); ``rows``: distinct rows of positive probability; ``effective``: equal rows it is as spread as;
        ``top_row``: the largest probability; ``distance``: mean distance that mass is carried.
        """
        return [
            {
                "diversity": found.diversity,
                "neighborhood": float(found.neighborhoods.mean()),
                "least": int(found.neighborhoods.min()),
                "most": int(found.neighborhoods.max()),
                "rows": len(found),
                "effective": found.effective,
                "top_row": float(found.probabilities.max()),
                "distance": found.transport_cost,
                "complete": found.complete,
            }
            for found in self.matches
        ]

    def table(self) -> str:
        """Return the records as text in columns; an asterisk marks where the neighbors ran out."""
        head = f"{'diversity':>9}  {'neighborhood (least-most)':>28}  {'rows':>9}  {'as spread as':>12}  "
        lines = [head + f"{'top row':>8}  {'distance':>9}"]
        for row in self.rows():
            sizes = f"{row['neighborhood']:,.1f} ({row['least']:,}-{row['most']:,})"
            lines.append(
                f"{row['diversity']:>9.2f}  {sizes:>28}  {row['rows']:>9,}  {row['effective']:>12,.0f}  "
                f"{row['top_row']:>8.2%}  {row['distance']:>9.4f}{'' if row['complete'] else ' *'}"
            )
        if not all(found.complete for found in self.matches):
            lines.append("* the neighbors ran out before the optimum: raise neighbors")
        return "\n".join(lines)

    def plot(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Draw neighborhood sizes, spread and distance over diversity, as PNG, SVG or PDF.

        Raises
        ------
        ImportError, FileExistsError, ValueError
            As `check_plot`.
        """
        target = check_plot(path, force=force, argument="path")
        rows = self.rows()
        x = [row["diversity"] for row in rows]
        figures = require("matplotlib.figure", "plot", "a plot")
        figure = figures.Figure(figsize=(9.0, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.fill_between(
            x, [row["least"] for row in rows], [row["most"] for row in rows], alpha=0.2, label="least to most"
        )
        left.plot(x, [row["neighborhood"] for row in rows], marker="o", label="rows an example (mean)")
        left.plot(x, [row["effective"] for row in rows], marker="s", label="as spread as so many equal rows")
        left.set(xlabel="diversity", ylabel="rows", yscale="log")
        left.legend(frameon=False, loc="lower right")
        right.plot(x, [row["distance"] for row in rows], marker="o", color="tab:red")
        right.set(xlabel="diversity", ylabel="mean distance to the examples")
        for axis in (left, right):
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(alpha=0.3)
        write_atomic(
            target, lambda file: figure.savefig(file, format=ending(target)[1:], dpi=150), force=force
        )
        return target

    def __repr__(self) -> str:
        return self.table()


def check_plot(path: str | os.PathLike[str], *, force: bool, argument: str = "plot") -> Path:
    """Return where a plot will go, refusing before any work what could not be drawn after it.

    Raises ImportError: matplotlib is not installed; FileExistsError: the file is there and ``force`` is not
    given; FileNotFoundError, IsADirectoryError, PermissionError, ValueError: as `setwise.files.check_output`,
    of .png, .svg and .pdf.
    """
    require("matplotlib", "plot", "a plot")
    return check_output(path, force=force, argument=argument, endings=(".png", ".svg", ".pdf"))
