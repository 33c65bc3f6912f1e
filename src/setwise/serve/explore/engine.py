"""What the page shows, move by move: the set beside the most relevant, where both lie, and what is proven.

The candidates of a query stay at hand, with the axes of their map, so that a move of a slider selects among
them and proves its set anew.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from setwise.explanation import Reason
from setwise.files.lengths import length
from setwise.index.base import Index
from setwise.objectives.base import euclidean
from setwise.pictures import DIVERSITIES, Axes, instead, neighborhoods
from setwise.retrieval import Retrieved, default_sharpness, retrieve
from setwise.serve.explore.kept import KeptIndex
from setwise.serve.explore.source import ExploredSource
from setwise.serve.explore.wish import OBJECTIVES, Wish

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Made = TypeVar("Made")

#: Candidates of a query that moves choose among: at least this many, and this many times k.
POOL, TIMES = 400, 4

#: Queries whose candidates are kept, and sets.
QUERIES, SETS = 4, 64

#: Characters of a text that the page shows.
CHARACTERS = 2000

#: Characters that would turn the direction of the words around an id.
_TURNS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class ExploredPool:
    """The candidates of a query.

    Attributes
    ----------
    vector : ndarray of shape (d,)
        The query's.
    index : Index
        That answers at once what it was asked before.
    rows : ndarray of shape (m,), int64
        The most relevant, falling.
    axes : Axes
        Of their map.
    places : ndarray of shape (m, 2)
    """

    vector: NDArray[Any]
    index: Index
    rows: NDArray[np.int64]
    axes: Axes
    places: Floats


class Explorer:
    """Answers the page."""

    def __init__(self, source: ExploredSource) -> None:
        self.source = source
        self._pools: OrderedDict[Hashable, ExploredPool] = OrderedDict()
        self._sets: OrderedDict[Hashable, Retrieved] = OrderedDict()
        self._frontiers: OrderedDict[Hashable, dict[str, Any]] = OrderedDict()
        self._neighborhoods: OrderedDict[Hashable, dict[str, Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._length = length()
        self._count = lru_cache(maxsize=100_000)(self._counted)

    def about(self) -> dict[str, Any]:
        """Return what is explored, and what may be asked of it."""
        index = self.source.index
        first = np.arange(1)
        return {
            "name": self.source.name,
            "candidates": index.size,
            "width": index.dim,
            "metric": index.metric,
            "encoder": self.source.encoder,
            "texts": self.source.texts is not None,
            "example": str(self.source.ids(first)[0]),
            "objectives": OBJECTIVES,
            "sharpness": default_sharpness("max-sum", index.metric),
        }

    def warm(self) -> None:
        """Load what the first move would wait for."""
        first = Wish(like=str(self.source.ids(np.arange(1))[0]), k=1, diversity=0.5)
        wishes = [first.model_copy(update={"k": k}) for k in range(2, 4) if k <= self.source.index.size]
        if self.source.texts is not None:
            wishes.append(first.model_copy(update={"tokens": 100}))
        for wish in [first, *wishes]:
            self.picture(wish)

    # ------------------------------------------------------------------ pictures

    def picture(self, wish: Wish) -> dict[str, Any]:
        """Return the set beside as many of the most relevant, what is proven of it, and where they lie."""
        began = time.perf_counter()
        pool = self._pool(wish)
        found, ranked = self._set(wish), self._set(self._ranking(wish), solver="top-k")
        rows = [self._unit(pool.index, one.ids) for one in (found, ranked)]
        chosen, leading = (np.asarray(one.ids, np.int64) for one in (found, ranked))
        kept = set(chosen.tolist()) & set(leading.tolist())
        new = np.flatnonzero(np.isin(chosen, leading, invert=True))
        gone = np.flatnonzero(np.isin(leading, chosen, invert=True))
        pairs = instead(new, gone, self._alike(rows[0][new], rows[1][gone]))
        n, k, certificate = self.source.index.size, len(found), found.certificate
        return {
            "set": self._items(found, rows[0], chosen, rows[0], kept, pool),
            "ranked": self._items(ranked, rows[1], chosen, rows[0], kept, pool),
            "instead": pairs,
            "value": found.value,
            "relevance": found.relevance,
            "diversity": found.diversity,
            "ranked_relevance": ranked.relevance,
            "ranked_diversity": ranked.diversity,
            "solver": found.solver,
            "certificate": None if certificate is None else certificate.to_dict(),
            "proven": certificate and certificate.explain(k, n, wish.objective, found.solver),
            "looked": certificate and certificate.explain_pool(n),
            "tokens": None if wish.tokens is None else sum(map(self._count, found.ids.tolist())),
            "seconds": time.perf_counter() - began,
        }

    def map(self, wish: Wish) -> dict[str, Any]:
        """Return where the query's candidates lie."""
        pool = self._pool(wish)
        return {
            "rows": pool.rows.tolist(),
            "places": np.round(pool.places, 5).tolist(),
            "share": list(pool.axes.share),
        }

    def neighborhoods(self, wish: Wish) -> dict[str, Any]:
        """Return where the query's candidates lie so that those alike lie together; takes a second or so."""

        def made() -> dict[str, Any]:
            pool = self._pool(wish)
            try:
                places = neighborhoods(self._unit(pool.index, pool.rows))
            except ImportError as error:
                return {"rows": [], "places": [], "missing": str(error)}
            return {"rows": pool.rows.tolist(), "places": np.round(places, 3).tolist(), "missing": None}

        return self._remembered(self._neighborhoods, (wish.query, wish.like), QUERIES, made)

    def frontier(self, wish: Wish) -> dict[str, Any]:
        """Return the two terms of the sets of every diversity, each among the query's candidates."""
        key = wish.model_copy(update={"diversity": 0.0, "thorough": False})

        def made() -> dict[str, Any]:
            pool = self._pool(wish)
            found = [
                self._select(pool, wish.model_copy(update={"diversity": diversity}), certify=False)
                for diversity in DIVERSITIES
            ]
            return {
                "diversities": list(DIVERSITIES),
                "relevance": [one.relevance for one in found],
                "spread": [one.diversity for one in found],
            }

        return self._remembered(self._frontiers, key, QUERIES, made)

    def reasons(self, wish: Wish) -> dict[str, Any]:
        """Return why each member was chosen and each of the most relevant was left out, by row."""
        found = self._set(wish)
        told = {}
        for one in found.explain(max(wish.k, len(found))):
            told[str(one.member)] = {"words": self._named(one).words(), "change": one.change}
        return {"reasons": told}

    def members(self, wish: Wish) -> list[dict[str, Any]]:
        """Return the set as records: rank, id, relevance, novelty, text and other columns."""
        found = self._set(wish)
        rows = np.asarray(found.ids, np.int64)
        own = {"id": self.source.ids(rows), "relevance": found.scores.tolist(), "novelty": _finite(found)}
        texts = {} if self.source.texts is None else {"text": self.source.texts(rows)}
        more = {
            name: values
            for name, values in self.source.columns(rows).items()
            if name not in (*own, *texts, "rank")
        }
        columns = {**own, **texts, **more}
        return [
            {"rank": place + 1, **{name: values[place] for name, values in columns.items()}}
            for place in range(len(rows))
        ]

    # ------------------------------------------------------------------ what is kept

    def _remembered(
        self, kept: OrderedDict[Hashable, Made], key: Hashable, most: int, make: Callable[[], Made]
    ) -> Made:
        """Return what is kept under a key, made where it is not."""
        with self._lock:
            if key in kept:
                kept.move_to_end(key)
                return kept[key]
        made = make()
        with self._lock:
            kept[key] = made
            while len(kept) > most:
                kept.popitem(last=False)
        return made

    def _pool(self, wish: Wish) -> ExploredPool:
        """Return the candidates of a query.

        Raises ValueError: there is neither a query nor a passage to go by, or the encoder knows no word of
        it.
        """
        if bool(wish.query.strip()) == bool(wish.like):
            raise ValueError("query: say what to look for, in words or by the id of a passage")

        def made() -> ExploredPool:
            source = self.source
            if wish.like:
                vector = source.index.vectors(np.array([source.row_of(wish.like)]))[0]
            else:
                vector = source.encode(wish.query)
            index = KeptIndex(source.index, POOL)
            most = min(POOL, index.size)
            found = retrieve(vector, index, most, diversity=0, solver="top-k", certify=False)
            rows = np.asarray(found.ids, np.int64)
            unit = self._unit(index, rows)
            axes = Axes.of(unit)
            return ExploredPool(vector, index, rows, axes, axes.places(unit))

        return self._remembered(self._pools, (wish.query, wish.like), QUERIES, made)

    def _set(self, wish: Wish, solver: str = "auto") -> Retrieved:
        """Return the set of a wish."""

        def made() -> Retrieved:
            return self._select(self._pool(wish), wish, certify=solver == "auto", solver=solver)

        return self._remembered(self._sets, (wish, solver), SETS, made)

    @staticmethod
    def _ranking(wish: Wish) -> Wish:
        """Return the wish for the most relevant: by relevance alone, measured as the set is."""
        return wish.model_copy(update={"diversity": 0.0, "thorough": False})

    def _select(self, pool: ExploredPool, wish: Wish, *, certify: bool, solver: str = "auto") -> Retrieved:
        """Select a set from a query's candidates, or from all."""
        size: dict[str, Any] = {}
        if wish.tokens is not None:
            if self.source.texts is None:
                raise ValueError("tokens: there are no texts to count; choose a number of passages")
            size = {"costs": self._count, "budget": wish.tokens}
            if not wish.thorough:  # a search for moves, and a proof, take many times as long as a greedy set
                certify, solver = False, "greedy" if solver == "auto" else solver
        k = None if size else wish.k
        if k is not None and k > pool.index.size:
            raise ValueError(f"k: {k} is more than the {pool.index.size} there are")
        # With a budget a search for moves among more would take seconds: those at hand are all of them.
        looked: Any = "auto" if wish.thorough and not size else max(POOL, TIMES * (k or 1))
        found: Retrieved = retrieve(
            pool.vector,
            pool.index,
            k,
            diversity=wish.diversity,
            objective=wish.objective,
            sharpness=wish.sharpness if wish.objective == "max-sum" else None,
            solver=solver,
            certify=certify,
            pool=looked,
            **size,
        )
        return found

    def _counted(self, row: int) -> int:
        """Return how many tokens a passage has."""
        assert self.source.texts is not None
        return self._length(self.source.texts(np.array([row]))[0])

    # ------------------------------------------------------------------ one passage

    def _items(
        self,
        found: Retrieved,
        rows: Floats,
        chosen: Places,
        members: Floats,
        kept: set[int],
        pool: ExploredPool,
    ) -> list[dict[str, Any]]:
        """Return a list's passages, each with its nearest among the set's other members."""
        ids = np.asarray(found.ids, np.int64)
        names = self.source.ids(ids)
        texts = [""] * len(ids) if self.source.texts is None else self.source.texts(ids)
        near = self._alike(rows, members)
        for place, row in enumerate(ids.tolist()):  # but to itself
            near[place, chosen == row] = -np.inf
        novelty, most = _finite(found), near.max(axis=1, initial=-np.inf)
        places = np.round(pool.axes.places(rows), 5).tolist()
        candidates = self._candidates(ids, rows, pool)
        return [
            {
                "row": row,
                "id": str(names[place]),
                "text": str(texts[place])[:CHARACTERS],
                "cut": len(texts[place]) > CHARACTERS,
                "relevance": float(found.scores[place]),
                "novelty": novelty[place],
                "shared": row in kept,
                "nearest": int(near[place].argmax()) if np.isfinite(most[place]) else None,
                "similarity": _number(most[place]),
                "place": places[place],
                "candidate": candidates[place],
            }
            for place, row in enumerate(ids.tolist())
        ]

    def _candidates(self, ids: Places, rows: Floats, pool: ExploredPool) -> list[int]:
        """Return each passage's row, or that of the candidate most like it where it is none itself."""
        found = ids.copy()
        others = np.flatnonzero(np.isin(ids, pool.rows, invert=True))
        if len(others):
            near = self._alike(rows[others], self._unit(pool.index, pool.rows))
            found[others] = pool.rows[near.argmax(axis=1)]
        return [int(row) for row in found]

    def _named(self, one: Reason) -> Reason:
        """Return a reason that speaks of ids."""
        near, place = (
            None if row is None else _TURNS.sub("", str(self.source.ids(np.array([int(row)]))[0]))
            for row in (one.nearest, one.place)
        )
        return replace(one, nearest=near, place=place)

    def _unit(self, index: Index, ids: Any) -> Floats:
        """Return the vectors of some rows, of unit length under cosine."""
        rows = np.asarray(index.vectors(np.asarray(ids, np.int64)), np.float64)
        if index.metric == "cosine":
            rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return rows

    def _alike(self, rows: Floats, others: Floats) -> Floats:
        """Return cosines, or minus distances."""
        if self.source.index.metric == "cosine":
            return np.asarray(rows @ others.T)
        return np.asarray(-euclidean(rows, others))


def _number(value: float) -> float | None:
    """Return a number that JSON has; None for the others."""
    return float(value) if np.isfinite(value) else None


def _finite(found: Retrieved) -> list[float | None]:
    """Return how new each member is; None where nothing was before it."""
    return [_number(value) for value in found.novelty.tolist()]
