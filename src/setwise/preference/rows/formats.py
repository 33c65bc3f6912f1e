"""Chosen and rejected responses as rows: a group a prompt, or the pairs and labeled ones that TRL reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from setwise.preference.prompts import asked_and_begun
from setwise.preference.responses.selection import ResponseSelection
from setwise.preference.rows.answers import BESIDE
from setwise.preference.rows.cells import Prompt
from setwise.preference.rows.columns import PoolColumns
from setwise.preference.rows.pools import ResponsePool

if TYPE_CHECKING:
    import pyarrow

#: The columns that are made, by format; of the input's, those of the same name are left out.
FORMATS: dict[str, tuple[str, ...]] = {
    "groups": ("prompt", "chosen", "rejected", "rewards", "indices", "cost", "lower_bound"),
    "pairs": ("prompt", "chosen", "rejected", "score_chosen", "score_rejected"),
    "unpaired": ("prompt", "completion", "label", "score"),
    "llama-factory": ("conversations", "chosen", "rejected"),
    "openrlhf": ("chosen", "rejected"),
    "axolotl": ("messages", "chosen", "rejected"),
}

#: Formats of other trainers: pairs, in the words of each, with no further column.
BARE = ("llama-factory", "openrlhf", "axolotl")

#: What LLaMA-Factory's conversations call who speaks.
_SPEAKERS = {"user": "human", "assistant": "gpt", "tool": "observation", "developer": "system"}

#: TRL tells a conversation by whichever of these it sees first, so one that is not made must not be there.
_READ_BY_TRL = ("chosen", "rejected", "completion", "messages")


def left_out(format: str) -> frozenset[str]:
    """Return the names of columns that are not handed through from the input."""
    return frozenset(FORMATS[format] + (() if format == "groups" else _READ_BY_TRL))


def as_rows(
    pool: ResponsePool, selection: ResponseSelection, *, format: str, several: bool
) -> list[dict[str, Any]]:
    """Return a prompt's rows.

    Parameters
    ----------
    selection : ResponseSelection
        Of the pool's responses.
    format : {"groups", "pairs", "unpaired", "llama-factory", "openrlhf", "axolotl"}
        One row a prompt, one a pair of a positive and a negative, or one a response; or pairs as another
        trainer reads them.
    several : bool
        Whether ``chosen`` of a group is a list.

    Returns
    -------
    list of dict
        Where the prompt is a conversation, responses are messages of the assistant. What long form has of
        each response is, in groups and pairs, a list of the chosen's and then the rejected's.
    """
    prompt, begun = pool.prompt, ""
    if format != "groups" and not isinstance(prompt, str):
        # No other trainer goes on with an answer that has begun: the whole of it is the answer there.
        prompt, begun = asked_and_begun(prompt)
    hidden = left_out(format)
    others = {name: value for name, value in pool.others.items() if name not in hidden}

    def of(members: Sequence[int]) -> dict[str, list[Any]]:
        kept = {name: cells for name, cells in pool.each.items() if name not in hidden}
        if begun:
            kept.pop("token_ids", None)  # those of the words that were begun are not known
        return {name: [cells[one] for one in members] for name, cells in kept.items()}

    def text(one: int) -> Any:
        return _as_said(begun + pool.responses[one], prompt)

    rewards = pool.rewards.tolist()
    positives, negatives = selection.positives.tolist(), selection.negatives.tolist()
    members = [*positives, *negatives]
    if format == "unpaired":
        return [
            {
                "prompt": prompt,
                "completion": text(one),
                "label": place < len(positives),
                "score": rewards[one],
                **others,
                **{name: cells[0] for name, cells in of([one]).items()},
            }
            for place, one in enumerate(members)
        ]
    if format in BARE:
        _refuse_beside(pool, format)
        said = pool.responses
        return [
            _bare(format, prompt, begun + said[better], begun + said[worse])
            for better in positives
            for worse in negatives
        ]
    if format == "pairs":
        return [
            {
                "prompt": prompt,
                "chosen": text(better),
                "rejected": text(worse),
                "score_chosen": rewards[better],
                "score_rejected": rewards[worse],
                **others,
                **of([better, worse]),
            }
            for better in positives
            for worse in negatives
        ]
    return [
        {
            "prompt": prompt,
            "chosen": [text(one) for one in positives] if several else text(positives[0]),
            "rejected": [text(one) for one in negatives],
            "rewards": [rewards[one] for one in members],
            "indices": members if pool.places is None else [pool.places[one] for one in members],
            "cost": selection.cost,
            "lower_bound": selection.lower_bound,
            **others,
            **of(members),
        }
    ]


def _refuse_beside(pool: ResponsePool, format: str) -> None:
    """Refuse a pool with what has no place in another trainer's rows.

    Raises ValueError: the row has tools, or a message calls some or has thoughts beside its text.
    """
    messages = [] if isinstance(pool.prompt, str) else pool.prompt
    found = next((name for one in messages for name in BESIDE if one.get(name)), None)
    if found or pool.tools:
        raise ValueError(
            f"format: {pool.place} has {found or 'tools'!r}, for which {format!r} has no place; write "
            "'pairs' or 'groups', or drop it"
        )


def _bare(format: str, prompt: Prompt, chosen: str, rejected: str) -> dict[str, Any]:
    """Return a pair as another trainer reads it."""
    asked, _ = asked_and_begun(prompt)
    answers = [{"role": "assistant", "content": text} for text in (chosen, rejected)]
    if format == "openrlhf":
        return {"chosen": [*asked, answers[0]], "rejected": [*asked, answers[1]]}
    if format == "axolotl":
        return {"messages": asked, "chosen": answers[0], "rejected": answers[1]}
    told = [
        {"from": _SPEAKERS.get(one["role"], one["role"]), "value": one["content"]}
        for one in [*asked, *answers]
    ]
    return {"conversations": told[:-2], "chosen": told[-2], "rejected": told[-1]}


def row_schema(
    source: pyarrow.Schema,
    columns: PoolColumns,
    *,
    format: str,
    several: bool,
    talks: bool,
    each: Sequence[str],
) -> pyarrow.Schema:
    """Return the Arrow types of the rows of a format.

    Parameters
    ----------
    source : pyarrow.Schema
        Types of the input's columns that are handed through, and of its prompt.
    format, several
        As in `as_rows`.
    talks : bool
        Whether prompts are conversations.
    each : sequence of str
        Columns of `setwise.preference.rows.columns.EACH` that rows have.
    """
    from setwise.extras.arrow import arrow

    message = arrow.struct({"role": arrow.string(), "content": arrow.string()})
    if format in BARE:
        said = arrow.struct({"from": arrow.string(), "value": arrow.string()})
        bare = {
            "llama-factory": {"conversations": arrow.list_(said), "chosen": said, "rejected": said},
            "openrlhf": {"chosen": arrow.list_(message), "rejected": arrow.list_(message)},
            "axolotl": {"messages": arrow.list_(message), "chosen": message, "rejected": message},
        }
        return arrow.schema(bare[format])
    said = arrow.list_(message) if talks else arrow.string()
    given = source.field(columns.prompt).type if columns.prompt in source.names else said
    if columns.prompt == "conversations":
        given = said  # ShareGPT's names are not kept
    types: dict[str, Any] = {
        "prompt": given if ("list" in str(given)) == talks else said,
        "chosen": arrow.list_(said) if several and format == "groups" else said,
        "rejected": arrow.list_(said) if format == "groups" else said,
        "completion": said,
        "label": arrow.bool_(),
        "rewards": arrow.list_(arrow.float64()),
        "indices": arrow.list_(arrow.int64()),
    }
    fields = [(name, types.get(name, arrow.float64())) for name in FORMATS[format]]
    of_one = {"token_ids": arrow.list_(arrow.int64()), "finished": arrow.bool_()}
    for name in each:
        fields.append((name, of_one[name] if format == "unpaired" else arrow.list_(of_one[name])))
    for field in source:
        if field.name in left_out(format) or field.name in columns.taken:
            continue
        of_each = columns.long and field.name != columns.prompt_id and format != "unpaired"
        fields.append((field.name, arrow.list_(field.type) if of_each else field.type))
    return arrow.schema(fields)


def _as_said(text: str, prompt: Prompt) -> str | list[Mapping[str, str]]:
    """Return a response as the prompt is written: a text, or a message of the assistant."""
    return text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]
