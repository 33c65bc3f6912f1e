"""Which columns of rows hold what: those that are named, else those of a known name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from setwise.files.names import column
from setwise.preference.rows.answers import inside
from setwise.preference.rows.cells import is_message
from setwise.preference.rows.sources import RowSource

PROMPT_COLUMNS = ("prompt", "instruction", "question", "query")
#: Of rows whose chosen and rejected are a message each: LLaMA-Factory's and axolotl's.
TALK_COLUMNS = ("conversations", "messages")
#: What stands beside a prompt that is a text and belongs to it: Alpaca's input, a system's word, turns.
CONTEXT_COLUMNS = ("input", "system", "system_prompt", "history")
#: Of rows that are a prompt with all its responses: SimPO's and AMPO's names among them.
RESPONSES_COLUMNS = ("responses", "all_generated_responses", "generations", "completions")
REWARDS_COLUMNS = ("rewards", "all_rm_scores", "all_reward_scores", "scores", "ratings")
EMBEDDINGS_COLUMNS = ("embeddings", "response_embeddings")
#: Of rows that are one response.
ID_COLUMNS = ("prompt_id",)
RESPONSE_COLUMNS = ("response", "completion", "generation", "output")
REWARD_COLUMNS = ("reward", "rm_score", "reward_score", "score", "rating")
EMBEDDING_COLUMNS = ("embedding", "response_embedding", "vector")
#: Of the records of responses in one cell: UltraFeedback's names first.
RECORD_REWARDS = ("overall_score", "fine-grained_score", *REWARD_COLUMNS)
#: Of rows of chosen and rejected responses, the scores of each.
PAIR_REWARDS = (("score_chosen", "score_rejected"), ("chosen_score", "rejected_score"))
#: Of rows of several responses, columns with one value a response.
EACH = ("token_ids", "finished")

KINDS = ("pool", "response", "pair")


@dataclass(frozen=True)
class PoolColumns:
    """Which columns hold what.

    Attributes
    ----------
    prompt : str or None
        None where responses are whole conversations.
    responses : str
        Of a pair, the chosen.
    rewards : str or None
        A column, or the dotted path in the records of the responses' column; None where nothing is scored.
    prompt_id : str or None
        In long form, what says which rows belong together; None where the prompt itself does.
    kind : {"pool", "response", "pair"}
        Whether a row is a prompt with all its responses, one response ("long form"), or chosen and rejected
        ones.
    unused : str or None
        A column of embeddings that is not read.
    context : tuple of str
        Columns that belong to the prompt and are not read, unless the prompt's column was named.
    """

    prompt: str | None
    responses: str
    rewards: str | None
    embeddings: str | None
    prompt_id: str | None
    kind: str
    unused: str | None = None
    context: tuple[str, ...] = ()

    @property
    def long(self) -> bool:
        """Whether a row is one response, rather than a prompt with several."""
        return self.kind == "response"

    @property
    def taken(self) -> frozenset[str]:
        """The columns of prompts and responses, which are not handed through as they are."""
        names = [self.prompt, self.responses, self.rewards, self.embeddings, self.unused]
        if self.kind == "pair":
            names += ["rejected", *(name for pair in PAIR_REWARDS for name in pair)]
        if not self.long:
            names += EACH
        return frozenset(name for name in names if name is not None)

    def to_dict(self) -> dict[str, str | bool | None]:
        """Return the names as plain values."""
        known = asdict(self)
        return {
            **{name: known[name] for name in known if name not in ("unused", "kind", "context")},
            "long": self.long,
        }

    def without_embeddings(self) -> PoolColumns:
        """Return the same, with vectors to be made from the responses."""
        return replace(self, embeddings=None, unused=self.embeddings)


def find_columns(
    source: RowSource,
    *,
    prompt: str | None = None,
    prompt_id: str | None = None,
    responses: str | None = None,
    rewards: str | None = None,
    embeddings: str | None = None,
    pairs_first: bool = False,
    scored: bool = True,
) -> PoolColumns:
    """Return which columns hold what: those that are named, else the first known name that there is.

    What a row is, is told by its columns of responses: a list makes it a prompt with all of them, a string or
    one message one of them, and ``chosen`` and ``rejected`` a pair.

    Parameters
    ----------
    prompt, prompt_id, responses, rewards, embeddings : str, optional
        Names of columns. ``rewards`` may be a dotted path in the records of the responses' column, such as
        ``annotations.helpfulness.Rating``.
    pairs_first : bool
        Whether ``chosen`` and ``rejected`` are taken where there are all responses too.
    scored : bool
        Whether there have to be rewards.

    Raises ValueError: there is no column of the name given, or, where none is, none of a known name;
    `prompt_id` is given for rows that are a prompt with all its responses.
    """
    names = source.columns
    given = {
        "prompt": prompt,
        "prompt_id": prompt_id,
        "responses_column": responses,
        "embeddings": embeddings,
    }
    for argument, name in given.items():
        if name is not None:
            column(names, name, argument, source.name)
    paired = {"chosen", "rejected"} <= set(names)
    if responses is None and paired:
        known = [name for name in (*RESPONSES_COLUMNS, *RESPONSE_COLUMNS) if name in names]
        if pairs_first or not known:
            return _of_pairs(source, prompt, rewards, embeddings)
    if responses is None:
        responses = _known(source, "responses_column", (*RESPONSES_COLUMNS, *RESPONSE_COLUMNS))
    said = (row.get(responses) for _, row in source.rows())
    first = next((cell for cell in said if cell is not None), None)
    kind = "response" if isinstance(first, str) or _is_conversation(first) else "pool"
    if prompt_id is not None and kind == "pool":
        raise ValueError(
            f"prompt_id: it is for rows of one response; a row of {source.name} is a prompt with all of them"
        )
    if kind == "response" and prompt_id is None:
        prompt_id = next((name for name in ID_COLUMNS if name in names), None)
    known_vectors = EMBEDDING_COLUMNS if kind == "response" else EMBEDDINGS_COLUMNS
    return PoolColumns(
        prompt or _known(source, "prompt", PROMPT_COLUMNS),
        responses,
        _rewards(source, rewards, first, kind, scored),
        embeddings or next((name for name in known_vectors if name in names), None),
        prompt_id,
        kind,
        context=context_of(names, prompt),
    )


def context_of(names: Sequence[str], prompt: str | None) -> tuple[str, ...]:
    """Return the columns that belong to the prompts, where theirs is not named."""
    return tuple(name for name in CONTEXT_COLUMNS if prompt is None and name in names)


def _of_pairs(
    source: RowSource, prompt: str | None, rewards: str | None, embeddings: str | None
) -> PoolColumns:
    """Return the columns of rows of chosen and rejected responses."""
    names = source.columns
    if rewards is not None:
        column(names, rewards, "rewards", source.name)
    known = list(PROMPT_COLUMNS)
    if isinstance(next(iter(source.rows()))[1].get("chosen"), Mapping):
        known += TALK_COLUMNS  # of whole conversations they hold the answer, too
    return PoolColumns(
        prompt or next((name for name in known if name in names), None),
        "chosen",
        rewards or next((name for name in REWARDS_COLUMNS if name in names), None),
        embeddings or next((name for name in EMBEDDINGS_COLUMNS if name in names), None),
        None,
        "pair",
        context=context_of(names, prompt),
    )


def _rewards(source: RowSource, named: str | None, first: Any, kind: str, scored: bool) -> str | None:
    """Return where rewards are: a column, or a path in the records of the responses."""
    names = source.columns
    record = next(iter(first), None) if kind == "pool" and isinstance(first, Sequence) else None
    records = isinstance(record, Mapping) and "role" not in record
    if named is not None:
        if records and named not in names and inside(record, named) is not None:
            return named
        column(names, named, "rewards", source.name)
        return named
    candidates = REWARD_COLUMNS if kind == "response" else REWARDS_COLUMNS
    found = next((name for name in candidates if name in names), None)
    if found is None and records and isinstance(record, Mapping):
        found = next((name for name in RECORD_REWARDS if name in record), None)
    if found is None and scored:
        return _known(source, "rewards", candidates)
    return found


def _is_conversation(cell: Any) -> bool:
    """Return whether a cell is one message, or a conversation."""
    if isinstance(cell, Mapping):
        return is_message(cell)
    return (
        isinstance(cell, Sequence)
        and len(cell) > 0
        and all(map(is_message, cell))
        # A list of single messages of the assistant is several responses.
        and not (len(cell) > 1 and all(part.get("role") == "assistant" for part in cell))
    )


def _known(source: RowSource, argument: str, candidates: Sequence[str]) -> str:
    """Return the first column of a known name."""
    found = next((name for name in candidates if name in source.columns), None)
    if found is None:
        raise ValueError(
            f"{argument}: {source.name} has no column {' or '.join(candidates)}; say which it is "
            f"(columns: {', '.join(source.columns)})"
        )
    return found
