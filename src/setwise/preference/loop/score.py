"""Rewards of responses: any function's, checked, or a reward model's."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.encode.models import load_pretrained
from setwise.extras import require
from setwise.preference.prompts import Prompt, asked_and_begun, templated

#: A reward: one number for each response to the prompt at the same place, higher is better.
Reward = Callable[[list[Prompt], list[str]], Sequence[float]]


def score(
    reward: Reward, prompts: Sequence[Prompt], responses: Sequence[Sequence[str]], first: int = 0
) -> list[list[float]]:
    """Return the rewards of every prompt's responses.

    Parameters
    ----------
    reward : callable
        Gets two lists of equal length, prompts (each as often as it has responses) and responses.
    prompts : sequence of prompt
    responses : sequence of sequence of str
        Those to each prompt.
    first : int
        The number of the first prompt, for messages.

    Raises
    ------
    TypeError
        The function returned something else than numbers.
    ValueError
        It returned more or fewer than it got responses, or one that is NaN or infinite.
    """
    asked = [prompt for prompt, answers in zip(prompts, responses, strict=True) for _ in range(len(answers))]
    flat = [answer for answers in responses for answer in answers]
    given = reward(list(asked), list(flat))
    found = _as_numbers(given)
    if len(found) != len(flat):
        raise ValueError(
            f"reward: it returned {len(found)} numbers for {len(flat)} responses; it must return one each"
        )
    scores: list[list[float]] = []
    start = 0
    for row, answers in enumerate(responses):
        mine = found[start : start + len(answers)]
        bad = np.flatnonzero(~np.isfinite(mine))
        if len(bad):
            raise ValueError(
                f"reward: {mine[bad[0]]} for response {bad[0]} to prompt {first + row} "
                f"({_shown(prompts[row])}); return a finite number"
            )
        scores.append([float(value) for value in mine])
        start += len(answers)
    return scores


class RewardModel:
    """A Hugging Face sequence-classification model with one output, as a reward.

    A chat template, where the tokenizer has one, gets the prompt as the user's message and the response as
    the assistant's (so Skywork-Reward, AMPO section 7, wants it), which begins as the prompt has begun it;
    otherwise the two are a pair of texts.

    Parameters
    ----------
    folder : str
        A folder, or a name on Hugging Face.
    batch_size : int
        Responses scored at once; they are sorted by length first.
    max_length : int, optional
        Tokens of prompt and response together; by default what the model can read. Longer ones are refused.
    dtype : str
        "auto" (as the model was saved), "float32", "bfloat16" or "float16".
    device : str, optional
        By default a GPU where there is one.
    trust_remote_code : bool, default False
        Run code that comes with the model.

    Raises
    ------
    ImportError
        torch or transformers is not installed.
    ValueError
        No reward model has that name, it has more than one output, or a setting is out of range.
    """

    def __init__(
        self,
        folder: str,
        *,
        batch_size: int = 16,
        max_length: int | None = None,
        dtype: str = "auto",
        device: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        self._batch_size = checks.integer("batch_size", batch_size, least=1)
        model, self._tokenizer = load_pretrained(
            folder,
            "AutoModelForSequenceClassification",
            noun="reward model",
            argument="folder",
            dtype=dtype,
            device=device,
            trust_remote_code=trust_remote_code,
        )
        self._torch = require("torch", "train", "RewardModel")
        if model.config.num_labels != 1:
            raise ValueError(
                f"folder: {folder!r} has {model.config.num_labels} outputs; a reward model has one"
            )
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._pads = model.config.pad_token_id is not None
        self._tokenizer.padding_side = "right"
        self._model = model.eval()
        limit = getattr(model.config, "max_position_embeddings", None)
        self._limit = limit if max_length is None else checks.integer("max_length", max_length, least=1)
        #: What a run remembers of its reward.
        self.name = f"RewardModel({folder})"

    def __call__(self, prompts: list[Prompt], responses: list[str]) -> list[float]:
        """Return one number a response."""
        encoded = [self._encode(prompt, answer) for prompt, answer in zip(prompts, responses, strict=True)]
        order = sorted(range(len(encoded)), key=lambda row: -len(encoded[row]["input_ids"]))
        rewards = [0.0] * len(encoded)
        with self._torch.inference_mode():
            for start in range(0, len(order), self._batch_size):
                rows = order[start : start + self._batch_size]
                batch = self._tokenizer.pad([encoded[row] for row in rows], return_tensors="pt")
                if not self._pads:
                    self._pad_apart(batch)
                output = self._model(**batch.to(self._model.device)).logits[:, 0]
                for row, value in zip(rows, output.float().tolist(), strict=True):
                    rewards[row] = value
        return rewards

    def _pad_apart(self, batch: Any) -> None:
        """Pad with a token that no text of the batch has: a model reads the reward at the last other one."""
        tokens, padding = batch["input_ids"], batch["attention_mask"] == 0
        known = set(tokens[~padding].tolist())
        apart = next(token for token in range(len(known) + 1) if token not in known)
        batch["input_ids"] = tokens.masked_fill(padding, apart)
        self._model.config.pad_token_id = apart

    def _encode(self, prompt: Prompt, answer: str) -> dict[str, Any]:
        """Return the tokens of a prompt with a response."""
        if getattr(self._tokenizer, "chat_template", None):
            asked, begun = asked_and_begun(prompt)
            try:
                text = templated([*asked, {"role": "assistant", "content": begun + answer}], self._tokenizer)
            except ValueError as error:
                raise ValueError(str(error).replace("prompt:", f"reward: {_shown(prompt)}:", 1)) from None
            found: dict[str, Any] = dict(self._tokenizer(text, add_special_tokens=False))
        elif isinstance(prompt, str):
            found = dict(self._tokenizer(prompt, answer))
        else:
            raise ValueError(
                f"prompts: {_shown(prompt)} is a chat, and the reward model has no chat template"
            )
        length = len(found["input_ids"])
        if self._limit is not None and length > self._limit:
            raise ValueError(
                f"reward: {_shown(prompt)} with its response has {length:,} tokens, above the model's "
                f"{self._limit:,}; lower max_new_tokens, or take a model that reads more"
            )
        return found


def reward_name(reward: Any) -> str:
    """Return what a run remembers of its reward: its ``name``, else the function's own."""
    name = getattr(reward, "name", None)
    if isinstance(name, str):
        return name
    return str(getattr(reward, "__qualname__", type(reward).__qualname__))


def _as_numbers(given: Any) -> NDArray[np.float64]:
    """Return what a reward function gave as an array of shape (n,)."""
    if hasattr(given, "detach"):
        given = given.detach().cpu().float().numpy()
    try:
        values = list(given)
    except TypeError:
        raise TypeError(
            f"reward: it returned {type(given).__name__}, expected a list of one number a response"
        ) from None
    for value in values:
        if not isinstance(value, numbers.Real | np.bool_):
            raise TypeError(f"reward: it returned {value!r:.40} ({type(value).__name__}), expected a number")
    return np.asarray([float(value) for value in values], np.float64)


def _shown(prompt: Prompt) -> str:
    """Return the start of a prompt, for a message."""
    text = prompt if isinstance(prompt, str) else str(prompt[-1]["content"])
    return repr(text if len(text) <= 60 else text[:60] + "…")
