"""Do the choice of negatives and the loss make a better policy? Arms on the same samples, at equal tokens.

``--tiny`` runs the toy policy of `benchmarks.prefer_toy` for some seconds. Without it, SmolLM2-135M answers
AlpacaEval's prompts and a ridge regression on MiniLM's vectors, fitted to the rewards of other prompts'
responses, is the reward (``--data``: a folder with ``alpaca_eval``); that takes hours on a processor.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks import prefer_toy
from benchmarks.reporting import heading, table

from setwise.preference import PreferenceConfig, PreferenceRows, generate, score, train
from setwise.preference.loop.evaluate import compare, summarize

#: What is trained: how the negatives are chosen, how many there are, and the loss.
ARMS: dict[str, tuple[str, int, str]] = {
    "dpo": ("best-vs-worst", 1, "dpo"),
    "simpo": ("best-vs-worst", 1, "simpo"),
    "best-vs-worst": ("best-vs-worst", 1, "refa"),
    "sigma": ("sigma", 3, "refa"),
    "random": ("random", 3, "refa"),
    "bottom-k": ("bottom-k", 3, "refa"),
    "coreset": ("coreset", 3, "refa"),
    "opt-select": ("opt-select", 3, "refa"),
}


@dataclass(frozen=True)
class Setting:
    """What all arms share.

    Attributes
    ----------
    policy : callable
        From a seed, the start and its tokenizer.
    prompts, held_out : list of dict
    reward : callable
    responses, held_out_responses, max_new_tokens : int
    training : dict
        Arguments of `PreferenceConfig`; ``max_steps`` is that of the arms with k = 3, and those with one
        negative take twice as many: as many tokens.
    """

    policy: Callable[[int], tuple[Any, Any]]
    prompts: list[dict[str, Any]]
    held_out: list[dict[str, Any]]
    reward: Callable[[list[Any], list[str]], Sequence[float]]
    responses: int
    held_out_responses: int
    max_new_tokens: int
    training: dict[str, Any]


def tiny(steps: int) -> Setting:
    """Return the toy: a pretrained grammar, its rewards known."""
    return Setting(
        policy=lambda seed: (prefer_toy.pretrained(seed, steps=steps), prefer_toy.tokenizer()),
        prompts=[{"prompt": prompt} for prompt in prefer_toy.PROMPTS[:16]],
        held_out=[{"prompt": prompt} for prompt in prefer_toy.HELD_OUT_PROMPTS[:8]],
        reward=prefer_toy.reward,
        responses=16,
        held_out_responses=8,
        max_new_tokens=8,
        training={"learning_rate": 1e-3, "max_steps": 8, "per_device_train_batch_size": 8},
    )


def real(data: Path, prompts: int, seed: int) -> Setting:
    """Return SmolLM2 on AlpacaEval's prompts, with a reward fitted on other prompts' responses."""
    from benchmarks.prefer_pools import alpaca_eval

    from setwise.encode import encoder
    from setwise.preference import load_model

    pools = alpaca_eval(data, 3 * prompts, "sentence", seed)
    fitted, mine = pools[2 * prompts :], pools[: 2 * prompts]
    vectors = np.concatenate([pool.embeddings for pool in fitted]).astype(np.float64)
    rewards = np.concatenate([pool.rewards for pool in fitted])
    middle = vectors.mean(axis=0)
    away = vectors - middle
    weights = np.linalg.solve(
        away.T @ away + 10.0 * np.eye(away.shape[1]), away.T @ (rewards - rewards.mean())
    )
    reader = encoder("sentence")

    def reward(asked: list[Any], answers: list[str]) -> list[float]:
        return ((reader.encode(answers) - middle) @ weights).tolist()

    rows = [{"prompt": pool.prompt} for pool in mine]
    return Setting(
        policy=lambda _: load_model("smollm2", dtype="float32"),
        prompts=rows[:prompts],
        held_out=rows[prompts:],
        reward=reward,
        responses=16,
        held_out_responses=4,
        max_new_tokens=128,
        training={
            "lora": True,
            "learning_rate": 1e-4,
            "max_steps": prompts // 4,
            "gradient_accumulation_steps": 8,
            "responses_per_forward": 4,
        },
    )


def run(setting: Setting, arms: Sequence[str], seed: int, temperature: float, gamma: float) -> dict[str, Any]:
    """Return the figures of the start and of each arm, from the same samples by the same random numbers."""
    start, words = setting.policy(seed)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)

        def answers(model: Any, asked: Any, name: str, count: int, heat: float, key: int) -> Any:
            drawn, scored = folder / f"{name}-drawn.jsonl", folder / f"{name}.jsonl"
            generate(
                asked,
                drawn,
                model=model,
                tokenizer=words,
                responses=count,
                temperature=heat,
                max_new_tokens=setting.max_new_tokens,
                seed=key,
            )
            score(drawn, scored, setting.reward)
            return [json.loads(line) for line in scored.read_text(encoding="utf-8").splitlines()]

        pools = answers(start, setting.prompts, "pools", setting.responses, 0.8, seed)

        def held_out(model: Any, name: str) -> Any:
            count = 1 if temperature == 0 else setting.held_out_responses
            return answers(model, setting.held_out, name, count, temperature, 1_000 + seed)

        before = held_out(start, "start")
        found["start"] = summarize(before)
        for arm in arms:
            method, k, loss = ARMS[arm]
            rows = list(PreferenceRows(pools, k, method=method, model="lsa", too_few="skip", seed=seed))
            steps = setting.training["max_steps"] * (2 if k == 1 else 1)
            options = {"gamma": gamma} if loss == "refa" else {}
            config = PreferenceConfig(
                output_dir=str(folder / "out"),
                report_to="none",
                save_strategy="no",
                disable_tqdm=True,
                seed=seed,
                loss=loss,
                **{**setting.training, "max_steps": steps},
                **options,
            )
            trainer = train(copy.deepcopy(start), rows, config, tokenizer=words)
            after = held_out(trainer.model, arm)
            found[arm] = {**summarize(after), **compare(after, before), "rows": len(rows)}
    return found


def main(words: Sequence[str] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Run all seeds and print means with standard errors over them; returns the figures by arm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--prompts", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--temperature", type=float, default=0.8, help="of the held-out responses")
    parser.add_argument("--gamma", type=float, default=2.0)
    parser.add_argument("--pretraining", type=int, default=300, help="steps of the toy's")
    given = parser.parse_args(words)
    if given.tiny == (given.data is not None):
        parser.error("give either --tiny or --data")
    heading()
    figures: dict[str, list[dict[str, Any]]] = {}
    for seed in range(given.seeds):
        setting = tiny(given.pretraining) if given.tiny else real(given.data, given.prompts, seed)
        for arm, row in run(setting, given.arms, seed, given.temperature, given.gamma).items():
            figures.setdefault(arm, []).append(row)
    names = {
        "evaluation_reward": "held-out reward",
        "win_rate": "wins against the start",
        "length_controlled_win_rate": "at equal length",
        "evaluation_tokens": "tokens",
        "evaluation_finished": "finished",
        "evaluation_distinct": "distinct",
    }
    table(
        f"{given.seeds} seeds, temperature {given.temperature:g}, gamma {given.gamma:g}",
        ["arm", *names.values()],
        [
            [arm, *(_shown([row.get(name) for row in rows]) for name in names)]
            for arm, rows in figures.items()
        ],
    )
    return figures


def _shown(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    error = statistics.stdev(known) / len(known) ** 0.5 if len(known) > 1 else float("nan")
    return f"{statistics.fmean(known):.3f} ± {error:.3f}"


if __name__ == "__main__":
    main()
