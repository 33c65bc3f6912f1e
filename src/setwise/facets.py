"""What a set should cover: how relevant each candidate is to each of several facets, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.containers import to_numpy
from setwise.queries import as_queries
from setwise.vectors import Floats, Vectors

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class FacetRelevance:
    """How relevant each candidate is to each facet, at least 0.

    Attributes
    ----------
    vectors : Vectors
        The candidates.
    directions : ndarray of shape (m, d), float64, or None
        Facets of unit length; the relevance is the cosine, and 0 where that is less.
    given : ndarray of shape (n, m), float64, or None
        The relevance itself.
    """

    vectors: Vectors
    directions: Vector | None
    given: Vector | None

    @classmethod
    def of(cls, facets: Any, vectors: Vectors) -> FacetRelevance:
        """Check what was given as `facets`.

        Parameters
        ----------
        facets : array-like of shape (m, d) or (n, m), or mapping of m names to n numbers
            n counts the candidates before some were barred.
        vectors : Vectors
            The candidates.

        Raises TypeError: they are no numbers; ValueError: they are of another shape, not finite, below 0, or
        zero under cosine; vectors under euclidean.
        """
        table = relevance_among(facets, vectors.d)
        if table is None:
            return cls(vectors, directions_of(facets, vectors.d, vectors.metric), None)
        rows = len(vectors.raw)
        if len(table) != rows:
            raise ValueError(
                f"facets: expected shape (m, {vectors.d}), or ({rows}, m) of relevance, got {table.shape}"
            )
        values = table.astype(np.float64)
        bad = np.argwhere(~(np.isfinite(values) & (values >= 0)))
        if len(bad):
            row, facet = bad[0].tolist()
            raise ValueError(
                f"facets: row {row} has {values[row, facet]:g} for facet {facet}; relevance to a facet is "
                "finite and at least 0"
            )
        return cls(vectors, None, values if vectors.kept is None else values[vectors.kept])

    @property
    def count(self) -> int:
        """Number of facets."""
        table = self.given.T if self.given is not None else self.directions
        assert table is not None
        return len(table)

    def at(self, ids: Rows | slice, rows: Floats | None = None) -> Vector:
        """Return the relevance of some candidates to each facet, shape (…, m), float64.

        Parameters
        ----------
        ids : ndarray of int64 or slice
        rows : ndarray of shape (…, d), float64, optional
            Their rows, where at hand.
        """
        if self.given is not None:
            return self.given[ids]
        assert self.directions is not None
        own = self.vectors.rows(ids, np.float64) if rows is None else rows
        return np.maximum(own @ self.directions.T, 0.0)

    def of_all(self) -> Vector:
        """Return the relevance of all candidates to each facet in working precision, shape (n, m)."""
        if self.given is not None:
            return self.given
        assert self.directions is not None
        found = np.empty((self.vectors.n, self.count))

        def take(start: int, stop: int, products: Floats) -> None:
            found[start:stop] = products

        self.vectors.products(self.directions, take)
        return np.maximum(found, 0.0, out=found)


def are_texts(facets: Any) -> bool:
    """Return whether facets are given in words."""
    return (
        isinstance(facets, list | tuple) and len(facets) > 0 and all(isinstance(one, str) for one in facets)
    )


def directions_of(facets: Any, d: int, metric: str) -> Vector:
    """Return facets that are vectors as rows of unit length, shape (m, d).

    Raises TypeError, ValueError: they are no numbers, of another width, not finite or zero; or the metric is
    euclidean.
    """
    if isinstance(facets, Mapping):
        raise TypeError(
            "facets: relevance to each is for select; pass vectors, or texts where there are words"
        )
    if metric != "cosine":
        raise ValueError(
            "facets: vectors need metric='cosine'; under euclidean pass select the relevance to each, (n, m)"
        )
    return as_queries(as_table(facets), d, "facets", metric="cosine")


def relevance_among(facets: Any, d: int) -> NDArray[Any] | None:
    """Return facets that are relevance as a table of one row a candidate; None where they are vectors.

    What is as wide as the candidates' vectors, ``d``, is vectors, unless its columns have names.

    Raises TypeError, ValueError: as `as_table`.
    """
    table = as_table(facets)
    return table if isinstance(facets, Mapping) or table.shape[1] != d else None


def facets_by(take: Callable[[str, Any], Any], facets: Any, d: int | None = None) -> Any:
    """Return facets with their relevance put in the order of the candidates.

    Parameters
    ----------
    take : callable (argument's name, what was given) -> what is meant
    facets : array-like, mapping or None
    d : int, optional
        Width of the candidates' vectors: a pandas frame as wide is vectors, and stays as it is.

    Raises TypeError, ValueError: as `as_table`.
    """
    if isinstance(facets, Mapping):
        return {name: take(f"facets[{name!r}]", one) for name, one in facets.items()}
    if not hasattr(facets, "iloc") or (d is not None and relevance_among(facets, d) is None):
        return facets
    return take("facets", facets)


def parts_of(facets: Any, d: int, n: int, source: str) -> Callable[[Rows | slice], Any] | None:
    """Return what takes the part of facets that is some candidates'; None where they are vectors, for all.

    Parameters
    ----------
    facets : array-like or mapping
    d : int
        Width of the candidates' vectors.
    n : int
        How many candidates there are.
    source : str
        What they are the rows of, for messages.

    Raises TypeError, ValueError: as `as_table`; ValueError: the relevance is of another number of candidates.
    """
    table = relevance_among(facets, d)
    if table is None:
        return None
    if len(table) != n:
        raise ValueError(f"facets: expected {n} rows, one a row of {source}, got {len(table)}")
    if isinstance(facets, Mapping):
        return lambda rows: dict(zip(facets, table[rows].T, strict=True))
    return lambda rows: table[rows]


def as_table(facets: Any) -> NDArray[Any]:
    """Return facets as a table of numbers: as given, or of a mapping one column a name.

    Raises TypeError, ValueError: they are no numbers, of different lengths, or not of two dimensions.
    """
    if isinstance(facets, Mapping):
        columns = [to_numpy(one, f"facets[{name!r}]", flat=True) for name, one in facets.items()]
        if any(one.ndim != 1 for one in columns):
            raise ValueError("facets: expected one number a candidate for each name")
        if len({one.shape for one in columns}) > 1:
            raise ValueError("facets: the names have different numbers of candidates")
        table = np.stack(columns, axis=1) if columns else np.empty((0, 0))
    else:
        table = to_numpy(facets, "facets")
    if table.dtype.kind not in "fiu":
        raise TypeError(f"facets: dtype {table.dtype} cannot be used; pass floats or integers")
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"facets: expected vectors (m, d) or relevance (n, m), got shape {table.shape}")
    return table
