"""CCBQP's Figure 1, left, and what copies in the corpus change: right answers found, and their spread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from benchmarks.papers import record, sets
from benchmarks.papers.ccbqp_ways import METHODS, SIZES, THETAS, chosen_by
from benchmarks.papers.record import Record, Row, paired, told
from benchmarks.truth import AbsentError, Labeled, Question, load
from numpy.typing import NDArray

from setwise import metrics

#: The labeled sets, by their names in `benchmarks.truth`.
SETS = ("perspectrum", "argkp2021", "hotpotqa", "musique")

RESAMPLES = 500


def frontier(keep: Record) -> None:
    """Recall against ILAD for θ from 0.1 to 0.9."""
    names = keep.options.sets
    _frontier(keep, [one for name in names if (one := labeled_set(keep, name)) is not None], "")


def labeled_set(keep: Record, name: str) -> Labeled | None:
    """Return a labeled set, or None where it is not there; with --tiny a made-up one."""
    if keep.options.tiny:
        rows, asked, aspects = sets.made_up()
        questions = [
            Question(str(place), str(place), vector, own)
            for place, (vector, own) in enumerate(zip(asked, aspects, strict=True))
        ]
        return Labeled(f"made up ({name})", "made up", rows, questions) if name == "perspectrum" else None
    try:
        if name in ("hotpotqa", "musique"):
            return _strings(name, *sets.hops(keep.options.data, name))
        return load(name, keep.options.data)
    except FileNotFoundError as error:
        print(f"{name}: left out. {error} is not here")
        return None
    except AbsentError as error:
        print(f"{name}: left out. {error}")
        return None


def _frontier(keep: Record, labeled: Sequence[Labeled], what: str) -> None:
    """Measure each set at each size, and say at equal spread who finds more."""
    if not labeled:
        raise FileNotFoundError("every labeled set")
    points: list[Row] = []
    summary: list[Row] = []
    for one in labeled:
        questions = [
            one.questions[place] for place in sets.spread_evenly(len(one.questions), keep.options.questions)
        ]
        for k in (5,) if keep.options.tiny else SIZES:
            if any(question.pool is not None and len(question.pool) <= k for question in questions):
                questions = [each for each in questions if each.pool is None or len(each.pool) > k]
            values = {
                (method, theta): np.array([_found(one, each, method, k, theta) for each in questions])
                for method in METHODS
                for theta in THETAS
            }
            top = np.array([_found(one, each, "MMR", k, 1.0) for each in questions])
            points.append(_point(one.name, k, "top-k", None, top))
            points += [_point(one.name, k, *key, found) for key, found in values.items()]
            summary.append(_at_equal_spread(one.name, k, values, top, keep.options.seed))
    columns = list(summary[0])[4:]
    keep.table(
        f"CCBQP, Figure 1, left{what}: recall at equal spread",
        summary,
        "How much more of the right answers (aspect recall) one finds than its rival at the rival's own "
        "ILAD, read off "
        "the line through its points of θ from 0.1 to 1; the mean over the rival's θ of 0.5 and more, with "
        "its 95 % "
        "interval (bootstrap over questions). Every point is in the JSON lines and in the picture.",
    )
    keep.lines.append({"hidden": "points", "rows": points})
    for rival, column in zip(("MMR", "DPP"), columns, strict=False):
        keep.claim(
            f"Frank-Wolfe dominates {rival} on the frontier of recall and ILAD at θ of 0.5 and more "
            f"(Figure 1{what}).",
            all(row[column][2] >= 0 for row in summary) and np.mean([row[column][0] for row in summary]) > 0,
            _counted([row[column] for row in summary]),
        )
    found = [row[columns[2]] for row in summary]
    keep.claim(
        f"At equal spread, sharpness 8 finds at least as much as Frank-Wolfe on the paper's objective{what}.",
        all(each[2] >= 0 for each in found),
        _counted(found),
        ours=True,
    )
    if not keep.options.tiny:
        _draw(keep, points, "ccbqp-frontier" + ("-own" if what else ""))


def _counted(differences: list[list[float]]) -> str:
    """Return how many differences are above and below 0."""
    return (
        f"Mean difference {np.mean([each[0] for each in differences]):+.4f}; of {len(differences)} cases "
        "(set and "
        f"k) {sum(each[0] >= 0 for each in differences)} are not below 0, "
        f"{sum(each[1] > 0 for each in differences)} "
        f"above it beyond their interval, {sum(each[2] < 0 for each in differences)} below it beyond their "
        "interval."
    )


def _found(one: Labeled, question: Question, method: str, k: int, theta: float) -> tuple[float, float]:
    """Return aspect recall and ILAD of one set."""
    ids = np.arange(len(one.vectors)) if question.pool is None else question.pool
    chosen = ids[chosen_by(method, one.vectors[ids], question.vector, k, theta)]
    return metrics.aspect_recall(chosen, question.aspects, k), metrics.ilad(one.vectors[chosen])


def _point(name: str, k: int, method: str, theta: float | None, found: NDArray[np.float64]) -> Row:
    """Return a point of the figure."""
    recall, spread = found.mean(axis=0).tolist()
    return {"set": name, "k": k, "method": method, "θ": theta, "recall": recall, "ILAD": spread}


def _at_equal_spread(
    name: str,
    k: int,
    values: dict[tuple[str, float], NDArray[np.float64]],
    top: NDArray[np.float64],
    seed: int,
) -> Row:
    """Return a line of the summary."""
    count = len(top)
    rng = np.random.default_rng(seed)
    draws = [np.arange(count), *(rng.integers(count, size=count) for _ in range(RESAMPLES))]
    line: Row = {"set": name, "k": k, "questions": count, "top-k recall": float(top[:, 0].mean())}
    pairs = [("Frank-Wolfe", "MMR"), ("Frank-Wolfe", "DPP"), ("setwise, sharpness 8", "Frank-Wolfe")]
    for method, rival in pairs:
        differences = [_ahead(values, top, method, rival, draw) for draw in draws]
        low, high = np.percentile(differences[1:], [2.5, 97.5])
        label = "sharpness 8" if "sharp" in method else method
        line[f"{label} less {rival}"] = [differences[0], float(low), float(high)]
    return line


def _ahead(
    values: dict[tuple[str, float], NDArray[np.float64]],
    top: NDArray[np.float64],
    method: str,
    rival: str,
    draw: NDArray[np.int64],
) -> float:
    """Return the mean of how much more recall a method has than a rival at the rival's spread."""
    line = [values[method, theta][draw].mean(axis=0) for theta in THETAS] + [top[draw].mean(axis=0)]
    spread, recall = np.array([(ilad, recall) for recall, ilad in line]).T
    order = np.argsort(spread)
    theirs = np.array([values[rival, theta][draw].mean(axis=0) for theta in THETAS if theta >= 0.5])
    inside = theirs[(theirs[:, 1] >= spread.min()) & (theirs[:, 1] <= spread.max())]
    if not len(inside):
        return 0.0
    return float((np.interp(inside[:, 1], spread[order], recall[order]) - inside[:, 0]).mean())


def _draw(keep: Record, points: list[Row], name: str) -> None:
    """Draw the points: a row a set, a column a size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(row["set"] for row in points))
    sizes = list(dict.fromkeys(row["k"] for row in points))
    figure, panels = pyplot.subplots(
        len(names),
        len(sizes),
        figsize=(4 * len(sizes), 2.7 * len(names)),
        layout="constrained",
        squeeze=False,
    )
    looks = dict(zip(METHODS, ("#E69F00", "#009E73", "#CC79A7", "#0B5CAD"), strict=True))
    for line, one in zip(panels, names, strict=True):
        for panel, k in zip(line, sizes, strict=True):
            here = [row for row in points if row["set"] == one and row["k"] == k]
            for method, color in looks.items():
                own = [row for row in here if row["method"] == method]
                panel.plot(
                    [row["ILAD"] for row in own],
                    [row["recall"] for row in own],
                    "o-",
                    ms=3.5,
                    color=color,
                    label=method,
                )
            top = next(row for row in here if row["method"] == "top-k")
            panel.plot(top["ILAD"], top["recall"], "k*", ms=11, label="top-k")
            panel.set_title(f"{one}, k = {k}", fontsize=10)
            panel.set_xlabel("ILAD", fontsize=8)
            panel.set_ylabel("recall", fontsize=8)
    panels[0][0].legend(fontsize=7)
    figure.savefig(record.IMAGES / f"papers-{name}.png", dpi=80)
    pyplot.close(figure)
    keep.picture(
        f"papers-{name}.png", "Recall against ILAD for θ from 0.1 (right) to 0.9; the star is top-k."
    )


def copies(keep: Record) -> None:
    """Recall where every fifth passage stands there once, twice, or ten times more, slightly changed."""
    labeled = labeled_set(keep, "perspectrum")
    if labeled is None:
        raise FileNotFoundError("perspectrum")
    numbers = sets.spread_evenly(len(labeled.questions), keep.options.questions)
    k = 5 if keep.options.tiny else 25
    ways = [("top-k", 1.0)] + [(method, theta) for method in METHODS for theta in (0.5, 0.7, 0.9)]
    table: dict[tuple[str, float], Row] = {
        (method, theta): {"method": method, "θ": None if theta == 1 else theta} for method, theta in ways
    }
    recalls: dict[tuple[str, float, int], list[float]] = {}
    rng = np.random.default_rng(keep.options.seed)
    n, d = labeled.vectors.shape
    repeated = rng.permutation(n)[: n // 5]
    for times in (0, 1, 10):
        origin = np.concatenate([np.arange(n), np.tile(repeated, times)])
        rows = labeled.vectors[origin].copy()
        rows[n:] += (0.1 / np.sqrt(d)) * rng.standard_normal((len(rows) - n, d)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        for method, theta in ways:
            found = []
            for number in numbers:
                question = labeled.questions[number]
                chosen = chosen_by("MMR" if method == "top-k" else method, rows, question.vector, k, theta)
                found.append(metrics.aspect_recall(np.unique(origin[chosen]), question.aspects, k))
            recalls[method, theta, times] = found
            table[method, theta][f"recall, {times} copies"] = float(np.mean(found))
    lines = list(table.values())
    keep.table(
        f"CCBQP, the limitation it names: a redundant corpus, k = {k}",
        lines,
        f"{labeled.name}, {len(numbers)} questions, {n:,} passages, a fifth of which (drawn) stands there "
        "0, 1 or 10 times "
        "more with a cosine of about 0.995 to the first; recall of right answers, copies counted as what "
        "they copy.",
    )
    best = {
        (method, times): max(
            (found for (one, _, copied), found in recalls.items() if (one, copied) == (method, times)),
            key=np.mean,
        )
        for method in ("top-k", *METHODS)
        for times in (0, 10)
    }
    sharp = "setwise, sharpness 8"
    for method, ours in (("Frank-Wolfe", False), (sharp, True)):
        before, after = (paired(best[method, times], best["top-k", times]) for times in (0, 10))
        gains = [np.subtract(best[method, times], best["top-k", times]) for times in (10, 0)]
        more = paired(*gains)
        keep.claim(
            f"The more a corpus repeats itself, the more {method} gains over top-k.",
            more[1] > 0 and after[1] > 0,
            f"At its best θ it gains {told(before)} without copies, {told(after)} with ten: {told(more)}.",
            ours=ours,
        )
    rival = max(("MMR", "DPP", "Frank-Wolfe"), key=lambda method: np.mean(best[method, 10]))
    gain = paired(best[sharp, 10], best[rival, 10])
    keep.claim(
        "Where a corpus repeats itself, sharpness 8 finds at least as much as any rival, each at its best θ.",
        gain[2] >= 0,
        f"With ten copies {told(gain)} against {rival}, the best of them.",
        ours=True,
    )


def own(keep: Record) -> None:
    """Figure 1, left, on QAMPARI and ASQA from the folders that are named."""
    found = []
    for name, folder, reading in (
        ("QAMPARI", keep.options.qampari, sets.qampari),
        ("ASQA", keep.options.asqa, sets.asqa),
    ):
        if folder is None:
            continue
        texts = sets.passages(folder)
        found.append(_strings(name, texts, reading(folder, texts)))
    _frontier(keep, found, ", the paper's own sets")


def _strings(name: str, texts: list[str], asked: list[sets.Asked]) -> Labeled:
    """Return passages and questions as a labeled set, encoded as setwise does by default."""
    rows = sets.encoded([*texts, *(one.text for one in asked)])
    questions = [
        Question(one.text, str(place), rows[len(texts) + place], one.aspects)
        for place, one in enumerate(asked)
    ]
    return Labeled(name, name, rows[: len(texts)], questions)
