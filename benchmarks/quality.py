"""How many of several right answers a retrieved set holds: setwise, top-k, MMR, DPP, the published method.

    python benchmarks/quality.py            # the full grid at k = 10, ten to twenty minutes on two processors
    python benchmarks/quality.py --quick    # some questions and some diversities, about half a minute
    python benchmarks/quality.py --k 5 10 20 --out quality.json

The labeled sets are looked for in --data (by default ../shared/data beside the project); a set that is not
there is named and left out. Every method answers the same questions in the same process on the same vectors.
Differences from top-k are paired by question; intervals are 95 %, by bootstrap over groups of questions that
belong together. Unless --quick, the tables in docs/retrieval-quality.md and its pictures are written anew.
"""

# ruff: noqa: E402
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
import platform
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from benchmarks import quality_report as report
from benchmarks import truth
from benchmarks.evidence import BASELINES, Measured
from benchmarks.truth import AbsentError, Labeled, Question
from numpy.typing import NDArray

import setwise
from setwise import metrics

DIVERSITIES = tuple(round(0.1 * step, 1) for step in range(10))
QUICK = (0.0, 0.1, 0.3, 0.5, 0.7)
SHARPNESSES = (1, 2, 4, 8, 16)

#: For sharpness above 1: relevance alone bounds what a passage outside the most relevant could add.
POOL = 300

#: Draws of the random baseline, averaged by question.
SEEDS = 5


@dataclass(frozen=True)
class Method:
    """A way to select: what `setwise.select` is told, and how many of the most relevant it sees.

    Attributes
    ----------
    options : dict
    pool : callable of k, optional
        How many of the most relevant passages are candidates; by default all.
    """

    options: dict[str, Any]
    pool: Callable[[int], int] | None = None

    def sees(self, k: int, n: int) -> int:
        """Return the number of candidates."""
        return n if self.pool is None else min(n, self.pool(k))


METHODS = {
    "MMR": Method({"objective": "mmr"}),
    "MMR of 5 k": Method({"objective": "mmr"}, lambda k: 5 * k),
    "log-det (DPP)": Method({"objective": "log-det"}),
    "Frank–Wolfe (CCBQP)": Method({"solver": "frank-wolfe"}),
    "auto, sharpness 1": Method({"sharpness": 1}),
    **{
        f"auto, sharpness {p}": Method({"sharpness": p}, lambda k: max(POOL, 10 * k)) for p in SHARPNESSES[1:]
    },
}


@dataclass(frozen=True)
class Plan:
    """What is tried on each question: the size of the set, the diversities, the labels of the methods."""

    k: int
    diversities: tuple[float, ...]
    methods: tuple[str, ...]


# ---------------------------------------------------------------------- answering one question

_LABELED: dict[str, Labeled] = {}


def _adopt(labeled: Labeled) -> None:
    """Keep a labeled set in a worker process."""
    _LABELED["here"] = labeled
    warnings.simplefilter("ignore", UserWarning)


def _answer(number: int, plan: Plan) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the measures of every configuration on one question, and which pools are proven sufficient."""
    labeled, k = _LABELED["here"], plan.k
    question = labeled.questions[number]
    ids = np.arange(len(labeled.vectors)) if question.pool is None else question.pool
    relevance = labeled.vectors[ids] @ question.vector
    ids = ids[np.argsort(-relevance, kind="stable")]
    rows = labeled.vectors[ids]

    def measured(chosen: NDArray[np.int64]) -> list[float]:
        return measures(labeled.vectors, question, chosen, k)

    found = [measured(ids[:k])]
    draws = [setwise.select(rows, k, solver="random", seed=seed, certify=False) for seed in range(SEEDS)]
    found.append(np.mean([measured(ids[draw.indices]) for draw in draws], axis=0).tolist())
    found.append(measured(oracle(question, ids, k)))
    proven = np.zeros((len(plan.methods), len(plan.diversities)), np.bool_)
    for place, method in enumerate(METHODS[label] for label in plan.methods):
        size = method.sees(k, len(ids))
        for step, diversity in enumerate(plan.diversities):
            selection = setwise.select(
                rows[:size],
                k,
                query=question.vector,
                diversity=diversity,
                certify=False,
                threads=1,
                **method.options,
            )
            chosen = ids[selection.indices]
            found.append(measured(chosen))
            least = float(rows[size - 1] @ question.vector)
            proven[place, step] = size == len(ids) or sufficient(
                labeled.vectors[chosen],
                question.vector,
                least,
                diversity,
                method.options.get("sharpness", 1),
            )
    return np.array(found), proven


def measures(vectors: NDArray[Any], question: Question, chosen: NDArray[np.int64], k: int) -> list[float]:
    """Return `evidence.MEASURES` of a set."""
    rows = vectors[chosen]
    recall = metrics.aspect_recall(chosen, question.aspects, k)
    return [
        recall,
        metrics.alpha_ndcg(chosen, question.aspects, k),
        metrics.ilad(rows),
        metrics.ilmd(rows),
        float(recall == 1.0),
        float((rows @ question.vector).mean()),
    ]


def oracle(question: Question, ids: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Return the k passages that greedy selection on the labels picks, then the most relevant of the rest.

    Each time the passage whose answers have been given least, by α-nDCG's gain; of equals the most relevant.
    """
    gives: dict[int, list[int]] = {}
    for number, rows in enumerate(question.aspects):
        for row in rows.tolist():
            gives.setdefault(row, []).append(number)
    candidates = [row for row in ids.tolist() if row in gives]
    times = np.zeros(len(question.aspects))
    chosen: list[int] = []
    while candidates and len(chosen) < k:
        gains = [sum(0.5 ** times[number] for number in gives[row]) for row in candidates]
        row = candidates.pop(int(np.argmax(gains)))
        times[gives[row]] += 1
        chosen.append(row)
    rest = [row for row in ids[: 2 * k].tolist() if row not in chosen]
    return np.array([*chosen, *rest][:k], np.int64)


def sufficient(
    rows: NDArray[Any], query: NDArray[Any], least: float, diversity: float, sharpness: int
) -> bool:
    """Return whether no exchange with a passage of relevance up to `least` can raise max-sum's value.

    An outsider's distances are at most 1, for sharpness even: so an exchange for member i gains at most
    (1-t)(k-1)(least - r_i) + 2t Σ_u cos(i,u)^p, up to a factor.
    """
    if sharpness % 2:
        return False
    wide = rows.astype(np.float64)
    near = (wide @ wide.T) ** sharpness
    np.fill_diagonal(near, 0.0)
    gains = (1 - diversity) * (len(rows) - 1) * (least - wide @ query) + 2 * diversity * near.sum(axis=1)
    return bool((gains <= 0).all())


# ---------------------------------------------------------------------- a labeled set


def measure(labeled: Labeled, plan: Plan, workers: int, limit: int | None) -> Measured:
    """Answer a labeled set's questions (at most `limit`, spread evenly) in every configuration."""
    count = len(labeled.questions)
    numbers = np.arange(count) if limit is None else np.unique(np.linspace(0, count - 1, limit).astype(int))
    answers, proven = [], []
    with ProcessPoolExecutor(workers, initializer=_adopt, initargs=(labeled,)) as pool:
        each = len(numbers)
        jobs = pool.map(_answer, numbers.tolist(), [plan] * each, chunksize=4)
        for done, (values, enough) in enumerate(jobs, start=1):
            answers.append(values)
            proven.append(enough)
            if sys.stderr.isatty():
                print(f"\r{labeled.name}: {done} of {each} questions", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    _, groups = np.unique([labeled.questions[number].group for number in numbers], return_inverse=True)
    shares = np.mean(proven, axis=0)
    return Measured(
        name=labeled.name,
        about=labeled.about,
        k=plan.k,
        configurations=[(label, None) for label in BASELINES]
        + [(label, diversity) for label in plan.methods for diversity in plan.diversities],
        values=np.stack(answers, axis=1),
        groups=groups,
        proven={
            label: shares[place].tolist()
            for place, label in enumerate(plan.methods)
            if METHODS[label].pool is not None and METHODS[label].options.get("sharpness", 1) > 1
        },
    )


# ---------------------------------------------------------------------- the command


def main() -> None:
    """Measure every labeled set that is at hand, and print, write and draw what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = HERE.parents[1] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=shared, help="folder of the labeled sets")
    parser.add_argument("--sets", nargs="*", choices=list(truth.SETS), default=list(truth.SETS))
    parser.add_argument("--k", type=int, nargs="*", default=[10], help="sizes of the sets")
    parser.add_argument("--methods", nargs="*", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: processors)")
    parser.add_argument("--quick", action="store_true", help="40 questions a set, fewer diversities, no page")
    parser.add_argument("--out", type=Path, help="write every number, those of each question too, as JSON")
    parser.add_argument("--redo", type=Path, help="measure nothing: print, write and draw what --out wrote")
    parser.add_argument("--docs", type=Path, default=HERE.parent / "docs", help="folder of the page")
    arguments = parser.parse_args()
    if arguments.redo is not None:
        known = json.loads(arguments.redo.read_text(encoding="utf-8"))
        measured, machine = report.restored(known), known["machine"]
    else:
        measured, machine = run(arguments)
    if not measured:
        parser.exit(2, "no labeled set is at hand; nothing was measured\n")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(report.plain(measured, machine)), encoding="utf-8")
    pages = report.pages(measured)
    for text in pages.values():
        print(f"\n{text}")
    print(f"\n{machine}")
    if not arguments.quick:
        report.write(arguments.docs / "retrieval-quality.md", pages)
        for one in measured:
            if one.methods == list(METHODS):
                report.draw(one, arguments.docs / "images" / f"quality-{one.name}-{one.k}.png")


def run(arguments: argparse.Namespace) -> tuple[list[Measured], str]:
    """Return what was measured, and on what machine in how long."""
    began = time.perf_counter()
    diversities, limit = (QUICK, 40) if arguments.quick else (DIVERSITIES, None)
    measured = []
    for name in arguments.sets:
        try:
            labeled = truth.load(name, arguments.data)
        except AbsentError as error:
            print(f"{name}: left out. {error}", file=sys.stderr)
            continue
        for k in arguments.k:
            plan = Plan(k, diversities, tuple(arguments.methods))
            measured.append(measure(labeled, plan, arguments.workers, limit))
    seconds = time.perf_counter() - began
    return measured, (
        f"{platform.machine()}, {arguments.workers} processes of one thread, {seconds:.0f} s; "
        f"Python {platform.python_version()}, NumPy {np.__version__}, setwise {setwise.__version__}"
    )


if __name__ == "__main__":
    main()
