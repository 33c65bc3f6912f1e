"""Rows of prompts and responses, checked and tokenized into groups to train on."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from setwise import checks
from setwise.preference.loss import mean_split, one_vs_k
from setwise.preference.prompts import as_tokens, uses_chat

if TYPE_CHECKING:
    from setwise.preference.training.config import PreferenceConfig

__all__ = ["Group", "Groups", "as_groups"]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A prompt with its responses, in tokens."""

    #: The prompt's tokens; a model is not trained on them.
    prompt: NDArray[np.int32]
    #: Each response's tokens, with the end-of-sequence token unless it was cut off.
    responses: tuple[NDArray[np.int32], ...]
    #: Which responses are positive.
    positive: NDArray[np.bool_]
    #: One reward a response, or None where there are none.
    rewards: NDArray[np.float64] | None
    #: A reference model's log-probability of each response, or None where there is no reference.
    reference: NDArray[np.float64] | None = None


class Groups(Sequence[Group]):
    """Groups in the order of their rows, and what happened to the rows on the way.

    Attributes
    ----------
    truncated : int
        Responses that were cut off at `max_length`.
    dropped : int
        Rows left out because they cannot be trained on.
    """

    def __init__(self, groups: Sequence[Group], *, truncated: int = 0, dropped: int = 0) -> None:
        self._groups = list(groups)
        self.truncated = truncated
        self.dropped = dropped

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, place: Any) -> Any:
        return self._groups[place]

    def with_reference(self, logps: Sequence[NDArray[np.float64]]) -> Groups:
        """Return the groups with a reference model's log-probabilities, an array a group."""
        groups = [replace(group, reference=own) for group, own in zip(self._groups, logps, strict=True)]
        return Groups(groups, truncated=self.truncated, dropped=self.dropped)


class _Unusable(Exception):
    """A sound row that cannot be trained on."""


@dataclass(slots=True)
class _Row:
    """A row's content once its types are known to be right."""

    prompt: Any
    responses: list[str]
    rewards: list[float] | None
    positive: list[bool] | None


def as_groups(rows: Iterable[Any], tokenizer: Any, config: PreferenceConfig, name: str = "rows") -> Groups:
    """Check rows and tokenize them.

    A prompt is written as `setwise.preference` writes it to sample from: through the chat template, or as the
    text it is with the tokenizer's special tokens. Each response is tokenized by itself, since that is how a
    model continues a prompt, and ends with the end-of-sequence token.

    Parameters
    ----------
    rows : iterable of mapping
        Each with ``prompt`` (a text or messages) and either ``chosen`` (a response, or several), ``rejected``
        (responses) and ``rewards`` (the chosen's, then the rejected's), or ``responses`` and ``rewards``. A
        response is a text or one message of the assistant. ``rewards`` may be missing where neither the split
        nor the loss needs them. Other columns are not looked at.
    tokenizer : transformers.PreTrainedTokenizerBase
    config : PreferenceConfig
        Its `split`, `max_length`, `max_prompt_length`, `chat`, `unusable` and `needs_rewards`.
    name : str
        What the rows are called in messages.

    Returns
    -------
    Groups

    Raises
    ------
    TypeError
        ``rows`` are no rows, a row is no mapping, a response is neither a text nor one message, or a reward
        is no number.
    ValueError
        There is no row, the tokenizer has no end-of-sequence token, a row lacks a column or has both kinds,
        a response is empty, a reward is NaN or infinite, there are more or fewer rewards than responses; or,
        under ``unusable="error"``, a prompt is too long or a row has no positive or no negative.
    """
    if tokenizer.eos_token_id is None:
        raise ValueError("tokenizer: it has no end-of-sequence token; set tokenizer.eos_token")
    if isinstance(rows, str | os.PathLike):
        raise TypeError(
            f"{name}: expected rows, got the path {os.fspath(rows)!r}; read it with "
            "datasets.Dataset.from_json or from_parquet"
        )
    if isinstance(rows, bytes | Mapping) or not isinstance(rows, Iterable):
        raise TypeError(
            f"{name}: expected rows (mappings with a prompt and responses), got {type(rows).__name__}"
        )
    groups: list[Group] = []
    truncated = dropped = count = 0
    first = ""
    for count, given in enumerate(rows, 1):
        where = f"{name}: row {count - 1}"
        row = _checked(given, where, config)
        try:
            positive = _split(row, config)
            group, cut = _tokenized(row, positive, tokenizer, config, where)
        except _Unusable as reason:
            if config.unusable == "error":
                raise ValueError(f"{where} {reason}, or pass unusable='drop'") from None
            dropped += 1
            first = first or f"row {count - 1} {reason}"
            continue
        groups.append(group)
        truncated += cut
    if not groups:
        raise ValueError(
            f"{name}: there are none" + (f" left of {count} ({first})" if count else "; give at least one")
        )
    if dropped:
        checks.warn(
            f"{name}: dropped {dropped:,} of {count:,} that cannot be trained on (the first: {first})"
        )
    if truncated:
        responses = sum(len(group.responses) for group in groups)
        checks.warn(
            f"{name}: {truncated:,} of {responses:,} responses cut off at max_length={config.max_length} "
            "tokens; they have no end"
        )
    return Groups(groups, truncated=truncated, dropped=dropped)


def _checked(row: Any, where: str, config: PreferenceConfig) -> _Row:
    """Return a row's content, or say what is wrong with it."""
    if not isinstance(row, Mapping):
        raise TypeError(f"{where} is a {type(row).__name__}; expected a mapping with prompt and responses")
    if row.get("prompt") is None:
        raise ValueError(f"{where} has no prompt")
    paired = row.get("chosen") is not None or row.get("rejected") is not None
    positive = None
    if paired:
        if row.get("responses") is not None:
            raise ValueError(f"{where} has both responses and chosen or rejected; give one or the other")
        chosen = _responses(row.get("chosen"), f"{where}: chosen")
        rejected = _responses(row.get("rejected"), f"{where}: rejected")
        responses = chosen + rejected
        positive = [True] * len(chosen) + [False] * len(rejected)
    elif config.split == "given":
        raise ValueError(f"{where} has no chosen and rejected, which split='given' needs")
    else:
        responses = _responses(row.get("responses"), f"{where}: responses")
    if config.split in ("one-vs-k", "mean"):
        positive = None
    rewards = _rewards(row.get("rewards"), len(responses), where)
    if rewards is None and (positive is None or config.needs_rewards):
        need = f"alpha={config.alpha:g}" if config.alpha else f"loss={config.loss!r}"
        need = need if positive is not None else "the split by reward"
        raise ValueError(f"{where} has no rewards, which {need} needs")
    return _Row(row["prompt"], responses, rewards, positive)


def _responses(value: Any, where: str) -> list[str]:
    """Return responses as texts; each may also be the assistant's one message."""
    if value is None:
        raise ValueError(f"{where} is missing")
    if isinstance(value, str | Mapping):
        value = [value]
    if not isinstance(value, Sequence):
        raise TypeError(f"{where}: expected a text or a list of texts, got {type(value).__name__}")
    if value and all(isinstance(message, Mapping) for message in value):
        value = [value]
    texts = []
    for place, response in enumerate(value):
        messages = [response] if isinstance(response, Mapping) else response
        if not isinstance(messages, str):
            said = [one.get("content") for one in messages] if _are_messages(messages) else []
            if len(said) != 1 or messages[0].get("role") != "assistant" or not isinstance(said[0], str):
                raise TypeError(
                    f"{where}: response {place} is neither a text nor one message of the assistant"
                )
            response = said[0]
        if not response.strip():
            raise ValueError(f"{where}: response {place} is empty; leave it out")
        texts.append(response)
    return texts


def _are_messages(value: Any) -> bool:
    return isinstance(value, Sequence) and all(isinstance(message, Mapping) for message in value)


def _rewards(value: Any, count: int, where: str) -> list[float] | None:
    if value is None:
        return None
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise TypeError(f"{where}: rewards: expected a list of numbers, got {type(value).__name__}")
    rewards = []
    for place, reward in enumerate(value):
        try:
            rewards.append(float(reward))
        except (TypeError, ValueError):
            raise TypeError(f"{where}: rewards: reward {place} is no number: {reward!r}") from None
        if not math.isfinite(rewards[-1]):
            raise ValueError(f"{where}: rewards: reward {place} is NaN or infinite")
    if len(rewards) != count:
        raise ValueError(
            f"{where} has {count} responses and {len(rewards)} rewards; give one each, the chosen's first"
        )
    return rewards


def _split(row: _Row, config: PreferenceConfig) -> NDArray[np.bool_]:
    """Return which responses are positive."""
    if row.positive is not None:
        positive = np.array(row.positive, dtype=bool)
    else:
        divide = mean_split if config.split == "mean" else one_vs_k
        values = torch.tensor([row.rewards], dtype=torch.float64)
        positive = divide(values)[0].numpy() if row.responses else np.zeros(0, dtype=bool)
    if not positive.any():
        raise _Unusable("has no positive response (none, or all rewards alike); leave it out")
    if positive.all():
        raise _Unusable("has no negative response; leave it out")
    return positive


def _tokenized(
    row: _Row, positive: NDArray[np.bool_], tokenizer: Any, config: PreferenceConfig, where: str
) -> tuple[Group, int]:
    """Return a row's group, and how many responses were cut off."""
    try:
        chat = uses_chat([row.prompt], tokenizer, config.chat, name="prompt")
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}: {str(error).replace('prompt: row 0', 'prompt')}") from None
    prompt = as_tokens(row.prompt, tokenizer, chat=chat)
    end = tokenizer.eos_token_id
    if not prompt:
        raise ValueError(f"{where}: prompt has no tokens")
    room = config.max_length - len(prompt)
    most = config.max_prompt_length if config.max_prompt_length is not None else config.max_length - 1
    if len(prompt) > most:
        limit = "max_prompt_length" if config.max_prompt_length is not None else "max_length"
        bound = config.max_prompt_length if config.max_prompt_length is not None else config.max_length
        raise _Unusable(
            f"has a prompt of {len(prompt)} tokens, and {limit} is {bound}; shorten it, raise the limit"
        )
    encoded = tokenizer(row.responses, add_special_tokens=False)["input_ids"]
    responses = []
    cut = 0
    for place, tokens in enumerate(encoded):
        if not tokens:
            raise ValueError(f"{where}: response {place} has no tokens")
        whole = [*tokens, end] if tokens[-1] != end else tokens
        cut += len(whole) > room
        responses.append(np.array(whole[:room], dtype=np.int32))
    rewards = None if row.rewards is None else np.array(row.rewards, dtype=np.float64)
    return Group(np.array(prompt, dtype=np.int32), tuple(responses), positive, rewards), cut
