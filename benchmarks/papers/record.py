"""What a paper's script measured: tables and claims, printed, and kept as JSON lines for the page."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.data import SHARED

from setwise.evaluate import intervals

HERE = Path(__file__).resolve().parent

#: Where the lines are kept, a file for each part of a script.
RESULTS = HERE / "results"

#: Where pictures are kept.
IMAGES = HERE.parents[1] / "docs" / "images"

#: Packages whose versions can change a figure.
COUNTED = ("setwise", "numpy", "scipy", "scikit-learn", "faiss-cpu", "wordllama", "torch", "transformers")

#: Where what is slow to make is kept between runs.
CACHE = Path(tempfile.gettempdir()) / "setwise-papers"

Row = dict[str, Any]


class Record:
    """Collects what one part of a script finds.

    Parameters
    ----------
    options : argparse.Namespace
        What the command line says; parts read `tiny`, `data`, `questions`, `seed` and what their script adds.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.lines: list[dict[str, Any]] = []

    def table(self, name: str, rows: Sequence[Row], about: str, digits: int = 3) -> None:
        """Keep and print a table.

        Parameters
        ----------
        name : str
            The paper's name of it, and what it is of.
        rows : sequence of dict
            A value for each column; the first row has all columns. What the paper reports stands in columns
            whose names begin with "paper".
        about : str
            On what it was measured, and how: one or two sentences.
        digits : int
            Digits of fractions.
        """
        self.lines.append({"table": name, "about": about, "digits": digits, "columns": list(rows[0])})
        self.lines += [{"row": row} for row in rows]
        print(f"\n### {name}\n\n{about}\n\n{markdown(rows, digits)}", flush=True)

    def claim(self, said: str, holds: bool, found: str, *, ours: bool = False) -> None:
        """Keep and print whether something holds here.

        Parameters
        ----------
        said : str
            The claim: the paper's, or setwise's own.
        holds : bool
            Decided by the figures.
        found : str
            The figures.
        ours : bool
            Whether it is setwise's own.
        """
        whose = "setwise" if ours else "paper"
        self.lines.append({"claim": said, "holds": bool(holds), "found": found, "whose": whose})
        print(f"\n{'holds' if holds else 'DOES NOT HOLD'} ({whose}): {said} {found}", flush=True)

    def picture(self, file: str, caption: str) -> None:
        """Keep the name of a picture in docs/images, and what it shows."""
        self.lines.append({"picture": file, "caption": caption})


def paired(these: Sequence[float], those: Sequence[float]) -> list[float]:
    """Return the mean difference over questions, with its 95 % interval by the paired bootstrap."""
    differences = np.asarray(these, np.float64) - np.asarray(those, np.float64)
    low, high = intervals(differences, np.arange(len(differences)))
    return [float(differences.mean()), float(low), float(high)]


def told(gain: list[float], digits: int = 3) -> str:
    """Return a mean and the ends of its interval in words."""
    return cell("", gain, digits)


def cell(column: str, value: Any, digits: int) -> str:
    """Return a value as a table shows it; a trade-off with the digits that it has."""
    if value is None:
        return ""
    if isinstance(value, float) and column[:1] in tuple("θλα"):
        return f"{value:g}"
    if "%" in column or column.endswith("ms"):
        digits = min(digits, 1)
    if isinstance(value, list):  # a mean and the ends of its interval
        mean, low, high = value
        return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
    if isinstance(value, float):
        return f"{value:.{digits}f}"
    return str(value)


def markdown(rows: Sequence[Row], digits: int) -> str:
    """Return rows as a Markdown table."""
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(cell(one, row.get(one), digits) for one in columns) + " |" for row in rows]
    return "\n".join(lines)


def machine() -> str:
    """Return what it runs on, and on how many threads."""
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    return f"{platform.machine()}, {os.cpu_count()} processors, BLAS threads: {threads}"


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages in `COUNTED` that are installed."""
    found = {"Python": platform.python_version()}
    for name in COUNTED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def run(
    module: str,
    paper: str,
    doc: str | None,
    parts: Mapping[str, Callable[[Record], None]],
    arguments: Sequence[str] | None = None,
    configure: Callable[[argparse.ArgumentParser], None] | None = None,
) -> None:
    """Run a script's parts as the command line asks, and write each one's lines.

    A part that lacks its data is named and left out; its earlier lines stay.

    Parameters
    ----------
    module : str
        The script's full name; its last part names the files.
    paper : str
    doc : str
        The module's docstring.
    parts : mapping of str to callable
        What measures; they get the record.
    arguments : sequence of str, optional
        By default those of the process.
    configure : callable, optional
        Adds options of its own.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=list(parts), default=list(parts), help="which parts")
    parser.add_argument("--tiny", action="store_true", help="made-up data, seconds in all: is it in order?")
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of the public sets")
    parser.add_argument("--questions", type=int, default=40, help="questions of a set, spread evenly over it")
    parser.add_argument("--seed", type=int, default=0, help="of whatever is drawn")
    parser.add_argument("--out", type=Path, help="folder of the JSON lines (default results/; tiny: none)")
    if configure is not None:
        configure(parser)
    options = parser.parse_args(given)
    folder = options.out or (None if options.tiny else RESULTS)
    warnings.simplefilter("ignore", UserWarning)
    for part in options.part:
        record, began = Record(options), time.perf_counter()
        try:
            parts[part](record)
        except FileNotFoundError as missing:
            print(f"\n{part}: left out, {missing} is not here", file=sys.stderr)
            continue
        rest = [word for word in _without(given, "--part", "--out") if word]
        head = {
            "paper": paper,
            "part": part,
            "command": " ".join(["python -m", module, "--part", part, *rest]),
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "seconds": round(time.perf_counter() - began, 1),
            "machine": machine(),
            "versions": versions(),
        }
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            write(folder / f"{module.rpartition('.')[2]}-{part}.jsonl", [head, *record.lines])


def write(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Write JSON lines, whole or not at all."""
    unfinished = path.with_suffix(".part")
    unfinished.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    unfinished.replace(path)


def _without(words: list[str], *names: str) -> list[str]:
    """Return a command line without some options and their values."""
    kept, dropping = [], False
    for word in words:
        if word.startswith("--"):
            dropping = word in names
        if not dropping:
            kept.append(word)
    return kept
