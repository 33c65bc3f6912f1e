"""Does a matched selection train a better model? Small models, held-out tests, and a pool full of copies.

    python benchmarks/finetune_downstream.py            # fifteen minutes or so on two processors
    python benchmarks/finetune_downstream.py --quick    # a smaller repository and fewer targets, two minutes
    python benchmarks/finetune_downstream.py --seeds 5 --out downstream.jsonl --gpu-lora
    python -m benchmarks.finetune_page                  # docs/finetune-measured.md from what was kept

Every method gets the same examples of a target, the same budget of words, and its choice trains the same
models: a trigram language model, tested by its perplexity on held-out texts of the target, and, where there
are labels, a representation (latent semantic analysis) on which a classifier is trained with the target's
own labeled examples, tested by macro F1. A seed draws the examples, the sample and the rows that are
copied; what is printed is the mean over seeds and its standard error. Without ../shared/data, generated
texts of made-up topics are used. With --out, what is in the file already is not measured again.
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
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from benchmarks import finetune_data as data
from benchmarks import finetune_methods as methods
from benchmarks.finetune_page import report
from benchmarks.reporting import heading

from setwise.encode.ngrams import counts

#: Copies of each copied row; the share of rows that are copied; how far the copies' vectors are moved.
TIMES = (0, 10, 100, 1000)
COPIED = 0.01
NOISE = 0.02

#: Principal directions that the vectors are cut to in the test with copies, which compares many pairs.
DIMENSIONS = 64

#: Targets of the test with copies.
COPY_TARGETS = {"domains": ("ChemProt", "SciCite", "task 0"), "instructions": ("GSM8K", "task 0")}

PARTS = ("instructions", "domains", "copies", "encoders")

#: Encoders, targets, examples, rows, share of the words and tokens read, where language models are compared
#: with what needs none: a processor reads some 200 tokens a second.
ENCODERS = ("auto", "lsa", "sentence", "hidden", "gradients")
ENCODED_TARGETS = ("GSM8K", "StrategyQA", "emotion", "task 0")
ENCODED = {"examples": 50, "held": 400}
ENCODED_SHARE, TOKENS = 0.1, 64

Result = dict[str, Any]

_HERE: dict[str, Any] = {}


# ---------------------------------------------------------------------- running


def _measured(
    pool: methods.Pool,
    drawn: methods.Drawn,
    budget: int,
    seed: int,
    neighbors: int,
    names: Collection[str] = tuple(methods.METHODS),
) -> list[Result]:
    """Return what each method's choice measures."""
    found = []
    for name in names:
        prepare = methods.METHODS[name]
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


def selected_by_vectors(task: tuple[int, int, float]) -> list[Result]:
    """Select for one target and seed with the methods that look at vectors."""
    number, seed, share = task
    problem = _HERE["problem"]
    target = problem.targets[number]
    pool = methods.pool_without(problem, _HERE["counts"], target.own)
    budget = round(share * pool.lengths.sum())
    return _measured(pool, methods.draw(problem, target, seed), budget, seed, 2000, methods.OF_VECTORS)


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


class Raw:
    """Every single result, and the file of JSON lines that it is kept in, which a later run goes on with.

    Parameters
    ----------
    path : Path, optional
        What is in it is read; a last line that was cut off is dropped.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.results: list[Result] = []
        if path is not None and path.exists():
            lines = path.read_text().splitlines(keepends=True)
            whole = [line for line in lines if line.endswith("\n")]
            path.write_text("".join(whole))
            self.results = [json.loads(line) for line in whole]

    def run(
        self, work: Callable[[Any], list[Result]], tasks: Sequence[Any], jobs: int, part: str
    ) -> list[Result]:
        """Run the tasks that are left, in forked processes where there are to be several; return all."""
        known = {json.dumps(one["task"]) for one in self.results if one["part"] == part}
        left = [task for task in tasks if json.dumps(task) not in known]
        if jobs == 1:
            for task in left:
                self.keep(work(task), part, task)
        else:
            with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("fork")) as executor:
                for task, found in zip(left, executor.map(work, left), strict=True):
                    self.keep(found, part, task)
        asked = {json.dumps(task) for task in tasks}
        return [one for one in self.results if one["part"] == part and json.dumps(one["task"]) in asked]

    def keep(self, found: list[Result], part: str, task: Any) -> None:
        """Name the part and the task that results belong to, and append them to the file, at once."""
        found = [{"part": part, "task": list(task), **_rounded(one)} for one in found]
        self.results += found
        if self.path is not None:
            with self.path.open("a") as lines:
                lines.write("".join(json.dumps(one, separators=(",", ":")) + "\n" for one in found))


def _rounded(one: Result) -> Result:
    """Return a result with five digits of every fraction, which is more than seeds agree on."""
    return {key: float(f"{value:.5g}") if isinstance(value, float) else value for key, value in one.items()}


def adopt(problem: data.Problem) -> None:
    """Keep a problem where this process and those forked from it find it."""
    _HERE.clear()
    _HERE["narrow"] = data.narrowed(problem, DIMENSIONS)
    _HERE.update(problem=problem, counts=counts(problem.texts), measure=methods.Measure(problem))


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
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS, help="which parts to run")
    options = parser.parse_args(arguments)
    if options.quick:
        options.share = max(options.share, 0.04)
    options.seeds = options.seeds or (2 if options.quick else 5)
    heading()
    raw = Raw(options.out)
    loaders = {"instructions": data.instructions, "domains": data.domains}
    for part in loaders:
        if not {part, "copies"} & set(options.parts):
            continue
        problem = loaders[part](8_000 if options.quick else 20_000)
        print(
            f"\n{part}: {problem.name}, {len(problem.texts):,} × {problem.vectors.shape[1]} by "
            f"{problem.encoder}"
        )
        adopt(problem)
        if part in options.parts:
            _plain(part, problem, raw, options)
        if "copies" in options.parts:
            _copies(part, problem, raw, options)
    if "encoders" in options.parts:
        _encoders(raw, options)
    report(raw.results)
    if options.gpu_lora:
        from benchmarks.finetune_lora import lora

        tuned = lora(data.instructions(20_000), share=options.share, seeds=range(options.seeds))
        raw.keep(tuned, "lora", [])
    return raw.results


def _plain(part: str, problem: data.Problem, raw: Raw, options: argparse.Namespace) -> None:
    """Select from a repository as it is."""
    numbers = range(len(problem.targets))[: 3 if options.quick else None]
    tasks = [(number, seed, options.share) for seed in range(options.seeds) for number in numbers]
    raw.run(selected_plainly, tasks, options.jobs, part)


def _copies(part: str, problem: data.Problem, raw: Raw, options: argparse.Namespace) -> None:
    """Select from a small repository with copies in it."""
    tasks = [
        (number, seed, 5 * options.share, 1_000 if options.quick else 1_500, times)
        for seed in range(options.seeds)
        for times in ((1000, 100, 0) if options.quick else TIMES[::-1])
        for number, target in enumerate(problem.targets)
        if target.name in COPY_TARGETS[part]
    ]
    raw.run(selected_among_copies, tasks, options.jobs, f"copies, {part}")


def _encoders(raw: Raw, options: argparse.Namespace) -> None:
    """Select from a small repository by the vectors of several encoders."""
    from setwise.encode import encoder
    from setwise.encode.gradients.texts import Gradients
    from setwise.encode.hidden import Hidden

    for name in ENCODERS:
        if name == "gradients":
            model: Any = Gradients("smollm2", max_tokens=TOKENS, dtype="bfloat16")
        else:
            model = Hidden("smollm2", max_tokens=TOKENS) if name == "hidden" else encoder(name)
        problem = data.instructions(
            300 if options.quick else 1_500, **ENCODED, encoder=model, only=ENCODED_TARGETS
        )
        if name not in ("auto", "lsa"):  # slow, and nothing that they learn
            problem = data.remembered(problem, model)
        adopt(problem)
        tasks = [
            (number, seed, ENCODED_SHARE)
            for seed in range(options.seeds)
            for number in range(len(problem.targets))
        ]
        raw.run(selected_by_vectors, tasks, options.jobs, f"encoders, {name}")


if __name__ == "__main__":
    main()
