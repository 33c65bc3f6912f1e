"""Importance weights of texts by hashed n-grams: DSIR, as its authors released it.

Xie et al., Data selection for language models via importance resampling, NeurIPS 2023, and their package
data-selection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from setwise import checks
from setwise.finetuning.distribution import Distribution
from setwise.top import top_k

#: Added to both probabilities of an n-gram bucket before the logarithm, as released.
SMOOTHING = 1e-8

#: Texts of fewer words than this are left out, as released.
MIN_WORDS = 100

#: Texts that are counted at once.
_BATCH = 4096


@dataclass(frozen=True, repr=False)
class Importance(Distribution):
    """A distribution given by logarithms: those of long texts differ by more than a float64 can hold.

    Attributes
    ----------
    log_weights : ndarray of shape (s,) or (targets, s), float64
        Logarithms of the importance weights of the rows in ``indices``, not normalized; of several targets
        one row each. Sampling without replacement reads these, so rows whose probability is 0 in float64
        still come in their order.
    shares : ndarray of shape (targets,), float64
        Each target's share of what is drawn.
    """

    log_weights: NDArray[np.float64]
    shares: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        log_weights: NDArray[np.floating[Any]],
        *,
        rows: NDArray[np.int64] | None = None,
        n: int | None = None,
        shares: NDArray[np.float64] | None = None,
    ) -> Importance:
        """Return the distribution in proportion to exp(log_weights), without overflow.

        Parameters
        ----------
        log_weights : ndarray of shape (s,) or (targets, s)
        rows : ndarray of shape (s,), optional
            The repository's rows that they are of, ascending; by default all.
        n : int, optional
            Rows of the repository; by default s.
        shares : ndarray of shape (targets,), optional
            They sum to 1; by default all alike.

        Raises ValueError: there is no weight, or one is not finite.
        """
        logs: NDArray[np.float64] = np.asarray(log_weights, np.float64)
        each = np.atleast_2d(logs)
        if logs.ndim not in (1, 2) or not logs.size:
            raise ValueError(f"log_weights: expected shape (n,) with n of at least 1, got {logs.shape}")
        if not np.isfinite(logs).all():
            wrong = np.argwhere(~np.isfinite(each))[0]
            raise ValueError(f"log_weights: row {wrong[1]} is {each[tuple(wrong)]}; expected finite numbers")
        mass = np.exp(each - each.max(axis=1, keepdims=True))
        mass /= mass.sum(axis=1, keepdims=True)
        parts = np.full(len(each), 1 / len(each)) if shares is None else np.asarray(shares, np.float64)
        mixed = parts @ mass
        kept = np.arange(each.shape[1]) if rows is None else rows
        return cls(kept, mixed / mixed.sum(), each.shape[1] if n is None else n, logs, parts)

    def _draw(self, n: int, rng: np.random.Generator, replace: bool) -> NDArray[np.int64]:
        if replace:
            return super()._draw(n, rng, replace)
        n = self._check(n, replace)
        each = np.atleast_2d(self.log_weights)
        counts = (n * self.shares).astype(np.int64)  # as released: rounded down, the last takes the rest
        counts[-1] += n - counts.sum()
        free = np.ones(len(self.indices), np.bool_)
        taken = []
        for logs, count in zip(each, counts.tolist(), strict=True):
            if count:
                keys = np.where(free, logs + rng.gumbel(size=len(logs)), -np.inf)
                taken.append(top_k(keys, count))
                free[taken[-1]] = False
        found = np.concatenate(taken)
        return self.indices[found if len(each) == 1 else rng.permutation(found)]


def dsir(
    candidate_texts: Iterable[str] | Callable[[], Iterable[str]],
    example_texts: Iterable[str],
    *,
    buckets: int = 10_000,
    n: int = 2,
    smoothing: float = SMOOTHING,
    min_words: int = MIN_WORDS,
    targets: Sequence[Any] | None = None,
    shares: Mapping[Any, float] | None = None,
) -> Importance:
    """Weigh every text by how much likelier its n-grams are in the target than in the repository (DSIR).

    Texts are bags of hashed n-grams. With q the share of a bucket among the n-grams of the examples and p
    its share in the repository, a text's log weight is the sum over its n-grams of
    log(q + smoothing) - log(p + smoothing). ``sample(rows, replace=False)`` is then DSIR's own resampling
    (Gumbel top-k). Longer texts have weights further from 1; the method does not correct for that. Defaults
    are those of the authors' package (data-selection 1.0.3), but for the hash of an n-gram.

    The texts are streamed, twice; memory O(targets n + buckets) for n texts.

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
    min_words : int
        Texts of fewer words (and runs of marks) are left out. 0 keeps all.
    targets : sequence of labels, optional
        A label for every example: rows are chosen for each label apart (``separate_targets``).
    shares : mapping of label to float, optional
        Each label's share of the rows (``target_proportions``), in any unit; by default by the n-grams of its
        examples.

    Raises TypeError: the repository is an iterator, or an entry is no text; ValueError: one side has no text
    with a word, or the repository none that is long enough; smoothing is not above 0; there are not as many
    labels as examples; shares name other labels, or are negative or all 0; or other texts come when they are
    read again.

    Warns
    -----
    UserWarning
        Texts are left out as too short.

    References
    ----------
    Xie et al., Data selection for language models via importance resampling, NeurIPS 2023, section 4.
    """
    source = candidate_texts if callable(candidate_texts) else lambda: candidate_texts
    buckets = checks.integer("buckets", buckets, least=1)
    least = checks.integer("min_words", min_words, least=0)
    if isinstance(candidate_texts, Iterator):
        raise TypeError(
            "candidate_texts: an iterator can be read once and is needed twice; pass a list, or a function "
            "that opens it anew"
        )
    if shares is not None and targets is None:
        raise ValueError("shares: they go with targets, a label for every example")
    raw, texts = _totals(_counted(source(), buckets, n, "candidate_texts"), buckets)
    names, totals = _by_target(_counted(example_texts, buckets, n, "example_texts"), buckets, targets)
    ratios = np.stack([log_ratio(raw, target, smoothing=smoothing) for target in totals], axis=1)
    blocks, lengths = [np.empty((0, len(totals)))], [np.empty(0, np.int64)]
    for block in _counted(source(), buckets, n, "candidate_texts"):
        blocks.append(block @ ratios)
        lengths.append(_words(block, n))
    log_weights, words = np.concatenate(blocks), np.concatenate(lengths)
    if len(log_weights) != texts:
        raise ValueError(
            f"candidate_texts: {texts} texts when read first, {len(log_weights)} when read again; the "
            "function must open them anew each time"
        )
    rows = np.flatnonzero(words >= least)
    if not len(rows):
        raise ValueError(
            f"min_words: none of the {texts} texts has {least} words (the longest has {words.max()}); DSIR "
            "leaves shorter ones out; lower it"
        )
    if len(rows) < texts:
        checks.warn(
            f"min_words: {texts - len(rows):,} of {texts:,} texts have fewer than {least} words; left out"
        )
    parts = _shares(names, totals, shares)
    kept = log_weights[rows].T
    return Importance.of(kept[0] if len(kept) == 1 else kept, rows=rows, n=texts, shares=parts)


def dsir_counts(
    candidate_counts: sparse.csr_matrix,
    example_counts: sparse.csr_matrix,
    *,
    n: int = 2,
    smoothing: float = SMOOTHING,
    min_words: int = MIN_WORDS,
) -> Importance:
    """Weigh texts as `dsir` does, from n-gram counts that are at hand (`setwise.encode.ngrams.counts`).

    Parameters
    ----------
    candidate_counts : csr_matrix of shape (n, buckets)
    example_counts : csr_matrix of shape (m, buckets)
    n : int
        Longest n-gram that was counted.
    smoothing : float
        Above 0.
    min_words : int
        As for `dsir`.

    Raises ValueError: the two have different numbers of buckets, or as for `dsir`.
    """
    width = candidate_counts.shape[1]
    if example_counts.shape[1] != width:
        raise ValueError(
            f"example_counts: {example_counts.shape[1]} buckets where candidate_counts have {width}"
        )
    raw, target = _totals([candidate_counts], width)[0], _totals([example_counts], width)[0]
    ratio = log_ratio(raw, target, smoothing=smoothing)
    words = _words(candidate_counts, n)
    rows = np.flatnonzero(words >= checks.integer("min_words", min_words, least=0))
    if not len(rows):
        raise ValueError(
            f"min_words: no text has {min_words} words (the longest has {words.max()}); lower it"
        )
    return Importance.of((candidate_counts @ ratio)[rows], rows=rows, n=candidate_counts.shape[0])


def log_ratio(
    raw: NDArray[np.floating[Any]], target: NDArray[np.floating[Any]], *, smoothing: float = SMOOTHING
) -> NDArray[np.float64]:
    """Return log(q + smoothing) - log(p + smoothing) for every bucket, of counts p (raw) and q (target).

    Raises ValueError: smoothing is not above 0, or nothing was counted on one side.
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


def _words(block: sparse.csr_matrix, n: int) -> NDArray[np.int64]:
    """Return each text's words, from how many n-grams it has up to length n (as released)."""
    grams = np.asarray(block.sum(axis=1), np.int64).ravel()
    return (grams + n * (n - 1) // 2) // n


def _by_target(
    blocks: Iterable[sparse.csr_matrix], buckets: int, targets: Sequence[Any] | None
) -> tuple[list[Any], list[NDArray[np.float64]]]:
    """Return the targets' labels, and how often each counts each bucket."""
    if targets is None:
        return [None], [_totals(blocks, buckets)[0]]
    labels = list(targets)
    names = list(dict.fromkeys(labels))
    totals = {name: np.zeros(buckets) for name in names}
    done = 0
    for block in blocks:
        own = labels[done : done + block.shape[0]]
        for name in dict.fromkeys(own):
            some = block[[row for row, label in enumerate(own) if label == name]]
            totals[name] += np.asarray(some.sum(axis=0), np.float64).ravel()
        done += block.shape[0]
    if done != len(labels):
        raise ValueError(f"targets: {len(labels)} labels for {done} examples; expected one each")
    return names, list(totals.values())


def _shares(
    names: list[Any], totals: list[NDArray[np.float64]], shares: Mapping[Any, float] | None
) -> NDArray[np.float64]:
    """Return each target's share of what is drawn."""
    if shares is None:
        given = np.array([total.sum() for total in totals])
    else:
        if set(shares) != set(names):
            raise ValueError(f"shares: they name {list(shares)}, and the targets are {names}")
        given = np.array([float(shares[name]) for name in names])
    if not (np.isfinite(given).all() and (given >= 0).all() and given.sum() > 0):
        raise ValueError(f"shares: expected numbers of at least 0, one above it; got {given.tolist()}")
    parts: NDArray[np.float64] = given / given.sum()
    return parts
