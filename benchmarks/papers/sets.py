"""Sets that the papers use, from folders in the layouts in which they are published; and made-up ones.

QAMPARI: ``dev_data.jsonl``, a question a line. ASQA: ``ASQA.json`` with its splits. Both need passages beside
them: ``psgs_w100.tsv`` with the columns id, text, title, as DPR's Wikipedia has them; a part of it is enough.
UltraFeedback: JSON-lines files, an instruction a line with its models' completions.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.metrics import normalized


@dataclass(frozen=True, eq=False)
class Asked:
    """A question whose answers are strings.

    Attributes
    ----------
    text : str
    answers : tuple of tuple of str
        For each answer, its spellings.
    aspects : tuple of ndarray of int64
        For each answer that a passage holds, the rows of those that do.
    """

    text: str
    answers: tuple[tuple[str, ...], ...]
    aspects: tuple[NDArray[np.int64], ...]


def passages(folder: Path) -> list[str]:
    """Return the passages of a folder's ``psgs_w100.tsv``: title, then text."""
    with _there(folder / "psgs_w100.tsv").open(encoding="utf-8", newline="") as lines:
        return [f"{row['title']}. {row['text']}" for row in csv.DictReader(lines, delimiter="\t")]


def qampari(folder: Path, texts: list[str]) -> list[Asked]:
    """Return QAMPARI's development questions, of which passages hold an answer."""
    found = []
    for one in lines_of(folder / "dev_data.jsonl"):
        answers = tuple(
            tuple(dict.fromkeys([entry["answer_text"], *entry.get("aliases", [])]))
            for entry in one["answer_list"]
        )
        found.append((one["question_text"], answers))
    return _located(found, texts)


def asqa(folder: Path, texts: list[str], split: str = "dev") -> list[Asked]:
    """Return ASQA's questions of a split, of which passages hold a short answer."""
    table = json.loads(_there(folder / "ASQA.json").read_text(encoding="utf-8"))[split]
    found = [
        (one["ambiguous_question"], tuple(tuple(pair["short_answers"]) for pair in one["qa_pairs"]))
        for one in table.values()
    ]
    return _located(found, texts)


def _located(questions: list[tuple[str, tuple[tuple[str, ...], ...]]], texts: list[str]) -> list[Asked]:
    """Return questions with the rows of the passages that hold each answer, word for word when normalized."""
    plain = [f" {normalized(text)} " for text in texts]
    rows_of: dict[str, NDArray[np.int64]] = {}

    def rows(spelling: str) -> NDArray[np.int64]:
        key = normalized(spelling)
        if key not in rows_of:
            holding = [row for row, text in enumerate(plain) if key and f" {key} " in text]
            rows_of[key] = np.array(holding, np.int64)
        return rows_of[key]

    found = []
    for text, answers in questions:
        held = [np.unique(np.concatenate([rows(one) for one in spellings])) for spellings in answers]
        aspects = tuple(one for one in held if len(one))
        if aspects:
            found.append(Asked(text, answers, aspects))
    return found


def hops(folder: Path | None, name: str) -> tuple[list[str], list[Asked]]:
    """Return the passages of a set of multihop100 and its questions; without a folder, made-up ones."""
    if folder is None:
        texts = [f"Ann{one} lives in Town{one % 5}." for one in range(20)]
        texts += [f"Town{one} is a town in Land{one}." for one in range(5)]
        return texts, [
            Asked(
                f"In which land does Ann{one} live?",
                ((f"Land{one % 5}",),),
                (np.array([one]), np.array([20 + one % 5])),
            )
            for one in range(8)
        ]
    place = folder / "multihop100"
    held = list(lines_of(place / f"{name}_corpus.jsonl"))
    rows = {one["pid"]: row for row, one in enumerate(held)}
    asked = [
        Asked(one["question"], ((one["answer"],),), tuple(np.array([rows[pid]]) for pid in one["relevant"]))
        for one in lines_of(place / f"{name}_queries.jsonl")
    ]
    return [f"{one['title']}. {one['text']}" for one in held], asked


def ultrafeedback(folder: Path, least: int = 4) -> list[tuple[str, list[str], NDArray[np.float64]]]:
    """Return UltraFeedback's instructions with at least so many scored completions: texts and scores."""
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise FileNotFoundError(folder / "*.jsonl")
    found = []
    for file in files:
        for one in lines_of(file):
            scored = [
                (entry["response"], float(entry["overall_score"]))
                for entry in one["completions"]
                if entry.get("overall_score") is not None
            ]
            if len(scored) >= least:
                texts, scores = zip(*scored, strict=True)
                found.append((one["instruction"], list(texts), np.array(scores)))
    return found


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file."""
    with _there(path).open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())


def _there(path: Path) -> Path:
    """Return a path, or say that it is not there."""
    if not path.exists():
        raise FileNotFoundError(path)
    return path


def spread_evenly(count: int, limit: int) -> NDArray[np.int64]:
    """Return at most `limit` of `count` row numbers, spread evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, limit)).astype(np.int64))


def encoded(texts: list[str]) -> NDArray[np.float32]:
    """Return unit vectors of texts by the encoder that setwise takes by default; zero rows are an error."""
    from setwise.encode import encoder
    from setwise.encode.base import FittedEncoder

    model = encoder("auto")
    if isinstance(model, FittedEncoder):
        model.fit(texts)
    rows = np.asarray(model.encode(texts), np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError(f"text {int(np.flatnonzero(lengths[:, 0] == 0)[0])} has nothing to encode")
    return rows / lengths


def made_up(
    topics: int = 12, answers: int = 5, copies: int = 4, d: int = 32, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32], list[tuple[NDArray[np.int64], ...]]]:
    """Return passages of made-up topics, a question's vector for each, and the rows of its right answers.

    Each topic has some answers, each given by several passages that are nearly alike.
    """
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((topics, 1, 1, d))
    points = centers + 0.7 * rng.standard_normal((topics, answers, 1, d))
    rows = (points + 0.15 * rng.standard_normal((topics, answers, copies, d))).reshape(-1, d)
    asked = centers[:, 0, 0] + 0.4 * rng.standard_normal((topics, d))
    numbers = np.arange(len(rows)).reshape(topics, answers, copies)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    return unit.astype(np.float32), asked.astype(np.float32), [tuple(one) for one in numbers]
