"""Coverage of judged sub-questions: facets against relevance alone, MMR and a published reranking.

    python -m benchmarks.facets [FOLDER]

FOLDER has LANCER's files: for each topic and first-stage run 100 documents, their ratings (0 to 5) against
the sub-questions, and where there is one the order that its authors publish, made of the same ratings. A
sub-question is covered by a document rated 3 or more. Ratings are what every method but the first two
chooses by, and what it is measured by: the figures compare ways to choose, not ratings.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parent))

import setwise
from data import SHARED
from reporting import heading, table
from setwise.evaluate.statistics import grouped, intervals
from setwise.objectives import Facets

#: What a rating has to be for a document to cover a sub-question, of 5.
COVERS, HIGHEST = 3, 5

#: Sizes of the sets.
SIZES = (10, 20)


def first_stage(_: dict[str, Any], ratings: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Return the k that the first stage has first."""
    return np.arange(k)


def mmr(one: dict[str, Any], ratings: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Return MMR's picks by the first stage's scores, two documents being as alike as their ratings are."""
    profiles = np.column_stack([ratings, np.full(len(ratings), 0.1)])  # none is zero
    return setwise.select(
        profiles, k, relevance=one["scores"], relevance_scale="rank", objective="mmr", diversity=0.3
    ).indices


def mean_rating(_: dict[str, Any], ratings: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Return the k of largest mean rating."""
    return np.argsort(-ratings.mean(axis=1), kind="stable")[:k]


def published(one: dict[str, Any], ratings: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Return the first k of the published order."""
    place = {name: row for row, name in enumerate(one["docs"])}
    return np.array([place[name] for name in one["published_order"][:k]], np.int64)


def covering(
    saturation: float, *, certify: bool
) -> Callable[[dict[str, Any], NDArray[np.float64], int], NDArray[np.int64]]:
    """Return what selects by coverage of the ratings."""

    def choose(_: dict[str, Any], ratings: NDArray[np.float64], k: int) -> NDArray[np.int64]:
        facets = {str(place): column for place, column in enumerate((ratings / HIGHEST).T)}
        found = setwise.select(
            np.eye(len(ratings)),
            k,
            facets=facets,
            objective=Facets(0.0, saturation=saturation),
            certify=certify,
        )
        if found.certificate is not None:
            GAPS.append(found.certificate.gap)
        return found.indices

    return choose


#: Gaps of the certificates, one a set that facets chose.
GAPS: list[float] = []

METHODS = {
    "first stage": first_stage,
    "MMR 0.3": mmr,
    "mean rating": mean_rating,
    "published": published,
    "facets": covering(0.5, certify=True),
    "facets, saturation 0.2": covering(0.2, certify=False),
}


def measured(path: Path, *, with_published: bool) -> None:
    """Print what share of the sub-questions each method covers, with the interval of the difference to the
    last but one."""
    topics = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    topics = [one for one in topics if bool(one["published_order"]) or not with_published]
    if not topics:
        return
    names = [name for name in METHODS if with_published or name != "published"]
    covered = np.zeros((len(SIZES), len(names), len(topics)))
    for number, one in enumerate(topics):
        ratings = np.maximum(np.asarray(one["ratings"], np.float64), 0.0)  # -1 where there is none
        for size, k in enumerate(SIZES):
            for place, name in enumerate(names):
                rows = METHODS[name](one, ratings, k)
                covered[size, place, number] = (ratings[rows] >= COVERS).any(axis=0).mean()
    groups = grouped([one["topic"] for one in topics])
    low, high = intervals(covered[:, [names.index("facets")]] - covered, groups)
    rows = []
    for place, name in enumerate(names):
        cells = []
        for size in range(len(SIZES)):
            more = covered[size, names.index("facets"), :].mean() - covered[size, place].mean()
            span = (
                ""
                if name == "facets"
                else f"{more:+.3f} ({low[size, place]:+.3f} to {high[size, place]:+.3f})"
            )
            cells += [f"{covered[size, place].mean():.3f}", span]
        rows.append([name, *cells])
    columns = ["method"]
    for k in SIZES:
        columns += [f"coverage@{k}", "facets' advantage (95 %)"]
    title = f"{path.stem}: {len(topics)} runs of {groups.max() + 1} topics"
    table(title + (", those with a published order" if with_published else ""), columns, rows)


def main() -> None:
    """Print a table for each file, of all runs and of those with a published order."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED / "lancer"
    heading()
    for path in sorted(folder.glob("*.jsonl")):
        for with_published in (False, True):
            measured(path, with_published=with_published)
    print(
        f"\nCertificates of facets: median gap {np.median(GAPS):.2g}, largest {max(GAPS):.2g}, "
        f"proven best {np.mean(np.array(GAPS) == 0.0):.0%} of {len(GAPS)} sets."
    )


if __name__ == "__main__":
    main()
