"""The methods that the downstream benchmark compares, and what is measured of a selection."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from benchmarks.finetune_data import Problem, Target
from benchmarks.finetune_surrogate import LanguageModel, Words, f1_after
from numpy.typing import NDArray
from scipy import sparse

from setwise.encode.lsa import LSA
from setwise.encode.ngrams import counts
from setwise.finetuning import Distribution, baselines, match
from setwise.finetuning.deduplicate import Deduplicated, deduplicate

#: Topics of the representation that the classifier is trained on.
TOPICS = 100

#: Two rows of a sample this similar count as near-duplicates; what SemDeDup drops.
SIMILAR = 0.95


@dataclass
class Pool:
    """The rows that a method may choose from, as it sees them.

    Attributes
    ----------
    origin : ndarray of shape (n,), int64
        The row of the problem that each is, or is a copy of.
    vectors : ndarray of shape (n, d), float32
    counts : csr_matrix of shape (n, buckets)
        Hashed n-grams.
    clusters : int, optional
        For SemDeDup.
    copied : frozenset of int
        Rows of the problem that were copied.
    """

    problem: Problem
    origin: NDArray[np.int64]
    vectors: NDArray[np.float32]
    counts: sparse.csr_matrix
    clusters: int | None = None
    copied: frozenset[int] = frozenset()
    _deduplicated: Deduplicated | None = field(default=None, repr=False)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Words of each row, at least 1."""
        return np.maximum(self.problem.lengths[self.origin], 1)

    @property
    def deduplicated(self) -> Deduplicated:
        """What SemDeDup keeps, found once."""
        if self._deduplicated is None:
            self._deduplicated = deduplicate(self.vectors, eps=1 - SIMILAR, clusters=self.clusters)
        return self._deduplicated


@dataclass(frozen=True)
class Drawn:
    """A seed's examples of a target, and what was matched to them."""

    target: Target
    rows: NDArray[np.int64]
    texts: list[str]
    vectors: NDArray[np.float32]
    counts: sparse.csr_matrix
    matches: dict[tuple, Distribution] = field(default_factory=dict)


def draw(problem: Problem, target: Target, seed: int) -> Drawn:
    """Return the examples of a target that a seed draws."""
    rows = np.random.default_rng([seed, 7]).permutation(len(target.examples))[: target.count]
    texts = [target.examples[row] for row in rows]
    return Drawn(target, rows, texts, problem.encode(texts), counts(texts))


#: What chooses so many rows, for a pool and a seed's examples: (rows, seed) -> positions in the pool.
Select = Callable[[int, int], NDArray[np.int64]]
Method = Callable[[Pool, Drawn, int], Select]

#: What `match` warned of: neighbors that ran out.
CUT: list[str] = []


def _matched(
    regularizer: str, scale: float = 5.0, *, deduplicated: bool = False, replace: bool = True
) -> Method:
    def prepare(pool: Pool, drawn: Drawn, neighbors: int) -> Select:
        key = (id(pool), regularizer, scale, deduplicated)
        if key not in drawn.matches:
            vectors = pool.vectors[pool.deduplicated.kept] if deduplicated else pool.vectors
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                found: Distribution = match(
                    vectors,
                    drawn.vectors,
                    regularizer=regularizer,
                    scale=scale,
                    kernel_width=0.1,
                    neighbors=min(neighbors, len(vectors)),
                    threads=1,
                )
            CUT.extend(f"{drawn.target.name}, {regularizer}: {one.message}" for one in caught)
            drawn.matches[key] = pool.deduplicated.restore(found) if deduplicated else found
        distribution = drawn.matches[key]
        most = len(distribution)
        return lambda rows, seed: distribution.sample(
            rows if replace else min(rows, most), seed=seed, replace=replace
        )

    return prepare


def _random(pool: Pool, drawn: Drawn, neighbors: int) -> Select:
    found = baselines.random(len(pool.origin))
    return lambda rows, seed: found.sample(rows, seed=seed, replace=False)


def _dsir(**options: int) -> Method:
    """DSIR as released, or with another floor on the words of a row."""

    def prepare(pool: Pool, drawn: Drawn, neighbors: int) -> Select:
        found = baselines.dsir_counts(pool.counts, drawn.counts, **options)
        most = len(found)
        return lambda rows, seed: found.sample(min(rows, most), seed=seed, replace=False)

    return prepare


def _less(pool: Pool, drawn: Drawn, neighbors: int) -> Select:
    subtasks = drawn.target.subtasks[drawn.rows]
    return lambda rows, _: baselines.less(pool.vectors, drawn.vectors, rows, subtasks=subtasks).indices


def _greedy(choose: Callable[..., Distribution]) -> Method:
    """A baseline of vectors that chooses a number of rows."""

    def prepare(pool: Pool, drawn: Drawn, neighbors: int) -> Select:
        return lambda rows, _: choose(pool.vectors, drawn.vectors, rows, threads=1).indices

    return prepare


#: In the order of the tables. KNN-TV at the scale of TSDS's own test of it (Appendix E.5.3).
METHODS: dict[str, Method] = {
    "random": _random,
    "LESS-style": _less,
    "DSIR": _dsir(),
    "DSIR, no floor": _dsir(min_words=0),
    "nearest": _greedy(baselines.nearest),
    "doubly-greedy": _greedy(baselines.doubly_greedy),
    "UOT": _greedy(baselines.uot),
    "KNN-TV": _matched("tv", 0.25),
    "KNN-Uniform": _matched("uniform"),
    "SemDeDup + KNN-Uniform": _matched("uniform", deduplicated=True),
    "KNN-KDE": _matched("kde"),
    "KNN-KDE, no row twice": _matched("kde", replace=False),
}

#: Those that look at vectors, which are run with several encoders.
OF_VECTORS = tuple(name for name in METHODS if not name.startswith(("DSIR", "SemDeDup", "KNN-TV")))


def fill(select: Select, pool: Pool, budget: int, seed: int) -> NDArray[np.int64]:
    """Return as many rows as hold a number of words, to 2 % where that can be had.

    Training costs by the word, and methods differ in how long the texts are that they prefer.
    """
    lengths = pool.lengths
    rows = max(1, round(budget / lengths.mean()))
    least, most = 0, len(lengths)
    chosen = select(min(rows, most), seed)
    for _ in range(12):
        words = int(lengths[chosen].sum())
        if abs(words - budget) <= 0.02 * budget:
            break
        least, most = (rows, most) if words < budget else (least, rows)
        guess = min(max(round(rows * budget / words), least + 1), most - 1)
        if not least < guess < most:
            break
        rows = guess
        chosen = select(rows, seed)
    return chosen


# ---------------------------------------------------------------------- measures


class Measure:
    """Measures selections of one problem; what does not change between selections is kept."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._words = Words()
        self._rows: dict[int, NDArray[np.int64]] = {}
        self._held: dict[str, list[NDArray[np.int64]]] = {}

    def __call__(self, pool: Pool, chosen: NDArray[np.int64], drawn: Drawn) -> dict[str, float]:
        """Return the measures of the rows chosen from a pool."""
        target, problem = drawn.target, self.problem
        origin = pool.origin[chosen]
        _, times = np.unique(problem.tasks[origin], return_counts=True)
        share = times / times.sum()
        found = {
            "precision": float(np.isin(problem.families[origin], list(target.right)).mean()),
            "task entropy": float(-(share * np.log2(share)).sum()),
            "near-duplicates": near_duplicates(pool.vectors[chosen]),
            "different rows": len(np.unique(origin)) / len(origin),
            "rows": float(len(origin)),
            "copied": float(np.isin(origin, list(pool.copied)).mean()),
            "perplexity": self._perplexity(origin, target),
        }
        if target.labels is not None and target.held_labels is not None:
            model = LSA(topics=TOPICS, sketch=0)
            model.fit([problem.texts[row] for row in origin])
            found["macro F1"] = f1_after(
                model.encode(drawn.texts),
                target.labels[drawn.rows],
                model.encode(target.held),
                target.held_labels,
            )
        return found

    def _perplexity(self, origin: NDArray[np.int64], target: Target) -> float:
        missing = [row for row in np.unique(origin).tolist() if row not in self._rows]
        encoded = self._words.encode(self.problem.texts[row] for row in missing)
        self._rows.update(zip(missing, encoded, strict=True))
        if target.name not in self._held:
            self._held[target.name] = self._words.encode(target.held)
        model = LanguageModel(self._words, [self._rows[row] for row in origin.tolist()])
        return model.perplexity(self._held[target.name])


def near_duplicates(rows: NDArray[np.float32]) -> float:
    """Return the share of rows that another row of the sample is a near-duplicate of, itself not counted."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = 0
    for start in range(0, len(unit), 1024):
        products = unit[start : start + 1024] @ unit.T
        found += int(((products > SIMILAR).sum(axis=1) > 1).sum())
    return found / len(rows)


# ---------------------------------------------------------------------- pools


def pool_without(problem: Problem, counted: sparse.csr_matrix, own: frozenset[str]) -> Pool:
    """Return the repository without a target's own tasks."""
    rows = np.flatnonzero(~np.isin(problem.tasks, list(own)))
    return Pool(problem, rows, problem.vectors[rows], counted[rows])


def pool_with_copies(
    problem: Problem,
    counted: sparse.csr_matrix,
    rows: NDArray[np.int64],
    *,
    copied: float,
    times: int,
    noise: float,
    seed: int,
) -> Pool:
    """Return a pool in which some rows are repeated, their vectors a little apart.

    Memory: len(rows) · (1 + copied · times) vectors and counts.
    """
    rng = np.random.default_rng([seed, 11])
    which = np.sort(rng.permutation(rows)[: round(copied * len(rows))])
    copies = np.repeat(which, times)
    origin = np.concatenate([rows, copies])
    vectors = problem.vectors[origin].copy()
    added = rng.standard_normal((len(copies), vectors.shape[1]), np.float32)
    added *= noise / np.float32(vectors.shape[1] ** 0.5)
    vectors[len(rows) :] += added
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    clusters = max(1, round(len(rows) ** 0.5))  # for the rows that differ: copies need none of their own
    return Pool(
        problem, origin, vectors, counted[origin], clusters=clusters, copied=frozenset(which.tolist())
    )
