"""What every selection returns: the set, what it is worth, and how good that is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from setwise import checks, frames, page, pictures
from setwise.certificate import Certificate
from setwise.explanation import Explanation

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow
    from matplotlib.figure import Figure

#: What only a selection that was just made can tell.
_UNKNOWN = "the candidates of this selection are not known; select again with setwise.select"


@dataclass(frozen=True, eq=False)
class Selection:
    """A selected set of candidates.

    Iteration, indexing, ``in`` and ``np.asarray(sel)`` speak of the members by their ids where there are ids,
    else by their indices.

    Attributes
    ----------
    indices : ndarray of shape (k,), int64
        Rows of the candidates in selection order: every prefix is itself a sensible selection.
    gains : ndarray of shape (k,), float64
        The objective's score of each when it was selected, given those before it.
    value : float
        The objective's value of the set, (1 - diversity) * relevance + diversity * (the second term).
    relevance, diversity : float
        The two terms. max-sum: mean relevance, and mean distance between two members (ILAD). mmr: mean
        relevance, and minus the mean largest similarity to an earlier member. log-det: summed relevance,
        and the log-determinant.
    certificate : Certificate or None
        What is proven about it; None when not asked for.
    solver : str
        How it was found.
    seconds : float
        Wall time.
    stats : mapping
        Counts of the work done, by name.
    candidates : frame, optional
        The candidates, where they came as a frame of pandas, polars, Arrow or a Hugging Face dataset.
    """

    indices: NDArray[np.int64]
    gains: NDArray[np.float64]
    value: float
    relevance: float
    diversity: float
    certificate: Certificate | None
    solver: str
    seconds: float
    stats: Mapping[str, Any] = field(default_factory=dict)
    candidates: Any = field(default=None, repr=False)
    reasoner: Any = field(default=None, repr=False)

    @classmethod
    def of(cls, terms: Callable[[], dict[str, Any]], **given: Any) -> Self:
        """Return one whose `gains`, `value`, `relevance` and `diversity` are worked out when asked for.

        Parameters
        ----------
        terms : callable
            Returns those by name.
        **given
            The others.
        """
        one = cls.__new__(cls)
        one.__dict__.update(given, _terms=terms)
        one.indices.setflags(write=False)
        return one

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            known = self.__dict__
            if name in ("gains", "value", "relevance", "diversity") and "_terms" in known:
                terms = known["_terms"]()
                terms["gains"].setflags(write=False)
                known.update(terms)
                return terms[name]
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def known(self) -> dict[str, Any]:
        """Return the fields, all of them worked out."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.known(), "reasoner": None}

    def __post_init__(self) -> None:
        for array in (self.indices, self.gains):
            array.setflags(write=False)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def positions(self) -> NDArray[np.int64]:
        """The members' rows, shape (k,)."""
        return self.indices

    @property
    def members(self) -> NDArray[Any]:
        """What the members are called: their ids where there are ids, else their rows, shape (k,)."""
        return self.indices

    def __iter__(self) -> Iterator[Any]:
        return iter(self.members.tolist())

    def __getitem__(self, position: Any) -> Any:
        found = self.members[position]
        return found.item() if isinstance(found, np.generic) else found  # as iterating gives it

    def __contains__(self, member: object) -> bool:
        return member in self.members.tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if dtype is None and not copy:
            return self.members
        return np.array(self.members, dtype=dtype)

    def explain(self, most: int = 10) -> Explanation:
        """Return why each member was chosen, and why the most relevant of the others were left out.

        Parameters
        ----------
        most : int
            Of the others, this many.

        Raises
        ------
        ValueError
            The candidates are not known: the selection was read or sent from elsewhere.
        """
        most = checks.integer("most", most, least=0)
        if self.reasoner is None:
            if len(self):
                raise ValueError(f"explain: {_UNKNOWN}")
            return Explanation((), ())  # nothing passed the filter
        explained: Explanation = self.reasoner.explain(most, self.members)
        return explained

    def plot(
        self, kind: str = "map", *, diversities: Sequence[float] = pictures.DIVERSITIES, axes: Any = None
    ) -> Figure:
        """Draw this set beside the most relevant candidates, as many.

        Parameters
        ----------
        kind : {"map", "similarity", "frontier"}
            The most relevant candidates in two dimensions, with those that came in place of others; how alike
            the members are, before and after; what sets of every diversity are worth.
        diversities : sequence of float
            Those of the frontier, in [0, 1]. A set is selected for each, with nothing proven.
        axes : matplotlib Axes, or two for "similarity", optional
            Where to draw; by default a figure is made.

        Returns
        -------
        Figure
            Notebooks show it, ``savefig`` writes it.

        Raises
        ------
        ImportError
            matplotlib is not installed (the extra ``plot``).
        ValueError
            The kind is unknown; the candidates are not known, as for `explain`; a frontier is asked for an
            objective of one's own, which has its diversity itself.
        """
        from setwise import plotting

        draw = plotting.KINDS[checks.choice("kind", kind, plotting.KINDS)]
        if self.reasoner is None:
            raise ValueError(f"plot: {_UNKNOWN}")
        wanted = {"diversities": diversities} if kind == "frontier" else {}
        return draw(getattr(self.reasoner, kind)(**wanted), axes)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return what is known of each member, by name; see `to_pandas`."""
        ranks = np.arange(1, len(self) + 1)
        return {"rank": ranks, "position": self.positions, "gain": self.gains}

    def own_columns(self) -> Any:
        """Return the members' rows of the candidates' frame; None where they came as none."""
        return None if self.candidates is None else frames.taken(self.candidates, self.positions)

    def to_pandas(self) -> pandas.DataFrame:
        """Return the members as a pandas frame, in selection order.

        The candidates' own columns come first, where they came as a frame, then `columns`.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        return frames.made("pandas", self.columns(), self.own_columns())

    def to_polars(self) -> polars.DataFrame:
        """Return the members as a polars frame; see `to_pandas`."""
        return frames.made("polars", self.columns(), self.own_columns())

    def to_arrow(self) -> pyarrow.Table:
        """Return the members as an Arrow table; see `to_pandas`."""
        return frames.made("pyarrow", self.columns(), self.own_columns())

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON."""
        return {
            "indices": self.indices.tolist(),
            "gains": self.gains.tolist(),
            "value": self.value,
            "relevance": self.relevance,
            "diversity": self.diversity,
            "certificate": None if self.certificate is None else self.certificate.to_dict(),
            "solver": self.solver,
            "seconds": self.seconds,
            "stats": dict(self.stats),
        }

    def __repr__(self) -> str:
        shown = ", ".join(map(str, self.members[:8].tolist()))
        more = f", … {len(self) - 8} more" if len(self) > 8 else ""
        return f"{self._title()}: [{shown}{more}]\n  " + "\n  ".join(self._facts())

    def _repr_html_(self) -> str:
        columns = [(name, values.tolist()) for name, values in self.columns().items()]
        with contextlib.suppress(ImportError):  # an index reads its columns as a table of Arrow
            own = self.own_columns()
            columns += [] if own is None else frames.readable(own)
        return page.block(self._title(), self._facts(), page.table(columns))

    def _title(self) -> str:
        """Return what it is, and how it was found."""
        return f"{type(self).__name__} of {len(self)} by {self.solver}"

    def _facts(self) -> list[str]:
        """Return what it is worth and what is proven, a line each."""
        proof = "no certificate" if self.certificate is None else str(self.certificate)
        return [
            f"value {self.value:.5f}: relevance {self.relevance:.4f}, diversity {self.diversity:.4f}",
            f"{proof}; {self.seconds * 1e3:.1f} ms",
        ]
