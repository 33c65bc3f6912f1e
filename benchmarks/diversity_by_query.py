"""Whether a diversity chosen for each query, from its candidates alone, beats one for all.

    python benchmarks/diversity_by_query.py            # up to 100 questions a set, k = 5, 10 and 20
    python benchmarks/diversity_by_query.py --quick    # 20 questions a set, k = 10; the page stays as it is

A rule looks at one number of the most relevant candidates (how crowded they are, or how steeply relevance
falls) and takes one of two diversities by a threshold. The best rule, and the best fixed diversity, are those
of one half of the questions, all sets counting alike, and are judged on the other; then the halves change
places. Differences are from the default, 0.3 at sharpness 8, paired by question; intervals are 95 %, by
bootstrap over groups of questions that belong together.
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
import itertools
from typing import Any

import numpy as np
from benchmarks import quality_report as report
from benchmarks import truth
from benchmarks.evidence import intervals
from benchmarks.truth import Labeled, Question
from numpy.typing import NDArray

import setwise
from setwise import metrics

DIVERSITIES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
DEFAULT = DIVERSITIES.index(0.3)
SHARPNESS, POOL = 8, 300

#: What rules look at: of the 2 k most relevant.
FEATURES = ("near-duplicates", "crowding", "steepness")

#: Quantiles of the training questions' features that thresholds are.
QUANTILES = (0.2, 0.35, 0.5, 0.65, 0.8)


def features(rows: NDArray[Any], relevance: NDArray[Any], k: int) -> list[float]:
    """Return `FEATURES` of candidates by falling relevance.

    The share of the 2 k most relevant that have another with a cosine above 0.8 among them; the mean of their
    cosines to the 8th power; how far the relevance of the k most relevant is above that of the next k, as a
    part of its span in the pool.
    """
    near = rows[: 2 * k] @ rows[: 2 * k].T
    np.fill_diagonal(near, 0.0)
    span = float(relevance[0] - relevance[-1]) or 1.0
    fall = float(relevance[:k].mean() - relevance[k : 2 * k].mean()) / span
    return [float((near.max(axis=1) > 0.8).mean()), float((near**SHARPNESS).mean()), fall]


def answer(labeled: Labeled, question: Question, k: int) -> tuple[list[float], list[list[float]]]:
    """Return the features, and aspect recall and α-nDCG at every diversity."""
    ids = np.arange(len(labeled.vectors)) if question.pool is None else question.pool
    relevance = labeled.vectors[ids] @ question.vector
    order = np.argsort(-relevance, kind="stable")[:POOL]
    ids, relevance = ids[order], relevance[order]
    rows = labeled.vectors[ids]
    found = []
    for diversity in DIVERSITIES:
        options = {"diversity": diversity, "sharpness": SHARPNESS, "certify": False, "threads": 1}
        chosen = ids[setwise.select(rows, k, query=question.vector, **options).indices]
        found.append(
            [
                metrics.aspect_recall(chosen, question.aspects, k),
                metrics.alpha_ndcg(chosen, question.aspects, k),
            ]
        )
    return features(rows, relevance, k), found


def measure(labeled: Labeled, k: int, limit: int) -> dict[str, Any]:
    """Return what was found for at most `limit` questions, spread evenly."""
    count = len(labeled.questions)
    numbers = np.unique(np.linspace(0, count - 1, min(limit, count)).astype(int))
    asked = [labeled.questions[number] for number in numbers]
    told, values = zip(*(answer(labeled, one, k) for one in asked), strict=True)
    groups = [one.group for one in asked]
    return {"name": labeled.name, "k": k, "groups": groups, "features": told, "values": values}


def judged(sets: list[dict[str, Any]], seed: int = 0) -> tuple[list[NDArray[Any]], list[str]]:
    """Return each set's differences from the default on held-out questions, and the rules that were chosen.

    Each difference is of shape (3, questions, 2): of the rule, of the fixed diversity chosen likewise, and of
    the best diversity of each question by itself, which no rule can know.
    """
    rng, halves = np.random.default_rng(seed), []
    for one in sets:
        names = list(dict.fromkeys(one["groups"]))
        first = set(rng.permutation(len(names))[: len(names) // 2].tolist())
        halves.append(np.array([names.index(group) in first for group in one["groups"]]))
    values = [np.array(one["values"]) for one in sets]
    told = [np.array(one["features"]) for one in sets]
    found = [np.zeros((3, len(each), 2)) for each in values]
    rules = []
    for half in (True, False):
        train = [held != half for held in halves]
        best, rule = -np.inf, (0, 0.0, DEFAULT, DEFAULT)
        for feature, quantile in itertools.product(range(len(FEATURES)), QUANTILES):
            pooled = np.concatenate([each[on, feature] for each, on in zip(told, train, strict=True)])
            threshold = float(np.quantile(pooled, quantile))
            for low, high in itertools.product(range(len(DIVERSITIES)), repeat=2):
                score = 0.0
                for each, seen, on in zip(values, told, train, strict=True):
                    place = np.where(seen[on, feature] > threshold, high, low)
                    score += float(each[on][np.arange(int(on.sum())), place].mean())
                if score > best + 1e-12:
                    best, rule = score, (feature, threshold, low, high)
        means = [each[on].mean(axis=(0, 2)) for each, on in zip(values, train, strict=True)]
        fixed = int(np.argmax(np.sum(means, axis=0)))
        feature, threshold, low, high = rule
        rules.append(
            f"{DIVERSITIES[high]} where {FEATURES[feature]} is above {threshold:.3g}, else "
            f"{DIVERSITIES[low]} (fixed: {DIVERSITIES[fixed]})"
        )
        for place, (each, seen, on) in enumerate(zip(values, told, train, strict=True)):
            rest = np.flatnonzero(~on)
            taken = np.where(seen[rest, feature] > threshold, high, low)
            default = each[rest, DEFAULT]
            found[place][0, rest] = each[rest, taken] - default
            found[place][1, rest] = each[rest, fixed] - default
            found[place][2, rest] = each[rest].max(axis=1) - default
    return found, rules


def table(sets: list[dict[str, Any]]) -> str:
    """Return the table of one k, and the rules that were chosen."""
    found, rules = judged(sets)
    k = sets[0]["k"]
    heads = [f"{one['name']} ({len(one['groups'])})" for one in sets]
    lines = report.header([f"difference from 0.3, k = {k}, held out", *heads])
    for which, name in enumerate(("chosen by query", "fixed", "best of each question (no rule)")):
        for measure, called in enumerate(("aspect recall", "α-nDCG")):
            cells = []
            for one, each in zip(sets, found, strict=True):
                _, groups = np.unique(one["groups"], return_inverse=True)
                values = each[which, :, measure][None, :, None]
                low, high = intervals(values, groups)
                cells.append(report.ranged(float(values.mean()), float(low[0, 0]), float(high[0, 0])))
            lines.append(f"| {name}, {called} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"Rules of the two halves: {'; '.join(rules)}."])


def main() -> None:
    """Measure every labeled set that is at hand; print the tables, and write them into the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    truth.add_options(parser, limit=100)
    parser.add_argument("--k", type=int, nargs="*", default=[5, 10, 20], help="sizes of the sets")
    parser.add_argument("--quick", action="store_true", help="20 questions a set, k = 10, no page")
    arguments = parser.parse_args()
    sizes, limit = ([10], 20) if arguments.quick else (arguments.k, arguments.limit)
    measured = truth.measured(parser, arguments, lambda labeled: [measure(labeled, k, limit) for k in sizes])
    parts = {
        f"by-query-{k}": table([one for one in measured if one["k"] == k])
        for k in dict.fromkeys(one["k"] for one in measured)
    }
    for text in parts.values():
        print(f"\n{text}")
    if not arguments.quick:
        report.write(arguments.docs / "retrieval-quality.md", parts)


if __name__ == "__main__":
    main()
