"""The tables of docs/finetune-measured.md, from every single result of benchmarks/finetune_downstream.py.

    python -m benchmarks.finetune_page

Tables stand between comments that name them, and are made anew; what is written around them stays.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
RAW = HERE / "results" / "finetune-downstream.jsonl"
ACCURACY = HERE / "results" / "finetune-accuracy.jsonl"
PROCESSOR = HERE / "results" / "finetune-accuracy-processor.jsonl"
PAGE = HERE.parent / "docs" / "finetune-measured.md"

#: Where a table stands in the page.
PLACE = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

Result = dict[str, Any]
Results = Sequence[Result]


# ---------------------------------------------------------------------- figures


def column(results: Results, measure: str, **where: Any) -> NDArray[np.float64]:
    """Return a measure by seed, the mean over whatever else differs."""
    rows = [one for one in results if all(one[key] == value for key, value in where.items())]
    seeds = sorted({one["seed"] for one in rows})
    return np.array([np.mean([one[measure] for one in rows if one["seed"] == seed]) for seed in seeds])


def ratio(results: Results, this: Result, that: Result) -> NDArray[np.float64]:
    """Return, by seed, the mean over targets of log(perplexity of one kind of result / of another)."""
    targets = sorted({one["target"] for one in results})
    logs = [
        np.log(column(results, "perplexity", target=target, **this))
        - np.log(column(results, "perplexity", target=target, **that))
        for target in targets
    ]
    return np.mean(logs, axis=0)


def shown(values: NDArray[np.float64], digits: int = 0, scale: float = 1.0) -> str:
    """Return a mean and its standard error."""
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{scale * values.mean():.{digits}f} ± {scale * error:.{digits}f}"


def interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the mean of paired differences over seeds, and the ends of its 95 % interval (Student's t)."""
    from scipy import stats

    mean, count = float(values.mean()), len(values)
    if count == 1:
        return mean, float("-inf"), float("inf")
    half = float(stats.t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count))
    return mean, mean - half, mean + half


def within(values: NDArray[np.float64], digits: int = 1) -> str:
    """Return a mean of paired differences with its interval, in words."""
    return _told(*interval(values), digits)


def percent(logs: NDArray[np.float64]) -> str:
    """Return a mean of paired differences of logarithms as a change in %, with its interval."""
    return _told(*(float(100 * np.expm1(value)) for value in interval(logs)), 1)


def _told(mean: float, low: float, high: float, digits: int) -> str:
    return f"{mean:+,.{digits}f} [{low:+,.{digits}f}, {high:+,.{digits}f}]"


def names_in(results: Results) -> list[str]:
    """Return the methods that there are results of, in their order."""
    return list(dict.fromkeys(one["method"] for one in results))


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


# ---------------------------------------------------------------------- tables


def selected(results: Results) -> str:
    """What was selected, the mean over targets."""
    measures = [
        ("right family, %", "precision", 1, 100),
        ("task entropy, bits", "task entropy", 2, 1),
        ("near-duplicates, %", "near-duplicates", 1, 100),
        ("different rows, %", "different rows", 1, 100),
        ("rows", "rows", 0, 1),
    ]
    return markdown(
        ["method", *(title for title, *_ in measures), "seconds"],
        [
            [
                name,
                *(
                    shown(column(results, key, method=name), digits, scale)
                    for _, key, digits, scale in measures
                ),
                f"{column(results, 's', method=name).mean():.1f}",
            ]
            for name in names_in(results)
        ],
    )


def perplexity(results: Results) -> str:
    """The perplexity of held-out texts, and paired differences."""
    targets = list(dict.fromkeys(one["target"] for one in results))
    return markdown(
        ["method", *targets, "all, against random, %", "all, against KNN-KDE, %"],
        [
            [
                name,
                *(shown(column(results, "perplexity", method=name, target=target)) for target in targets),
                *(
                    "0" if name == other else percent(ratio(results, {"method": name}, {"method": other}))
                    for other in ("random", "KNN-KDE")
                ),
            ]
            for name in names_in(results)
        ],
    )


def macro_f1(results: Results) -> str:
    """The macro F1 of the classifier, × 100, and paired differences."""
    targets = list(dict.fromkeys(one["target"] for one in results))
    kde = column(results, "macro F1", method="KNN-KDE")
    return markdown(
        ["method", *targets, "mean", "mean, against KNN-KDE"],
        [
            [
                name,
                *(
                    shown(column(results, "macro F1", method=name, target=target), 1, 100)
                    for target in targets
                ),
                shown(column(results, "macro F1", method=name), 1, 100),
                "0" if name == "KNN-KDE" else within(100 * (column(results, "macro F1", method=name) - kde)),
            ]
            for name in names_in(results)
        ],
    )


def copied(results: Results, cell: Callable[[str, int], str]) -> str:
    """A table with a column for each number of copies."""
    levels = sorted({one["times"] for one in results})
    sizes = {level: max(one["pool"] for one in results if one["times"] == level) for level in levels}
    return markdown(
        ["method", *(f"× {level:,} ({sizes[level]:,} rows)" for level in levels)],
        [[name, *(cell(name, level) for level in levels)] for name in names_in(results)],
    )


def copies_change(results: Results) -> str:
    """How copies change a method's perplexity, against its own without them."""
    return copied(
        results,
        lambda name, times: (
            "0"
            if times == 0
            else percent(ratio(results, {"method": name, "times": times}, {"method": name, "times": 0}))
        ),
    )


def copies_measure(results: Results, measure: str, digits: int, scale: float) -> str:
    """A measure by the number of copies."""
    return copied(
        results,
        lambda name, times: shown(column(results, measure, method=name, times=times), digits, scale),
    )


#: The methods whose accuracy was measured, in the order of the table. "lowest rows" are those of the script
#: as it was: of 2.5 times as many choices, those that stand first in the repository.
LADDER = ("base", "full", "random", "DSIR", "LESS", "RDS+", "RDS+, lowest rows", "KNN-Uniform", "KNN-KDE")


def accuracy(results: Results) -> str:
    """Accuracy on held-out questions, and differences from random rows paired by seed."""
    targets = list(dict.fromkeys(one["target"] for one in results))

    def of(name: str, target: str) -> dict[int, float]:
        mine = [one for one in results if (one["method"], one["target"]) == (name, target)]
        return {one["seed"]: 100 * one["accuracy"] for one in mine}

    def cells(name: str, target: str) -> list[str]:
        mine, other = of(name, target), of("random", target)
        both = sorted(mine.keys() & other.keys())
        apart = np.array([mine[seed] - other[seed] for seed in both])
        told = within(apart) if name != "random" and len(both) > 1 else ""
        values = np.array(list(mine.values()))
        return [str(len(mine)), f"{values[0]:.1f}" if len(values) == 1 else shown(values, 1), told]

    titles = [title for target in targets for title in ("seeds", target, f"{target}, against random")]
    names = [name for name in LADDER if name in names_in(results)]
    return markdown(
        ["method", *titles],
        [[name, *(cell for target in targets for cell in cells(name, target))] for name in names],
    )


def encoders(by_encoder: dict[str, Results]) -> str:
    """The perplexity after the same selectors over the vectors of several encoders."""
    first, *others = by_encoder
    rows = []
    for name in names_in(by_encoder[first]):
        line = [name]
        for results in by_encoder.values():
            line.append(percent(ratio(results, {"method": name}, {"method": "random"})))
        for encoder in others:
            both = [{**one, "encoder": key} for key in (first, encoder) for one in by_encoder[key]]
            this, that = ({"method": name, "encoder": key} for key in (encoder, first))
            line.append("0" if name == "random" else percent(ratio(both, this, that)))
        rows.append(line)
    heads = [f"{encoder}, against random, %" for encoder in by_encoder]
    return markdown(["method", *heads, *(f"{encoder} against {first}, %" for encoder in others)], rows)


class Claim(NamedTuple):
    """What is said of a method's perplexity, and by how much it differs from another's: logarithms, by seed.

    Attributes
    ----------
    said : str
    logs : ndarray of shape (seeds,)
    side : int
        Where the difference should lie: -1 below 0, 1 above it, 0 not told from it.
    """

    said: str
    logs: NDArray[np.float64]
    side: int = -1

    @property
    def shown(self) -> str:
        """Whether the interval shows it; that there is no difference is at most not seen."""
        _, low, high = interval(self.logs)
        lies = -1 if high < 0 else 1 if low > 0 else 0
        if lies == self.side:
            return "yes" if self.side else "yes: no harm seen"
        return "no: the opposite" if lies * self.side < 0 else "no"


#: What TSDS's paper compares KNN-KDE with, and among copies (Figure 2); rivals that it has not.
PAPERS, COPIED = ("random", "LESS-style", "DSIR"), ("random", "DSIR", "KNN-Uniform")
OTHERS = ("nearest", "doubly-greedy", "UOT", "KNN-Uniform")


def better(plain: dict[str, Results], rivals: Sequence[str]) -> list[Claim]:
    """Return that KNN-KDE trains a better model than each rival."""
    return [
        Claim(f"better than {rival} ({part})", ratio(results, {"method": "KNN-KDE"}, {"method": rival}))
        for rival in rivals
        for part, results in plain.items()
    ]


def robust(copies: dict[str, Results]) -> list[Claim]:
    """Return that copies worsen the models that others train, and KNN-KDE's not."""
    found = []
    for part, results in copies.items():
        most = max(one["times"] for one in results)
        for name in (*COPIED, "KNN-KDE"):
            logs = ratio(results, {"method": name, "times": most}, {"method": name, "times": 0})
            said = f"{name} {'un' * (name == 'KNN-KDE')}harmed by × {most:,} copies ({part})"
            found.append(Claim(said, logs, int(name != "KNN-KDE")))
    return found


def claimed(every: Sequence[Claim]) -> str:
    """Return claims as a table."""
    rows = [[one.said, one.shown, percent(one.logs)] for one in every]
    return markdown(["KNN-KDE trains a model …", "shown", "difference of perplexity, %"], rows)


def opening(papers: Sequence[Claim], others: Sequence[Claim]) -> str:
    """Return the first paragraph: what the paper claims, and what of it is not shown."""

    def listed(every: Sequence[Claim]) -> str:
        lacking = [f"{one.said}: {percent(one.logs)} %" for one in every if one.shown.startswith("no")]
        return "; ".join(lacking) or "none"

    return (
        "**What the paper claims and these tables do not show.** TSDS's paper reports that what KNN-KDE "
        "selects trains better models than what random, LESS and DSIR select (Llama-2-7b, Mistral-7B, "
        "ALBERT), and that a thousand copies of 1 % of the rows harm random, DSIR and KNN-Uniform, and not "
        f"KNN-KDE. Of {len(papers)} such claims that are tried below, by the perplexity of small models of "
        f"words, not shown: {listed(papers)}. Of {len(others)} comparisons with rivals that the paper does "
        f"not compare it with so, KNN-KDE is not shown to be ahead: {listed(others)}. Figures are "
        "differences of perplexity with their paired 95 % intervals over seeds; above 0 is worse. The order "
        "of its Table 2 is not shown by a language model of 135 million parameters either (below). That a "
        "model of 7 billion parameters would be better, or by how much, no table here shows.\n"
    )


def whole(results: Results) -> Results:
    """Return the results of those seeds that all tasks have been run with."""
    tasks = {(one["seed"], json.dumps(one["task"])) for one in results}
    count = Counter(seed for seed, _ in tasks)
    return [one for one in results if count[one["seed"]] == max(count.values())]


def tables(results: Results) -> dict[str, str]:
    """Return every table that there are results for, by its name in the page."""
    found: dict[str, str] = {}
    for name, file in (("accuracy", ACCURACY), ("accuracy-processor", PROCESSOR)):
        if file.exists():
            found[name] = accuracy(
                [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            )

    def of(part: str, share: float | None = None) -> Results:
        return whole(
            [one for one in results if one["part"] == part and (share is None or one["task"][2] == share)]
        )

    plain = {part: of(part) for part in ("instructions", "domains") if of(part)}
    for part, own in plain.items():
        found[f"{part}-selected"], found[f"{part}-perplexity"] = selected(own), perplexity(own)
        if "macro F1" in own[0]:
            found[f"{part}-f1"] = macro_f1(own)
    least: dict[str, Results] = {}
    for part in ("instructions", "domains"):
        every = of(f"copies, {part}")
        for number, share in enumerate(sorted({one["task"][2] for one in every})):
            own, name = of(f"copies, {part}", share), f"copies-{part}" + "-more" * number
            least.setdefault(part, own)
            found[f"{name}-change"] = copies_change(own)
            found[f"{name}-perplexity"] = copies_measure(own, "perplexity", 0, 1)
            found[f"{name}-rows"] = copies_measure(own, "copied", 1, 100)
            if "macro F1" in own[0]:
                found[f"{name}-f1"] = copies_measure(own, "macro F1", 1, 100)
    by_encoder = {
        part.removeprefix("encoders, "): of(part)
        for part in dict.fromkeys(one["part"] for one in results)
        if part.startswith("encoders, ")
    }
    if len(by_encoder) > 1:
        found["encoders"] = encoders(by_encoder)
    if len(plain) == 2:
        papers, others = [*better(plain, PAPERS), *robust(least)], better(plain, OTHERS)
        found["claims"], found["opening"] = claimed([*papers, *others]), opening(papers, others)
    return found


def report(results: Results) -> None:
    """Print every table that there are results for, and for which methods neighbors ran out."""
    for name, table in tables(results).items():
        print(f"\n### {name}\n\n{table}")
    for name in names_in(results):
        mine = [one for one in results if one["method"] == name]
        cut = sum(one["cut"] > 0 for one in mine)
        if cut:
            print(f"{name}: neighbors ran out in {cut} of {len(mine)} selections")


def filled(page: str, made: dict[str, str]) -> str:
    """Return a page with its tables made anew.

    Raises
    ------
    ValueError
        The page has a place for a table that there is not.
    """
    lacking = [name for _, name, _ in PLACE.findall(page) if name not in made]
    if lacking:
        raise ValueError(f"{lacking[0]}: there are no results for this table")
    return PLACE.sub(lambda place: place[1] + "\n" + made[place[2]] + "\n" + place[3], page)


def main() -> None:
    """Write the page."""
    results = [json.loads(line) for line in RAW.read_text(encoding="utf-8").splitlines()]
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), tables(results)), encoding="utf-8")
    print(f"wrote {PAGE.name}")


if __name__ == "__main__":
    main()
