"""Repositories and targets for the downstream benchmark: public data where it is at hand, else generated."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from benchmarks.data import SHARED
from numpy.typing import NDArray

from setwise.encode import encoder as named
from setwise.encode.base import Encoder
from setwise.encode.cache import encode_texts

#: Vectors are kept here between runs.
CACHE = Path(tempfile.gettempdir()) / "setwise-benchmarks"

#: Marks of the entities in ChemProt and SciERC; they would tell the domains apart by themselves.
MARKS = re.compile(r"<<|>>|\[\[|\]\]")

#: Own tasks of each target, left out of the repository, and the families that count as right.
INSTRUCTION_TARGETS = {
    "GSM8K": (("gsm8k",), ("gsm8k", "cot_gsm8k"), "math"),
    "AQuA": (("cot_aqua",), ("cot_aqua",), "math"),
    "BBH counting": (
        ("bbh_object_counting", "bbh_navigate", "bbh_date_understanding", "bbh_penguins_in_a_table"),
        (),
        "math",
    ),
    "StrategyQA": (("cot_strategyqa",), ("cot_strategyqa",), "commonsense_qa"),
    "BBH common sense": (
        ("bbh_causal_judgement", "bbh_sports_understanding", "bbh_movie_recommendation"),
        (),
        "commonsense_qa",
    ),
    "MMLU": (("mmlu_",), (), "commonsense_qa"),
    "emotion": (("task875_emotion_classification",), ("task875_emotion_classification",), "sentiment"),
}

DOMAINS = {
    "chemprot": "ChemProt",
    "sciie-relation-extraction": "SciERC",
    "sci-cite": "SciCite",
    "citation_intent": "ACL-ARC",
}


@dataclass(frozen=True)
class Target:
    """A task to train for.

    Attributes
    ----------
    examples, held : list of str
        What examples are drawn from, and what the trained model is tested on.
    subtasks : ndarray of shape (examples,)
        The task of each example.
    own : frozenset of str
        Tasks that are left out of the repository.
    right : frozenset of str
        Families of the repository that count as right.
    count : int
        Examples that a seed draws.
    labels, held_labels : ndarray or None
        Where there is a classifier to train.
    """

    name: str
    examples: list[str]
    held: list[str]
    subtasks: NDArray
    own: frozenset[str]
    right: frozenset[str]
    count: int
    labels: NDArray | None = None
    held_labels: NDArray | None = None


@dataclass(frozen=True)
class Problem:
    """A repository with its vectors, and the targets to select for."""

    name: str
    texts: list[str]
    tasks: NDArray
    families: NDArray
    vectors: NDArray[np.float32]
    encode: Callable[[list[str]], NDArray[np.float32]]
    encoder: str
    targets: list[Target]

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Words of each text."""
        return np.array([len(text.split()) for text in self.texts])


def instructions(
    limit: int,
    *,
    examples: int = 100,
    held: int = 400,
    seed: int = 0,
    encoder: Encoder | None = None,
    only: Collection[str] = INSTRUCTION_TARGETS,
) -> Problem:
    """Return a repository of instructions and targets whose own tasks are not in it; or generated ones."""
    path = SHARED / "instruct_mix" / "instruct_mix.parquet"
    if not path.exists():
        return generated(limit, examples, held, labeled=False, seed=seed, encoder=encoder)
    table = _read(path)
    text = [
        "\n".join(part for part in parts if part)
        for parts in zip(table["instruction"], table["input"], table["output"], strict=True)
    ]
    tasks, split = np.array(table["task"]), np.array(table["split"])
    rng = np.random.default_rng(seed)
    targets = []
    for name, (prefixes, own, right) in INSTRUCTION_TARGETS.items():
        rows = np.flatnonzero(np.char.startswith(tasks, prefixes[0]))
        for prefix in prefixes[1:]:
            rows = np.concatenate([rows, np.flatnonzero(np.char.startswith(tasks, prefix))])
        if name in ("GSM8K", "MMLU"):
            rows = rows[split[rows] != "train"]
        first = rows[split[rows] == "dev"] if name == "MMLU" else np.empty(0, np.int64)
        rest = rng.permutation(np.setdiff1d(rows, first))
        if not len(first):
            first, rest = rest[: min(3 * examples, len(rest) // 2)], rest[min(3 * examples, len(rest) // 2) :]
        rest = rest[:held]
        targets.append(
            Target(
                name,
                [text[row] for row in first],
                [text[row] for row in rest],
                tasks[first],
                frozenset(own),
                frozenset([right]),
                min(examples, 2 * len(first) // 3),
            )
        )
    pool = rng.permutation(np.flatnonzero(split == "train"))[:limit]
    targets = [target for target in targets if target.name in only]
    return _problem("instruct_mix", text, tasks, np.array(table["family"]), np.sort(pool), targets, encoder)


def domains(limit: int, *, examples: int = 300, held: int = 800, seed: int = 0) -> Problem:
    """Return a repository of sentences of four fields among instructions, and the fields' labeled tasks.

    Half of a field's training sentences (and its development set) are in the repository, without labels;
    the others are what examples are drawn from. No test sentence is on either side.
    """
    path, mix = SHARED / "domains" / "domains.parquet", SHARED / "instruct_mix" / "instruct_mix.parquet"
    if not (path.exists() and mix.exists()):
        return generated(limit, examples, held, labeled=True, seed=seed)
    table = _read(path)
    text = [" ".join(MARKS.sub(" ", one).split()) for one in table["text"]]
    field, split, label = (np.array(table[name]) for name in ("domain", "split", "label"))
    rng = np.random.default_rng(seed)
    tested = {text[row] for row in np.flatnonzero(split == "test")}
    # Equal sentences go to the same side.
    distinct = sorted(set(text))
    side = dict(zip(distinct, (rng.random(len(distinct)) < 0.5).tolist(), strict=True))
    annotated = np.array([side[one] for one in text]) & (split == "train")
    clean = np.array([one not in tested for one in text])
    unlabeled = np.array([not side[one] for one in text]) & (split != "test") & clean
    targets = []
    for name, shown in DOMAINS.items():
        mine = field == name
        first = np.flatnonzero(mine & annotated & clean)
        rest = rng.permutation(np.flatnonzero(mine & (split == "test")))[:held]
        targets.append(
            Target(
                shown,
                [text[row] for row in first],
                [text[row] for row in rest],
                np.full(len(first), shown),
                frozenset(),
                frozenset([name]),
                min(examples, 2 * len(first) // 3),
                label[first],
                label[rest],
            )
        )
    other = _read(mix)
    rows = [row for row, one in enumerate(other["split"]) if one == "train"]
    mine_count = int(unlabeled.sum())
    rows = rng.permutation(rows)[: max(mine_count, limit - mine_count)].tolist()
    texts = [text[row] for row in np.flatnonzero(unlabeled)] + [
        other["input"][row] or other["instruction"][row] for row in rows
    ]
    families = np.concatenate([field[unlabeled], np.full(len(rows), "instructions")])
    wordy = [row for row, one in enumerate(texts) if re.search(r"\w\w", one)]
    kept = np.sort(rng.permutation(wordy)[:limit])
    return _problem("domains among instructions", texts, families, families, kept, targets)


def generated(
    limit: int,
    examples: int,
    held: int,
    *,
    labeled: bool,
    seed: int = 0,
    encoder: Encoder | None = None,
) -> Problem:
    """Return texts of made-up topics: three families of four tasks, Zipfian words, some near-duplicates."""
    rng = np.random.default_rng(seed)
    vocabulary = np.array([f"w{number}" for number in range(6000)])
    zipf = 1.0 / np.arange(1, 1501)
    zipf /= zipf.sum()

    def words(block: int) -> NDArray:
        return rng.permutation(vocabulary[1500 * (block % 4) : 1500 * (block % 4) + 1500])

    common = words(0)
    family_words = [words(1) for _ in range(3)]
    task_words = [words(2) for _ in range(12)]
    label_words = [words(3) for _ in range(3)]

    def write(task: int, label: int) -> str:
        length = int(rng.integers(100, 130) if rng.random() < 0.1 else rng.integers(15, 50))
        source = rng.choice(4, length, p=[0.35, 0.3, 0.2, 0.15])
        drawn = rng.choice(1500, length, p=zipf)
        blocks = (common, family_words[task % 3], task_words[task], label_words[label])
        return " ".join(blocks[one][number] for one, number in zip(source, drawn, strict=True))

    size = min(limit, 6000)
    tasks = rng.integers(12, size=size)
    texts = [write(task, int(rng.integers(3))) for task in tasks]
    for row in rng.integers(size, size=size // 20):  # near-duplicates: a word more
        at = int(rng.integers(size))
        texts[at], tasks[at] = texts[row] + " " + common[0], tasks[row]
    targets = []
    for task in range(3):
        first, rest = rng.integers(3, size=3 * examples), rng.integers(3, size=held)
        targets.append(
            Target(
                f"task {task}",
                [write(task, int(label)) for label in first],
                [write(task, int(label)) for label in rest],
                np.full(len(first), f"task {task}"),
                frozenset() if labeled else frozenset([f"task {task}"]),
                frozenset([f"family {task % 3}"]),
                examples,
                first if labeled else None,
                rest if labeled else None,
            )
        )
    names = np.array([f"task {task}" for task in tasks])
    families = np.array([f"family {task % 3}" for task in tasks])
    # Made-up words are all alike to a model of real ones.
    encoder = named("lsa") if encoder is None else encoder
    return _problem("generated", texts, names, families, np.arange(size), targets, encoder)


def _problem(
    name: str,
    text: list[str],
    tasks: NDArray,
    families: NDArray,
    rows: NDArray,
    targets: list[Target],
    encoder: Encoder | None = None,
) -> Problem:
    """Encode a repository (kept in the temporary folder) and put the parts together."""
    texts = [text[row] for row in rows]
    found = encode_texts(texts, named("auto") if encoder is None else encoder, CACHE)
    known = found.rows
    keep = rows[known]

    def encode(some: Iterable[str]) -> NDArray[np.float32]:
        vectors = np.asarray(found.encoder.encode(list(some)), np.float32)
        if not np.linalg.norm(vectors, axis=1).all():
            raise ValueError("an example has no known word")
        return vectors

    return Problem(
        name,
        [texts[row] for row in known],
        tasks[keep],
        families[keep],
        found.vectors,
        encode,
        found.encoder.name,
        targets,
    )


def remembered(problem: Problem, encoder: Encoder) -> Problem:
    """Return a problem that knows its targets' examples by heart: encoded once, and kept between runs."""
    texts = sorted({text for target in problem.targets for text in target.examples})
    vectors = encode_texts(texts, encoder, CACHE).vectors
    known = dict(zip(texts, vectors, strict=True))
    return replace(problem, encode=lambda some: np.stack([known[text] for text in some]))


def narrowed(problem: Problem, dimensions: int) -> Problem:
    """Return a problem whose vectors are cut to their principal directions, of length 1 again."""
    if problem.vectors.shape[1] <= dimensions:
        return problem
    covariance = problem.vectors.T.astype(np.float64) @ problem.vectors
    basis = np.linalg.eigh(covariance)[1][:, -dimensions:].astype(np.float32)

    def cut(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        low = vectors @ basis
        return low / np.linalg.norm(low, axis=1, keepdims=True)

    return replace(problem, vectors=cut(problem.vectors), encode=lambda texts: cut(problem.encode(texts)))


def _read(path: Path) -> dict[str, list]:
    import pyarrow.parquet as parquet

    return parquet.read_table(path).to_pydict()
