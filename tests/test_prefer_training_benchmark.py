"""The toy policy that trainings are compared on: rewards, modes and their probabilities are what it says."""

import numpy as np
import pytest

from benchmark_modules import part
from optional import lazily, needs

torch = lazily("torch")

pytestmark = needs("torch", "transformers")


@pytest.fixture(scope="module")
def toy():
    return part("prefer_toy")


def answer(toy, mode, numbers):
    return " ".join(toy.word(mode, number) for number in numbers)


def test_rewards_are_the_modes(toy):
    plain = [answer(toy, mode, [2, 3, 4, 5, 6, 7]) for mode in range(toy.MODES)]
    assert toy.reward([], plain) == pytest.approx(toy.REWARDS)
    assert [toy.mode_of(text) for text in plain] == list(range(toy.MODES))
    assert all(map(toy.is_whole, plain))
    favoured = answer(toy, 4, [0, 1, 0, 1, 0, 1])
    assert toy.reward([], [favoured]) == pytest.approx([toy.REWARDS[4] + 0.03])
    half = answer(toy, 0, [2, 3, 4]) + " " + answer(toy, 5, [2, 3, 4])
    assert toy.reward([], [half, "", toy.topic(1)]) == pytest.approx([toy.REWARDS[0] / 2, 0.0, 0.0])
    assert not any(map(toy.is_whole, [half, "", toy.topic(1), answer(toy, 0, [1, 2])]))
    twice = answer(toy, 0, [2, 3, 4, 5, 6, 7, 2, 3, 4, 5, 6, 7])
    assert toy.reward([], [twice]) == pytest.approx([toy.REWARDS[0]])


def test_masses_of_a_policy_without_preferences_are_shares_of_the_vocabulary(toy):
    model, words = toy.pretrained(0, steps=4, batch=4), toy.tokenizer()
    trained = toy.masses(model, words)
    assert trained.modes.sum() + trained.none == pytest.approx(1.0)
    with torch.no_grad():
        model.lm_head.weight.zero_()
    found = toy.masses(model, words)
    assert found.modes == pytest.approx(np.full(toy.MODES, toy.WORDS / len(toy.VOCABULARY)))
    assert found.bad == pytest.approx(1.0 - toy.GOOD * toy.WORDS / len(toy.VOCABULARY))
    assert found.remaining() == toy.BAD
    assert found.remaining(0.5) == 0
    assert found.good_left == toy.GOOD


def test_frequencies_and_prompts(toy):
    assert toy.FREQUENCIES.sum() == pytest.approx(1.0)
    often = toy.frequencies(np.random.default_rng(0))
    assert often.shape == (toy.TOPICS + toy.HELD_OUT, toy.MODES)
    assert often.sum(axis=1) == pytest.approx(1.0)
    assert not set(toy.PROMPTS) & set(toy.HELD_OUT_PROMPTS)
    words = toy.tokenizer()
    assert words.decode(words(answer(toy, 3, [0, 7]))["input_ids"]) == answer(toy, 3, [0, 7])


def test_arms_are_compared_on_the_same_samples(toy, capsys):
    """The script at its smallest: each arm is trained, and figures are of the same held-out prompts."""
    pytest.importorskip("pyarrow")
    found = part("prefer_policy").main(
        ["--tiny", "--seeds", "1", "--pretraining", "20", "--arms", "dpo", "opt-select", "--temperature", "0"]
    )
    assert set(found) == {"start", "dpo", "opt-select"}
    for arm in ("dpo", "opt-select"):
        (row,) = found[arm]
        assert row["rows"] > 0
        assert 0 <= row["win_rate"] <= 1
    assert "opt-select" in capsys.readouterr().out
