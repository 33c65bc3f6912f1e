"""docs/results.md from the JSON lines that the papers' scripts and the leaderboard have written.

python -m benchmarks.papers.report [--results FOLDER] [--page FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.papers.record import HERE, RESULTS, markdown

PAGE = HERE.parents[1] / "docs" / "results.md"

#: The order of the page; what else there is follows.
ORDER = ("CCBQP", "MUSS", "TSDS", "AMPO", "Leaderboard")

INTRODUCTION = """\
Every paper that setwise builds on has tables and figures of its own. Each has a script that measures the
same here and prints it beside the paper's numbers. The papers' data are mostly not public, their pools a
hundred times larger and their models fifty times: a column that begins with “paper” is what they report on
theirs, and differences between the columns are no verdict.

**How to read it.** Every table stands under the command that makes it. The command's JSON lines are in
`benchmarks/papers/results`; `python -m benchmarks.papers.report` writes this page from them and adds
nothing. Whether a claim holds is decided by the script from its figures: one of more or better where the
paired 95 % interval of the difference lies above 0, one
of at least as much where it does not lie below 0. The runs are short, on samples
whose sizes are stated, and the machine did other work meanwhile: times compare only within a table. Where a
setting is chosen by a measure, the paper's way is followed and said (λ at the best of MMR, on the same
data); `setwise tune` does it the other way: what is chosen on some questions is judged on others."""


@dataclass
class Part:
    """What one part of a script has written."""

    head: dict[str, Any]
    tables: list[dict[str, Any]] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[dict[str, Any]] = field(default_factory=list)


def read(path: Path) -> Part:
    """Return the part in a file of JSON lines."""
    head, *lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    part = Part(head)
    for line in lines:
        if "table" in line:
            part.tables.append({**line, "rows": []})
        elif "row" in line:
            part.tables[-1]["rows"].append(line["row"])
        elif "claim" in line:
            part.claims.append(line)
        elif "picture" in line:
            part.pictures.append(line)
    return part


def page(parts: Sequence[Part]) -> str:
    """Return the page."""
    papers = list(dict.fromkeys(part.head["paper"] for part in parts))
    lines = ["# Results: the papers' tables, here", "", _opening(parts), "", INTRODUCTION]
    for paper in papers:
        own = [part for part in parts if part.head["paper"] == paper]
        lines += ["", f"## {paper}"]
        claims = [claim for part in own for claim in part.claims]
        if claims:
            lines += ["", "| claim | whose | holds here | figures |", "| --- | --- | --- | --- |"]
            lines += [
                f"| {claim['claim']} | {claim['whose']} | {'yes' if claim['holds'] else '**no**'} | "
                f"{claim['found']} |"
                for claim in claims
            ]
        for part in own:
            for table in part.tables:
                lines += ["", f"### {table['table']}", "", table["about"], ""]
                lines += [markdown(table["rows"], table["digits"])]
            lines += [text for one in part.pictures for text in ("", _picture(one))]
            lines += ["", _source(part.head)]
    return "\n".join(lines) + "\n"


def _opening(parts: Sequence[Part]) -> str:
    """Return the beginning: what does not hold, by whose claim it is and where it was tried."""
    told = []
    for whose, label in (("paper", "the papers'"), ("setwise", "setwise's own")):
        own = [
            (part.head["paper"], claim) for part in parts for claim in part.claims if claim["whose"] == whose
        ]
        if not own:
            continue
        broken: dict[str, list[str]] = {}
        for paper, claim in own:
            if not claim["holds"]:
                broken.setdefault(paper, []).append(claim["claim"].rstrip("."))
        count = sum(map(len, broken.values()))
        told += ["", f"Of {len(own)} of {label} claims that are tried, {count} do not hold:", ""]
        told += [f"- *{paper}:* {'; '.join(each)}." for paper, each in broken.items()]
    return "\n".join(["**What does not hold here.**", *told])


def _picture(one: dict[str, Any]) -> str:
    """Return a picture with its caption."""
    return f"![{one['caption']}](images/{one['picture']})"


def _source(head: dict[str, Any]) -> str:
    """Return the command, the machine and the versions of a part."""
    versions = ", ".join(f"{name} {version}" for name, version in head["versions"].items())
    return f"`{head['command']}`: {head['date']}, {head['seconds']:.0f} s; {head['machine']}; {versions}."


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON lines")
    parser.add_argument("--page", type=Path, default=PAGE, help="file to write")
    options = parser.parse_args(arguments)
    parts = [read(path) for path in sorted(options.results.glob("*.jsonl"))]
    if not parts:
        parser.exit(2, f"{options.results}: no results; run the scripts of benchmarks/papers first\n")
    parts.sort(key=lambda part: (*ORDER, part.head["paper"]).index(part.head["paper"]))
    options.page.write_text(page(parts), encoding="utf-8")
    print(f"wrote {options.page}")


if __name__ == "__main__":
    main()
