"""Tables, pictures and JSON of the quality benchmark."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.evidence import BASELINES, MEASURES, Measured, choose, frontier, halves, intervals

#: The method whose default is chosen.
CHOSEN = "auto, sharpness 8"

#: Measures in tables, those that differences are shown of first.
SHOWN = (0, 1, 4, 2)

#: Splits of the questions in halves: the first is reported, all are counted.
SPLITS = 100

#: How far the close-up reaches, from top-k's ILAD to the largest.
CLOSE = 0.25

#: Colors that remain apart for readers who see few, and markers.
LOOKS = {
    "MMR": ("#E69F00", "s", "-"),
    "MMR of 5 k": ("#E69F00", "s", ":"),
    "log-det (DPP)": ("#009E73", "^", "-"),
    "Frank–Wolfe (CCBQP)": ("#CC79A7", "v", "-"),
    "auto, sharpness 1": ("#D55E00", "D", "-"),
    "auto, sharpness 2": ("#B3CDE3", "o", "-"),
    "auto, sharpness 4": ("#6FA8D6", "o", "-"),
    "auto, sharpness 8": ("#0B5CAD", "o", "-"),
    "auto, sharpness 16": ("#08306B", "P", "-"),
}


def pages(measured: Sequence[Measured]) -> dict[str, str]:
    """Return the page's generated parts by the name of their place."""
    parts = {f"{one.name}-{one.k}": tables(one) for one in measured}
    for k in dict.fromkeys(one.k for one in measured):
        sets = [one for one in measured if one.k == k]
        if any(label == CHOSEN for label, _ in sets[0].configurations):
            parts[f"default-{k}"] = default(sets)
            parts[f"differences-{k}"] = differences(sets)
        if len(sets[0].methods) > 1:
            parts[f"methods-{k}"] = contest(sets)
    return parts


def tables(measured: Measured) -> str:
    """Return a labeled set's tables: methods down, diversities across, a measure each."""
    means = measured.values.mean(axis=1)
    low, high = intervals(measured.differences(), measured.groups)
    lines = [f"{measured.about[:1].upper()}{measured.about[1:]}. k = {measured.k}."]
    for measure in SHOWN:
        heads = [f"{t:.1f}" for t in measured.diversities]
        lines += ["", *header([f"{MEASURES[measure]}@{measured.k}", *heads])]
        for label in BASELINES:
            cells = [f"{means[measured.of(label), measure]:.3f}"] + [""] * (len(heads) - 1)
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
        for label in measured.methods:
            places = [measured.of(label, t) for t in measured.diversities]
            cells = [marked(means[p, measure], low[p, measure], high[p, measure]) for p in places]
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
    for measure in SHOWN[:2]:
        on: dict[str, list[str]] = {}
        for label, t in frontier(measured, measure):
            on.setdefault(label, []).append("" if t is None else f"{t:.1f}")
        told = "; ".join(f"{label} {', '.join(ts)}".strip() for label, ts in on.items())
        lines += ["", f"On the frontier of {MEASURES[measure]} and ILAD: {told}."]
    if measured.proven:
        told = ", ".join(
            f"{label.rpartition(' ')[2]}: {100 * min(shares):.0f} %"
            for label, shares in measured.proven.items()
        )
        lines += [
            "",
            "Share of sets that no exchange with a passage outside the pool can improve, at the worst ",
        ]
        lines[-1] += f"diversity, by sharpness: {told}."
    return "\n".join(lines)


def header(heads: Sequence[str]) -> list[str]:
    """Return the first two lines of a Markdown table."""
    return ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]


def marked(mean: float, low: float, high: float) -> str:
    """Return a mean, bold where the interval of its difference from top-k lies above 0, crossed out below."""
    return f"**{mean:.3f}**" if low > 0 else f"~~{mean:.3f}~~" if high < 0 else f"{mean:.3f}"


def default(sets: Sequence[Measured]) -> str:
    """Return how the default follows: chosen on one half of the questions, reported on the other."""
    votes: dict[float, int] = {}
    for seed in range(SPLITS):
        keep = [halves(one.groups, seed)[0] for one in sets]
        best, _ = choose(sets, CHOSEN, keep, resamples=400)
        votes[best] = votes.get(best, 0) + 1
    counted = ", ".join(f"{t:.1f} in {votes[t]}" for t in sorted(votes))
    lines = [f"Over {SPLITS} ways to halve the questions, the rule chooses {counted}. The first of them:"]
    for number in (0, 1):
        on = [halves(one.groups, 0)[number] for one in sets]
        best, gains = choose(sets, CHOSEN, on)
        harmless = ", ".join(f"{t:.1f} ({gain:+.4f})" for t, gain in gains.items() if t) or "none"
        lines += [
            "",
            f"Chosen on half {'AB'[number]}: **{best:.1f}**. Harmless there, with the mean gain in aspect "
            f"recall: {harmless}. What it does on half {'BA'[number]}, which had no part in the choice:",
            "",
            *compared(sets, best, [~mask for mask in on]),
        ]
    return "\n".join(lines)


def contest(sets: Sequence[Measured]) -> str:
    """Return what the rule chooses for each method on either half, and what that does on the other."""
    heads = ["chosen on half A, B", "mean difference in aspect recall", "in alpha-nDCG", "harmed"]
    lines = header(["method", *heads])
    for label in sets[0].methods:
        chosen, gains, harmed = [], [], 0
        for number in (0, 1):
            on = [halves(one.groups, 0)[number] for one in sets]
            chosen.append(choose(sets, label, on)[0])
            for one, mask in zip(sets, on, strict=True):
                part = one.differences()[[one.of(label, chosen[-1])]][:, ~mask, :2]
                harmed += int((intervals(part, one.groups[~mask])[1] < 0).sum())
                gains.append(part[0].mean(axis=0))
        recall, gain = np.mean(gains, axis=0)
        told = ", ".join(f"{t:.1f}" for t in chosen)
        lines.append(f"| {label} | {told} | {recall:+.4f} | {gain:+.4f} | {harmed} of {4 * len(sets)} |")
    return "\n".join(lines)


def compared(sets: Sequence[Measured], diversity: float, keep: Sequence[Any]) -> list[str]:
    """Return a table of differences from top-k at one diversity, on some questions of each set."""
    heads = [f"{MEASURES[m]}: {what}" for m in SHOWN[:3] for what in ("top-k", "difference")]
    lines = header(["set", "questions", "random: aspect recall", *heads])
    for one, mask in zip(sets, keep, strict=True):
        part = one.differences()[[one.of(CHOSEN, diversity)]][:, mask]
        low, high = intervals(part, one.groups[mask])
        cells = [one.name, str(int(mask.sum())), f"{one.values[one.of('random'), mask, 0].mean():.3f}"]
        for m in SHOWN[:3]:
            cells.append(f"{one.values[0, mask, m].mean():.3f}")
            cells.append(ranged(part[0, :, m].mean(), low[0, m], high[0, m]))
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def differences(sets: Sequence[Measured]) -> str:
    """Return tables of differences from top-k on all questions: diversities down, sets across."""
    lines: list[str] = []
    spans = [intervals(one.differences(), one.groups) for one in sets]
    for measure in SHOWN[:3]:
        lines += ["", *header([f"{MEASURES[measure]}@{sets[0].k}, difference", *(one.name for one in sets)])]
        for t in sets[0].diversities:
            cells = []
            for one, (low, high) in zip(sets, spans, strict=True):
                p = one.of(CHOSEN, t)
                mean = one.differences()[p, :, measure].mean()
                cells.append(ranged(mean, low[p, measure], high[p, measure]))
            if t:
                lines.append(f"| {t:.1f} | " + " | ".join(cells) + " |")
    return "\n".join(lines[1:])


def ranged(mean: float, low: float, high: float) -> str:
    """Return a difference with its interval, bold or crossed out as in `marked`."""
    mark = "**" if low > 0 else "~~" if high < 0 else ""
    return f"{mark}{mean:+.3f}{mark} [{low:+.3f}, {high:+.3f}]"


def write(page: Path, parts: dict[str, str]) -> None:
    """Put generated parts between their marks in a page; a part without a place is told and left out."""
    text = page.read_text(encoding="utf-8")
    for name, part in parts.items():
        opening, closing = f"<!-- measured: {name} -->", "<!-- end -->"
        pattern = re.compile(f"({re.escape(opening)}\n).*?({re.escape(closing)})", re.DOTALL)
        text, count = pattern.subn(lambda found, part=part: f"{found[1]}{part}\n{found[2]}", text)
        if count == 0:
            print(f"{page.name}: has no place marked {name!r}; its figures are above alone")
    page.write_text(text, encoding="utf-8")


def draw(measured: Measured, path: Path) -> None:
    """Draw aspect recall and α-nDCG against ILAD, a curve a method over diversity; below, close to top-k."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    means = measured.values.mean(axis=1)
    low, high = intervals(measured.differences(), measured.groups)
    far = MEASURES.index("ILAD")
    contest = [place for place, (label, _) in enumerate(measured.configurations) if label not in BASELINES]
    figure, axes = pyplot.subplots(2, 2, figsize=(13, 10), layout="constrained", sharex="row")
    for row, measure in ((row, measure) for row in range(2) for measure in range(2)):
        axis, top = axes[row, measure], means[0, measure]
        axis.axhline(top, color="0.5", linewidth=0.8, linestyle="--", zorder=1)
        for label in measured.methods:
            color, marker, line = LOOKS[label]
            places = [measured.of(label, t) for t in measured.diversities]
            x, y = means[places, far], means[places, measure]
            ends = np.clip([y - (top + low[places, measure]), (top + high[places, measure]) - y], 0, None)
            hollow, front = line == ":", label == CHOSEN
            axis.errorbar(
                x, y, yerr=ends, color=color, marker=marker, linestyle=line, label=label,
                markersize=6 if front else 5, linewidth=2.4 if front else 1.3, elinewidth=0.6, capsize=2,
                markerfacecolor="white" if hollow else color, zorder=4 if front else 2,
            )  # fmt: skip
        drawn = measured.of("random")
        axis.plot(means[drawn, far], means[drawn, measure], "X", color="0.35", markersize=10, linestyle="")
        axis.plot(means[0, far], top, "h", color="black", markersize=9, linestyle="", zorder=5)
        if row == 1:
            reach = means[0, far] + CLOSE * (max(means[contest, far]) - means[0, far])
            near = [place for place in contest if means[place, far] <= reach]
            best, worst = max(top + high[near, measure]), min(top + low[near, measure])
            axis.set_xlim(means[0, far] - 0.03 * (reach - means[0, far]), reach)
            reserve = max(best - top, 0.02)
            axis.set_ylim(max(top - 1.5 * reserve, worst - 0.1 * reserve), best + 0.1 * reserve)
            axis.set_xlabel(f"ILAD@{measured.k}: mean cosine distance between two of the set")
        oracle = means[measured.of("oracle"), measure]
        told = (
            f"top-k {top:.3f} (dashed), random {means[drawn, measure]:.3f} (cross), oracle {oracle:.3f}"
            if row == 0
            else "close to top-k"
        )
        axis.set_title(f"{MEASURES[measure]}@{measured.k}: {told}", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="0.93")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    figure.suptitle(
        f"{measured.name}: {len(measured.groups)} questions, k = {measured.k}. Along each curve diversity "
        f"goes from 0 to {measured.diversities[-1]}; bars: 95 % interval of the difference from top-k"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def restored(entries: dict[str, Any]) -> list[Measured]:
    """Return what `plain` was made of."""
    return [
        Measured(
            name=entry["set"],
            about=entry["about"],
            k=entry["k"],
            configurations=[(one["method"], one["diversity"]) for one in entry["configurations"]],
            values=np.stack(
                [
                    np.array([one["measures"][name]["by question"] for name in MEASURES]).T
                    for one in entry["configurations"]
                ]
            ),
            groups=np.array(entry["groups"], np.int64),
            proven=entry["proven"],
        )
        for entry in entries["measured"]
    ]


def plain(measured: Sequence[Measured], machine: str) -> dict[str, Any]:
    """Return every number, those of each question too, ready for JSON."""
    entries = []
    for one in measured:
        low, high = intervals(one.differences(), one.groups)
        means, differences = one.values.mean(axis=1), one.differences().mean(axis=1)
        entries.append(
            {
                "set": one.name,
                "about": one.about,
                "k": one.k,
                "groups": one.groups.tolist(),
                "proven": one.proven,
                "configurations": [
                    {
                        "method": label,
                        "diversity": t,
                        "measures": {
                            name: {
                                "mean": means[place, m],
                                "difference": differences[place, m],
                                "interval": [low[place, m], high[place, m]],
                                "by question": np.round(one.values[place, :, m], 6).tolist(),
                            }
                            for m, name in enumerate(MEASURES)
                        },
                    }
                    for place, (label, t) in enumerate(one.configurations)
                ],
            }
        )
    return {"machine": machine, "measured": entries}
