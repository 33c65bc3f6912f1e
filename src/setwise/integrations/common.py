"""What the integrations share: parameters checked at the border, vectors looked up by id, one selection."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import setwise
from setwise import checks
from setwise.index import Index
from setwise.objectives import make
from setwise.relevance import check_scale
from setwise.retrieval import Retrieved

#: The trade-off where none is given: that of `setwise.retrieve`.
DIVERSITY = 0.3

#: How many are selected where nothing is said: as many as `setwise.retrieve` does.
K = 10

#: How many a store is asked for where `fetch_k` is not given: enough for most, and one round trip.
FETCH, FETCH_PER_K = 50, 5

#: What may be done with a result that has no vector or no score.
MISSING = ("error", "warn", "append")

#: A vector for an id: a mapping, an index, or a function of a list of ids.
VectorSource = Mapping[Any, Any] | Index | Callable[[list[Any]], Sequence[Any]]


@dataclass(frozen=True)
class Choice:
    """How a set is chosen; checked when it is made.

    Attributes
    ----------
    k : int or None
        Size of the set, at least 1; None for all there are.
    diversity : float
        In [0, 1].
    sharpness : int or None
        As for `setwise.retrieve`.
    objective : {"max-sum", "mmr", "log-det"}

    Raises
    ------
    TypeError, ValueError
        A parameter is out of its range; the message names it.
    """

    k: int | None = K
    diversity: float = DIVERSITY
    sharpness: int | None = None
    objective: str = "max-sum"

    def __post_init__(self) -> None:
        if self.k is not None:
            checks.integer("k", self.k, least=1)
        checks.fraction("diversity", self.diversity)
        if not isinstance(self.objective, str):
            raise TypeError(f"objective: expected a name, got {type(self.objective).__name__}")
        make(
            self.objective,
            diversity=self.diversity,
            sharpness=1 if self.sharpness is None else self.sharpness,
        )

    def options(self) -> dict[str, Any]:
        """Return the keywords that `setwise.retrieve` and `setwise.diversify` take."""
        return {"diversity": self.diversity, "sharpness": self.sharpness, "objective": self.objective}


@dataclass(frozen=True)
class Search:
    """A choice among what is yet to be found; checked when it is made.

    Attributes
    ----------
    choice : Choice
        With a k.
    fetch_k : int or None
        How many candidates are fetched, at least k; None leaves it to `fetched` and `of_index`.
    filter : optional
        In the store's own terms.

    Raises
    ------
    TypeError, ValueError
        `fetch_k` is below k, or no integer.
    """

    choice: Choice
    fetch_k: int | None = None
    filter: Any = None

    def __post_init__(self) -> None:
        if self.fetch_k is None:
            return
        checks.integer("fetch_k", self.fetch_k, least=1)
        if self.fetch_k < self.k:
            raise ValueError(
                f"fetch_k: {self.fetch_k} candidates cannot give k = {self.k}; raise it, or pass None"
            )

    @property
    def k(self) -> int:
        """The size of the set."""
        if self.choice.k is None:
            raise TypeError("k: expected an integer, got None")
        return self.choice.k

    @property
    def fetched(self) -> int:
        """How many candidates a store is asked for in one search."""
        return max(FETCH, FETCH_PER_K * self.k) if self.fetch_k is None else self.fetch_k

    def of_index(self, index: Index) -> dict[str, Any]:
        """Return the keywords of `setwise.retrieve` over an index, which knows by itself how many suffice."""
        return {
            **self.choice.options(),
            "k": min(self.k, index.size),
            "pool": "auto" if self.fetch_k is None else min(self.fetch_k, index.size),
            "filter": self.filter,
        }


@dataclass(frozen=True)
class Picked:
    """What was chosen of the results, in selection order.

    Attributes
    ----------
    rows : list
        Positions among the results, or an index's ids.
    relevance, gain, novelty : list of float
        Of each: its relevance as it was given or found (before any rescaling), the objective's score when
        it was selected, and 1 - its largest cosine to an earlier one (1 for the first).
    """

    rows: list[Any]
    relevance: list[float]
    gain: list[float]
    novelty: list[float]

    @classmethod
    def of(cls, found: Retrieved, relevance: NDArray[np.float64] | None = None) -> Picked:
        """Return what `setwise.retrieve` or `setwise.diversify` found, with other relevance where given."""
        known = found.scores if relevance is None else relevance
        return cls(found.ids.tolist(), known.tolist(), found.gains.tolist(), found.novelty.tolist())

    def facts(self, position: int) -> dict[str, float]:
        """Return what is known of one member, by name."""
        return {
            "relevance": self.relevance[position],
            "gain": self.gain[position],
            "novelty": self.novelty[position],
        }


def pick(
    vectors: Sequence[Any] | NDArray[Any],
    choice: Choice,
    *,
    relevance: Sequence[float] | NDArray[Any] | None = None,
    query: Any = None,
    relevance_scale: str = "minmax",
) -> Picked:
    """Choose among results that are all at hand.

    Parameters
    ----------
    vectors : sequence of n vectors
    choice : Choice
        A k above n chooses all n.
    relevance : sequence of n numbers, optional
        One of `relevance` and `query`.
    query : array-like of shape (d,), optional
        The cosine to it is the relevance, not rescaled.
    relevance_scale : {"none", "minmax", "zscore", "rank"}
        For `relevance`.

    Raises
    ------
    TypeError, ValueError
        As for `setwise.diversify`: NaN, zero vectors, widths that differ.
    """
    n = len(vectors)
    if n == 0:
        return Picked([], [], [], [])
    rows = as_rows(vectors)
    k = n if choice.k is None else min(choice.k, n)
    if relevance is None:
        return Picked.of(setwise.retrieve(query, Index.from_array(rows), k, **choice.options()))
    given = np.asarray(relevance, np.float64)
    found = setwise.diversify(
        np.arange(n), k, relevance=given, vectors=rows, relevance_scale=relevance_scale, **choice.options()
    )
    return Picked.of(found, given[found.ids])


def as_rows(vectors: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
    """Return vectors of one width as a matrix.

    Raises
    ------
    ValueError
        Two of them differ in width.
    """
    rows = [np.asarray(vector) for vector in vectors]
    for place, row in enumerate(rows):
        if row.shape != rows[0].shape:
            raise ValueError(
                f"vectors: result {place} has an embedding of shape {row.shape}, the first one has "
                f"{rows[0].shape}; all must come from one model"
            )
    return np.stack(rows)


def check_common(*, relevance_scale: str = "minmax", missing: str = "error") -> None:
    """Check the parameters that every post-processing step has."""
    check_scale(relevance_scale)
    checks.choice("missing", missing, MISSING)


def take_weight(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return parameters with a framework's weight on relevance turned into `diversity`.

    Parameters
    ----------
    values : mapping
        Parameters by name; None counts as not given, 0 does not.
    name : str
        The weight's name; diversity = 1 - weight.

    Raises
    ------
    TypeError, ValueError
        The weight is not a number in [0, 1], or both are given.
    """
    out = dict(values)
    weight = out.pop(name, None)
    if weight is None:
        return out
    if out.get("diversity") is not None:
        raise ValueError(f"{name}: pass diversity or {name}, not both (diversity = 1 - {name})")
    if isinstance(weight, bool | str | bytes):
        raise TypeError(f"{name}: expected a number in [0, 1], got {weight!r}")
    try:
        number = float(weight)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a number in [0, 1], got {type(weight).__name__}") from None
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"{name}: {number} is outside [0, 1] (1 = relevance alone, 0 = diversity alone)")
    out["diversity"] = 1.0 - number
    return out


def take_alias(values: Mapping[str, Any], alias: str, name: str) -> dict[str, Any]:
    """Return parameters with an alias renamed.

    Raises
    ------
    ValueError
        Both are given.
    """
    out = dict(values)
    value = out.pop(alias, None)
    if value is None:
        return out
    if out.get(name) is not None:
        raise ValueError(f"{alias}: pass {name} or {alias}, not both; they mean the same")
    out[name] = value
    return out


def look_up(source: VectorSource | None, names: Sequence[Hashable]) -> list[Any]:
    """Return a vector for each id, None where the source has none.

    Parameters
    ----------
    source : mapping, Index, callable or None
        A callable takes a list of ids and returns as many vectors or Nones.
    names : sequence
        Ids; None for a result that has none.

    Raises
    ------
    ValueError
        A callable returned another number of vectors.
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


def check_source(source: Any, *more: type) -> None:
    """Refuse what no vector can be looked up in.

    Parameters
    ----------
    source : object
    *more : type
        Stores that the framework's own module can read.

    Raises
    ------
    TypeError
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
    except KeyError:
        if len(names) == 1:
            return [None]
    return [vector for name in names for vector in _from_index(index, [name])]


def first_of_each(names: Sequence[Hashable], scores: Sequence[float | None] | None = None) -> list[int]:
    """Return the positions to keep so that no id comes twice.

    Parameters
    ----------
    names : sequence
        Ids; None is never a repeat.
    scores : sequence of float or None, optional
        Of the same id the highest is kept, by default the first.
    """
    best: dict[Hashable, int] = {}
    for place, name in enumerate(names):
        key: Hashable = ("no id", place) if name is None else ("id", name)
        if key not in best or (scores is not None and _number(scores[place]) > _number(scores[best[key]])):
            best[key] = place
    return sorted(best.values())


def _number(score: float | None) -> float:
    return -np.inf if score is None else float(score)


def split(
    lacking: Sequence[bool], missing: str, report: Callable[[int, int], str]
) -> tuple[list[int], list[int]]:
    """Return the positions that can be chosen among, and those to append.

    Parameters
    ----------
    lacking : sequence of bool
        Whether a result lacks what choosing needs.
    missing : {"error", "warn", "append"}
        Refuse; leave out with a warning; or place after those chosen, in the order they came.
    report : callable
        The message, of the number that lack it and the position of the first.

    Raises
    ------
    ValueError
        One lacks it, and `missing` is "error".
    """
    present = [place for place, absent in enumerate(lacking) if not absent]
    left = [place for place, absent in enumerate(lacking) if absent]
    if not left:
        return present, []
    if missing == "append":
        return present, left
    text = report(len(left), left[0])
    if missing == "error":
        raise ValueError(text)
    checks.warn(f"{text}; left out")
    return present, []
