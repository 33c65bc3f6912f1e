"""Pools of responses out of rows: which columns they are in, one pool a prompt, what they have to hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.preference.rows.answers import as_answer, as_answers, inside, prompt_with, shared_prompt
from setwise.preference.rows.cells import (
    Prompt,
    as_list,
    as_prompt,
    as_reward,
    as_vector,
    as_vectors,
    check_context,
)
from setwise.preference.rows.columns import EACH, PAIR_REWARDS, PoolColumns
from setwise.preference.rows.sources import RowSource


@dataclass(frozen=True, eq=False)
class ResponsePool:
    """A prompt's responses.

    Attributes
    ----------
    prompt : str or list of messages
    responses : list of str
    rewards : ndarray of shape (N,), float64
        NaN where a response has none.
    embeddings : ndarray of shape (N, d) or None
    others : dict
        The row's other columns.
    each : dict of str to list
        Columns with one value a response: tokens and whether it ended; in long form all other columns.
    place : str
        Where it stands, for messages.
    read : int
        Rows of the source read by its end.
    places : list of int or None
        Where in the row each response stands; None where that is in this order.
    positive : list of bool or None
        Which responses the row says are chosen; None where it says nothing.
    """

    prompt: Prompt
    responses: list[str]
    rewards: NDArray[np.float64]
    embeddings: NDArray[Any] | None
    place: str
    read: int
    others: dict[str, Any] = field(default_factory=dict)
    each: dict[str, list[Any]] = field(default_factory=dict)
    places: list[int] | None = None
    positive: list[bool] | None = None

    def __len__(self) -> int:
        return len(self.responses)

    @property
    def tools(self) -> Any:
        """What the row says of tools; nothing or an empty list where it says nothing."""
        return self.others.get("tools") or next(iter(self.each.get("tools", ())), None)

    def only(self, kept: list[int]) -> ResponsePool:
        """Return the pool with some of its responses."""
        return replace(
            self,
            responses=[self.responses[place] for place in kept],
            rewards=self.rewards[kept],
            embeddings=None if self.embeddings is None else self.embeddings[kept],
            each={name: [cells[place] for place in kept] for name, cells in self.each.items()},
            places=kept if self.places is None else [self.places[place] for place in kept],
            positive=None if self.positive is None else [self.positive[place] for place in kept],
        )


def read_pools(source: RowSource, columns: PoolColumns) -> Iterator[ResponsePool]:
    """Yield a source's pools, one at a time.

    Raises TypeError: a cell is no list, text, message or number where it has to be one; ValueError: a row has
    more or fewer rewards or vectors than responses, no prompt or an empty one, a number that is not finite,
    vectors of another width than those before; or it goes back to an earlier prompt.
    """
    width = 0
    readers = {"response": _one_each, "pool": _all_in_one, "pair": _in_pairs}
    for pool in readers[columns.kind](source, columns):
        if pool.embeddings is not None and len(pool):
            d = pool.embeddings.shape[1]
            width = width or d
            if d != width:
                raise ValueError(
                    f"embeddings: those at {pool.place} have {d} numbers where earlier ones have {width}; "
                    "all need the same"
                )
        yield pool


def judged(pool: ResponsePool) -> ResponsePool:
    """Return a pool with rewards: of one without any, 1 where the row says chosen and 0 where rejected."""
    if pool.positive is None or not np.isnan(pool.rewards).all():
        return pool
    return replace(pool, rewards=np.array(pool.positive, np.float64))


def scored(pool: ResponsePool) -> list[int]:
    """Return which of a pool's responses have a score."""
    return np.flatnonzero(~np.isnan(pool.rewards)).tolist()


def sift(
    pool: ResponsePool, positives: int, split: str, distinct: bool, gap: float = 0.0
) -> tuple[list[int], list[int], list[int]]:
    """Return which of a pool's responses can be trained on, in rising demands.

    Parameters
    ----------
    positives, split
        As in `select_responses`.
    distinct : bool
        Whether the last list is of the second, rather than of the first.
    gap : float
        How much worse than a positive a response has to be.

    Returns
    -------
    worded : list of int
        Those that say something.
    first : list of int
        Of these, those that repeat no earlier one word for word.
    better : list of int
        Without those that are no worse than a positive, or not by so much, and are none.
    """
    worded = [place for place, text in enumerate(pool.responses) if text and not text.isspace()]
    seen: dict[str, int] = {}
    for place in worded:
        seen.setdefault(pool.responses[place], place)
    first = list(seen.values())
    kept = first if distinct else worded
    ranked = sorted(kept, key=lambda place: -pool.rewards[place])
    if split == "mean" and ranked and pool.rewards[ranked[0]] > pool.rewards[ranked[-1]]:
        return worded, first, kept  # a mean parts them, and equal ones are on the same side
    best = set(ranked[:positives])
    least = min((pool.rewards[place] for place in best), default=0.0)
    return (
        worded,
        first,
        [
            place
            for place in kept
            if place in best or (pool.rewards[place] < least and pool.rewards[place] <= least - gap)
        ],
    )


def _all_in_one(source: RowSource, columns: PoolColumns) -> Iterator[ResponsePool]:
    """Yield the pools of rows that are a prompt with all its responses."""
    for count, (place, row) in enumerate(source.rows(columns.embeddings), 1):
        cells = as_list(row, columns.responses, "responses", place)
        told = [as_answer(cell, "responses", f"{place}, response {at}") for at, cell in enumerate(cells)]
        if columns.rewards is not None and columns.rewards in row:
            scores = as_list(row, columns.rewards, "rewards", place)
            if row[columns.rewards] is None:
                scores = [None] * len(told)
        else:
            scores = [None if columns.rewards is None else inside(cell, columns.rewards) for cell in cells]
        yield _pool(row, columns, told, scores, place, count)


def _in_pairs(source: RowSource, columns: PoolColumns) -> Iterator[ResponsePool]:
    """Yield the pools of rows that are chosen and rejected responses, the chosen first."""
    for count, (place, row) in enumerate(source.rows(columns.embeddings), 1):
        for name in ("chosen", "rejected"):
            if row.get(name) is None:
                raise ValueError(f"{name}: {place} has none; drop the row")
        chosen = as_answers(row.get("chosen"), "chosen", place)
        rejected = as_answers(row.get("rejected"), "rejected", place)
        scores = _pair_scores(row, columns, len(chosen), len(rejected), place)
        positive = [True] * len(chosen) + [False] * len(rejected)
        yield _pool(row, columns, chosen + rejected, scores, place, count, positive)


def _pair_scores(
    row: dict[str, Any], columns: PoolColumns, chosen: int, rejected: int, place: str
) -> list[Any]:
    """Return the rewards of a row's chosen and rejected: one list of both, or one of each."""
    if columns.rewards is not None and row.get(columns.rewards) is not None:
        return as_list(row, columns.rewards, "rewards", place)
    for names in PAIR_REWARDS:
        if all(row.get(name) is not None for name in names):
            return [
                score
                for name in names
                for score in (row[name] if isinstance(row[name], list | tuple) else [row[name]])
            ]
    return [None] * (chosen + rejected)


def _pool(
    row: dict[str, Any],
    columns: PoolColumns,
    told: Sequence[tuple[list[dict[str, Any]], str]],
    scores: list[Any],
    place: str,
    count: int,
    positive: list[bool] | None = None,
) -> ResponsePool:
    """Return the pool of a row with several responses."""
    if len(scores) != len(told):
        raise ValueError(
            f"rewards: {place} has {len(scores)} for {len(told)} responses; give each response one"
        )
    before, texts = [messages for messages, _ in told], [text for _, text in told]
    cell = None if columns.prompt is None else row.get(columns.prompt)
    prompt: Prompt | None = None
    if cell is not None or not any(before):
        if columns.prompt is None and texts:
            prompt, texts = shared_prompt(texts, place)
        else:
            prompt = as_prompt(cell, columns.prompt or "prompt", place)
            check_context(row, prompt, columns.context, place)
    vectors = None
    if columns.embeddings is not None:
        vectors = as_vectors(row, columns.embeddings, len(texts), place)
    return ResponsePool(
        prompt_with(prompt, before, place),
        texts,
        np.array([as_reward(cell, f"{place}, response {at}") for at, cell in enumerate(scores)], np.float64),
        vectors,
        place,
        count,
        others={name: cell for name, cell in row.items() if name not in columns.taken},
        each=_each(row, len(texts), place),
        positive=positive,
    )


def _each(row: dict[str, Any], count: int, place: str) -> dict[str, list[Any]]:
    """Return the columns that have one value a response."""
    found = {}
    for name in EACH:
        if row.get(name) is not None:
            found[name] = as_list(row, name, name, place)
            if len(found[name]) != count:
                raise ValueError(
                    f"{name}: {place} has {len(found[name])} for {count} responses; give each one"
                )
    return found


def _one_each(source: RowSource, columns: PoolColumns) -> Iterator[ResponsePool]:
    """Yield the pools of rows that are one response, those of a prompt one after the other."""
    seen: set[int] = set()  # hashes, since a prompt can be long
    group: list[tuple[str, dict[str, Any]]] = []
    current: Any = None
    key_name = columns.prompt_id or columns.prompt or "prompt"
    count = 0
    for count, (place, row) in enumerate(source.rows(columns.embeddings), 1):
        key = row.get(key_name)
        if key is None:
            raise ValueError(f"prompt: {place} has nothing in {key_name!r}; every row needs its prompt")
        if group and key != current:
            yield _gathered(group, columns, count - 1)
            group = []
        if not group:
            digest = hash(key if isinstance(key, str) else repr(key))  # hash(-1) is hash(-2)
            if digest in seen:
                raise ValueError(
                    f"prompt: {place} goes back to a prompt of earlier rows; sort the rows by {key_name!r}"
                )
            seen.add(digest)
            current = key
        group.append((place, row))
    if group:
        yield _gathered(group, columns, count)


def _gathered(group: list[tuple[str, dict[str, Any]]], columns: PoolColumns, count: int) -> ResponsePool:
    """Return the pool that is a prompt's rows."""
    first_place, first = group[0]
    name = columns.prompt or "prompt"
    prompt = as_prompt(first.get(name), name, first_place)
    check_context(first, prompt, columns.context, first_place)
    for place, row in group[1:]:
        if row.get(name) != first.get(name):
            raise ValueError(
                f"prompt: {place} has another {name!r} than {first_place}, with the same "
                f"{columns.prompt_id!r}"
            )
    keep = dict.fromkeys(name for _, row in group for name in row if name not in columns.taken)
    keep.pop(columns.prompt_id or "", None)
    vectors = None
    if columns.embeddings is not None:
        name = columns.embeddings
        rows = [as_vector(row.get(name), name, place) for place, row in group]
        lengths = {len(row) for row in rows}
        if len(lengths) > 1:
            raise ValueError(
                f"embeddings: those of the prompt at {first_place} have {min(lengths)} to {max(lengths)} "
                "numbers; all need the same"
            )
        vectors = np.stack(rows)
    told = [as_answer(row.get(columns.responses), "responses", place) for place, row in group]
    return ResponsePool(
        prompt_with(prompt, [messages for messages, _ in told], first_place),
        [text for _, text in told],
        np.array([as_reward(row.get(columns.rewards or ""), place) for place, row in group], np.float64),
        vectors,
        first_place,
        count,
        others={} if columns.prompt_id is None else {columns.prompt_id: first[columns.prompt_id]},
        each={name: [row.get(name) for _, row in group] for name in keep},
    )
