"""How many of several right answers fit into a token budget: setwise against packing by score until full.

    python benchmarks/budgets.py            # up to 80 questions a set, three budgets, some minutes
    python benchmarks/budgets.py --quick    # 20 questions a set, one budget; the page stays as it is

The labeled sets are looked for in --data (by default ../shared/data beside the project); a set that is not
there is named and left out. A budget is so many times what a passage costs on average, in words and marks
(``setwise.files.lengths``). Every method sees the same most relevant passages. Differences are from packing,
paired by question; intervals are 95 %, by bootstrap over groups of questions that belong together. The table
in docs/which-knob.md is written anew.
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
from collections.abc import Callable
from typing import Any

import numpy as np
from benchmarks import quality_report as report
from benchmarks import truth
from benchmarks.evidence import intervals
from benchmarks.truth import Labeled, Question
from numpy.typing import NDArray

import setwise
from setwise import metrics
from setwise.files.lengths import lengths

#: How many passages of mean cost fit into a budget.
SIZES = (5, 10, 20)

#: Candidates: the most relevant.
POOL = 200

Picks = Callable[[NDArray[Any], NDArray[Any], NDArray[Any], float], NDArray[np.int64]]


def packed(order: NDArray[np.int64], costs: NDArray[Any], budget: float, *, skip: bool) -> NDArray[np.int64]:
    """Return what is taken in an order until the next does not fit, or with `skip` any that still does."""
    chosen, spent = [], 0.0
    for row in order.tolist():
        if spent + costs[row] <= budget:
            chosen.append(row)
            spent += costs[row]
        elif not skip:
            break
    return np.array(chosen, np.int64)


def selected(**options: Any) -> Picks:
    """Return a method that selects within the budget by `setwise.select`."""

    def pick(
        rows: NDArray[Any], query: NDArray[Any], costs: NDArray[Any], budget: float
    ) -> NDArray[np.int64]:
        found = setwise.select(
            rows, None, query=query, costs=costs, budget=budget, certify=False, threads=1, **options
        )
        return found.indices

    return pick


#: Every method; candidates come by falling relevance. The first is what the others are compared with.
METHODS: dict[str, Picks] = {
    "packing until full": lambda rows, _, costs, budget: packed(
        np.arange(len(rows)), costs, budget, skip=False
    ),
    "packing, skipping": lambda rows, _, costs, budget: packed(
        np.arange(len(rows)), costs, budget, skip=True
    ),
    "packing by score per token": lambda rows, query, costs, budget: packed(
        np.argsort(-(rows @ query) / costs, kind="stable"), costs, budget, skip=True
    ),
    "MMR order, diversity 0.1, packed": lambda rows, query, costs, budget: packed(
        setwise.select(
            rows, min(len(rows), 60), query=query, objective="mmr", diversity=0.1, certify=False
        ).indices,
        costs,
        budget,
        skip=True,
    ),
    "budget, diversity 0": selected(diversity=0.0, sharpness=8),
    "budget, diversity 0.1": selected(diversity=0.1, sharpness=8),
    "budget, diversity 0.3": selected(diversity=0.3, sharpness=8),
    "budget, diversity 0.3, min_gain 0.5": selected(diversity=0.3, sharpness=8, min_gain=0.5),
}


def answer(labeled: Labeled, costs: NDArray[Any], question: Question, budget: float) -> NDArray[Any]:
    """Return each method's aspect recall, tokens spent and passages, shape (methods, 3)."""
    ids = np.arange(len(labeled.vectors)) if question.pool is None else question.pool
    relevance = labeled.vectors[ids] @ question.vector
    ids = ids[np.argsort(-relevance, kind="stable")][:POOL]
    found = []
    for pick in METHODS.values():
        chosen = ids[pick(labeled.vectors[ids], question.vector, costs[ids].astype(float), budget)]
        recall = metrics.aspect_recall(chosen, question.aspects) if len(chosen) else 0.0
        found.append([recall, float(costs[chosen].sum()), float(len(chosen))])
    return np.array(found)


def measure(labeled: Labeled, limit: int, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Return what every method found within every budget, for at most `limit` questions spread evenly."""
    costs = np.array(lengths(labeled.texts))
    count = len(labeled.questions)
    numbers = np.unique(np.linspace(0, count - 1, min(limit, count)).astype(int))
    asked = [labeled.questions[number] for number in numbers]
    budgets = [round(size * float(costs.mean())) for size in sizes]
    values = [[answer(labeled, costs, one, budget).tolist() for one in asked] for budget in budgets]
    return {
        "name": labeled.name,
        "questions": len(asked),
        "budgets": budgets,
        "groups": [one.group for one in asked],
        "values": values,
    }


def table(measured: list[dict[str, Any]]) -> str:
    """Return the table: for each budget of each set every method's aspect recall per 1,000 tokens."""
    heads = [
        f"{one['name']} ({one['questions']}), {budget} tokens"
        for one in measured
        for budget in one["budgets"]
    ]
    columns = []
    for one in measured:
        _, groups = np.unique(one["groups"], return_inverse=True)
        for values, budget in zip(one["values"], one["budgets"], strict=True):
            recall = np.array(values)[:, :, 0].T * 1000 / budget  # (methods, questions)
            low, high = intervals((recall - recall[0])[:, :, None], groups)
            means, differences = recall.mean(axis=1), (recall - recall[0]).mean(axis=1)
            columns.append(
                [
                    f"{means[0]:.2f}",
                    *(
                        report.ranged(float(difference), float(a), float(b))
                        for difference, a, b in zip(differences[1:], low[1:, 0], high[1:, 0], strict=True)
                    ),
                ]
            )
    lines = report.header(["aspect recall per 1,000 tokens of budget", *heads])
    for place, name in enumerate(METHODS):
        lines.append(f"| {name} | " + " | ".join(column[place] for column in columns) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure every labeled set that is at hand; print the table, and write it into the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    truth.add_options(parser, limit=80)
    parser.add_argument("--quick", action="store_true", help="20 questions a set, one budget, no page")
    arguments = parser.parse_args()
    limit, sizes = (20, SIZES[1:2]) if arguments.quick else (arguments.limit, SIZES)
    measured = truth.measured(parser, arguments, lambda labeled: [measure(labeled, limit, sizes)])
    parts = (
        {f"budgets-{size}": table([_of(one, place) for one in measured]) for place, size in enumerate(SIZES)}
        if not arguments.quick
        else {"budgets": table(measured)}
    )
    for text in parts.values():
        print(f"\n{text}")
    if not arguments.quick:
        report.write(arguments.docs / "which-knob.md", parts)


def _of(one: dict[str, Any], place: int) -> dict[str, Any]:
    """Return what was measured within one of the budgets."""
    return {**one, "budgets": one["budgets"][place : place + 1], "values": one["values"][place : place + 1]}


if __name__ == "__main__":
    main()
