"""TSDS's tables: what a matched selection trains, what copies change, and what its parameters do.

    python -m benchmarks.papers.tsds                   # every part, a few minutes each
    python -m benchmarks.papers.tsds --part tasks      # the shape of Tables 2 and 4
    python -m benchmarks.papers.tsds --part copies     # Figure 2: near-duplicates
    python -m benchmarks.papers.tsds --part ablations  # Figure 3, Tables 10, 11 and 12
    python -m benchmarks.papers.tsds --part example labels epochs whole  # Figures 1 and 2, Tables 4, 8, 9
    python -m benchmarks.papers.tsds --tiny

The paper trains Llama-2-7b, Mistral-7B and ALBERT; here a trigram language model and a classifier over latent
semantic analysis are trained (see benchmarks/finetune_downstream.py, whose full run is a longer one of the
first two parts). α of the paper is 1 - diversity.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from benchmarks import finetune_data as data
from benchmarks import finetune_downstream as downstream
from benchmarks import finetune_methods as methods
from benchmarks.finetune_page import column, interval, percent, ratio, shown, within
from benchmarks.papers import record
from benchmarks.papers import tsds_more as more
from benchmarks.papers.record import Record, Row

from setwise.encode.ngrams import counts
from setwise.finetuning import match

#: Table 2, Llama-2-7b, 0.5 %: TydiQA, MMLU, BBH. Table 4, 1K annotated: ChemProt, SciERC.
PAPER = {
    "random": (49.8, 45.0, 38.3, 69.7, 62.7),
    "LESS-style": (52.3, 46.2, 39.0, None, None),
    "DSIR": (None, None, None, 74.8, 68.5),
    "KNN-KDE": (53.7, 47.2, 40.6, 76.7, 72.1),
}

#: Figure 3's ends, and Tables 10 to 12 on ChemProt (1K): F1 and rows in a neighborhood.
PAPER_F1 = {"α = 1": 67.7, "α = 0.6": 76.7, "h = 0.3": 76.8, "h = 0.5": 78.0, "KNN-TV": 65.8}
PAPER_ROWS = {"α = 0.2": 993, "α = 0.4": 408, "α = 0.6": 191, "α = 0.8": 74}

Result = dict[str, Any]


def _problems(keep: Record) -> dict[str, data.Problem]:
    """Return the repositories: instructions and fields; with --tiny a made-up one."""
    if keep.options.tiny:
        return {"made up": data.generated(500, 30, 60, labeled=True)}
    if not (keep.options.data / "domains" / "domains.parquet").exists():
        raise FileNotFoundError(keep.options.data / "domains" / "domains.parquet")
    limit = keep.options.rows
    return {"instructions": data.instructions(limit), "fields": data.domains(limit)}


def _mean(results: Iterable[Result], measure: str, **where: Any) -> float:
    """Return a measure's mean over the results that fit."""
    found = [one[measure] for one in results if all(one[key] == value for key, value in where.items())]
    return float(np.mean(found))


def _ratio(results: list[Result], method: str, other: str, **where: Any) -> float:
    """Return the mean over targets of how much larger a method's perplexity is than another's, in %."""
    names = sorted({one["target"] for one in results})
    logs = [
        np.log(_mean(results, "perplexity", method=method, target=name, **where))
        - np.log(_mean(results, "perplexity", method=other, target=name, **where))
        for name in names
    ]
    return float(100 * np.expm1(np.mean(logs)))


def tasks(keep: Record) -> None:
    """Tables 2 and 4: each method's choice, and the models that it trains."""
    share = 0.2 if keep.options.tiny else 0.04
    lines: list[Row] = []
    gains: dict[str, dict[str, float]] = {}
    runs: list[tuple[dict[str, Any], ...]] = []
    sizes = []
    for name, problem in _problems(keep).items():
        downstream.adopt(problem)
        targets = range(min(len(problem.targets), keep.options.targets))
        found = [
            one
            for seed in range(keep.options.seeds)
            for number in targets
            for one in downstream.selected_plainly((number, seed, share))
        ]
        sizes.append(
            f"{name}: {len(problem.texts):,} rows, " + ", ".join(problem.targets[n].name for n in targets)
        )
        runs += [
            tuple(one for one in found if (one["seed"], one["target"]) == run)
            for run in sorted({(one["seed"], one["target"]) for one in found})
        ]
        gains[name] = {}
        for method in methods.METHODS:
            change = _ratio(found, method, "random")
            gains[name][method] = change
            told = percent(ratio(found, {"method": method}, {"method": "random"}))
            line: Row = {
                "repository": name,
                "method": method,
                "right family %": 100 * _mean(found, "precision", method=method),
                "near-duplicates %": 100 * _mean(found, "near-duplicates", method=method),
                "perplexity, against random %": "0" if method == "random" else told,
                "macro F1": shown(column(found, "macro F1", method=method), 1, 100)
                if "macro F1" in found[0]
                else None,
            }
            theirs = PAPER.get(method, (None,) * 5)
            titles = ("paper TydiQA", "paper MMLU", "paper BBH") if name == "instructions" else ()
            line |= dict.fromkeys(
                ("paper TydiQA", "paper MMLU", "paper BBH", "paper ChemProt", "paper SciERC")
            )
            line |= dict(zip(titles, theirs, strict=False))
            if name == "fields":
                line |= {"paper ChemProt": theirs[3], "paper SciERC": theirs[4]}
            lines.append(line)
    keep.table(
        "TSDS, the shape of Tables 2 and 4",
        lines,
        f"{'; '.join(sizes)}. {share:.0%} of the words are selected, {keep.options.seeds} seeds; "
        "95 % intervals. The paper's: accuracy or F1 "
        "of Llama-2-7b at 0.5 %, and F1 of ALBERT with 1,000 annotated rows.",
        digits=1,
    )
    for rival in ("random", "LESS-style", "DSIR", "nearest"):
        ahead = [
            _mean(run, "perplexity", method="KNN-KDE") < _mean(run, "perplexity", method=rival)
            for run in runs
        ]
        keep.claim(
            f"In every run, what KNN-KDE selects trains a model of lower perplexity than what {rival} selects"
            f"{' (a baseline that the paper has not)' if rival == 'nearest' else ''}.",
            all(ahead),
            f"In {sum(ahead)} of {len(runs)} runs (seeds and tasks); "
            + "; ".join(
                f"{name}: perplexity {each['KNN-KDE']:+.1f} % against random, {rival} {each[rival]:+.1f} %"
                for name, each in gains.items()
            )
            + ".",
            ours=rival == "nearest",
        )


def copies(keep: Record) -> None:
    """Figure 2: one row in a hundred stands there 10, 100 or 1000 times more, slightly changed."""
    problem = list(_problems(keep).values())[-1]
    downstream.adopt(problem)
    size, levels = (150, (0, 10)) if keep.options.tiny else (1000, (0, 100, 1000))
    share = 0.2
    found: list[Result] = []
    for seed in range(keep.options.seeds):
        for times in levels:
            found += downstream.selected_among_copies((0, seed, share, size, times))
    lines: list[Row] = []
    change: dict[str, Any] = {}
    for method in methods.METHODS:
        line: Row = {"method": method}
        for times in levels:
            line[f"different rows %, × {times:,}"] = 100 * _mean(
                found, "different rows", method=method, times=times
            )
        for times in levels:
            line[f"perplexity, × {times:,}"] = shown(column(found, "perplexity", method=method, times=times))
        both = ({"method": method, "times": times} for times in (levels[-1], 0))
        change[method] = ratio(found, *both)
        line[f"change by × {levels[-1]:,}, %"] = percent(change[method])
        lines.append(line)
    keep.table(
        "TSDS, Figure 2: near-duplicates",
        lines,
        f"{size:,} rows of {problem.name}, 1 % of them copied, {problem.targets[0].name}, {share:.0%} of "
        "the words, "
        f"{keep.options.seeds} seeds; perplexity of held-out texts (lower is better): mean ± standard "
        "error, and the change with its 95 % interval.",
        digits=1,
    )
    kde, others = change["KNN-KDE"], {one: change[one] for one in ("random", "DSIR", "KNN-Uniform")}
    keep.claim(
        "With 1 % of the rows copied a thousand times KNN-KDE alone keeps its quality, to 5 %.",
        interval(kde)[2] < np.log(1.05) and all(interval(values)[1] > 0 for values in others.values()),
        f"Perplexity {percent(kde)} %; "
        + ", ".join(f"{one} {percent(values)} %" for one, values in others.items())
        + ".",
    )
    least = {one: _mean(found, "perplexity", method=one, times=levels[-1]) for one in methods.METHODS}
    best = min(least, key=least.__getitem__)
    keep.claim(
        "With copies, KNN-KDE as the paper has it trains the model of the lowest perplexity.",
        best == "KNN-KDE",
        f"The lowest is {best}'s, {least[best]:,.0f}; KNN-KDE's is {least['KNN-KDE']:,.0f}.",
        ours=True,
    )


def ablations(keep: Record) -> None:
    """Figure 3 and Tables 10 to 12: α, the width of the kernel, KNN-TV, and how many rows are reached."""
    problem = list(_problems(keep).values())[-1]
    target = problem.targets[0]
    pool = methods.pool_without(problem, counts(problem.texts), target.own)
    measure = methods.Measure(problem)
    budget = round((0.2 if keep.options.tiny else 0.04) * pool.lengths.sum())
    tried: list[tuple[str, float, dict[str, Any]]] = [
        (f"α = {alpha:g}", 1 - alpha, {"regularizer": "kde", "kernel_width": 0.1, "scale": 5.0})
        for alpha in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    ]
    tried += [
        (f"h = {width:g}", 0.4, {"regularizer": "kde", "kernel_width": width, "scale": 5.0})
        for width in (0.3, 0.5)
    ]
    tried.append(("KNN-Uniform", 0.4, {"regularizer": "uniform", "scale": 5.0}))
    tried.append(("KNN-TV", 0.4, {"regularizer": "tv", "scale": 0.25}))
    lines: list[Row] = []
    by: dict[str, np.ndarray] = {}
    for label, diversity, options in tried:
        found = []
        for seed in range(keep.options.seeds):
            drawn = methods.draw(problem, target, seed)
            reach = len(pool.vectors) if diversity == 1 else min(2000, len(pool.vectors))
            matched = match(
                pool.vectors, drawn.vectors, diversity=diversity, neighbors=reach, threads=1, **options
            )
            chosen = methods.fill(
                lambda rows, seed, matched=matched: matched.sample(rows, seed=seed), pool, budget, seed
            )
            values = measure(pool, chosen, drawn)
            f1 = 100 * values.get("macro F1", np.nan)
            found.append(
                [100 * values["precision"], values["perplexity"], f1, matched.effective, len(matched)]
            )
        family, perplexity, _, effective, reached = np.mean(found, axis=0).tolist()
        by[label] = np.array(found)[:, 2]
        line: Row = {"": label, "right family %": family, "perplexity": perplexity}
        line |= {"macro F1": shown(by[label], 1), "macro F1, against α = 0.6": None}
        line |= {"effective rows": effective, "rows reached": reached}
        line |= {"paper F1, ChemProt": PAPER_F1.get(label), "paper rows of an example": PAPER_ROWS.get(label)}
        lines.append(line)
    for line in lines:
        if line[""] != "α = 0.6":
            line["macro F1, against α = 0.6"] = within(by[line[""]] - by["α = 0.6"])
    keep.table(
        "TSDS, Figure 3 and Tables 10 to 12: what the parameters do",
        lines,
        f"{target.name} among {len(pool.vectors):,} rows, {target.count} examples; else α = 0.6, h = 0.1, C "
        "= 5 (KNN-TV: "
        f"0.25); {keep.options.seeds} seeds.",
        digits=1,
    )
    middle = [float(by[f"α = {alpha}"].mean()) for alpha in (0.2, 0.4, 0.6, 0.8)]
    ends = {label: by[label] - by["α = 0.6"] for label in ("α = 0", "α = 1")}
    keep.claim(
        "Both ends of α have a lower F1 than what is between, which is all alike (Figure 3).",
        all(interval(apart)[2] < 0 for apart in ends.values()) and max(middle) - min(middle) < 3,
        f"F1 {min(middle):.1f} to {max(middle):.1f} between; against α = 0.6, "
        + ", ".join(f"{label}: {within(apart)}" for label, apart in ends.items())
        + ".",
    )
    widths = [float(by[label].mean()) for label in ("α = 0.6", "h = 0.3", "h = 0.5")]
    keep.claim(
        "The width of the kernel hardly matters (Table 10).",
        max(widths) - min(widths) < 3,
        f"F1 {min(widths):.1f} to {max(widths):.1f}.",
    )
    ours, end = by["KNN-TV"] - by["α = 0.6"], by["KNN-TV"] - by["α = 1"]
    keep.claim(
        "KNN-TV is like KNN-KDE at α = 1, with a lower F1 than at α = 0.6 (Table 11).",
        interval(ours)[2] < 0 < interval(end)[2],
        f"F1 of KNN-TV against α = 0.6: {within(ours)}, against α = 1: {within(end)}.",
    )


PARTS = {
    "example": more.example,
    "tasks": tasks,
    "labels": more.labels,
    "epochs": more.epochs,
    "copies": copies,
    "whole": more.whole,
    "ablations": ablations,
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this script's options."""
    parser.add_argument("--rows", type=int, default=6000, help="rows of a repository")
    parser.add_argument("--targets", type=int, default=2, help="targets of a repository")
    parser.add_argument("--seeds", type=int, default=2, help="draws of examples and samples")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts."""
    record.run("benchmarks.papers.tsds", "TSDS", __doc__, PARTS, arguments, configure)


if __name__ == "__main__":
    main()
