"""Right and wrong solutions, several right ones a question: does training on all of them rank others better?

    python -m benchmarks.prefer_binary --rows rows.jsonl

GSM8K's questions with four models' solutions, rewards 0 and 1. SmolLM2-135M with adapters is trained on some
and judged on others: of all pairs of a right and a wrong solution to a question, the share whose right one is
likelier a token. A line an arm and seed is added to ``--rows``, and what is there is not measured again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.data import SHARED
from benchmarks.prefer_arms import Arm, Schedule, fit, rows_of

ROWS = Path(__file__).resolve().parent / "measured" / "prefer-binary.jsonl"

#: One right and one wrong solution of each question, or all four, those above the mean being right.
ARMS = {
    "SimPO (TRL), a pair": Arm("trl-simpo", "best-vs-worst", 1),
    "a pair": Arm("setwise", "best-vs-worst", 1),
    "all right against all wrong": Arm("setwise", "bottom-k", 2, positives=2),
}


def pools(data: Path, longest: int) -> list[dict[str, Any]]:
    """Return the questions with two right solutions or more, a wrong one or more, none longer in letters."""
    lines = (data / "gsm8k_solutions" / "solutions.jsonl").read_text(encoding="utf-8").splitlines()
    solved = sorted(map(json.loads, lines), key=lambda row: row["prompt_id"])
    found = []
    for _, group in itertools.groupby(solved, key=lambda row: row["prompt_id"]):
        each = {row["solution"]: float(row["is_correct"]) for row in group}
        if len(each) == 4 and 2 <= sum(each.values()) < 4 and max(map(len, each)) <= longest:
            found.append({"responses": list(each), "rewards": list(each.values())})
            question = next(row["question"] for row in solved if row["solution"] in each)
            found[-1]["prompt"] = [{"role": "user", "content": question}]
    return found


def accuracy(model: Any, words: Any, asked: Sequence[dict[str, Any]]) -> float:
    """Return the share of pairs in the right order, over all questions."""
    from setwise.preference.loop.evaluate import logps_of
    from setwise.preference.prompts import as_tokens

    prompts = [as_tokens(row["prompt"], words, chat=True) for row in asked]
    answers = [
        {"token_ids": [words(text, add_special_tokens=False)["input_ids"] for text in row["responses"]]}
        for row in asked
    ]
    right = []
    for row, said, logps in zip(asked, answers, logps_of(model, prompts, answers, 8), strict=True):
        means = [logp / len(tokens) for logp, tokens in zip(logps, said["token_ids"], strict=True)]
        judged = list(zip(means, row["rewards"], strict=True))
        right += [good > bad for good, one in judged for bad, other in judged if one > other]
    return float(np.mean(right))


def main(words: Sequence[str] | None = None) -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--questions", type=int, default=8, help="to train on; twice as many are judged")
    parser.add_argument("--tokens", type=int, default=3_000)
    parser.add_argument("--longest", type=int, default=220, help="letters of a solution")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--setting", default="", help="a name for other sizes than the defaults")
    given = parser.parse_args(words)
    from setwise.preference import load_model

    torch.set_num_threads(1)
    lines = given.rows.read_text(encoding="utf-8").splitlines() if given.rows.exists() else []
    known = {
        (row["seed"], row["arm"]) for row in map(json.loads, lines) if row.get("setting", "") == given.setting
    }
    every = pools(given.data, given.longest)
    start, tokenizer = load_model("smollm2", dtype="bfloat16")
    for seed in range(given.seeds):
        order = np.random.default_rng([seed, 17]).permutation(len(every))
        mine = [every[place] for place in order[: given.questions]]
        others = [every[place] for place in order[given.questions : 3 * given.questions]]
        for name in ["start", *ARMS]:
            if (seed, name) in known:
                continue
            model, cost = start, {}
            if name != "start":
                rows = rows_of(ARMS[name], mine, encoder="lsa", seed=seed)
                with tempfile.TemporaryDirectory() as folder:
                    model, cost = fit(
                        ARMS[name],
                        start,
                        tokenizer,
                        rows,
                        prompts=[],
                        reward=None,
                        sampling={},
                        schedule=Schedule(given.tokens, 8, given.learning_rate, tuple(range(24, 30))),
                        gamma=2.0,
                        seed=seed,
                        folder=Path(folder),
                    )
            row = {
                **({"setting": given.setting} if given.setting else {}),
                "seed": seed,
                "arm": name,
                "accuracy": round(accuracy(model, tokenizer, others), 6),
                **cost,
            }
            with given.rows.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(row, flush=True)


if __name__ == "__main__":
    main()
