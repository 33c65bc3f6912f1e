"""A policy beside the start: wins counted, length controlled as by scikit-learn, divergence by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tiny_policy
from optional import lazily, needs

torch = lazily("torch")
evaluate = lazily("setwise.preference.loop.evaluate")

pytestmark = needs("torch", "transformers")


def made(seed, shift=0.0, prompts=6, count=4):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(prompts):
        tokens = rng.integers(1, 40, count)
        rewards = np.round(rng.normal(shift, 1, count) + tokens / 40, 1)
        row = {"rewards": rewards.tolist(), "tokens": tokens.tolist(), "finished": (tokens < 30).tolist()}
        found.append({**row, "responses": [f"r{number}" for number in rng.integers(0, 5, count)]})
    return found


def test_figures_and_wins_are_counted():
    rows, start = made(1, 0.5), made(2)
    found = evaluate.summarize(rows)
    means = [sum(row["rewards"]) / 4 for row in rows]
    assert found["evaluation_reward"] == pytest.approx(sum(means) / 6)
    assert found["evaluation_error"] == pytest.approx(np.std(means, ddof=1) / 6**0.5)
    assert found["evaluation_distinct"] == pytest.approx(sum(len(set(row["responses"])) for row in rows) / 24)
    wins = []
    for row, other in zip(rows, start, strict=True):
        duels = [(a > b) + (a == b) / 2 for a in row["rewards"] for b in other["rewards"]]
        wins.append(sum(duels) / len(duels))
    assert evaluate.compare(rows, start)["win_rate"] == pytest.approx(sum(wins) / 6)
    assert evaluate.compare(rows, rows)["win_rate"] == 0.5
    assert evaluate.compare(rows, rows)["length_controlled_win_rate"] == pytest.approx(0.5)


def test_length_is_controlled_by_a_logistic_regression():
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(3)
    longer = rng.normal(10, 20, 400)
    wins = (rng.random(400) < 1 / (1 + np.exp(-(0.4 + 1.5 * np.tanh(longer / longer.std()))))).astype(float)
    shape = np.tanh(longer / longer.std())
    theirs = linear.LogisticRegression(C=1e10, tol=1e-10).fit(shape[:, None], wins)
    expected = 1 / (1 + np.exp(-theirs.intercept_[0]))
    assert evaluate.at_equal_length(wins, longer, ridge=0.0) == pytest.approx(expected, abs=1e-4)
    assert evaluate.at_equal_length(wins, longer) == pytest.approx(expected, abs=0.01)
    assert 0.5 < evaluate.at_equal_length(np.ones(5), np.zeros(5)) < 1.0


def test_log_probabilities_are_those_of_each_response_alone():
    model = tiny_policy.model().double()
    prompts, rows = [[6, 7], [8, 9, 10]], [{"token_ids": [[6, 2], [7]]}, {"token_ids": [[11, 12, 2]]}]
    found = evaluate.logps_of(model, prompts, rows, batch_size=2)
    for prompt, row, logps in zip(prompts, rows, found, strict=True):
        for tokens, logp in zip(row["token_ids"], logps, strict=True):
            table = model(torch.tensor([prompt + tokens])).logits[0].log_softmax(-1)
            expected = sum(table[len(prompt) - 1 + at, token] for at, token in enumerate(tokens))
            assert logp == pytest.approx(float(expected.detach()), rel=1e-9)


def test_the_loop_tells_all_figures(tmp_path):
    from setwise.preference import OnPolicyConfig, on_policy

    training = {"learning_rate": 0.02, "num_train_epochs": 2, "use_cpu": True}
    config = OnPolicyConfig(
        iterations=1, responses=12, temperature=1.0, max_new_tokens=5, k=2, encoder="lsa", training=training
    )
    result = on_policy(
        tiny_policy.model(),
        ["what is it", "what is red", "is it blue"],
        tiny_policy.share_of_good,
        config,
        out=tmp_path / "run",
        tokenizer=tiny_policy.tokenizer(),
        evaluation_prompts=["is it", "tree"],
    )
    before, after = result.metrics
    assert "win_rate" not in before
    lines = [
        [json.loads(line) for line in (tmp_path / "run" / name / "evaluation.jsonl").read_text().splitlines()]
        for name in ("iteration-000", "iteration-001")
    ]
    assert after["win_rate"] == evaluate.compare(lines[1], lines[0])["win_rate"]
    words = tiny_policy.tokenizer()
    tokens = [words(text)["input_ids"] for text in ("is it", "tree")]
    now = evaluate.logps_of(result.model, tokens, lines[0], 4)
    start = evaluate.logps_of(tiny_policy.model(), tokens, lines[0], 4)
    assert after["kl_from_start"] == pytest.approx(np.mean(np.array(start) - np.array(now)), rel=1e-4)
    assert after["kl_from_start"] > 0
    above, head, *rest = result.table().splitlines()
    assert above.split() == ["held", "equal"]
    assert head.split() == [
        "round",
        "reward",
        "out",
        "±",
        "wins",
        "length",
        "tokens",
        "finished",
        "distinct",
        "KL",
    ]
    assert len(rest) == 2
    long = {**after, "kl_from_start": -4.3e-4, "mean_reward": -12.345, "evaluation_reward": -12.345}
    assert max(map(len, evaluate.table([before, long]).splitlines())) <= 80
