"""Does a matched selection train a better model? Small models, held-out tests, and a pool full of copies.

    python benchmarks/finetune_downstream.py            # seven minutes or so on two processors
    python benchmarks/finetune_downstream.py --quick    # a smaller repository and fewer targets, two minutes
    python benchmarks/finetune_downstream.py --seeds 5 --out downstream.jsonl --gpu-lora

Every method gets the same examples of a target, the same budget of words, and its choice trains the same
models: a trigram language model, tested by its perplexity on held-out texts of the target, and, where there
are labels, a representation (latent semantic analysis) on which a classifier is trained with the target's
own labelled examples, tested by macro F1. A seed draws the examples, the sample and the rows that are
copied; what is printed is the mean over seeds and its standard error. Without ../shared/data, generated
texts of made-up topics are used.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":
    # A file of this folder bears the name of a standard module: modules must not be looked for here.
    sys.path[:] = [str(HERE.parent), *[entry for entry in sys.path if Path(entry or ".").resolve() != HERE]]
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from benchmarks import finetune_data as data
from benchmarks import finetune_methods as methods
from benchmarks.reporting import heading, table
from numpy.typing import NDArray

from setwise.encode.ngrams import counts

#: Copies of each copied row; the share of rows that are copied; how far the copies' vectors are moved.
TIMES = (0, 10, 100, 1000)
COPIED = 0.01
NOISE = 0.02

#: Principal directions that the vectors are cut to in the test with copies, which compares many pairs.
DIMENSIONS = 64

#: Targets of the test with copies.
COPY_TARGETS = {"domains": ("ChemProt", "SciCite", "task 0"), "instructions": ("GSM8K", "task 0")}

Result = dict[str, Any]

_HERE: dict[str, Any] = {}


# ---------------------------------------------------------------------- running


def _measured(
    pool: methods.Pool, drawn: methods.Drawn, budget: int, seed: int, neighbors: int
) -> list[Result]:
    """Return what each method's choice measures."""
    found = []
    for name, prepare in methods.METHODS.items():
        began = time.perf_counter()
        methods.CUT.clear()
        chosen = methods.fill(prepare(pool, drawn, neighbors), pool, budget, seed)
        seconds = time.perf_counter() - began
        measures = _HERE["measure"](pool, chosen, drawn)
        own = {"method": name, "target": drawn.target.name, "seed": seed, "s": seconds}
        found.append({**own, "cut": len(methods.CUT), **measures})
    return found


def selected_plainly(task: tuple[int, int, float]) -> list[Result]:
    """Select for one target and seed from the repository as it is."""
    number, seed, share = task
    problem = _HERE["problem"]
    target = problem.targets[number]
    pools = _HERE.setdefault("pools", {})
    if target.own not in pools:
        pools[target.own] = methods.pool_without(problem, _HERE["counts"], target.own)
    pool = pools[target.own]
    return _measured(
        pool, methods.draw(problem, target, seed), round(share * pool.lengths.sum()), seed, neighbors=2000
    )


def selected_among_copies(task: tuple[int, int, float, int, int]) -> list[Result]:
    """Select for one target and seed from a smaller repository in which some rows are copied."""
    number, seed, share, size, times = task
    problem = _HERE["narrow"]
    target = problem.targets[number]
    allowed = np.flatnonzero(~np.isin(problem.tasks, list(target.own)))
    rows = np.sort(np.random.default_rng(3).permutation(allowed)[:size])
    pool = methods.pool_with_copies(
        problem, _HERE["counts"], rows, copied=COPIED, times=times, noise=NOISE, seed=seed
    )
    budget = round(share * np.maximum(problem.lengths[rows], 1).sum())
    found = _measured(pool, methods.draw(problem, target, seed), budget, seed, neighbors=12_000)
    return [{**one, "times": times, "pool": len(pool.origin)} for one in found]


def _run(
    work: Callable[[Any], list[Result]], tasks: Iterable[Any], jobs: int, part: str, out: Path | None
) -> list[Result]:
    """Run tasks, in forked processes where there are to be several; write what each finds as it comes."""
    if jobs == 1:
        return [one for task in tasks for one in _kept(work(task), part, out)]
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("fork")) as executor:
        return [one for found in executor.map(work, tasks) for one in _kept(found, part, out)]


def _kept(found: list[Result], part: str, out: Path | None) -> list[Result]:
    """Name the part that results belong to, and append them to a file of JSON lines."""
    found = [{"part": part, **one} for one in found]
    if out is not None:
        with out.open("a") as lines:
            lines.writelines(json.dumps(one) + "\n" for one in found)
    return found


def adopt(problem: data.Problem) -> None:
    """Keep a problem where this process and those forked from it find it."""
    _HERE.clear()
    _HERE["narrow"] = data.narrowed(problem, DIMENSIONS)
    _HERE.update(problem=problem, counts=counts(problem.texts), measure=methods.Measure(problem))


# ---------------------------------------------------------------------- tables


def _column(results: list[Result], measure: str, **where: Any) -> NDArray[np.float64]:
    """Return a measure by seed, the mean over whatever else differs."""
    rows = [one for one in results if all(one[key] == value for key, value in where.items())]
    seeds = sorted({one["seed"] for one in rows})
    return np.array([np.mean([one[measure] for one in rows if one["seed"] == seed]) for seed in seeds])


def _shown(values: NDArray[np.float64], digits: int = 0, scale: float = 1.0) -> str:
    """Return a mean and its standard error."""
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{scale * values.mean():.{digits}f} ± {scale * error:.{digits}f}"


def _log_ratio(results: list[Result], method: str, other: str, **where: Any) -> NDArray[np.float64]:
    """Return, by seed, the mean over targets of log(perplexity of a method / of another)."""
    targets = sorted({one["target"] for one in results})
    return np.mean(
        [
            np.log(_column(results, "perplexity", method=method, target=target, **where))
            - np.log(_column(results, "perplexity", method=other, target=target, **where))
            for target in targets
        ],
        axis=0,
    )


def _percent(log_ratio: NDArray[np.float64]) -> str:
    """Return a mean ratio as a percentage of difference, with its standard error."""
    return _shown(np.expm1(log_ratio), 1, 100.0)


def _tell_cut(results: list[Result]) -> None:
    """Print for which methods neighbors ran out."""
    for name in methods.METHODS:
        mine = [one for one in results if one["method"] == name]
        cut = sum(one["cut"] > 0 for one in mine)
        if cut:
            print(f"\n{name}: neighbors ran out in {cut} of {len(mine)} selections")


def report_plain(title: str, results: list[Result]) -> None:
    """Print what was selected, and what it trained."""
    targets = list(dict.fromkeys(one["target"] for one in results))
    names = list(methods.METHODS)
    table(
        f"{title}: what was selected (mean over targets)",
        [
            "method",
            "right family, %",
            "task entropy, bits",
            "near-duplicates, %",
            "different rows, %",
            "rows",
            "seconds",
        ],
        [
            [
                name,
                _shown(_column(results, "precision", method=name), 1, 100),
                _shown(_column(results, "task entropy", method=name), 2),
                _shown(_column(results, "near-duplicates", method=name), 1, 100),
                _shown(_column(results, "different rows", method=name), 1, 100),
                _shown(_column(results, "rows", method=name)),
                f"{_column(results, 's', method=name).mean():.1f}",
            ]
            for name in names
        ],
    )
    table(
        f"{title}: perplexity of held-out texts (lower is better)",
        ["method", *targets, "all, against random, %", "all, against KNN-KDE, %"],
        [
            [
                name,
                *(_shown(_column(results, "perplexity", method=name, target=target)) for target in targets),
                _percent(_log_ratio(results, name, "random")),
                _percent(_log_ratio(results, name, "KNN-KDE")),
            ]
            for name in names
        ],
    )
    if "macro F1" in results[0]:
        table(
            f"{title}: macro F1 of the classifier, × 100 (higher is better)",
            ["method", *targets, "mean", "mean, against KNN-KDE"],
            [
                [
                    name,
                    *(
                        _shown(_column(results, "macro F1", method=name, target=target), 1, 100)
                        for target in targets
                    ),
                    _shown(_column(results, "macro F1", method=name), 1, 100),
                    _shown(
                        _column(results, "macro F1", method=name)
                        - _column(results, "macro F1", method="KNN-KDE"),
                        1,
                        100,
                    ),
                ]
                for name in names
            ],
        )


def report_copies(title: str, results: list[Result]) -> None:
    """Print what copies do to each method, against its own figures without copies."""
    levels = sorted({one["times"] for one in results})
    names = list(methods.METHODS)
    sizes = {level: max(one["pool"] for one in results if one["times"] == level) for level in levels}
    heads = [f"× {level:,} ({sizes[level]:,} rows)" for level in levels]

    def rows(cell: Callable[[str, int], str]) -> list[list[str]]:
        return [[name, *(cell(name, level) for level in levels)] for name in names]

    table(
        f"{title}: different rows among those selected, %",
        ["method", *heads],
        rows(
            lambda name, times: _shown(_column(results, "different rows", method=name, times=times), 1, 100)
        ),
    )
    table(
        f"{title}: selected rows that are among the 1 % copied, %",
        ["method", *heads],
        rows(lambda name, times: _shown(_column(results, "copied", method=name, times=times), 1, 100)),
    )

    def change(name: str, times: int) -> str:
        targets = sorted({one["target"] for one in results})
        logs = [
            np.log(_column(results, "perplexity", method=name, target=target, times=times))
            - np.log(_column(results, "perplexity", method=name, target=target, times=0))
            for target in targets
        ]
        return _percent(np.mean(logs, axis=0))

    for target in dict.fromkeys(one["target"] for one in results):
        table(
            f"{title}: perplexity on {target}",
            ["method", *heads],
            rows(
                lambda name, times, target=target: _shown(
                    _column(results, "perplexity", method=name, target=target, times=times)
                )
            ),
        )
    table(f"{title}: change of perplexity by copies, %", ["method", *heads], rows(change))
    if "macro F1" in results[0]:
        table(
            f"{title}: macro F1 × 100 (mean over targets)",
            ["method", *heads],
            rows(lambda name, times: _shown(_column(results, "macro F1", method=name, times=times), 1, 100)),
        )


# ---------------------------------------------------------------------- the whole


def main(arguments: list[str] | None = None) -> list[Result]:
    """Run the benchmark and return every single result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small repository, few targets, two seeds")
    parser.add_argument(
        "--seeds", type=int, help="draws of examples, samples and copies (default 5, quick 2)"
    )
    parser.add_argument("--share", type=float, default=0.02, help="words to select, of the repository's")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes")
    parser.add_argument("--out", type=Path, help="append every single result to a file of JSON lines")
    parser.add_argument("--gpu-lora", action="store_true", help="also finetune a language model, on a GPU")
    parser.add_argument(
        "--parts", nargs="+", default=["instructions", "domains", "copies"], help="which parts to run"
    )
    options = parser.parse_args(arguments)
    seeds = range(options.seeds or (2 if options.quick else 5))
    limits = (8_000, 8_000, 1_000) if options.quick else (20_000, 20_000, 1_500)
    share = max(options.share, 0.04) if options.quick else options.share
    heading()
    results: list[Result] = []
    loaders = {"instructions": data.instructions, "domains": data.domains}
    for part, limit in zip(loaders, limits[:2], strict=True):
        if part not in options.parts and "copies" not in options.parts:
            continue
        began = time.perf_counter()
        problem = loaders[part](limit)
        adopt(problem)
        print(
            f"\n{part}: {problem.name}, {len(problem.texts):,} × {problem.vectors.shape[1]} by "
            f"{problem.encoder}; read, encoded and counted in {time.perf_counter() - began:.0f} s"
        )
        numbers = range(len(problem.targets))[: 3 if options.quick else None]
        if part in options.parts:
            began = time.perf_counter()
            tasks = [(number, seed, share) for seed in seeds for number in numbers]
            found = _run(selected_plainly, tasks, options.jobs, part, options.out)
            report_plain(f"{part.capitalize()}, {share:.0%} of the words, {len(seeds)} seeds", found)
            _tell_cut(found)
            print(f"\n{time.perf_counter() - began:.0f} s")
            results += found
        if "copies" in options.parts:
            began = time.perf_counter()
            copy_share = 5 * share
            tasks = [
                (number, seed, copy_share, limits[2], times)
                for seed in seeds
                for times in ((1000, 100, 0) if options.quick else TIMES[::-1])
                for number, target in enumerate(problem.targets)
                if target.name in COPY_TARGETS[part]
            ]
            found = _run(selected_among_copies, tasks, options.jobs, f"copies, {part}", options.out)
            report_copies(f"Copies among {part}, {copy_share:.0%} of the words, {len(seeds)} seeds", found)
            _tell_cut(found)
            print(f"\n{time.perf_counter() - began:.0f} s")
            results += found
    if options.gpu_lora:
        from benchmarks.finetune_lora import lora

        tuned = lora(data.instructions(limits[0]), share=share, seeds=seeds)
        results += _kept(tuned, "lora", options.out)
    return results


if __name__ == "__main__":
    main()
