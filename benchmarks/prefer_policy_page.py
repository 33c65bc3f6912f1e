"""docs/prefer-measured.md from what benchmarks/prefer_policy.py and its siblings have measured.

python -m benchmarks.prefer_policy_page [--rows FILE] [--page FILE]
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.prefer_arms import ARMS
from benchmarks.prefer_policy import GAMMA, TEMPERATURE, VARIED
from scipy.stats import t as student

HERE = Path(__file__).resolve().parent
ROWS = HERE / "measured" / "prefer-policy.jsonl"
PAGE = HERE.parent / "docs" / "prefer-measured.md"

Row = dict[str, Any]

#: What each setting is, in a sentence or two.
ABOUT = {
    "toy": "`--setting toy --seeds 4 --temperatures 0 0.25 0.5 0.75 1 --gammas 1 2 3 4`. "
    "A transformer of two layers on a grammar whose good and bad modes are known "
    "(`benchmarks/prefer_toy.py`): 32 "
    "prompts, 32 responses each, all weights trained, learning rate 3e-4, on 4,000 tokens; 16 other "
    "prompts, 16 "
    "answers each, are judged by the true reward.",
    "toy-long": "`--setting toy-long --seeds 3`. The same, trained three times as long: on 12,000 tokens.",
    "smollm2": "`--setting smollm2 --seeds 3 --gammas 1 2 3 4`. SmolLM2-135M-Instruct in bfloat16, adapters "
    "of rank 8 on its last six layers, learning rate 1e-3, on 4,000 tokens: 8 prompts of AlpacaEval, 16 "
    "responses each of at most 24 tokens. 16 other prompts, 2 answers each, are judged by the reward that "
    "was trained for, a ridge regression on MiniLM's vectors fitted to AlpacaEval's rewards of other "
    "prompts' responses. Prompts differ from seed to seed.",
    "smollm2-large": "`--setting smollm2-large --seeds 5 --temperatures 0.75 0 0.25 0.5 1`. "
    "The same model and reward on a GPU (one NVIDIA H200, one run): adapters of rank 8 on all layers, "
    "learning rate 2e-4, on 60,000 tokens: 48 prompts, the paper's 32 responses each of at most 48 tokens, "
    "seven negatives; 48 other prompts, 4 answers each, are judged. "
    "The run was ended early: gamma was not varied, and the last arms have fewer seeds at some temperatures.",
}

BINARY = {
    "": "`python -m benchmarks.prefer_binary --questions 6 --tokens 2500`: GSM8K's questions with four "
    "models' solutions, rewards 0 and 1, two or three of them right. SmolLM2-135M as above, trained on six; "
    "of the pairs of a right and a wrong solution to twelve others, the share whose right one is likelier "
    "a token. 0.5 is chance.",
    "large": "`--setting large --questions 80 --tokens 60000 --longest 400 --learning-rate 2e-4 --seeds 5`: "
    "trained on 80 questions, judged on 160 others, on a GPU (one NVIDIA H200, one run).",
}

STILL = "No arm put any pair into another order: a training of two or three updates, which says nothing."

#: Columns of the main tables.
FIGURES = {
    "evaluation_reward": "reward",
    "gain": "more than the start",
    "win_rate": "wins against the start",
    "length_controlled_win_rate": "at equal length",
    "evaluation_tokens": "tokens",
    "evaluation_finished": "finished",
    "evaluation_distinct": "distinct",
}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and half the width of its 95 % interval over seeds (Student's t)."""
    count = len(values)
    if count < 2:
        return float(np.mean(values)), float("nan")
    half = float(student.ppf(0.975, count - 1)) * float(np.std(values, ddof=1)) / count**0.5
    return float(np.mean(values)), half


def shown(values: Sequence[float], digits: int = 3) -> str:
    """Return a mean with its interval."""
    if not values:
        return ""
    mean, half = interval(values)
    return f"{mean:.{digits}f}" if np.isnan(half) else f"{mean:.{digits}f} ± {half:.{digits}f}"


def differing(
    pairs: Sequence[tuple[str, dict[int, float], str, dict[int, float]]],
) -> list[tuple[str, str, float, float]]:
    """Return the pairs that differ seed by seed: the names, better first, mean and half the interval."""
    found = []
    for one, these, other, those in pairs:
        mean, half = interval([these[seed] - those[seed] for seed in these if seed in those])
        if not np.isnan(half) and abs(mean) > half:
            found.append((one, other, mean, half) if mean > 0 else (other, one, -mean, half))
    return sorted(found, key=lambda pair: -pair[2])


def listed(apart: Sequence[tuple[str, str, float, float]]) -> str:
    """Return pairs that differ in words."""
    return "; ".join(f"{one} before {other} by {mean:.3f} ± {half:.3f}" for one, other, mean, half in apart)


class Measured:
    """The measurements of one setting.

    Parameters
    ----------
    rows : sequence of dict
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = list(rows)
        self.arms = [arm for arm in ["start", *ARMS] if any(row["arm"] == arm for row in rows)]
        self._by = {(row["arm"], row["gamma"], row["temperature"], row["seed"]): row for row in rows}

    def of(self, arm: str, figure: str, gamma: float = GAMMA, heat: float = TEMPERATURE) -> dict[int, float]:
        """Return a figure of an arm by seed; "gain" is the reward minus the start's."""
        weight = None if arm == "start" else gamma
        found = {key[3]: row for key, row in self._by.items() if key[:3] == (arm, weight, heat)}
        if figure != "gain":
            return {seed: row[figure] for seed, row in found.items() if row.get(figure) is not None}
        if arm == "start":
            return {}
        start = self.of("start", "evaluation_reward", heat=heat)
        return {seed: row["evaluation_reward"] - start[seed] for seed, row in found.items() if seed in start}

    def values(self, arm: str, figure: str, **where: float) -> list[float]:
        """Return a figure of an arm, over its seeds."""
        return list(self.of(arm, figure, **where).values())

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The pairs of arms that were both measured with two seeds or more."""
        several = [arm for arm in self.arms if arm != "start" and len(self.of(arm, "win_rate")) > 1]
        return list(combinations(several, 2))

    def apart(self) -> list[tuple[str, str, float, float]]:
        """Return the pairs of arms whose rewards differ, paired by seed: mean and half the interval."""
        rewards = {arm: self.of(arm, "evaluation_reward") for arm in self.arms}
        return differing([(one, rewards[one], other, rewards[other]) for one, other in self.pairs])


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table."""
    return [
        "| " + " | ".join(columns) + " |",
        "|" + " --- |" * len(columns),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def main_table(found: Measured) -> list[str]:
    """Return the arms' table."""
    return table(
        ["arm", "seeds", *FIGURES.values()],
        [
            [
                arm,
                str(len(found.of(arm, "evaluation_reward"))),
                *(shown(found.values(arm, one)) for one in FIGURES),
            ]
            for arm in found.arms
        ],
    )


def sweep(found: Measured, name: str, values: Sequence[float]) -> list[str]:
    """Return rewards and win rates against the start by temperature or by gamma.

    Gammas are compared on the seeds that have all of them.
    """
    arms = [arm for arm in found.arms if name == "heat" or arm in VARIED]
    each = [set(found.of(arm, "evaluation_reward", gamma=value)) for arm in arms for value in values]
    seeds = None if name == "heat" else set.intersection(*each)

    def cell(arm: str, value: float) -> str:
        rewards, wins = (
            [
                one
                for seed, one in found.of(arm, figure, **{name: value}).items()
                if not seeds or seed in seeds
            ]
            for figure in ("evaluation_reward", "win_rate")
        )
        return shown(rewards) + (f"; wins {np.mean(wins):.2f}" if wins else "")

    return table(
        ["arm", *(f"{value:g}" for value in values)], [[a, *(cell(a, v) for v in values)] for a in arms]
    )


def verdict(name: str, found: Measured) -> str:
    """Return what a setting tells apart, in a sentence."""
    apart, pairs = found.apart(), len(found.pairs)
    seeds = max(len(found.of(arm, "evaluation_reward")) for arm in found.arms)
    better = [arm for arm in found.arms if arm != "start" and _above(found.values(arm, "gain"))]
    of = len(found.arms) - 1
    said = (
        f"on {name} (up to {seeds} seeds an arm) {len(better)} of {of} arms are better than the start, and "
    )
    if not apart:
        return f"{said}none of the {pairs} pairs of arms can be told apart"
    return f"{said}{len(apart)} of the {pairs} pairs of arms can be told apart ({listed(apart[:3])})"


def by_gamma(found: Measured, gammas: Sequence[float]) -> str:
    """Return which gammas of an arm can be told apart, in a sentence."""
    rewards = {(arm, one): found.of(arm, "evaluation_reward", gamma=one) for arm in VARIED for one in gammas}
    pairs = [(arm, one, other) for arm in VARIED for one, other in combinations(gammas, 2)]
    apart = differing(
        [(f"{arm} at {a:g}", rewards[arm, a], f"{arm} at {b:g}", rewards[arm, b]) for arm, a, b in pairs]
    )
    told = f" ({listed(apart)})" if apart else ""
    return (
        f"Seed by seed, {len(apart) or 'none'} of the {len(pairs)} pairs of gammas can be told apart{told}."
    )


def _above(values: Sequence[float]) -> bool:
    mean, half = interval(values)
    return bool(mean - half > 0)


def page(rows: Sequence[Row], solved: Sequence[Row] = ()) -> str:
    """Return the page."""
    names = [name for name in ABOUT if any(row["setting"] == name for row in rows)]
    each = {name: Measured([row for row in rows if row["setting"] == name]) for name in names}
    each = {name: found for name, found in each.items() if len(found.arms) > 1}
    told = "; ".join(verdict(name, found) for name, found in each.items())
    lines = [
        "# Trained on preferences, measured",
        "",
        f"At this size little can be told apart, and what can is of this size: {told}. AMPO's Table 1 "
        "has coreset, "
        "opt-select and bottom-k 3 to 7 points above one negative on AlpacaEval with an "
        "8-billion-parameter model, "
        "its Figure 3 has them steadier over temperatures, its Figure 4 better as gamma goes from 1 to "
        "3. **Nothing "
        "here shows that**: the models are a toy and one of 135 million parameters, trained for "
        "minutes, and judged by "
        "the reward that they were trained for.",
        "",
        "`benchmarks/prefer_policy.py` measures, a line a measurement in "
        "`benchmarks/measured/prefer-policy.jsonl`; "
        "`python -m benchmarks.prefer_policy_page` writes this page from the lines and adds nothing. "
        "Every arm of a seed "
        "starts from the same weights and, but for GRPO, which draws its own from the same prompts, as "
        "many a prompt "
        "and of the same reward, learns from the same responses drawn at temperature 0.8; one negative "
        "or three (seven where it says so). "
        "Gradients are computed for as many tokens in each (a prompt is counted with each of its "
        "responses; the update that "
        "reaches the number is the last), at one constant learning rate, nothing was tuned for any "
        "arm. DPO, SimPO and "
        "GRPO are TRL's own trainers at their defaults (SimPO: beta 2.5, margin 1.375); the others are "
        "trained by "
        "setwise with `refa`, beta 8. Means ± 95 % intervals over seeds (Student's t), arms compared "
        "seed by seed. Each pair is "
        "judged by itself: of twenty that are alike, one seems to differ. TRL "
        "teaches an end where a response was cut at its length; setwise does not.",
    ]
    for name, found in each.items():
        own = found.rows
        lines += ["", f"## {name}", "", f"{ABOUT[name]} Temperature {TEMPERATURE:g}, gamma {GAMMA:g}.", ""]
        lines += main_table(found)
        twins = {(row["arm"], row["as"]) for row in own if "as" in row}
        spent = [row["trained_tokens"] for row in own if "trained_tokens" in row]
        lines += ["", f"Trained on {min(spent):,} to {max(spent):,} tokens."]
        for arm, other in sorted(twins):
            lines[-1] += (
                f" {arm} chose what {other} chose wherever the line says so, and was not trained again."
            )
        heats = sorted({row["temperature"] for row in own if row["arm"] == "start"})
        if len(heats) > 1:
            lines += [
                "",
                f"{name} by the temperature of the answers that are judged (the shape of Figure 3):",
                "",
            ]
            lines += sweep(found, "heat", heats)
        gammas = sorted({row["gamma"] for row in own if row["gamma"] is not None})
        if len(gammas) > 1:
            lines += ["", f"{name} by gamma, at temperature {TEMPERATURE:g} (the shape of Figure 4):", ""]
            lines += [*sweep(found, "gamma", gammas), "", by_gamma(found, gammas)]
    if solved:
        lines += binary(solved)
    wrapped = [
        line if line[:1] in ("|", "#") else textwrap.fill(line, 140, break_on_hyphens=False) for line in lines
    ]
    return "\n".join(wrapped) + "\n"


def binary(rows: Sequence[Row]) -> list[str]:
    """Return the section on right and wrong solutions."""
    told: list[str] = []
    for name in dict.fromkeys(row.get("setting", "") for row in rows):
        told += [*([""] if told else []), *_of(name, [row for row in rows if row.get("setting", "") == name])]
    return ["", "## Right and wrong, several right", "", *told]


def _of(setting: str, rows: Sequence[Row]) -> list[str]:
    """Return what is said of one setting's right and wrong solutions."""
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    seeds = {arm: [row["seed"] for row in rows if row["arm"] == arm] for arm in arms}
    own = {arm: {row["seed"]: row["accuracy"] for row in rows if row["arm"] == arm} for arm in arms}
    cells, moved = [], False
    for arm in arms:
        gains = [own[arm][seed] - own["start"][seed] for seed in seeds[arm] if arm != "start"]
        moved = moved or any(gains)
        cells.append([arm, str(len(seeds[arm])), shown(list(own[arm].values())), shown(gains)])
    return [
        BINARY[setting],
        "",
        *table(["arm", "seeds", "accuracy", "more than the start"], cells),
        *([] if moved else ["", STILL]),
    ]


def main(words: Sequence[str] | None = None) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args(words)
    rows = [json.loads(line) for line in given.rows.read_text(encoding="utf-8").splitlines()]
    beside = given.rows.with_name("prefer-binary.jsonl")
    solved = beside.read_text(encoding="utf-8").splitlines() if beside.exists() else []
    given.page.write_text(page(rows, [json.loads(line) for line in solved]), encoding="utf-8")


if __name__ == "__main__":
    main()
