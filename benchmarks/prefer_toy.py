"""A toy policy with known modes: a small transformer pretrained on a grammar of good and bad ways to answer.

A prompt is a topic. An answer is in one of twelve modes: six words, each drawn from the mode's own eight.
Three modes are good and rare, nine are bad, some common and some rare, and how common depends on the topic.
The reward of an answer is its mode's, times the share of its words that belong to the mode, and a little for
two of the mode's words. So a response's mode, and the policy's probability of each mode, are known exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

GOOD, BAD = 3, 9
MODES = GOOD + BAD
WORDS, LENGTH = 8, 6
TOPICS, HELD_OUT = 32, 16

#: Rewards of the modes: the good ones, then the bad ones, whose badness and frequency do not go together.
REWARDS = np.array([1.0, 0.9, 0.8, 0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4])

#: How common modes are over all topics.
FREQUENCIES = np.array([0.06, 0.06, 0.08, 0.20, 0.03, 0.10, 0.04, 0.15, 0.03, 0.12, 0.05, 0.08])

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")


def word(mode: int, number: int) -> str:
    """Return a word of a mode."""
    return f"{'abcdefghijkl'[mode]}{'abcdefgh'[number]}x"


def topic(number: int) -> str:
    """Return a prompt."""
    return f"topic{number:02d}"


PROMPTS = [topic(number) for number in range(TOPICS)]
HELD_OUT_PROMPTS = [topic(TOPICS + number) for number in range(HELD_OUT)]
VOCABULARY = [
    *SPECIAL,
    *PROMPTS,
    *HELD_OUT_PROMPTS,
    *(word(mode, number) for mode in range(MODES) for number in range(WORDS)),
]
MODE_OF = {word(mode, number): mode for mode in range(MODES) for number in range(WORDS)}
FAVORED = {word(mode, number) for mode in range(MODES) for number in (0, 1)}


def reward(prompts: list[Any], responses: list[str]) -> list[float]:
    """Return the rewards of answers; the mode of an answer is that of its first word."""
    found = []
    for response in responses:
        words = response.split()
        mode = mode_of(response)
        if mode < 0:
            found.append(0.0)
            continue
        own = sum(MODE_OF.get(one, -1) == mode for one in words) / max(LENGTH, len(words))
        favored = sum(one in FAVORED for one in words) / max(LENGTH, len(words))
        found.append(float(REWARDS[mode] * own + 0.03 * favored))
    return found


def mode_of(response: str) -> int:
    """Return the mode of a response's first word, -1 if it is of none."""
    return MODE_OF.get((response.split() or [""])[0], -1)


def is_whole(response: str) -> bool:
    """Return whether all words of a response, as many as the grammar's, are of one mode."""
    words = response.split()
    return (
        len(words) == LENGTH and len({MODE_OF.get(one, -1) for one in words}) == 1 and mode_of(response) >= 0
    )


def tokenizer() -> Any:
    """Return a tokenizer of whole words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    places = {name: place for place, name in enumerate(VOCABULARY)}
    inner = Tokenizer(models.WordLevel(places, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def frequencies(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return how common each mode is under each topic, shape (topics, modes)."""
    return rng.dirichlet(FREQUENCIES * 40, TOPICS + HELD_OUT)


def pretrained(seed: int, steps: int = 300, batch: int = 128) -> Any:
    """Return a small Llama trained on the grammar by its likelihood, in some seconds."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    often = frequencies(rng)
    config = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    first_word = len(SPECIAL) + TOPICS + HELD_OUT
    for _ in range(steps):
        topics = rng.integers(TOPICS + HELD_OUT, size=batch)
        modes = (often[topics].cumsum(1) > rng.random((batch, 1))).argmax(1)
        words = first_word + modes[:, None] * WORDS + rng.integers(WORDS, size=(batch, LENGTH))
        ends = np.full((batch, 1), 2)
        rows = torch.from_numpy(np.concatenate([(len(SPECIAL) + topics)[:, None], words, ends], axis=1))
        labels = rows.clone()
        labels[:, 0] = -100
        loss = model(input_ids=rows, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@dataclass(frozen=True)
class Masses:
    """How probable each mode is to a policy, at temperature 1, on average over the held-out prompts.

    Attributes
    ----------
    modes : ndarray of shape (12,)
        The probability that an answer begins with one of the mode's words; exact.
    none : float
        The probability that it begins with anything else.
    """

    modes: NDArray[np.float64]
    none: float

    @property
    def bad(self) -> float:
        """The probability of all bad modes, and of no mode."""
        return float(self.modes[GOOD:].sum() + self.none)

    def remaining(self, least: float = 0.01) -> int:
        """Return how many bad modes are at least so probable."""
        return int((self.modes[GOOD:] >= least).sum())

    @property
    def good_left(self) -> int:
        """How many good modes are still answered with, at 1 % or more."""
        return int((self.modes[:GOOD] >= 0.01).sum())


def masses(model: Any, words: Any) -> Masses:
    """Return the exact probabilities of modes on the held-out prompts."""
    tokens = torch.tensor([words(prompt)["input_ids"] for prompt in HELD_OUT_PROMPTS])
    with torch.no_grad():
        first = torch.softmax(model(input_ids=tokens).logits[:, -1].double(), dim=-1).mean(dim=0).numpy()
    start = len(SPECIAL) + TOPICS + HELD_OUT
    modes = first[start:].reshape(MODES, WORDS).sum(axis=1)
    return Masses(modes, float(1.0 - modes.sum()))
