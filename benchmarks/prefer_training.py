"""Does it matter which negatives a policy is trained on? On a toy policy whose bad modes are known.

    python benchmarks/prefer_training.py                      # 4 seeds, 3 iterations, some minutes
    python benchmarks/prefer_training.py --rate 3e-4 --seeds 8 --out training.json

A small transformer is pretrained on a grammar of three good and nine bad modes (benchmarks/prefer_toy.py),
then trained on policy by `setwise.preference.on_policy`: 32 responses a prompt at temperature 0.8 as in
AMPO, section 7, one positive and k = 7 negatives. All methods start from the same weights and draw by the
same random numbers; they differ in the negatives alone. Best-vs-worst is one positive and the worst, so an
epoch of it has a quarter of the responses; it, and opt-select, are also run for four times the epochs.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# A neighbor bears the name of a standard module: this folder must not be where modules are looked for.
sys.path[:] = [str(HERE.parent), *[entry for entry in sys.path if Path(entry or ".").resolve() != HERE]]

import argparse
import copy
import gc
import json
import tempfile
import time
import warnings
from typing import Any

import numpy as np
import torch
from benchmarks import prefer_toy as toy
from benchmarks.reporting import heading, table

from setwise.files import write_json
from setwise.preference import OnPolicyConfig, load_model, on_policy

#: What is compared: name, settings, epochs relative to the others.
METHODS: list[tuple[str, dict[str, Any], int]] = [
    ("opt-select", {"method": "opt-select"}, 1),
    ("coreset", {"method": "coreset"}, 1),
    ("bottom-k", {"method": "bottom-k"}, 1),
    ("random", {"method": "random"}, 1),
    ("best-vs-worst", {"method": "bottom-k", "k": 1}, 1),
    ("best-vs-worst, 4 × epochs", {"method": "bottom-k", "k": 1}, 4),
    ("opt-select, 4 × epochs", {"method": "opt-select"}, 4),
]


#: The loss: as AMPO's experiments have it (lengths normalized, beta 5, gamma 2), or its Equation 4 bare.
LOSSES: dict[str, dict[str, Any]] = {"refa": {"beta": 5.0}, "swepo": {"loss": "swepo"}}


def config(seed: int, given: argparse.Namespace, changes: dict[str, Any], times: int) -> OnPolicyConfig:
    """Return the settings of a run: AMPO's of sampling and selection, the toy's of the rest."""
    return OnPolicyConfig(
        **{
            "iterations": given.iterations,
            "responses": 32,
            "temperature": 0.8,
            "k": 7,
            "max_new_tokens": toy.LENGTH + 2,
            "batch_size": 1024,
            "encoder": "lsa",
            "evaluation_responses": 32,
            "seed": seed,
            "training": {
                "learning_rate": given.rate,
                "num_train_epochs": given.epochs * times,
                "per_device_train_batch_size": 4,
                "lr_scheduler_type": "constant",
                "logging_strategy": "no",
                "use_cpu": True,
                **LOSSES[given.loss],
            },
            **changes,
        }
    )


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a stage."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def measure(folder: Path, number: int, model: Any) -> dict[str, Any]:
    """Return the figures of the policy after so many iterations."""
    drawn = rows(folder / f"iteration-{number:03d}" / "evaluation.jsonl")
    found = toy.masses(model, toy.tokenizer())
    return {
        "reward": float(np.mean([row["rewards"] for row in drawn])),
        "whole": float(np.mean([toy.is_whole(text) for row in drawn for text in row["responses"]])),
        "bad": found.bad,
        "remaining": found.remaining(),
        "good left": found.good_left,
        "modes": found.modes.tolist(),
    }


def one_run(
    base: Any, seed: int, given: argparse.Namespace, changes: dict[str, Any], times: int
) -> list[dict[str, Any]]:
    """Return the figures before training and after each iteration."""
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name) / "run"
        on_policy(
            copy.deepcopy(base),
            toy.PROMPTS,
            toy.reward,
            config(seed, given, changes, times),
            out=folder,
            tokenizer=toy.tokenizer(),
            evaluation_prompts=toy.HELD_OUT_PROMPTS,
        )
        found = [measure(folder, 0, base)]
        for number in range(1, given.iterations + 1):
            iteration = folder / f"iteration-{number:03d}"
            model, _ = load_model(str(iteration / "checkpoint"), device="cpu")
            groups = [group["rejected"] for group in rows(iteration / "selection.jsonl")]
            covered = [len({toy.mode_of(text) for text in rejected}) for rejected in groups]
            good = [0 <= toy.mode_of(text) < toy.GOOD for rejected in groups for text in rejected]
            found.append(
                {
                    **measure(folder, number, model),
                    "groups": len(groups),
                    "covered": float(np.mean(covered)),
                    "good negatives": float(np.mean(good)),
                }
            )
    return found


def shown(values: list[float], digits: int = 3) -> str:
    """Return mean ± standard error."""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{np.mean(values):.{digits}f} ± {error:.{digits}f}"


def report(found: dict[str, list[list[dict[str, Any]]]], given: argparse.Namespace) -> None:
    """Print the tables: rewards, and what is left of the modes, after each iteration."""
    numbers = range(1, given.iterations + 1)
    settings = f"{given.seeds} seeds, loss {given.loss}, learning rate {given.rate:g}"

    def over(runs: list[list[dict[str, Any]]], number: int, key: str, digits: int) -> str:
        return shown([run[number][key] for run in runs], digits)

    def ahead(runs: list[list[dict[str, Any]]], number: int) -> str:
        pairs = zip(runs, found["bottom-k"], strict=True)
        return shown([run[number]["reward"] - other[number]["reward"] for run, other in pairs], 3)

    base = next(iter(found.values()))
    table(
        f"Mean reward on held-out prompts ({settings}; before training {over(base, 0, 'reward', 3)})",
        [
            "negatives",
            *(f"after {number}" for number in numbers),
            "answers of one mode",
            "modes in a prompt's negatives, first",
            "good among negatives, first",
            "and last",
        ],
        [
            [
                name,
                *(over(runs, number, "reward", 3) for number in numbers),
                over(runs, numbers[-1], "whole", 2),
                over(runs, 1, "covered", 1),
                over(runs, 1, "good negatives", 2),
                over(runs, numbers[-1], "good negatives", 2),
            ]
            for name, runs in found.items()
        ],
    )
    if "bottom-k" in found:
        table(
            f"Mean reward minus that of bottom-k, paired by seed ({settings})",
            ["negatives", *(f"after {number}" for number in numbers)],
            [
                [name, *(ahead(runs, number) for number in numbers)]
                for name, runs in found.items()
                if name != "bottom-k"
            ],
        )
    table(
        f"Probability of the bad modes ({settings}; before training {over(base, 0, 'bad', 3)}, all nine)",
        [
            "negatives",
            *(f"after {number}" for number in numbers),
            *(f"modes ≥ 1 % after {number}" for number in numbers),
            "good modes left",
        ],
        [
            [
                name,
                *(over(runs, number, "bad", 3) for number in numbers),
                *(over(runs, number, "remaining", 1) for number in numbers),
                over(runs, numbers[-1], "good left", 1),
            ]
            for name, runs in found.items()
        ],
    )


def main() -> None:
    """Pretrain, train by every method from every seed, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rate", type=float, default=3e-4, help="learning rate")
    parser.add_argument("--loss", choices=LOSSES, default="refa")
    parser.add_argument("--methods", nargs="*", help="some of them")
    parser.add_argument("--out", type=Path, help="all figures, as JSON")
    given = parser.parse_args()
    torch.set_num_threads(1)
    began = time.perf_counter()
    methods = [one for one in METHODS if not given.methods or one[0] in given.methods]
    found: dict[str, list[list[dict[str, Any]]]] = {name: [] for name, *_ in methods}
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        base = toy.pretrained(seed)
        gc.freeze()  # each training begins with a collection, which what is there already need not be part of
        for name, changes, times in methods:
            found[name].append(one_run(base, seed, given, changes, times))
            rewards = " ".join(f"{one['reward']:.3f}" for one in found[name][-1])
            print(f"seed {seed} {name}: {rewards}", file=sys.stderr, flush=True)
    heading()
    report(found, given)
    print(f"\n{time.perf_counter() - began:.0f} s")
    if given.out is not None:
        write_json(given.out, found, force=True)


if __name__ == "__main__":
    main()
