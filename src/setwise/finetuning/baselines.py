"""What a matched distribution is measured against: random, influence, importance weights, nearest neighbors.

Every baseline returns a `Distribution`, so all are sampled, repeated over epochs and written alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from setwise import checks
from setwise.finetuning.distribution import Distribution
from setwise.index.array import ArrayIndex
from setwise.index.base import Index
from setwise.threads import thread_count
from setwise.vectors import Vectors, top_k

#: Added to both probabilities of an n-gram bucket before the logarithm (DSIR's released code).
SMOOTHING = 1e-8

#: Texts that are counted at once.
_BATCH = 4096

#: Scores within this of the last one chosen are computed again, row by row in float64.
_ROUNDING = 1e-4

#: Scores that a batch of examples may take while neighbors are searched.
_SCORES = 1 << 25


def random(n: int) -> Distribution:
    """Return the distribution that gives each of n rows the same probability."""
    return Distribution.uniform(np.arange(checks.integer("n", n, least=1)), n)


# ---------------------------------------------------------------------- influence (LESS)


def less(
    train_features: Any,
    example_features: Any,
    rows: int,
    *,
    subtasks: Sequence[Any] | NDArray[Any] | None = None,
    threads: int | None = None,
) -> Distribution:
    """Choose the rows of greatest influence on any subtask of the target (LESS).

    A row's influence on a subtask is the mean cosine of its features with those of the subtask's examples;
    its score is the greatest of these. With gradient features (`setwise.encode.gradients`) this is LESS;
    with text embeddings it is the embedding form, known as RDS or RDS-like.

    One pass over the features, in blocks; memory O(n) beside them.

    Parameters
    ----------
    train_features : array-like of shape (n, d)
        Features of the repository's rows; their length does not matter.
    example_features : array-like of shape (m, d)
        Features of the target's examples.
    rows : int
        How many to choose, 1 to n. Ties by lowest row.
    subtasks : sequence of length m, optional
        A label for every example. By default there is one subtask.
    threads : int, optional

    Returns
    -------
    Distribution
        Uniform over the chosen rows.

    Raises
    ------
    TypeError
        Features are no numbers, or ``rows`` is no integer.
    ValueError
        Features have NaN, a zero row or different widths; ``rows`` is below 1 or above n; there are not as
        many labels as examples.

    References
    ----------
    Xia et al., LESS: Selecting influential data for targeted instruction tuning, ICML 2024, sections 3
    and 4.
    """
    train = Vectors(train_features, "cosine", workers=thread_count(threads), name="train_features")
    rows = checks.integer("rows", rows, least=1, most=train.n)
    means = _subtask_means(example_features, subtasks, train.d)
    rough = np.empty(train.n, train.dtype)

    def take(start: int, stop: int, products: NDArray[Any]) -> None:
        rough[start:stop] = products.max(axis=1)

    train.products(means, take)
    # A block product rounds equal rows apart by where they stand; near the border the scores are made
    # anew row by row, so that equal rows tie and the lower one is chosen.
    border = np.partition(rough, train.n - rows)[train.n - rows]
    near = np.flatnonzero(rough >= border - _ROUNDING)
    scores = np.empty(len(near))
    step = max(1, (1 << 22) // train.d)
    for start in range(0, len(near), step):
        block = train.rows(near[start : start + step], np.float64)
        scores[start : start + step] = np.stack([np.vecdot(block, mean) for mean in means]).max(axis=0)
    return Distribution.uniform(near[top_k(scores, rows)], train.n)


def _subtask_means(
    example_features: Any, subtasks: Sequence[Any] | NDArray[Any] | None, width: int
) -> NDArray[np.float64]:
    """Return the mean unit features of each subtask's examples, shape (subtasks, d)."""
    examples = Vectors(example_features, "cosine", name="example_features")
    if examples.d != width:
        raise ValueError(f"example_features: {examples.d} wide where train_features are {width}")
    unit: NDArray[np.float64] = np.asarray(examples.rows(slice(None), np.float64), np.float64)
    if subtasks is None:
        return np.asarray(unit.mean(axis=0, keepdims=True))
    labels = np.asarray(subtasks)
    if labels.shape != (examples.n,):
        raise ValueError(f"subtasks: expected {examples.n} labels, one an example; got shape {labels.shape}")
    names, member = np.unique(labels, return_inverse=True)
    return np.stack([unit[member == one].mean(axis=0) for one in range(len(names))])


# ---------------------------------------------------------------------- importance weights (DSIR)


@dataclass(frozen=True, repr=False)
class Importance(Distribution):
    """A distribution given by logarithms: those of long texts differ by more than a float64 can hold.

    Attributes
    ----------
    log_weights : ndarray of shape (n,), float64
        Logarithms of the importance weights, not normalized. Sampling without replacement reads these, so
        rows whose probability is 0 in float64 still come in their order.
    """

    log_weights: NDArray[np.float64]

    @classmethod
    def of(cls, log_weights: NDArray[np.floating[Any]]) -> Importance:
        """Return the distribution in proportion to exp(log_weights), without overflow.

        Raises
        ------
        ValueError
            There is no weight, or one is not finite.
        """
        logs: NDArray[np.float64] = np.asarray(log_weights, np.float64)
        if logs.ndim != 1 or not len(logs):
            raise ValueError(f"log_weights: expected shape (n,) with n of at least 1, got {logs.shape}")
        if not np.isfinite(logs).all():
            row = int(np.flatnonzero(~np.isfinite(logs))[0])
            raise ValueError(f"log_weights: row {row} is {logs[row]}; expected finite numbers")
        mass = np.exp(logs - logs.max())
        n = len(logs)
        return cls(np.arange(n), mass / mass.sum(), n, logs)

    def _draw(self, n: int, rng: np.random.Generator, replace: bool) -> NDArray[np.int64]:
        if replace:
            return super()._draw(n, rng, replace)
        keys = self.log_weights + rng.gumbel(size=self.n)
        return top_k(keys, self._check(n, replace))


def dsir(
    candidate_texts: Iterable[str] | Callable[[], Iterable[str]],
    example_texts: Iterable[str],
    *,
    buckets: int = 10_000,
    n: int = 2,
    smoothing: float = SMOOTHING,
) -> Importance:
    """Weigh every text by how much likelier its n-grams are in the target than in the repository (DSIR).

    Texts are bags of hashed n-grams. With q the share of a bucket among the n-grams of the examples and p
    its share in the repository, a text's log weight is the sum over its n-grams of
    log(q + smoothing) - log(p + smoothing). ``sample(rows, replace=False)`` is then DSIR's own resampling
    (Gumbel top-k). Longer texts have weights further from 1; the method does not correct for that.

    The texts are streamed, twice; memory O(n + buckets) for n texts.

    Parameters
    ----------
    candidate_texts : iterable of str, or callable that returns one
        The repository's texts. They are read twice, so an iterator, which ends after once, is refused:
        pass a list, or a function that opens it anew.
    example_texts : iterable of str
        The target's examples; read once.
    buckets : int
        Buckets that n-grams are hashed into.
    n : int
        Longest n-gram: 2 counts words and pairs of words.
    smoothing : float
        Above 0.

    Returns
    -------
    Importance

    Raises
    ------
    TypeError
        The repository is an iterator, or an entry is no text.
    ValueError
        One side has no text with a word; smoothing is not above 0; or other texts come when they are read
        again.

    References
    ----------
    Xie et al., Data selection for language models via importance resampling, NeurIPS 2023, section 4.
    """
    source = candidate_texts if callable(candidate_texts) else lambda: candidate_texts
    buckets = checks.integer("buckets", buckets, least=1)
    if isinstance(candidate_texts, Iterator):
        raise TypeError(
            "candidate_texts: an iterator can be read once and is needed twice; pass a list, or a function "
            "that opens it anew"
        )
    raw, texts = _totals(_counted(source(), buckets, n, "candidate_texts"), buckets)
    target, _ = _totals(_counted(example_texts, buckets, n, "example_texts"), buckets)
    ratio = log_ratio(raw, target, smoothing=smoothing)
    again = _counted(source(), buckets, n, "candidate_texts")
    log_weights = np.concatenate([np.empty(0), *(block @ ratio for block in again)])
    if len(log_weights) != texts:
        raise ValueError(
            f"candidate_texts: {texts} texts when read first, {len(log_weights)} when read again; the "
            "function must open them anew each time"
        )
    return Importance.of(log_weights)


def dsir_counts(
    candidate_counts: sparse.csr_matrix, example_counts: sparse.csr_matrix, *, smoothing: float = SMOOTHING
) -> Importance:
    """Weigh texts as `dsir` does, from n-gram counts that are at hand (`setwise.encode.ngrams.counts`).

    Parameters
    ----------
    candidate_counts : csr_matrix of shape (n, buckets)
    example_counts : csr_matrix of shape (m, buckets)
    smoothing : float
        Above 0.
    """
    width = candidate_counts.shape[1]
    if example_counts.shape[1] != width:
        raise ValueError(
            f"example_counts: {example_counts.shape[1]} buckets where candidate_counts have {width}"
        )
    raw, target = _totals([candidate_counts], width)[0], _totals([example_counts], width)[0]
    ratio = log_ratio(raw, target, smoothing=smoothing)
    return Importance.of(candidate_counts @ ratio)


def log_ratio(
    raw: NDArray[np.floating[Any]], target: NDArray[np.floating[Any]], *, smoothing: float = SMOOTHING
) -> NDArray[np.float64]:
    """Return log(q + smoothing) - log(p + smoothing) for every bucket, of counts p (raw) and q (target).

    Raises
    ------
    ValueError
        Smoothing is not above 0, or nothing was counted on one side.
    """
    if not 0.0 < smoothing < np.inf:
        raise ValueError(f"smoothing: expected a number above 0, got {smoothing}")
    for name, side in (("candidate_texts", raw), ("example_texts", target)):
        if not side.sum() > 0:
            raise ValueError(f"{name}: no text has a word, so there are no n-grams to count")
    q, p = target / target.sum(), raw / raw.sum()
    return np.asarray(np.log(q + smoothing) - np.log(p + smoothing), np.float64)


def _counted(texts: Iterable[str], buckets: int, n: int, name: str) -> Iterator[sparse.csr_matrix]:
    """Yield the texts' n-gram counts, batch by batch."""
    from setwise.encode.ngrams import counts

    if isinstance(texts, str | bytes):
        raise TypeError(f"{name}: expected many texts, got one; put it in a list")
    texts = iter(texts)
    done = 0
    while batch := list(islice(texts, _BATCH)):
        for row, text in enumerate(batch, done):
            if not isinstance(text, str):
                raise TypeError(f"{name}: row {row} is {type(text).__name__}, not a text")
        yield counts(batch, buckets=buckets, n=n)
        done += len(batch)


def _totals(blocks: Iterable[sparse.csr_matrix], buckets: int) -> tuple[NDArray[np.float64], int]:
    """Return how often each bucket was counted, and in how many texts."""
    found, texts = np.zeros(buckets), 0
    for block in blocks:
        found += np.asarray(block.sum(axis=0), np.float64).ravel()
        texts += block.shape[0]
    return found, texts


# ---------------------------------------------------------------------- nearest neighbors


def nearest(
    candidates: Any, examples: Any, rows: int, *, metric: str = "cosine", threads: int | None = None
) -> Distribution:
    """Choose the examples' nearest neighbors, in turns, until there are ``rows`` different ones.

    First every example's nearest row, in the order of the examples, then every example's second nearest,
    and so on; a row that was taken already is passed over.

    Parameters
    ----------
    candidates : array-like of shape (n, d), or Index
        An `Index` must know its vectors by the numbers 0 to n - 1; neighbors it does not find (-1) are
        passed over.
    examples : array-like of shape (m, d)
    rows : int
        1 to n.
    metric : {"cosine", "euclidean"}
        For an array; an index has its own.
    threads : int, optional

    Returns
    -------
    Distribution
        Uniform over the chosen rows.

    Raises
    ------
    TypeError
        Vectors or ``rows`` are no numbers, or the index knows its vectors by names.
    ValueError
        Vectors have NaN or different widths, or a zero row under cosine; ``rows`` is below 1 or above n; or
        the index finds fewer.
    """
    index = candidates if isinstance(candidates, Index) else None
    if index is None:
        index = ArrayIndex(candidates, metric=metric, threads=threads)
    probes = Vectors(examples, index.metric, name="examples")
    if probes.d != index.dim:
        raise ValueError(f"examples: {probes.d} wide where the candidates are {index.dim}")
    n = len(index)
    rows = checks.integer("rows", rows, least=1, most=n)
    unit = np.asarray(probes.rows(slice(None), np.float64), np.float64)
    depth = min(n, 2 * -(-rows // probes.n) + 8)
    while True:
        found = _in_turns(index, unit, depth)
        if len(found) >= rows:
            return Distribution.uniform(found[:rows], n)
        if depth == n:
            raise ValueError(
                f"rows: the index finds {len(found)} different rows in all, {rows} are asked for; "
                "search it more widely, or pass the array"
            )
        depth = min(n, 2 * depth)


def _in_turns(index: Index, probes: NDArray[np.float64], depth: int) -> NDArray[np.int64]:
    """Return the different rows among all neighbors down to a depth, in the order in which they come."""
    step = max(1, _SCORES // len(index))
    batches = [index.search(probes[start : start + step], depth)[1] for start in range(0, len(probes), step)]
    turns = np.concatenate(batches).T.ravel()
    if turns.dtype.kind != "i":
        raise TypeError("candidates: the index knows its vectors by names; rows need numbers 0 to n - 1")
    if len(turns) and turns.max() >= len(index):
        raise ValueError(f"candidates: the index has an id {turns.max()} above its {len(index)} rows")
    turns = turns[turns >= 0]
    distinct, first = np.unique(turns, return_index=True)
    order: NDArray[np.int64] = distinct[np.argsort(first)]
    return order
