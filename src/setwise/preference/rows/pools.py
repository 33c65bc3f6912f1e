"""Pools of responses out of rows: which columns they are in, one pool a prompt, what they have to hold."""

from __future__ import annotations

import numbers
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.files.names import column
from setwise.preference.responses.batches import LARGEST
from setwise.preference.rows.sources import RowSource
from setwise.vectors import as_matrix

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

#: Half a surrogate pair: JSON can spell it, UTF-8 cannot.
_SURROGATE = re.compile("[\ud800-\udfff]")

_NOT_FINITE = "has NaN, Inf or an entry beyond 1e140; drop that response or embed it again"

Prompt = str | list[dict[str, Any]]


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
        There is no such column, or none of a known name.
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
    long = isinstance(next(source.rows())[1].get(responses), str)
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
    TypeError, ValueError
        A row holds something else than it should; the message names it and the column.
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
        cells = _listed(row, columns.responses, "responses", place)
        responses = [_text(cell, "responses", f"{place}, response {at}") for at, cell in enumerate(cells)]
        scores = _listed(row, columns.rewards, "rewards", place)
        if len(scores) != len(responses):
            raise ValueError(
                f"rewards: {place} has {len(scores)} for {len(responses)} responses; give each response one"
            )
        yield ResponsePool(
            _prompt(row.get(columns.prompt), columns.prompt, place),
            responses,
            np.array(
                [_reward(cell, f"{place}, response {at}") for at, cell in enumerate(scores)], np.float64
            ),
            None if columns.embeddings is None else _matrix(row, columns.embeddings, len(responses), place),
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
    prompt = _prompt(first.get(columns.prompt), columns.prompt, first_place)
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
        rows = [_vector(row.get(name), name, place) for place, row in group]
        lengths = {len(row) for row in rows}
        if len(lengths) > 1:
            raise ValueError(
                f"embeddings: those of the prompt at {first_place} have {min(lengths)} to {max(lengths)} "
                "numbers; all need the same"
            )
        vectors = np.stack(rows)
    return ResponsePool(
        prompt,
        [_text(row.get(columns.responses), "responses", place) for place, row in group],
        np.array([_reward(row.get(columns.rewards), place) for place, row in group], np.float64),
        vectors,
        first_place,
        count,
        others={} if columns.prompt_id is None else {columns.prompt_id: first[columns.prompt_id]},
        each={name: [row.get(name) for _, row in group] for name in keep},
    )


def _listed(row: dict[str, Any], name: str, argument: str, place: str) -> list[Any]:
    """Return a cell that is a list."""
    cell = row.get(name)
    if isinstance(cell, np.ndarray):
        cell = cell.tolist()
    if not isinstance(cell, list | tuple):
        raise TypeError(f"{argument}: {place} has {_shown(cell)} in {name!r}, expected a list")
    return list(cell)


def _text(cell: Any, argument: str, place: str) -> str:
    """Return a cell that is a text."""
    if not isinstance(cell, str):
        raise TypeError(f"{argument}: {place} is {_shown(cell)}, expected a string")
    if not cell.isascii() and _SURROGATE.search(cell):
        raise ValueError(f"{argument}: {place} holds half of a surrogate pair; take it out")
    return cell


def _prompt(cell: Any, name: str, place: str) -> Prompt:
    """Return a prompt: a text, or the messages of a conversation."""
    if isinstance(cell, str) and cell.strip():
        return _text(cell, "prompt", place)
    if isinstance(cell, np.ndarray):
        cell = cell.tolist()
    if isinstance(cell, list | tuple) and cell:
        if all(isinstance(one, dict) and {"role", "content"} <= one.keys() for one in cell):
            return list(cell)
        raise TypeError(f"prompt: {place} has a list in {name!r} that is not of messages (role, content)")
    if isinstance(cell, str | list | tuple):
        raise ValueError(f"prompt: {place} has an empty one in {name!r}; drop the row")
    raise TypeError(f"prompt: {place} has {_shown(cell)} in {name!r}, expected a text or messages")


def _reward(cell: Any, place: str) -> float:
    """Return a cell that is a finite number, and not so large that its square is not."""
    if isinstance(cell, bool) or not isinstance(cell, numbers.Real | None):
        raise TypeError(f"rewards: {place} has {_shown(cell)}, expected a number")
    value = float("nan") if cell is None else float(cell)
    if not abs(value) <= LARGEST:
        raise ValueError(f"rewards: {place} has {_shown(cell)}; score that response, or drop it")
    return value


def _matrix(row: dict[str, Any], name: str, n: int, place: str) -> NDArray[Any]:
    """Return a cell that is one vector a response."""
    cell = row.get(name)
    if cell is None:
        raise ValueError(
            f"embeddings: {place} has nothing in {name!r}; drop the row, or leave the column out"
        )
    vectors = as_matrix(cell, f"embeddings: {place}, {name!r}") if n else np.empty((0, 0))
    if len(vectors) != n:
        raise ValueError(f"embeddings: {place} has {len(vectors)} for {n} responses; give each response one")
    bad = np.flatnonzero(~(np.abs(vectors) <= LARGEST).all(axis=1)).tolist()
    if bad:
        raise ValueError(f"embeddings: {place}, response {bad[0]} {_NOT_FINITE}")
    return vectors


def _vector(cell: Any, name: str, place: str) -> NDArray[Any]:
    """Return a cell that is one vector."""
    if cell is None:
        raise ValueError(
            f"embeddings: {place} has nothing in {name!r}; drop the row, or leave the column out"
        )
    found = np.asarray(cell)
    if found.ndim != 1 or not found.size or found.dtype.kind not in "fiu":
        raise TypeError(f"embeddings: {place} has no list of numbers in {name!r}")
    if not (np.abs(found) <= LARGEST).all():
        raise ValueError(f"embeddings: {place} {_NOT_FINITE}")
    return found


def _shown(cell: Any) -> str:
    return "nothing" if cell is None else f"{cell!r:.40} ({type(cell).__name__})"
