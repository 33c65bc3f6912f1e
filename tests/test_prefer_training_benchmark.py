"""The toy policy that trainings are compared on: rewards, modes and their probabilities are what it says."""

import json

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
    favored = answer(toy, 4, [0, 1, 0, 1, 0, 1])
    assert toy.reward([], [favored]) == pytest.approx([toy.REWARDS[4] + 0.03])
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


@pytest.mark.slow
def test_arms_are_compared_on_the_same_samples(tmp_path):
    """The script at its smallest: arms learn from one start, as many tokens, once; the page is of that."""
    pytest.importorskip("pyarrow")
    pytest.importorskip("trl")
    rows, page = tmp_path / "rows.jsonl", tmp_path / "page.md"
    words = ["--seeds", "2", "--pretraining", "20", "--tokens", "300", "--rows", str(rows), "--temperatures"]
    words += ["0.75", "0", "--gammas", "2", "3", "--arms", "DPO (TRL), best-vs-worst", "opt-select"]
    words += ["SimPO (TRL), best-vs-worst", "GRPO (TRL)"]
    found = part("prefer_policy").main(words)
    kept = rows.read_text()
    assert [json.loads(line) for line in kept.splitlines()] == found
    assert part("prefer_policy").main(words) == found  # nothing is measured twice
    assert rows.read_text() == kept
    assert len(found) == 2 * (2 + 4 * 2 + 1)
    for row in found:
        if row["arm"] != "start":
            assert 300 <= row["trained_tokens"] < 300 + 32 * 10  # within an update
            assert 0 <= row["win_rate"] <= 1
    part("prefer_policy_page").main(["--rows", str(rows), "--page", str(page)])
    mean = np.mean(
        [row["evaluation_reward"] for row in found if (row["arm"], row["temperature"]) == ("start", 0.75)]
    )
    assert f"| start | 2 | {mean:.3f} ± " in page.read_text()
    assert " of the 6 pairs of arms can be told apart" in page.read_text()


def test_what_can_be_told_apart_is_counted_from_paired_differences():
    page = part("prefer_policy_page")
    assert page.interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 4.302652729911275 / 3**0.5))

    def row(arm, seed, reward):
        gamma = None if arm == "start" else 2.0
        return {
            "arm": arm,
            "seed": seed,
            "gamma": gamma,
            "temperature": 0.75,
            "evaluation_reward": reward,
            "win_rate": 0.5,
            "trained_tokens": 5,
        }

    ahead = [row("opt-select", seed, seed + 0.5 + 0.01 * seed) for seed in range(3)]
    rows = [row(arm, seed, float(seed)) for arm in ("start", "bottom-k") for seed in range(3)] + ahead
    (pair,) = page.Measured(rows).apart()
    assert pair[:2] == ("opt-select", "bottom-k")
    assert pair[2:] == pytest.approx((0.51, 4.302652729911275 * 0.01 / 3**0.5))
    # A seed that is there for one of two arms says nothing of how they differ, one seed says nothing at all.
    (pair,) = page.Measured(rows[:-1]).apart()
    assert pair[2] == pytest.approx(0.505)
    assert page.Measured(rows[:-2]).apart() == page.Measured(rows[:-2]).pairs == []
