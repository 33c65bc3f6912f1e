"""Pools of responses out of rows: which columns they are in, one pool a prompt, what they have to hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.files.names import column
from setwise.preference.rows.cells import (
    Prompt,
    as_list,
    as_prompt,
    as_reward,
    as_text,
    as_vector,
    as_vectors,
)
from setwise.preference.rows.sources import RowSource

PROMPT_COLUMNS = ("prompt", "instruction", "question", "query")
#: Of rows that are a prompt with all its responses: SimPO's and AMPO's names among them.
RESPONSES_COLUMNS = ("responses", "all_generated_responses", "generations", "completions")
REWARDS_COLUMNS = ("rewards", "all_rm_scores", "all_reward_scores", "scores", "ratings")
EMBEDDINGS_COLUMNS = ("embeddings", "response_embeddings")
#: Of rows that are one response.
ID_COLUMNS = ("prompt_id",)
RESPONSE_COLUMNS = ("response", "completion", "generation", "output")
REWARD_COLUMNS = ("reward", "rm_score", "reward_score", "score", "rating")
EMBEDDING_COLUMNS = ("embedding", "response_embedding", "vector")


@dataclass(frozen=True)
class PoolColumns:
    """Which columns hold what.

    Attributes
    ----------
    prompt, responses, rewards : str
    embeddings : str or None
    prompt_id : str or None
        In long form, what says which rows belong together; None where the prompt itself does.
    long : bool
        Whether a row is one response, rather than a prompt with all of them.
    unused : str or None
        A column of embeddings that is not read.
    """

    prompt: str
    responses: str
    rewards: str
    embeddings: str | None
    prompt_id: str | None
    long: bool
    unused: str | None = None

    @property
    def taken(self) -> frozenset[str]:
        """The columns of prompts and responses, which are not handed through as they are."""
        names = (self.prompt, self.responses, self.rewards, self.embeddings, self.unused)
        return frozenset(name for name in names if name is not None)

    def to_dict(self) -> dict[str, str | bool | None]:
        """Return the names as plain values."""
        return {name: value for name, value in asdict(self).items() if name != "unused"}

    def without_embeddings(self) -> PoolColumns:
        """Return the same, with vectors to be made from the responses."""
        return replace(self, embeddings=None, unused=self.embeddings)


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
        In long form, the other columns, one value a response.
    place : str
        Where it stands, for messages.
    read : int
        Rows of the source read by its end.
    places : list of int or None
        Where in the row each response stands; None where that is in this order.
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

    def __len__(self) -> int:
        return len(self.responses)

    def only(self, kept: list[int]) -> ResponsePool:
        """Return the pool with some of its responses."""
        return replace(
            self,
            responses=[self.responses[place] for place in kept],
            rewards=self.rewards[kept],
            embeddings=None if self.embeddings is None else self.embeddings[kept],
            each={name: [cells[place] for place in kept] for name, cells in self.each.items()},
            places=kept if self.places is None else [self.places[place] for place in kept],
        )


def find_columns(
    source: RowSource,
    *,
    prompt: str | None = None,
    prompt_id: str | None = None,
    responses: str | None = None,
    rewards: str | None = None,
    embeddings: str | None = None,
) -> PoolColumns:
    """Return which columns hold what: those that are named, else the first known name that there is.

    Whether a row is a prompt with all its responses or one response is told by what its column of responses
    holds: a list, or a string.

    Raises
    ------
    ValueError
        There is no column of the name given, or, where none is, none of a known name; `prompt_id` is given
        for rows that are a prompt with all its responses.
    """
    names = source.columns
    given = {
        "prompt": prompt,
        "prompt_id": prompt_id,
        "responses_column": responses,
        "rewards": rewards,
        "embeddings": embeddings,
    }
    for argument, name in given.items():
        if name is not None:
            column(names, name, argument, source.name)
    if responses is None:
        responses = _known(source, "responses_column", (*RESPONSES_COLUMNS, *RESPONSE_COLUMNS))
    said = (row.get(responses) for _, row in source.rows())
    long = isinstance(next((cell for cell in said if cell is not None), None), str)
    if prompt_id is not None and not long:
        raise ValueError(
            f"prompt_id: it is for rows of one response; a row of {source.name} is a prompt with all of them"
        )
    if long and prompt_id is None:
        prompt_id = next((name for name in ID_COLUMNS if name in names), None)
    known = EMBEDDING_COLUMNS if long else EMBEDDINGS_COLUMNS
    return PoolColumns(
        prompt or _known(source, "prompt", PROMPT_COLUMNS),
        responses,
        rewards or _known(source, "rewards", REWARD_COLUMNS if long else REWARDS_COLUMNS),
        embeddings or next((name for name in known if name in names), None),
        prompt_id,
        long,
    )


def read_pools(source: RowSource, columns: PoolColumns) -> Iterator[ResponsePool]:
    """Yield a source's pools, one at a time.

    Raises
    ------
    TypeError
        A cell is no list, text, message or number where it has to be one.
    ValueError
        A row has more or fewer rewards or vectors than responses, no prompt or an empty one, a number that
        is not finite, vectors of another width than those before; or it goes back to an earlier prompt.
    """
    width = 0
    for pool in (_one_each if columns.long else _all_in_one)(source, columns):
        if pool.embeddings is not None and len(pool):
            d = pool.embeddings.shape[1]
            width = width or d
            if d != width:
                raise ValueError(
                    f"embeddings: those at {pool.place} have {d} numbers where earlier ones have {width}; "
                    "all need the same"
                )
        yield pool


def scored(pool: ResponsePool) -> list[int]:
    """Return which of a pool's responses have a score."""
    found: list[int] = np.flatnonzero(~np.isnan(pool.rewards)).tolist()
    return found


def sift(
    pool: ResponsePool, positives: int, split: str, distinct: bool
) -> tuple[list[int], list[int], list[int]]:
    """Return which of a pool's responses can be trained on, in rising demands.

    Parameters
    ----------
    pool : ResponsePool
    positives, split
        As in `select_responses`.
    distinct : bool
        Whether the last list is of the second, rather than of the first.

    Returns
    -------
    worded : list of int
        Those that say something.
    first : list of int
        Of these, those that repeat no earlier one word for word.
    better : list of int
        Without those that are no worse than a positive and are none.
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
    return worded, first, [place for place in kept if place in best or pool.rewards[place] < least]


def _known(source: RowSource, argument: str, candidates: Sequence[str]) -> str:
    """Return the first column of a known name."""
    found = next((name for name in candidates if name in source.columns), None)
    if found is None:
        raise ValueError(
            f"{argument}: {source.name} has no column {' or '.join(candidates)}; say which it is "
            f"(columns: {', '.join(source.columns)})"
        )
    return found


def _all_in_one(source: RowSource, columns: PoolColumns) -> Iterator[ResponsePool]:
    """Yield the pools of rows that are a prompt with all its responses."""
    for count, (place, row) in enumerate(source.rows(columns.embeddings), 1):
        cells = as_list(row, columns.responses, "responses", place)
        responses = [as_text(cell, "responses", f"{place}, response {at}") for at, cell in enumerate(cells)]
        scores = as_list(row, columns.rewards, "rewards", place)
        if row.get(columns.rewards) is None:
            scores = [None] * len(responses)
        if len(scores) != len(responses):
            raise ValueError(
                f"rewards: {place} has {len(scores)} for {len(responses)} responses; give each response one"
            )
        vectors = None
        if columns.embeddings is not None:
            vectors = as_vectors(row, columns.embeddings, len(responses), place)
        yield ResponsePool(
            as_prompt(row.get(columns.prompt), columns.prompt, place),
            responses,
            np.array(
                [as_reward(cell, f"{place}, response {at}") for at, cell in enumerate(scores)], np.float64
            ),
            vectors,
            place,
            count,
            others={name: cell for name, cell in row.items() if name not in columns.taken},
        )


def _one_each(source: RowSource, columns: PoolColumns) -> Iterator[ResponsePool]:
    """Yield the pools of rows that are one response, those of a prompt one after the other."""
    seen: set[int] = set()  # hashes, since a prompt can be long
    group: list[tuple[str, dict[str, Any]]] = []
    current: Any = None
    key_name = columns.prompt_id or columns.prompt
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
    prompt = as_prompt(first.get(columns.prompt), columns.prompt, first_place)
    for place, row in group[1:]:
        if row.get(columns.prompt) != first.get(columns.prompt):
            raise ValueError(
                f"prompt: {place} has another {columns.prompt!r} than {first_place}, with the same "
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
    return ResponsePool(
        prompt,
        [as_text(row.get(columns.responses), "responses", place) for place, row in group],
        np.array([as_reward(row.get(columns.rewards), place) for place, row in group], np.float64),
        vectors,
        first_place,
        count,
        others={} if columns.prompt_id is None else {columns.prompt_id: first[columns.prompt_id]},
        each={name: [row.get(name) for _, row in group] for name in keep},
    )
