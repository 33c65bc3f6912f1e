"""Rows of prompts and responses, checked and tokenized into groups to train on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import gather_object
from numpy.typing import NDArray

from setwise import checks
from setwise.files.json_lines import parsed
from setwise.preference.loss import mean_split, one_vs_k
from setwise.preference.losses import scale_rewards
from setwise.preference.prompts import (
    as_text,
    as_tokens,
    end_of_turn,
    opening,
    special_tokens,
    uses_chat,
)
from setwise.preference.rows.cells import without_nulls
from setwise.preference.rows.columns import find_columns
from setwise.preference.rows.pools import ResponsePool, read_pools
from setwise.preference.rows.sources import open_rows

if TYPE_CHECKING:
    from setwise.preference.training.config import PreferenceConfig


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A prompt with its responses, in tokens."""

    #: The prompt's tokens; a model is not trained on them.
    prompt: NDArray[np.int32]
    #: Each response's tokens, with the one that ends it unless it was cut off.
    responses: tuple[NDArray[np.int32], ...]
    #: Which responses are positive.
    positive: NDArray[np.bool_]
    #: One reward a response, on the scale that the losses take, or None where there are none.
    rewards: NDArray[np.float64] | None
    #: A reference model's log-probability of each response, or None where there is no reference.
    reference: NDArray[np.float64] | None = None


#: What is counted on the way from rows to groups.
_COUNTS = ("truncated", "unscored", "copies", "dropped")


class Groups(Sequence[Group]):
    """Groups in the order of their rows, and what happened to the rows on the way.

    Attributes
    ----------
    end : int or None
        The token that ends a response.
    truncated : int
        Responses that were cut off at `max_length`.
    unscored : int
        Responses left out since they have no reward where one is needed.
    copies : int
        Negatives left out since they have the tokens of a positive.
    dropped : int
        Rows left out because they cannot be trained on.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        *,
        end: int | None = None,
        truncated: int = 0,
        unscored: int = 0,
        copies: int = 0,
        dropped: int = 0,
    ) -> None:
        self._groups = list(groups)
        self.end = end
        self.truncated = truncated
        self.unscored = unscored
        self.copies = copies
        self.dropped = dropped

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, place: Any) -> Any:
        return self._groups[place]

    def with_reference(self, logps: Sequence[NDArray[np.float64]]) -> Groups:
        """Return the groups with a reference model's log-probabilities, an array a group."""
        groups = [replace(group, reference=own) for group, own in zip(self._groups, logps, strict=True)]
        counts = {name: getattr(self, name) for name in _COUNTS}
        return Groups(groups, end=self.end, **counts)


class Unusable(Exception):
    """A sound row that cannot be trained on."""


def as_groups(rows: Any, tokenizer: Any, config: PreferenceConfig, name: str = "rows") -> Groups:
    """Read rows and tokenize them; of several processes, each tokenizes its share and has all.

    A prompt is written as `setwise.preference` writes it to sample from: through the chat template, or as the
    text it is with the tokenizer's special tokens. Each response is tokenized by itself, since that is how a
    model continues a prompt, and ends with the token that ends a turn, unless the row says that it was cut
    off (``finished``). Where a row has the tokens that were drawn (``token_ids``), these are taken.

    Parameters
    ----------
    rows : iterable of mapping, datasets.Dataset or path-like
        All that `setwise.preference.PreferenceRows` reads: prompts with ``chosen``, ``rejected`` and
        ``rewards`` (the chosen's, then the rejected's), which are taken first; or with all responses and
        their rewards. Rewards may be missing where neither the split nor the loss needs them.
    tokenizer : transformers.PreTrainedTokenizerBase
    config : PreferenceConfig
        Its `split`, `max_length`, `max_prompt_length`, `chat`, `chat_template_kwargs`, `dataset_split`,
        `unusable` and `needs_rewards`.
    name : str
        What the rows are called in messages.

    Raises TypeError: ``rows`` are no rows, or a cell is none of what it has to be; ValueError: there is no
    row, the tokenizer has no token to end with, a row lacks a column or has both responses and chosen ones, a
    response is empty, there are more or fewer rewards than responses, or the tokens are of another tokenizer;
    or, under ``unusable="error"``, a prompt is too long or a row has no positive or no negative.
    """
    pools, reader = open_pools(list(rows) if isinstance(rows, Iterator) else rows, tokenizer, config, name)
    shares = gather_object([_share(pools, reader, name, config)])
    for share in shares:
        if share.failure is not None:
            raise share.failure
    made = sorted((one for share in shares for one in share.groups), key=lambda one: one[0])
    groups = [group for _, group in made]
    counts = {name: sum(getattr(share, name) for share in shares) for name in _COUNTS}
    truncated, unscored, copies, dropped = counts.values()
    first = min((share.first for share in shares if share.first is not None), default=(0, ""))[1]
    if not groups:
        raise ValueError(f"{name}: there are none left of {dropped} ({first})")
    if dropped:
        checks.warn(
            f"{name}: dropped {dropped:,} of {len(groups) + dropped:,} that cannot be trained on (the first: "
            f"{first})"
        )
    responses = sum(len(group.responses) for group in groups)
    if unscored:
        checks.warn(f"{name}: {unscored:,} responses have no reward and are left out")
    if copies:
        checks.warn(f"{name}: {copies:,} negatives have the tokens of their positive and are left out")
    if truncated:
        checks.warn(
            f"{name}: {truncated:,} of {responses:,} responses cut off at max_length={config.max_length} "
            "tokens; they have no end"
        )
    end = next(share.end for share in shares if share.end is not None)
    return Groups(groups, end=end, **counts)


def open_pools(
    rows: Any, tokenizer: Any, config: PreferenceConfig, name: str
) -> tuple[Callable[[], Iterator[ResponsePool]], Reader]:
    """Open rows: return what reads their pools, each time anew, and what makes groups of them.

    Raises TypeError, ValueError: ``rows`` are no rows, there is none, or they lack a column that is needed.
    """
    source = open_rows(rows, config.dataset_split, name)
    needs = config.needs_rewards or config.split in ("one-vs-k", "mean")
    columns = find_columns(source, pairs_first=config.split != "one-vs-k", scored=needs)
    if config.split == "given" and columns.kind != "pair":
        raise ValueError(f"{name}: no columns chosen and rejected, which split='given' needs")
    return lambda: read_pools(source, columns), Reader(tokenizer, config)


@dataclass
class _Share:
    """What one process has made: groups with the number of their row, and what happened to the others."""

    groups: list[tuple[int, Group]]
    dropped: int = 0
    unscored: int = 0
    truncated: int = 0
    copies: int = 0
    first: tuple[int, str] | None = None
    end: int | None = None
    failure: Exception | None = None


def _share(
    pools: Callable[[], Iterator[ResponsePool]], reader: Reader, name: str, config: PreferenceConfig
) -> _Share:
    """Tokenize every n-th row where n processes train; an error goes to them all, else they would wait."""
    share = _Share([])
    try:
        for row, pool in enumerate(pools()):
            if row % config.world_size == config.process_index:
                try:
                    share.groups.append((row, reader.group(pool)))
                except Unusable as reason:
                    if config.unusable == "error":
                        raise ValueError(f"{name}: {pool.place} {reason}, or pass unusable='drop'") from None
                    share.dropped += 1
                    share.first = share.first or (row, f"{pool.place} {reason}")
    except (TypeError, ValueError) as failure:
        share.failure = failure
    for count in ("unscored", "truncated", "copies", "end"):
        setattr(share, count, getattr(reader, count))
    return share


class Reader:
    """Makes groups of pools, and counts what it leaves out."""

    def __init__(self, tokenizer: Any, config: PreferenceConfig) -> None:
        self._tokenizer, self._config = tokenizer, config
        self._template: Any = config.chat_template_kwargs
        self._special = special_tokens(tokenizer)
        self._ends: dict[bool, int] = {}
        self._opening: str | None = None
        self.end: int | None = None
        self.truncated = self.unscored = self.copies = 0

    def group(self, pool: ResponsePool) -> Group:
        """Return a pool in tokens."""
        config = self._config
        blank = next((at for at, text in enumerate(pool.responses) if not text.strip()), None)
        if blank is not None:
            raise ValueError(f"responses: {pool.place}, response {blank} is empty; leave it out")
        if pool.positive is not None and pool.others.get("responses") is not None:
            raise ValueError(f"responses: {pool.place} has both responses and chosen or rejected ones")
        given = pool.positive is not None and config.split in ("auto", "given")
        known = np.flatnonzero(~np.isnan(pool.rewards)).tolist()
        if not given or config.needs_rewards:
            if not known and len(pool):
                need = f"alpha={config.alpha:g}" if config.alpha else f"loss={config.loss!r}"
                need = need if given else "the split by reward"
                raise ValueError(f"rewards: {pool.place} has none, which {need} needs")
            self.unscored += len(pool) - len(known)
            pool = pool.only(known)
        scored = len(pool) > 0 and len(known) == len(pool)
        positive = self._positive(pool, given)
        return self._tokenized(pool, positive, self._scaled(pool) if scored else None)

    def _scaled(self, pool: ResponsePool) -> NDArray[np.float64]:
        """Return a pool's rewards as the losses take them."""
        rewards = scale_rewards(pool.rewards, self._config.reward_scale)
        if np.ptp(rewards) > np.finfo(np.float32).max:
            raise ValueError(
                f"rewards: {pool.place} has some {np.ptp(rewards):.3g} apart, which is no float32; leave "
                "reward_scale='none' out"
            )
        return rewards

    def _positive(self, pool: ResponsePool, given: bool) -> NDArray[np.bool_]:
        """Return which responses are positive."""
        if given:
            positive = np.array(pool.positive, dtype=bool)
        else:
            divide = mean_split if self._config.split == "mean" else one_vs_k
            values = torch.from_numpy(pool.rewards)[None]
            positive = divide(values)[0].numpy() if len(pool) else np.zeros(0, dtype=bool)
        if not positive.any():
            raise Unusable("has no positive response (none, or all rewards alike); leave it out")
        if positive.all():
            raise Unusable("has no negative response; leave it out")
        return positive

    def _tokenized(
        self, pool: ResponsePool, positive: NDArray[np.bool_], rewards: NDArray[np.float64] | None
    ) -> Group:
        """Return a pool's group."""
        config, tokenizer = self._config, self._tokenizer
        try:
            chat = uses_chat([pool.prompt], tokenizer, config.chat, name="prompt")
        except (TypeError, ValueError) as error:
            raise type(error)(str(error).replace("prompt: row 0", f"prompt: {pool.place}")) from None
        chat = chat or not isinstance(pool.prompt, str)
        if chat not in self._ends:
            self._ends[chat] = end_of_turn(tokenizer, chat=chat, template=self._template)
        self.end = self._ends[chat] if self.end is None else self.end
        template = self._template_of(pool)
        try:
            prompt = as_tokens(pool.prompt, tokenizer, chat=chat, template=template)
        except ValueError as error:
            raise ValueError(str(error).replace("prompt:", f"prompt: {pool.place}:", 1)) from None
        if not prompt:
            raise ValueError(f"prompt: {pool.place} has no tokens")
        room = config.max_length - len(prompt)
        most = config.max_prompt_length if config.max_prompt_length is not None else config.max_length - 1
        if len(prompt) > most:
            limit = "max_prompt_length" if config.max_prompt_length is not None else "max_length"
            bound = config.max_prompt_length if config.max_prompt_length is not None else config.max_length
            raise Unusable(
                f"has a prompt of {len(prompt)} tokens, and {limit} is {bound}; shorten it, raise the limit"
            )
        responses = []
        for at, tokens in enumerate(self._responses(pool, prompt, chat, template)):
            if not tokens:
                raise ValueError(f"responses: {pool.place}, response {at} has no tokens")
            self.truncated += len(tokens) > room
            responses.append(np.array(tokens[:room], dtype=np.int32))
        raised = {tokens.tobytes() for tokens in itertools.compress(responses, positive)}
        kept = np.array([tokens.tobytes() not in raised for tokens in responses]) | positive
        if positive[kept].all():
            raise Unusable(
                f"has no negative response but its positive's tokens (max_length={config.max_length}); leave "
                "it out"
            )
        self.copies += len(kept) - int(kept.sum())
        return Group(
            np.array(prompt, dtype=np.int32),
            tuple(itertools.compress(responses, kept)),
            positive[kept],
            None if rewards is None else rewards[kept],
        )

    def _template_of(self, pool: ResponsePool) -> Any:
        """Return the variables of the chat template for a pool, with the tools that its row names."""
        tools = pool.tools
        if isinstance(tools, str):
            tools = parsed(tools.encode("utf-8", "surrogatepass"), f"tools: {pool.place}")
        if not tools:
            return self._template
        if not isinstance(tools, list) or not all(isinstance(one, dict) for one in tools):
            raise ValueError(f"tools: {pool.place} has no list of JSON schemas; mend it, or drop the column")
        return {**(self._template or {}), "tools": without_nulls(tools)}

    def _encoded(self, pool: ResponsePool, prompt: list[int], chat: bool, template: Any) -> list[list[int]]:
        """Return the tokens of each response's text, and of what the chat template writes before it."""
        found: list[list[int]] = self._tokenizer(pool.responses, add_special_tokens=False)["input_ids"]
        if not chat or not (isinstance(pool.prompt, str) or pool.prompt[-1]["role"] != "assistant"):
            return found
        if self._opening is None:
            self._opening = opening(self._tokenizer, self._template)
        if not self._opening:
            return found
        text = as_text(pool.prompt, self._tokenizer, chat=chat, template=template)
        mark = self._opening.partition(">")[0]  # a response with thoughts or a channel of its own begins so
        for at, response in enumerate(pool.responses):
            if response.startswith(mark) or (mark.isspace() and response[0].isspace()):
                continue
            # In one text with the prompt, since some tokenizers begin every text with a space of their own.
            whole = self._tokenizer(text + self._opening + response, add_special_tokens=False)["input_ids"]
            if whole[: len(prompt)] == prompt:
                found[at] = whole[len(prompt) :]
        return found

    def _responses(self, pool: ResponsePool, prompt: list[int], chat: bool, template: Any) -> list[list[int]]:
        """Return each response's tokens, with its end if it has one."""
        drawn, finished, end = pool.each.get("token_ids"), pool.each.get("finished"), self._ends[chat]
        if drawn is None:
            encoded = self._encoded(pool, prompt, chat, template)
        else:
            try:
                encoded = [[int(token) for token in tokens] for tokens in drawn]
            except (TypeError, ValueError):
                raise ValueError(
                    f"token_ids: {pool.place} has no lists of tokens' numbers; leave the column out"
                ) from None
            for at, (tokens, text) in enumerate(zip(encoded, pool.responses, strict=True)):
                if self._tokenizer.decode(tokens, skip_special_tokens=True) != text:
                    raise ValueError(
                        f"token_ids: {pool.place}, response {at}: this tokenizer reads another text in them; "
                        "leave the column out"
                    )
        found = []
        for at, tokens in enumerate(encoded):
            ended = bool(tokens) and tokens[-1] in self._special
            # Of drawn tokens the last says whether they ended; a text ends unless something says otherwise.
            complete = drawn is None if finished is None else bool(finished[at])
            found.append([*tokens, end] if tokens and complete and not ended else list(tokens))
        return found
