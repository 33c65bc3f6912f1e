"""setwise and its rivals on the same arrays, each as released with its defaults: one table, losses included.

    python -m benchmarks.leaderboard         # makes the environments that are missing, then a minute or two
    python -m benchmarks.leaderboard --tiny  # made-up arrays, and only what is installed here

A rival that is installed here in its pinned version runs here, every other in an environment of its own in
.venv-leaderboard; always in a process of its own. The arrays are Perspectrum's claims with the most relevant
perspectives of each, so recall of the right answers can be counted; without that set they are made up. The
lines go to benchmarks/papers/results, and into docs/results.md by `python -m benchmarks.papers.report`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.leaderboard_worker import RIVALS
from benchmarks.papers import record, sets
from benchmarks.papers.record import Record, Row
from benchmarks.truth import AbsentError, load
from numpy.typing import NDArray

from setwise import kernels, metrics

ROOT = Path(__file__).resolve().parents[1]
WORKER = ROOT / "benchmarks" / "leaderboard_worker.py"
FOLDER = ROOT / ".venv-leaderboard"

#: The distribution that a rival is, by the first word of its name, and its version.
PINS = {
    "pyversity": "pyversity==0.2.0",
    "LangChain": "langchain-core==1.8.3",
    "LlamaIndex": "llama-index-core==0.14.25",
    "Haystack": "sentence-transformers-haystack==2.0.0",
    "divsel": "divsel==0.1.0",
    "apricot": "apricot-select==0.6.1",
    "kmedoids": "kmedoids==0.5.5",
    "DPPy": "dppy==0.3.3",
}

#: What else a rival needs and does not ask for.
MORE = {"kmedoids": ["numpy"], "apricot-select": ["scikit-learn"]}

#: Where a trade-off is named for the objectives that sets are valued by: relevance and distance alike.
DIVERSITY = 0.5


@dataclass(frozen=True, eq=False)
class Arrays:
    """What every rival gets, and what sets are judged by.

    Attributes
    ----------
    about : str
    vectors : ndarray of shape (queries, n, d), float32
    queries : ndarray of shape (queries, d), float32
    aspects : list of tuple of ndarray
        For each query the rows that give each right answer that any row gives.
    k : int
    """

    about: str
    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]
    aspects: list[tuple[NDArray[np.int64], ...]]
    k: int

    @property
    def relevance(self) -> NDArray[np.float32]:
        """Cosines to the query, of shape (queries, n)."""
        return np.einsum("qnd,qd->qn", self.vectors, self.queries).astype(np.float32)


def arrays(keep: Record) -> Arrays:
    """Return Perspectrum's claims with the most relevant perspectives of each, or made-up ones."""
    k, n = keep.options.k, keep.options.candidates
    try:
        if keep.options.tiny:
            raise AbsentError
        labeled = load("perspectrum", keep.options.data)
        rows, asked = labeled.vectors, np.stack([one.vector for one in labeled.questions])
        every = [one.aspects for one in labeled.questions]
        about = f"claims of Perspectrum, the {n:,} most relevant of {len(rows):,} perspectives each"
    except AbsentError:
        rows, asked, every = sets.made_up(d=64)
        k, n, about = min(k, 8), 120, "made-up questions"
    pools, queries, aspects = [], [], []
    for place in sets.spread_evenly(len(asked), keep.options.questions):
        pool = np.argsort(-(rows @ asked[place]), kind="stable")[:n]
        inside = [np.flatnonzero(np.isin(pool, one)) for one in every[place]]
        found = tuple(one for one in inside if len(one))
        if found:
            pools.append(rows[pool])
            queries.append(asked[place])
            aspects.append(found)
    about = f"{len(pools)} {about}, k = {k}"
    return Arrays(about, np.stack(pools), np.stack(queries), aspects, k)


def python_for(rival: str, make: bool) -> str | None:
    """Return the Python that has a rival in its pinned version, made where it is missing; else None."""
    pin = PINS.get(rival.partition(" ")[0])
    if pin is None:
        return sys.executable
    name, _, version = pin.partition("==")
    try:
        if metadata.version(name) == version:
            return sys.executable
    except metadata.PackageNotFoundError:
        pass
    inside = FOLDER / name / "bin" / "python"
    if not (FOLDER / name / "ready").exists():
        if not make:
            return None
        try:
            _make(inside, pin)
        except subprocess.CalledProcessError as error:
            print(f"{rival}: left out, {pin} does not install: {_last(error.stderr)}", file=sys.stderr)
            return None
    return str(inside)


def _make(inside: Path, pin: str) -> None:
    """Make an environment with one rival; Haystack's ranker, which needs PyTorch, shares what is here."""
    folder = inside.parents[1]
    _run([sys.executable, "-m", "venv", str(folder)])
    shares = "haystack" in pin
    if shares:
        here = next(path for path in sys.path if path.endswith("site-packages"))
        (next(folder.glob("lib/python*/site-packages")) / "shared.pth").write_text(here + "\n")
    pip = [str(inside), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    _run([*pip, *(["--no-deps"] if shares else []), pin, *MORE.get(pin.partition("==")[0], [])])
    (folder / "ready").write_text(pin)


def _run(words: list[str]) -> None:
    """Run a command quietly."""
    subprocess.run(words, check=True, capture_output=True, text=True)


def _last(text: str) -> str:
    """Return what a program said last."""
    return (text.strip() or "nothing was said").splitlines()[-1]


def asked(rival: str, python: str, given: Path, out: Path) -> dict[str, Any] | None:
    """Return what a rival selected, or None, having said why."""
    path = {"PYTHONPATH": str(ROOT / "src")} if rival.startswith("setwise") else {"PYTHONPATH": ""}
    words = [python, "-P", str(WORKER), rival, str(given), str(out)]  # -P: its folder has a select.py
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **path}, cwd=given.parent)
    if done.returncode:
        print(f"{rival}: left out: {_last(done.stderr)}", file=sys.stderr)
        return None
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


def valued(arrays: Arrays, rows: list[list[int]]) -> Row:
    """Return a rival's means: right answers found, and what each objective says of its sets."""
    found = []
    relevance = arrays.relevance.astype(np.float64)
    for place, chosen in enumerate(rows):
        wide = arrays.vectors[place].astype(np.float64)
        members = wide[chosen]
        near = members @ members.T
        k = len(chosen)
        apart = 1 - (near.sum() - np.trace(near)) / (k * (k - 1))
        mean = relevance[place, chosen].mean()
        sharp = 1 - ((near**8).sum() - (np.diag(near) ** 8).sum()) / (k * (k - 1))
        found.append(
            [
                metrics.aspect_recall(chosen, arrays.aspects[place], arrays.k),
                metrics.alpha_ndcg(chosen, arrays.aspects[place], arrays.k),
                mean,
                apart,
                (1 - DIVERSITY) * mean + DIVERSITY * apart,
                0.8 * mean + 0.2 * sharp,
                (1 - near + 2 * np.eye(k)).min(),
                np.linalg.slogdet(near + 1e-6 * np.eye(k))[1],
                (wide @ members.T).max(axis=1).mean(),
            ]
        )
    names = (
        *("aspect recall", "alpha-nDCG", "mean relevance", "ILAD", "max-sum (CCBQP, MUSS)"),
        *("max-sum, sharpness 8", "least distance (GIST)", "log det (DPP)", "facility location"),
    )
    return dict(zip(names, np.mean(found, axis=0).tolist(), strict=True))


def board(keep: Record) -> None:
    """Run every rival and print the table."""
    given = arrays(keep)
    lines: list[Row] = []
    relevance = given.relevance
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "arrays.npz"
        np.savez(path, vectors=given.vectors, queries=given.queries, relevance=relevance, k=given.k)
        for rival in RIVALS:
            python = python_for(rival, make=not keep.options.tiny)
            if python is None:
                continue
            found = asked(rival, python, path, Path(name) / "out.json")
            if found is not None:
                line = {"rival": rival, "version": _version(rival), **valued(given, found["rows"])}
                line["ms"] = 1000 * float(np.median(found["seconds"]))
                lines.append(line | {"MB": found["megabytes"]})
    top = [np.argsort(-one, kind="stable")[: given.k].tolist() for one in relevance]
    rng = np.random.default_rng(keep.options.seed)
    drawn = [rng.permutation(relevance.shape[1])[: given.k].tolist() for _ in relevance]
    for label, rows in (("top-k", top), ("random", drawn)):
        lines.append({"rival": label, "version": "", **valued(given, rows), "ms": None, "MB": None})
    keep.table(
        "Leaderboard: the same arrays, every rival as released, with its defaults",
        lines,
        f"{given.about}. Aspect recall and α-nDCG are by the labels; after the mean relevance and ILAD "
        "stand the values of "
        "five objectives, so that each is judged by its own and by the others': max-sum at diversity 0.5, "
        "max-sum of "
        "sharpness 8 at 0.2, the least distance of two members, the logarithm of the determinant, and the "
        "mean similarity "
        "of a candidate to its nearest member. ms is the median of a call, MB what the process grew by, its "
        "imports "
        "included. apricot and kmedoids know no query; DPPy draws at random; Haystack's sentence model is "
        f"replaced by the arrays. setwise's kernels: {kernels.instructions()}.",
    )
    _claims(keep, lines)


def _version(rival: str) -> str:
    """Return the version that a rival has."""
    pin = PINS.get(rival.partition(" ")[0])
    return pin.partition("==")[2] if pin else record.versions().get("setwise", "")


def _claims(keep: Record, lines: list[Row]) -> None:
    """Say where setwise is first and where it is not."""
    others = [line for line in lines if not line["rival"].startswith("setwise") and line["ms"] is not None]
    own = {line["rival"]: line for line in lines if line["rival"].startswith("setwise")}
    if not others or len(own) < 4:
        return
    for rival, column, large in (
        ("setwise.retrieve", "aspect recall", True),
        ("setwise.retrieve", "alpha-nDCG", True),
        ("setwise.retrieve", "max-sum, sharpness 8", True),
        ("setwise coverage", "facility location", True),
        ("setwise.select, certify=False", "ms", False),
        ("setwise.select", "ms", False),
        ("setwise.retrieve", "least distance (GIST)", True),
    ):
        best = (max if large else min)(others, key=lambda line, column=column: line[column])
        mine = own[rival][column]
        keep.claim(
            f"{rival} has the best mean of all by {column} (no interval).",
            mine >= best[column] - 1e-9 if large else mine <= best[column],
            f"{mine:.3f}; the best rival is {best['rival']} with {best[column]:.3f}.",
            ours=True,
        )


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the leaderboard's options."""
    parser.add_argument("--k", type=int, default=10, help="size of the sets")
    parser.add_argument("--candidates", type=int, default=500, help="candidates of each question")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the board."""
    record.run("benchmarks.leaderboard", "Leaderboard", __doc__, {"board": board}, arguments, configure)


if __name__ == "__main__":
    main()
