"""Parameters without guessing: the scale and kernel width from the data, and a sweep over diversity."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import pdist, squareform

from setwise import checks
from setwise.finetuning.candidates import Candidates
from setwise.finetuning.matched import Match
from setwise.vectors import Vectors

#: Rows that "auto" looks at.
SAMPLED = 1_024

#: Which part of the median distance between neighbors in the sample is still a near-duplicate's.
QUARTER = 0.25


def scale(candidates: Candidates, asked: float | str, seed: int = 0) -> float:
    """Return C: as asked, or 5 (TSDS, for unit vectors) times the rows' root mean square length.

    Raises
    ------
    ValueError
        "auto", and every row looked at is zero.
    """
    if not isinstance(asked, str):
        return checks.positive("scale", asked)
    rows = candidates.sample(SAMPLED, seed)
    length = float(np.sqrt((rows.astype(np.float64) ** 2).sum(axis=1).mean()))
    if length == 0.0:
        raise ValueError("scale: 'auto' finds only zero vectors; give a number")
    return 5.0 * length


def width(candidates: Candidates, asked: float | str, seed: int = 0) -> float:
    """Return h: as asked, or a quarter of the median distance to the nearest other row within a sample.

    Copies in the sample do not count as its neighbors.

    Raises
    ------
    ValueError
        "auto", and all rows looked at are alike.
    """
    if not isinstance(asked, str):
        given = checks.positive("kernel_width", asked)
        if not 1e-150 < given < 1e150:
            raise ValueError(f"kernel_width: the square of {given:g} is no float64; scale the vectors")
        return given
    rows = candidates.sample(SAMPLED, seed)
    apart = squareform(pdist(rows.astype(np.float64)))
    largest = float(apart.max(initial=0.0))
    apart[apart <= 1e-6 * largest] = np.inf
    nearest = apart.min(axis=1, initial=np.inf)
    nearest = nearest[np.isfinite(nearest)]
    if not len(nearest):
        raise ValueError("kernel_width: 'auto' finds only copies of one row; give a number above 0")
    return QUARTER * float(np.median(nearest))


def kernel_width(near_duplicates: ArrayLike, groups: Iterable[Sequence[int]] | None = None) -> float:
    """Return h from near-duplicates that you mark: the largest distance within a group (TSDS Appendix C).

    Parameters
    ----------
    near_duplicates : array-like of shape (m, d)
        Encoded rows; the paper takes 10 written by hand.
    groups : iterable of sequences of int, optional
        Rows that are near-duplicates of each other; by default all of them are.

    Returns
    -------
    float
        Above 0, to pass to `match`.

    Raises
    ------
    TypeError, ValueError
        Fewer than two rows in every group, or all rows the same.
    """
    rows = Vectors(near_duplicates, "euclidean", name="near_duplicates")
    every: NDArray[np.float64] = rows.rows(slice(0, rows.n)).astype(np.float64)
    named = [range(rows.n)] if groups is None else list(groups)
    if not any(len(group) > 1 for group in named):
        raise ValueError("near_duplicates: mark at least two rows that are near-duplicates of each other")
    for number, group in enumerate(named):
        for row in group:
            checks.integer(f"groups[{number}]", row, least=0, most=rows.n - 1)
    largest = max(float(pdist(every[list(group)]).max(initial=0.0)) for group in named)
    if largest == 0.0:
        raise ValueError("near_duplicates: they are exact copies, so any small kernel_width serves; give one")
    return largest


class Sweep(Sequence[Match]):
    """The matches of several diversities, in the order asked.

    Parameters
    ----------
    matches : list of Match
    """

    #: The table's columns.
    COLUMNS = (
        "diversity",
        "neighborhood",
        "least",
        "most",
        "rows",
        "effective",
        "top_row",
        "distance",
        "complete",
    )

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
        ImportError
            matplotlib is not installed.
        ValueError, FileExistsError
            An ending that it cannot draw, or a file that is there already and ``force`` is False.
        """
        checks.optional_import("matplotlib", "plot", "a plot")
        from matplotlib.figure import Figure

        from setwise.files.names import ending
        from setwise.files.writing import check_output, write_atomic

        target = check_output(path, force=force, argument="path", endings=(".png", ".svg", ".pdf"))
        kind = ending(target).lstrip(".")
        rows = self.rows()
        x = [row["diversity"] for row in rows]
        figure = Figure(figsize=(9.0, 3.4), layout="constrained")
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
        write_atomic(target, lambda file: figure.savefig(file, format=kind, dpi=150), force=force)
        return target

    def __repr__(self) -> str:
        return self.table()
