"""Why each candidate was chosen or left out, in words and as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from setwise import frames

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow


@dataclass(frozen=True)
class Reason:
    """Why one candidate was chosen or left out.

    Attributes
    ----------
    member : object
        Its id, or its row.
    relevance : float
        As it was given, or on its scale.
    nearest : object
        The chosen one that is most like it; None in a set of one.
    similarity : float or None
        The cosine to that one, or minus the distance.
    change : float or None
        By how much the set's value would change: of a chosen one, if it were left out and the best of the
        others
        that the wishes allow came in its place (in a set of any size, if none came); of one left out, if it
        came in the place that is best for it. None where the wishes allow no such set.
    place : object
        The one that would come, or go.
    barred : str
        The wish that keeps it out beside the chosen ones; empty where none does.
    """

    member: Any
    chosen: bool
    relevance: float
    nearest: Any
    similarity: float | None
    change: float | None
    place: Any
    barred: str = ""

    def __str__(self) -> str:
        return "; ".join([f"{self.member}: relevance {self.relevance:.3f}", *self.words()])

    def words(self) -> list[str]:
        """Return what there is to say beside the relevance."""
        words = []
        if self.similarity is not None:
            like = "most like" if self.chosen or self.similarity < 0.9 else "repeats"
            words.append(f"{like} {self.nearest} (similarity {self.similarity:.2f})")
        if self.barred:
            words.append(f"barred by {self.barred}")
        if self.change is not None:
            more = "more" if self.change > 0 else "less"
            instead = "without it"
            if self.place is not None:
                instead = f"with {self.place} instead" if self.chosen else f"with it instead of {self.place}"
            elif not self.chosen:
                instead = "with it"
            words.append(f"{instead} the set is worth {abs(self.change):.4g} {more}")
        return words


@dataclass(frozen=True)
class Explanation:
    """Why a set is what it is.

    Iteration gives the reasons, those of the chosen first; `print` shows them in words.

    Attributes
    ----------
    chosen : sequence of Reason
        In selection order.
    left_out : sequence of Reason
        The most relevant of the others, falling.
    """

    chosen: Sequence[Reason]
    left_out: Sequence[Reason]

    def __iter__(self) -> Any:
        return iter([*self.chosen, *self.left_out])

    def __len__(self) -> int:
        return len(self.chosen) + len(self.left_out)

    def __str__(self) -> str:
        lines = ["chosen", *(f"  {one}" for one in self.chosen)]
        if self.left_out:
            lines += ["left out, the most relevant", *(f"  {one}" for one in self.left_out)]
        return "\n".join(lines)

    def renamed(self, name: Callable[[Any], Any]) -> Explanation:
        """Return this with other names of the candidates, each found by a function of the one it has."""

        def anew(one: Reason) -> Reason:
            nearest, place = (None if each is None else name(each) for each in (one.nearest, one.place))
            return replace(one, member=name(one.member), nearest=nearest, place=place)

        return Explanation([anew(one) for one in self.chosen], [anew(one) for one in self.left_out])

    def columns(self) -> dict[str, Any]:
        """Return the reasons as columns, by name."""
        rows = [asdict(one) for one in self]
        names = list(Reason.__dataclass_fields__)
        numbers = ("relevance", "similarity", "change")
        return {
            name: np.array([np.nan if row[name] is None else row[name] for row in rows], np.float64)
            if name in numbers
            else [row[name] for row in rows]
            for name in names
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON."""
        return {
            "chosen": [asdict(one) for one in self.chosen],
            "left_out": [asdict(one) for one in self.left_out],
        }

    def to_pandas(self) -> pandas.DataFrame:
        """Return the reasons as a pandas frame, one a row."""
        return frames.made("pandas", self.columns())

    def to_polars(self) -> polars.DataFrame:
        """Return the reasons as a polars frame, one a row."""
        return frames.made("polars", self.columns())

    def to_arrow(self) -> pyarrow.Table:
        """Return the reasons as an Arrow table, one a row."""
        return frames.made("pyarrow", self.columns())
