"""Do the choice of negatives and the loss make a better policy? Arms on the same samples, at equal tokens.

    python -m benchmarks.prefer_policy --setting toy --rows rows.jsonl
    python -m benchmarks.prefer_policy --setting smollm2 --rows rows.jsonl --until 60
    python -m benchmarks.prefer_policy_page --rows rows.jsonl

The shape of AMPO's Table 1 (arms), Figure 3 (``--temperatures`` of the answers that are judged) and Figure 4
(``--gammas``). "toy" is the grammar of benchmarks/prefer_toy.py, minutes in all, "toy-long" the same with
three times the training. "smollm2" is SmolLM2-135M with adapters on AlpacaEval's prompts; a ridge regression
on MiniLM's vectors, fitted to the rewards of other prompts' responses, is the reward; hours.
"smollm2-large" is more of the same, with the paper's 32 responses and seven negatives, for a GPU. A line a
measurement is added to ``--rows``; what is there already is not measured again, so an interrupted run goes on
with the same command.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# A neighbor bears the name of a standard module: this folder must not be where modules are looked for.
sys.path[:] = [str(HERE.parent), *[entry for entry in sys.path if Path(entry or ".").resolve() != HERE]]

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from benchmarks import prefer_toy
from benchmarks.data import SHARED
from benchmarks.prefer_arms import ARMS, Arm, Schedule, fit, rows_of

from setwise.preference import generate, score
from setwise.preference.loop.evaluate import compare, summarize

#: What identifies a measurement.
KEY = ("setting", "seed", "arm", "gamma", "temperature")

#: The settings of the main table; the temperature that responses are drawn at for training is the paper's.
GAMMA, TEMPERATURE, DRAWN_AT = 2.0, 0.75, 0.8

#: The ways of choosing whose gamma is varied, and whose answers are judged at all temperatures.
VARIED = ("bottom-k", "coreset", "opt-select")

#: How much of AlpacaEval's responses the reward is fitted to: about as much as a policy's answers have.
LETTERS = 150

#: What each prompt of a real model ends with, so that answers fit in the tokens they get.
BRIEFLY = "\nAnswer in one sentence."


@dataclass(frozen=True)
class Setting:
    """What all arms share.

    Attributes
    ----------
    name : str
    policy : callable
        From a seed, the start and its tokenizer.
    prompts, held_out : list of dict
    reward : callable
    encoder : str
        Of the vectors that responses are chosen by.
    responses, held_out_responses, max_new_tokens : int
    schedule : Schedule
    negatives : int
        A prompt, of the arms that choose several.
    """

    name: str
    policy: Callable[[int], tuple[Any, Any]]
    prompts: list[dict[str, Any]]
    held_out: list[dict[str, Any]]
    reward: Callable[[list[Any], list[str]], Sequence[float]]
    encoder: str
    responses: int
    held_out_responses: int
    max_new_tokens: int
    schedule: Schedule
    negatives: int = 3


def toy(seed: int, given: argparse.Namespace, name: str = "toy", tokens: int = 4_000) -> Setting:
    """Return the toy: a pretrained grammar, its rewards known."""
    return Setting(
        name=name,
        policy=lambda of: (prefer_toy.pretrained(of, steps=given.pretraining), prefer_toy.tokenizer()),
        prompts=[{"prompt": prompt} for prompt in prefer_toy.PROMPTS],
        held_out=[{"prompt": prompt} for prompt in prefer_toy.HELD_OUT_PROMPTS],
        reward=prefer_toy.reward,
        encoder="lsa",
        responses=32,
        held_out_responses=16,
        max_new_tokens=8,
        schedule=Schedule(tokens=given.tokens or tokens, sequences=32, learning_rate=3e-4),
    )


def smollm2(seed: int, given: argparse.Namespace, *, large: bool = False) -> Setting:
    """Return SmolLM2 on AlpacaEval's prompts, other ones for each seed, with a reward of a fixed fit.

    The large one has the paper's 32 responses a prompt and seven negatives: for a GPU.
    """
    from pyarrow import parquet

    from setwise.encode import encoder
    from setwise.preference import load_model

    source = given.data / "alpaca_eval"
    lines = (source / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    asked = {row["prompt_id"]: row["instruction"] for row in map(json.loads, lines)}
    brief = np.random.default_rng(16).permutation([one for one, text in asked.items() if len(text) < 150])
    responses = parquet.read_table(source / "responses.parquet").to_pylist()
    judged = set(brief[:40].tolist())
    fitted = [row for row in responses if row["prompt_id"] in judged and row["response"].strip()]
    reader = encoder("sentence")
    vectors = reader.encode([row["response"][:LETTERS] for row in fitted]).astype(np.float64)
    rewards = np.array([row["reward_logit"] for row in fitted])
    middle = vectors.mean(axis=0)
    away = vectors - middle
    weights = np.linalg.solve(
        away.T @ away + 10.0 * np.eye(away.shape[1]), away.T @ (rewards - rewards.mean())
    )

    def reward(asked: list[Any], answers: list[str]) -> list[float]:
        found = ((reader.encode(answers) - middle) @ weights).tolist()
        return [value if text.strip() else -10.0 for value, text in zip(found, answers, strict=True)]

    prompts, held_out = (48, 48) if large else (8, 16)
    drawn = np.random.default_rng([seed, 16]).permutation(brief[40:])[: prompts + held_out]
    rows = [{"prompt": [{"role": "user", "content": asked[int(one)] + BRIEFLY}]} for one in drawn]
    return Setting(
        name="smollm2-large" if large else "smollm2",
        policy=lambda _: load_model("smollm2", dtype="bfloat16"),
        prompts=rows[:prompts],
        held_out=rows[prompts:],
        reward=reward,
        encoder="sentence",
        responses=32 if large else 16,
        held_out_responses=4 if large else 2,
        max_new_tokens=48 if large else 24,
        schedule=Schedule(
            tokens=given.tokens or (60_000 if large else 4_000),
            sequences=16 if large else 8,
            learning_rate=2e-4 if large else 1e-3,
            layers=tuple(range(30) if large else range(24, 30)),
        ),
        negatives=7 if large else 3,
    )


SETTINGS: dict[str, Callable[[int, argparse.Namespace], Setting]] = {
    "toy": toy,
    "toy-long": lambda seed, given: toy(seed, given, "toy-long", 12_000),
    "smollm2": smollm2,
    "smollm2-large": lambda seed, given: smollm2(seed, given, large=True),
}


class Answers:
    """Scored answers of a model, kept in a folder under a name where they are to be used again."""

    def __init__(self, setting: Setting, words: Any, folder: Path) -> None:
        self._setting, self._words, self._folder = setting, words, folder

    def __call__(
        self, model: Any, asked: Any, name: str, *, count: int, temperature: float, seed: int
    ) -> list[dict[str, Any]]:
        """Return them, drawn unless the name is there already."""
        drawn, scored = self._folder / f"{name}-drawn.jsonl", self._folder / f"{name}.jsonl"
        if not scored.exists():
            generate(
                asked,
                drawn,
                model=model,
                tokenizer=self._words,
                responses=count,
                temperature=temperature,
                max_new_tokens=self._setting.max_new_tokens,
                batch_size=64 if model.device.type == "cpu" else 512,
                seed=seed,
                force=True,
            )
            score(drawn, scored, self._setting.reward, force=True)
        return [json.loads(line) for line in scored.read_text(encoding="utf-8").splitlines()]


def jobs(arms: Sequence[str], gammas: Sequence[float], varied_only: bool) -> Iterator[tuple[str, float]]:
    """Yield what is to be trained: arms at `GAMMA` first, then some at the other gammas."""
    if not varied_only:
        yield from ((arm, GAMMA) for arm in arms)
    for gamma in gammas:
        if gamma != GAMMA:
            yield from ((arm, gamma) for arm in arms if arm in VARIED)


def chosen_in(rows: Sequence[dict[str, Any]]) -> str:
    """Return a digest of which responses rows have as positives and negatives."""
    each = [[one["prompt"], one["chosen"], sorted(map(json.dumps, one["rejected"]))] for one in rows]
    return hashlib.blake2b(json.dumps(each).encode(), digest_size=8).hexdigest()


def twin(
    known: dict[tuple[Any, ...], dict[str, Any]],
    setting: str,
    seed: int,
    how: Arm,
    gamma: float,
    temperature: float,
    choice: str,
) -> dict[str, Any] | None:
    """Return the measurement of another arm with the same trainer and the same responses, if there is one."""
    same = (
        row
        for row in known.values()
        if [row["setting"], row["seed"], row["gamma"], row["temperature"]]
        == [setting, seed, gamma, temperature]
        and row["arm"] != "start"
        and ARMS[row["arm"]].trainer == how.trainer == "setwise"
        and row["choice"] == choice
    )
    return next(same, None)


def measure(
    setting: Setting,
    seed: int,
    given: argparse.Namespace,
    known: dict[tuple[Any, ...], dict[str, Any]],
    keep: Callable[[dict[str, Any]], None],
    folder: Path,
    late: Callable[[], bool],
) -> None:
    """Train the arms from the same samples, and keep each one's figures at each temperature."""

    def missing(arm: str, gamma: float | None) -> list[float]:
        at = given.temperatures if gamma == GAMMA or gamma is None else [TEMPERATURE]
        return [heat for heat in at if (setting.name, seed, arm, gamma, heat) not in known]

    due = [(arm, gamma) for arm, gamma in jobs(given.arms, given.gammas, False) if missing(arm, gamma)]
    if not due and not missing("start", None):
        return
    start, words = setting.policy(seed)
    answers = Answers(setting, words, folder)

    def held_out(model: Any, name: str, heat: float) -> list[dict[str, Any]]:
        count = 1 if heat == 0 else setting.held_out_responses
        return answers(model, setting.held_out, name, count=count, temperature=heat, seed=1_000 + seed)

    def line(arm: str, gamma: float | None, heat: float, after: Any, **more: Any) -> None:
        figures = summarize(after)
        if arm != "start":
            figures |= compare(after, held_out(start, f"start-{heat:g}", heat))
        keep(
            {
                "setting": setting.name,
                "seed": seed,
                "arm": arm,
                "gamma": gamma,
                "temperature": heat,
                **figures,
                **more,
            }
        )

    for heat in missing("start", None):
        line("start", None, heat, held_out(start, f"start-{heat:g}", heat))
    pools = answers(start, setting.prompts, "pools", count=setting.responses, temperature=DRAWN_AT, seed=seed)
    for arm, gamma in due:
        if late():
            return
        began = time.process_time()
        how = ARMS[arm] if ARMS[arm].k == 1 else replace(ARMS[arm], k=setting.negatives)
        rows = rows_of(how, pools, encoder=setting.encoder, seed=seed) if how.method else []
        choice = chosen_in(rows) if rows else ""
        at = missing(arm, gamma)
        twins = [twin(known, setting.name, seed, how, gamma, heat, choice) for heat in at]
        if all(twins):
            for row in twins:
                keep({**row, "arm": arm, "as": row["arm"]})
            continue
        model, cost = fit(
            how,
            start,
            words,
            rows,
            prompts=setting.prompts,
            reward=setting.reward,
            sampling={
                "responses": setting.responses,
                "temperature": DRAWN_AT,
                "max_new_tokens": setting.max_new_tokens,
            },
            schedule=setting.schedule,
            gamma=gamma,
            seed=seed,
            folder=folder / "out",
        )
        cost["processor_seconds"] = round(time.process_time() - began)
        for heat in at:
            with tempfile.TemporaryDirectory() as place:
                fresh = Answers(setting, words, Path(place))
                count = 1 if heat == 0 else setting.held_out_responses
                after = fresh(
                    model, setting.held_out, "after", count=count, temperature=heat, seed=1_000 + seed
                )
            line(arm, gamma, heat, after, **cost, groups=len(rows), choice=choice)


def main(words: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Measure what is missing; returns all measurements of the setting."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--setting", choices=list(SETTINGS), default="toy")
    parser.add_argument("--rows", type=Path, default=HERE / "measured" / "prefer-policy.jsonl")
    parser.add_argument("--work", type=Path, help="folder of the samples, to be kept for a run that goes on")
    parser.add_argument("--data", type=Path, default=SHARED, help="folder with alpaca_eval")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0, help="for seeds that run beside each other")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--temperatures", nargs="+", type=float, default=[TEMPERATURE])
    parser.add_argument("--gammas", nargs="+", type=float, default=[GAMMA])
    parser.add_argument("--tokens", type=int, help="that each arm is trained on")
    parser.add_argument("--until", type=float, help="minutes after which no arm is begun")
    parser.add_argument("--pretraining", type=int, default=300, help="steps of the toy's")
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    began = time.monotonic()

    def late() -> bool:
        return given.until is not None and time.monotonic() - began > 60 * given.until

    given.rows.parent.mkdir(parents=True, exist_ok=True)
    lines = given.rows.read_text(encoding="utf-8").splitlines() if given.rows.exists() else []
    found = [json.loads(line) for line in lines]
    known = {tuple(row[name] for name in KEY): row for row in found}

    def keep(row: dict[str, Any]) -> None:
        row = {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()}
        found.append(row)
        known[tuple(row[name] for name in KEY)] = row
        with given.rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(*(row[name] for name in KEY), f"{row['evaluation_reward']:.4f}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as temporary:
        for seed in range(given.first_seed, given.first_seed + given.seeds):
            if late():
                break
            folder = (given.work or Path(temporary)) / f"{given.setting}-{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            measure(SETTINGS[given.setting](seed, given), seed, given, known, keep, folder, late)
    return [row for row in found if row["setting"] == given.setting]


if __name__ == "__main__":
    main()
