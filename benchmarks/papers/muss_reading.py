"""MUSS's Table 3: questions answered from facts that are selected, by the small packaged model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.papers import muss_paper as paper
from benchmarks.papers import sets
from benchmarks.papers.muss_data import ways
from benchmarks.papers.record import Record, Row, paired, told

import setwise

K = 3


@dataclass(frozen=True)
class Choice:
    """A question with options, and the rows of the facts that it was made from."""

    text: str
    options: tuple[str, ...]
    right: int
    facts: tuple[int, ...]


def reading(keep: Record) -> None:
    """Accuracy of the reader, and whether the facts that a question was made from are among those "
    "selected."""
    from benchmarks.papers.reader import Reader

    facts, questions = made_up() if keep.options.tiny else qasc(keep.options.data)
    vectors = sets.encoded([*facts, *(one.text for one in questions)])
    rows, asked = vectors[: len(facts)], vectors[len(facts) :]
    clusters, m = (4, 2) if keep.options.tiny else (50, 20)
    catalog = setwise.Catalog.build(rows, np.ones(len(rows)), clusters=clusters)
    support = sets.spread_evenly(len(questions), 2 * keep.options.questions)
    readers = sets.spread_evenly(len(questions), keep.options.questions)
    reader = None if keep.options.tiny else Reader()

    def select(place: int, lam: float, options: dict[str, Any]) -> list[int]:
        chosen = catalog.select(K, query=asked[place], diversity=1 - lam, seed=place, threads=1, **options)
        return chosen.positions.tolist()

    def held(lam: float, options: dict[str, Any]) -> list[float]:
        """Return the share of each question's own facts among those selected."""
        return [float(np.isin(questions[one].facts, select(one, lam, options)).mean()) for one in support]

    grid = {lam: held(lam, {"method": "greedy"}) for lam in (0.1, 0.3, 0.5, 0.7, 0.9)}
    lam = max(grid, key=lambda one: np.mean(grid[one]))
    lines: list[Row] = []
    found: dict[tuple[str, float | None], tuple[list[float], list[float]]] = {}
    for way in ways(m, (0.1, 0.3, 0.5, 0.7, 0.9)):
        own = held(lam, way.options)
        right: list[float] = []
        for place in readers if reader is not None else ():
            one = questions[place]
            shown = "\n".join(facts[row] for row in sorted(select(place, lam, way.options)))
            prompt = f"{shown}\n\nUse what is relevant of this to answer: {one.text}"
            right.append(100.0 * (reader.option(prompt, one.options) == one.right))
        accuracy = float(np.mean(right)) if right else None
        theirs = paper.READING.get((way.label, way.cluster_lambda))
        found[way.label, way.cluster_lambda] = own, right
        lines.append(
            {
                "method": way.label,
                "λ_c": way.cluster_lambda,
                "own facts selected": float(np.mean(own)),
                "accuracy %": accuracy,
                "paper v1, StackExchange %": theirs and theirs[0],
                "paper v2, StackExchange %": theirs and theirs[1],
            }
        )
    if reader is not None:
        alone = [
            reader.option(questions[one].text, questions[one].options) == questions[one].right
            for one in readers
        ]
        given = []
        for place in readers:
            one = questions[place]
            shown = "\n".join(facts[row] for row in one.facts)
            prompt = f"{shown}\n\nUse what is relevant of this to answer: {one.text}"
            given.append(reader.option(prompt, one.options) == one.right)
        lines.append({"method": "no facts", "accuracy %": 100 * float(np.mean(alone))})
        lines.append(
            {
                "method": "its own facts (ceiling)",
                "own facts selected": 1.0,
                "accuracy %": 100 * float(np.mean(given)),
            }
        )
    keep.table(
        f"MUSS, Table 3: answers from k = {K} facts, λ = {lam}",
        lines,
        f"{len(facts):,} fact sentences of QASC (FLAN's cot_qasc), {len(support)} questions for the facts "
        "and "
        f"{len(readers)} for the reader, which are read by SmolLM2-135M: the option with the largest mean "
        "log-likelihood "
        f"of {len(questions[0].options)}. {clusters} clusters, {m} kept; λ is the best of MMR for the "
        "facts, as the paper "
        "chooses it. The paper's reader is Claude, its questions are on technical pages.",
    )
    muss = {one: values for (label, one), values in found.items() if label == "muss" and one is not None}
    rival = found["MMR", None]
    gains = {one: paired(values[0], rival[0]) for one, values in muss.items() if one >= 0.5}
    keep.claim(
        "MUSS selects at least as much of what answers as MMR at every λ_c of 0.5 and more (Table 3).",
        all(gain[2] >= 0 for gain in gains.values()),
        "Own facts, "
        + "; ".join(f"λ_c {one}: {told(gain)}" for one, gain in gains.items())
        + f"; over {len(support)} questions.",
    )
    if reader is not None:
        best = max(muss, key=lambda one: np.mean(muss[one][1]))
        gain = paired(muss[best][1], rival[1])
        keep.claim(
            "MUSS answers better than MMR at its best λ_c (Table 3: by up to 6 points).",
            gain[1] > 0,
            f"At λ_c = {best} {told(gain, 1)} points, over {len(readers)} questions.",
        )
    gain = paired(found["frank-wolfe (setwise)", None][0], found["top-k", None][0])
    keep.claim(
        "setwise's frank-wolfe selects at least as much of what answers as top-k.",
        gain[2] >= 0,
        f"Own facts {told(gain)}, over {len(support)} questions.",
        ours=True,
    )


def qasc(folder: Path) -> tuple[list[str], list[Choice]]:
    """Return the facts of cot_qasc's explanations (their first two sentences), each once, and the "
    "questions."""
    import pyarrow.parquet as parquet

    path = folder / "instruct_mix" / "instruct_mix.parquet"
    if not path.exists():
        raise FileNotFoundError(path)
    table = parquet.read_table(
        path, columns=["task", "input", "output"], filters=[("task", "==", "cot_qasc")]
    )
    facts: dict[str, int] = {}
    questions = []
    for one in table.to_pylist():
        text, _, listed = one["input"].partition("\nOptions:\n")
        options = re.findall(r"- \(([A-H])\) (.*)", listed)
        told, _, answer = one["output"].partition("\nSo the answer is ")
        right = [place for place, (letter, _) in enumerate(options) if answer.startswith(f"({letter})")]
        sentences = [part for part in re.split(r"(?<=[.!?])\s+", told) if part]
        if len(options) == 8 and right and len(sentences) == 3:
            own = tuple(facts.setdefault(part, len(facts)) for part in dict.fromkeys(sentences[:2]))
            questions.append(Choice(text, tuple(option for _, option in options), right[0], own))
    return list(facts), questions


def made_up() -> tuple[list[str], list[Choice]]:
    """Return a few facts and questions in the same shape."""
    animals = ("cats", "dogs", "owls", "bees", "whales", "moles")
    facts = [f"{animal} eat food{place}" for place, animal in enumerate(animals)]
    facts += [f"food{place} grows in land{place}" for place in range(len(animals))]
    lands = tuple(f"land{place}" for place in range(len(animals)))
    return facts, [
        Choice(f"where does what {animal} eat grow", lands, place, (place, place + len(animals)))
        for place, animal in enumerate(animals)
    ]
