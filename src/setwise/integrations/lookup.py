"""Vectors and results looked up by their ids, each id once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.index import Index

#: A vector for an id: a mapping, an index, or a function of a list of ids.
VectorSource = Mapping[Any, Any] | Index | Callable[[list[Any]], Sequence[Any]]


def as_rows(vectors: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
    """Return vectors of one width as a matrix. Raises ValueError: two of them differ in width."""
    rows = [np.asarray(vector) for vector in vectors]
    for place, row in enumerate(rows):
        if row.shape != rows[0].shape:
            raise ValueError(
                f"vectors: result {place} has an embedding of shape {row.shape}, the first one has "
                f"{rows[0].shape}; all must come from one model"
            )
    return np.stack(rows)


def look_up(source: VectorSource | None, names: Sequence[Hashable]) -> list[Any]:
    """Return a vector for each id, None where the source has none, or where there is no id.

    A callable takes a list of ids and returns as many vectors or Nones.

    Raises ValueError: a callable returned another number of vectors.
    """
    out: list[Any] = [None] * len(names)
    asked = [place for place, name in enumerate(names) if name is not None]
    if source is None or not asked:
        return out
    wanted = [names[place] for place in asked]
    if isinstance(source, Mapping):
        found: Sequence[Any] = [source.get(name) for name in wanted]
    elif isinstance(source, Index):
        found = _from_index(source, wanted)
    else:
        found = source(wanted)
        if len(found) != len(wanted):
            raise ValueError(f"vectors: the function returned {len(found)} vectors for {len(wanted)} ids")
    for place, vector in zip(asked, found, strict=True):
        out[place] = vector
    return out


def each_of(source: Any, ids: Sequence[Any], argument: str) -> list[Any]:
    """Return what a mapping, a sequence or a function has for each id of an index.

    Raises ValueError: it has nothing for one; `argument` names it.
    """
    try:
        return [source(one) if callable(source) else source[one] for one in ids]
    except LookupError as error:
        raise ValueError(f"{argument}: the index has an id that they lack ({error})") from error
    except TypeError as error:
        if callable(source) or isinstance(source, Mapping) or all(isinstance(one, int) for one in ids):
            raise
        raise ValueError(
            f"{argument}: a list goes by row number, and {ids[0]!r} is none; pass a mapping from ids"
        ) from error


def check_source(source: Any, *more: type) -> None:
    """Refuse what no vector can be looked up in; `more` are stores that the framework's own module can read.

    Raises TypeError: it is neither None, a mapping, an index, a function nor one of the stores.
    """
    if source is None or isinstance(source, (Mapping, Index, *more)) or callable(source):
        return
    names = ", ".join(["a mapping", "a setwise.Index", *(f"a {one.__name__}" for one in more)])
    raise TypeError(f"vectors: expected {names} or a function of ids; got {type(source).__name__}")


def fill(rows: list[Any], vectors: Sequence[Any]) -> None:
    """Put vectors where there are none, in order."""
    lacking = [place for place, row in enumerate(rows) if row is None]
    for place, vector in zip(lacking, vectors, strict=True):
        rows[place] = vector


def _from_index(index: Index, names: list[Hashable]) -> list[Any]:
    """Return stored vectors, None for each id that the index does not have."""
    try:
        return list(index.vectors(names))
    except (KeyError, ValueError):  # it is not stored, or its vector cannot be used
        if len(names) == 1:
            return [None]
    return [vector for name in names for vector in _from_index(index, [name])]


def first_of_each(names: Sequence[Hashable], scores: Sequence[float | None] | None = None) -> list[int]:
    """Return the positions to keep so that no id comes twice; None is never a repeat.

    Of the same id that of the highest score is kept, by default the first.
    """
    best: dict[Hashable, int] = {}
    for place, name in enumerate(names):
        key: Hashable = ("no id", place) if name is None else ("id", name)
        if key not in best or (scores is not None and _number(scores[place]) > _number(scores[best[key]])):
            best[key] = place
    return sorted(best.values())


def _number(score: float | None) -> float:
    return -np.inf if score is None else float(score)
