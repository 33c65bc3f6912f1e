"""TSDS's Tables 4 and 9 with the splits of its Table 3, Table 8, Figure 1, Figure 2 over a whole repository.

Run as parts of benchmarks.papers.tsds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from benchmarks import finetune_data as data
from benchmarks import finetune_methods as methods
from benchmarks.finetune_page import interval, names_in, percent, ratio, shown, within
from benchmarks.papers import record
from benchmarks.papers.record import Record, Row

from setwise.encode.lsa import LSA
from setwise.encode.ngrams import counts
from setwise.finetuning import match

Result = dict[str, Any]

#: Table 4 (1K and 3K annotated) and Table 9 (3K): F1 of ALBERT on ChemProt and SciERC.
PAPER_LABELS = {
    ("1,000", "6 %"): {
        "Base": (69.6, 60.1),
        "random": (69.7, 62.7),
        "DSIR": (74.8, 68.5),
        "KNN-KDE": (76.7, 72.1),
    },
    ("3,000", "6 %"): {
        "Base": (77.1, 75.8),
        "random": (78.6, 77.5),
        "DSIR": (82.2, 78.9),
        "KNN-KDE": (81.9, 79.2),
    },
    ("3,000", "2 %"): {
        "Base": (77.1, 75.8),
        "random": (78.2, 78.8),
        "DSIR": (82.1, 78.2),
        "KNN-KDE": (81.6, 79.8),
    },
    ("3,000", "0.6 %"): {
        "Base": (77.1, 75.8),
        "random": (77.8, 78.7),
        "DSIR": (80.9, 79.9),
        "KNN-KDE": (80.4, 80.5),
    },
}

#: The fields of Tables 4 and 9, and how F1 is averaged over their classes.
FIELDS = {"chemprot": ("ChemProt", "micro"), "sciie-relation-extraction": ("SciERC", "macro")}

#: What is copied in Figure 2: shares of the rows, and how often each.
LEVELS = ((0.0, 0), (0.001, 10), (0.001, 100), (0.001, 1000), (0.01, 10), (0.01, 100), (0.01, 1000))


# ---------------------------------------------------------------------- Tables 4 and 9


def labels(keep: Record) -> None:
    """Tables 4 and 9: a representation of what was selected, and the labels of 1,000 or 3,000 sentences."""
    problem = _labeled(keep)
    counted, tiny = counts(problem.texts), keep.options.tiny
    pool = methods.pool_without(problem, counted, frozenset())
    others = () if tiny else ("DSIR, no floor", "nearest", "KNN-Uniform")
    names = ("Base", "random", "DSIR", *others, "KNN-KDE")
    found: dict[tuple[str, str], list[Result]] = {}
    for size, share in ((1_000, 0.06), (3_000, 0.06), (3_000, 0.02), (3_000, 0.006)):
        key = f"{size:,}", f"{100 * share:g} %"
        budget = round((0.2 if tiny else share) * pool.lengths.sum())
        for target, average in zip(problem.targets, ("micro", "macro"), strict=True):
            for seed in range(keep.options.seeds):
                drawn = methods.draw(problem, replace(target, count=min(size, len(target.examples))), seed)
                for name in names:
                    if name == "Base":
                        texts: list[str] = []
                    else:
                        select = methods.METHODS[name](pool, drawn, 2_000)
                        rows = pool.origin[methods.fill(select, pool, budget, seed)]
                        texts = [problem.texts[row] for row in rows]
                    one = {"method": name, "target": target.name, "seed": seed}
                    found.setdefault(key, []).append({**one, "F1": 100 * _f1(texts, drawn, average)})
        if tiny:
            break
    lines: list[Row] = []
    for key, results in found.items():
        theirs = PAPER_LABELS[key]
        for name in names:
            line: Row = {"annotated": key[0], "selected": key[1], "method": name}
            for place, target in enumerate(problem.targets):
                mine, random = (
                    np.array(
                        [
                            one["F1"]
                            for one in results
                            if (one["method"], one["target"]) == (each, target.name)
                        ]
                    )
                    for each in (name, "random")
                )
                line[target.name] = shown(mine, 1)
                line[f"{target.name}, against random"] = "" if name == "random" else within(mine - random)
                line[f"paper {target.name}"] = theirs.get(name, (None, None))[place]
            lines.append(line)
    keep.table(
        "TSDS, Tables 4 and 9: labels of 1,000 and 3,000 sentences",
        lines,
        f"{problem.name}, {len(problem.texts):,} rows: its words are selected by the annotated sentences "
        "(splits of Table 3, no test sentence in the repository); a representation (LSA, 100 topics) is "
        "learned from them and the annotated sentences, Base from these alone, and a logistic regression "
        "from their labels. F1 × 100 of the test split (ChemProt micro, SciERC macro), "
        f"{keep.options.seeds} seeds: mean ± standard error, and differences with their 95 % interval. The "
        "paper's: ALBERT, 1M, 300K and 100K of 150M rows.",
        digits=1,
    )
    for rival in ("random", "DSIR"):
        apart = {
            key: _apart(results, "KNN-KDE", rival, [one.name for one in problem.targets])
            for key, results in found.items()
        }
        keep.claim(
            f"KNN-KDE's choice gives a higher F1 than {rival}'s (Tables 4 and 9).",
            all(interval(values)[1] > 0 for values in apart.values()),
            "; ".join(f"{' labels, '.join(key)} selected: {within(values)}" for key, values in apart.items())
            + " points, mean of the fields.",
        )


def _apart(results: Sequence[Result], this: str, that: str, targets: Sequence[str]) -> Any:
    """Return by seed how much higher one method's F1 is than another's, the mean over targets."""
    values = {(one["method"], one["target"], one["seed"]): one["F1"] for one in results}
    seeds = sorted({one["seed"] for one in results})
    return np.array(
        [np.mean([values[this, one, seed] - values[that, one, seed] for one in targets]) for seed in seeds]
    )


def _f1(selected: list[str], drawn: methods.Drawn, average: str) -> float:
    """Return the F1 on the test split after a representation was learned, and a classifier on top of it."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score

    assert drawn.target.labels is not None
    model = LSA(topics=methods.TOPICS, sketch=0)
    model.fit([*drawn.texts, *selected])
    learned = LogisticRegression(C=10.0, max_iter=300)
    learned.fit(model.encode(drawn.texts), drawn.target.labels[drawn.rows])
    guess = learned.predict(model.encode(drawn.target.held))
    return float(f1_score(drawn.target.held_labels, guess, average=average, zero_division=0))


def _labeled(keep: Record) -> data.Problem:
    """Return a repository of sentences and instructions, and the fields with the splits of Table 3."""
    if keep.options.tiny:
        made = data.generated(300, 30, 60, labeled=True)
        return replace(made, targets=made.targets[:2])
    table = data._read(keep.options.data / "domains" / "domains.parquet")
    text = [" ".join(data.MARKS.sub(" ", one).split()) for one in table["text"]]
    field, split, label = (np.array(table[name]) for name in ("domain", "split", "label"))
    targets = []
    for name, (title, _) in FIELDS.items():
        first, held = (np.flatnonzero((field == name) & (split == part)) for part in ("train", "test"))
        examples, tested = [text[row] for row in first], [text[row] for row in held]
        about = np.full(len(first), title), frozenset[str](), frozenset([name]), 1_000
        targets.append(data.Target(title, examples, tested, *about, label[first], label[held]))
    seen = {one for target in targets for one in (*target.examples, *target.held)}
    rows = [
        row
        for row, one in enumerate(text)
        if one not in seen and (split[row] == "dev" if field[row] in FIELDS else split[row] != "test")
    ]
    mix = data._read(keep.options.data / "instruct_mix" / "instruct_mix.parquet")
    others = [row for row, one in enumerate(mix["split"]) if one == "train"]
    others = np.random.default_rng(0).permutation(others)[: max(0, keep.options.rows - len(rows))].tolist()
    texts = [text[row] for row in rows] + [mix["input"][row] or mix["instruction"][row] for row in others]
    families = np.concatenate([field[rows], np.full(len(others), "instructions")])
    wordy = np.flatnonzero([any(map(str.isalnum, one)) for one in texts])
    return data._problem("Unlabeled sentences among instructions", texts, families, families, wordy, targets)


def _made_up() -> data.Problem:
    """Return a repository of made-up texts and one target."""
    made = data.generated(300, 30, 60, labeled=False)
    return replace(made, targets=made.targets[:1])


# ---------------------------------------------------------------------- Table 8


def epochs(keep: Record) -> None:
    """Table 8: four epochs of 1 %, drawn afresh, against one epoch of 4 %."""
    tiny = keep.options.tiny
    problem = _made_up() if tiny else data.instructions(20_000)
    counted, measure = counts(problem.texts), methods.Measure(problem)
    found: list[Result] = []
    for target in problem.targets:
        pool = methods.pool_without(problem, counted, target.own)
        once = (0.05 if tiny else 0.01) * pool.lengths.sum()
        for seed in range(keep.options.seeds):
            drawn = methods.draw(problem, target, seed)
            for name in ("random", "LESS-style", "nearest", "KNN-KDE", "KNN-KDE, no row twice"):
                select = methods.METHODS[name](pool, drawn, 2_000)
                four = [methods.fill(select, pool, round(once), 4 * seed + epoch) for epoch in range(4)]
                one = methods.fill(select, pool, round(4 * once), seed)
                for told, rows in (("4 × 1 %", np.concatenate(four)), ("1 × 4 %", one)):
                    values = measure(pool, rows, drawn)
                    own = {"method": f"{name}, {told}", "target": target.name, "seed": seed}
                    found.append({**own, **{key: values[key] for key in ("perplexity", "different rows")}})
    rival, ours = "LESS-style, 1 × 4 %", "KNN-KDE, 4 × 1 %"
    lines: list[Row] = []
    for name in names_in(found):
        differ = [one["different rows"] for one in found if one["method"] == name]
        line: Row = {"method": name, "different rows %": 100 * float(np.mean(differ))}
        for title, other in (("random, 1 × 4 %", "random, 1 × 4 %"), (rival, rival)):
            line[f"perplexity, against {title}, %"] = (
                "0" if name == other else percent(ratio(found, {"method": name}, {"method": other}))
            )
        lines.append(line)
    keep.table(
        "TSDS, Table 8: four epochs of 1 % or one of 4 %",
        lines,
        f"{problem.name}, {len(problem.texts):,} rows, {len(problem.targets)} targets, equal words in all, "
        f"{keep.options.seeds} seeds; 95 % intervals of paired differences. The paper's (Llama-2-7b): LESS, "
        "1 × 4 %: 54.4, 46.5, 40.4; KNN-KDE, 4 × 1 %: 55.4, 47.9, 42.0 on TydiQA, MMLU, BBH. A model of "
        "counts takes a row that it reads four times for four rows, which steps of a gradient do not.",
        digits=1,
    )
    for other in (rival, "LESS-style, 4 × 1 %"):
        logs = ratio(found, {"method": ours}, {"method": other})
        keep.claim(
            f"KNN-KDE drawn afresh in four epochs of 1 % is better than {other} (Table 8).",
            interval(logs)[2] < 0,
            f"Perplexity {percent(logs)} %.",
        )


# ---------------------------------------------------------------------- Figure 2


def whole(keep: Record) -> None:
    """Figure 2 over a whole repository: exact copies of 0.1 % and 1 % of the rows, 10 to 1,000 times."""
    tiny = keep.options.tiny
    only = ("MMLU", "BBH counting")  # none of their own tasks is in the repository
    problem = _made_up() if tiny else data.instructions(10**6, only=only)
    problem = data.narrowed(problem, 64)
    counted, measure = counts(problem.texts), methods.Measure(problem)
    budget = round((0.2 if tiny else 0.02) * np.maximum(problem.lengths, 1).sum())
    names = ("random", "DSIR", "KNN-Uniform", "KNN-KDE", "KNN-KDE, no row twice")
    levels = [(0.0, 0), (0.02, 10)] if tiny else list(LEVELS)
    found: list[Result] = []
    rows = np.arange(len(problem.texts))
    for seed in range(keep.options.seeds):
        for copied, times in levels:
            setting = {"copied": copied, "times": times, "noise": 0.0, "seed": seed}
            pool = methods.pool_with_copies(problem, counted, rows, **setting)
            for target in problem.targets:
                drawn = methods.draw(problem, target, seed)
                for name in names:
                    chosen = methods.fill(methods.METHODS[name](pool, drawn, 2_000), pool, budget, seed)
                    values = measure(pool, chosen, drawn)
                    level = "none" if not times else f"{copied:.1%} × {times:,}"
                    own = {"method": name, "target": target.name, "seed": seed, "level": level}
                    found.append({**own, **{key: values[key] for key in ("perplexity", "copied")}})
    shares: list[Row] = []
    changes: list[Row] = []
    titles = list(dict.fromkeys(one["level"] for one in found))
    for name in names:
        share: Row = {"method": name}
        change: Row = {"method": name}
        for title in titles[1:]:
            some = [one["copied"] for one in found if (one["method"], one["level"]) == (name, title)]
            share[title] = f"{100 * float(np.mean(some)):.1f}"
            change[title] = percent(_harm(found, name, title))
        shares.append(share)
        changes.append(change)
    about = (
        f"{problem.name}, {len(problem.texts):,} rows (64 d), exact copies; "
        f"{', '.join(one.name for one in problem.targets)}; 2 % of the words, {keep.options.seeds} seeds."
    )
    keep.table(
        "TSDS, Figure 2, the whole repository: change of perplexity by copies, %",
        changes,
        f"{about} Against no copies, with 95 % intervals; above 0 is worse.",
    )
    keep.table(
        "TSDS, Figure 2, the whole repository: selected rows that are among those copied, %", shares, about
    )
    last = titles[-1]
    kde = _harm(found, "KNN-KDE", last)
    keep.claim(
        f"KNN-KDE is not harmed by {last} copies of a whole repository, to 5 % (Figure 2).",
        float(np.expm1(interval(kde)[2])) < 0.05,
        f"Perplexity {percent(kde)} %.",
    )
    others = {name: _harm(found, name, last) for name in ("random", "DSIR", "KNN-Uniform")}
    keep.claim(
        f"All others are harmed by {last} copies of a whole repository (Figure 2).",
        all(interval(values)[1] > 0 for values in others.values()),
        "; ".join(f"{name}: {percent(values)} %" for name, values in others.items()) + ".",
    )


def _harm(found: list[Result], name: str, level: str) -> Any:
    """Return by seed the logarithm of how much copies raise a method's perplexity."""
    return ratio(found, {"method": name, "level": level}, {"method": name, "level": "none"})


# ---------------------------------------------------------------------- Figure 1


def example(keep: Record) -> None:
    """Figure 1: where the probability of one example goes, of five rows three of them alike."""
    rows = np.array([[-1.0, 0.6], [-0.7, -0.8], [0.8, 0.0], [1.0, 0.25], [1.0, -0.25]])
    densities = np.array([1.0, 1.0, 1.5, 1.5, 1.5])
    shares = {}
    for title, more in (
        ("uniform", {"regularizer": "uniform"}),
        ("kernel density", {"densities": densities}),
    ):
        found = match(rows, np.zeros((1, 2)), diversity=0.9, neighbors=5, kernel_width=0.3, scale=5.0, **more)
        shares[title] = np.zeros(5)
        shares[title][found.indices] = found.probabilities
    keep.table(
        "TSDS, Figure 1: probabilities of five rows",
        [
            {"regularizer": title, **{f"x{place + 1}": float(value) for place, value in enumerate(share)}}
            for title, share in shares.items()
        ],
        "One example at the origin; x3, x4 and x5 are near each other, with densities of 3/2.",
    )
    if not keep.options.tiny:
        _draw(rows, shares)
        keep.picture("papers-tsds-1.png", "One example (star) and five rows, by size of their probability")
    kde = shares["kernel density"]
    keep.claim(
        "Of rows near each other each gets less, together more than one row alone (Figure 1).",
        bool(max(kde[2:]) < min(kde[:2]) and np.ptp(shares["uniform"]) < 1e-9),
        f"Uniform {shares['uniform'][0]:.3f} each; kernel density {kde[0]:.3f} each alone, "
        f"{kde[2]:.3f} each of three.",
    )


def _draw(rows: Any, shares: dict[str, Any]) -> None:
    """Draw the picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, every = pyplot.subplots(1, 2, figsize=(7, 3), sharex=True, sharey=True, layout="constrained")
    for axes, (title, share) in zip(every, shares.items(), strict=True):
        axes.scatter(*rows.T, s=4_000 * share, alpha=0.5)
        axes.scatter(0, 0, marker="*", s=120, color="black")
        for place, (x, y) in enumerate(rows):
            axes.annotate(f"x{place + 1}\n{share[place]:.3f}", (x, y), ha="center", va="center", fontsize=7)
        axes.set_title(title, fontsize=9)
        axes.set_aspect("equal")
        axes.margins(0.3)
    figure.savefig(record.IMAGES / "papers-tsds-1.png", dpi=130)
    pyplot.close(figure)
