"""Choose between diversities by a validation set: train a small model on a sample of each, and score it.

    python -m benchmarks.finetune_surrogate [--rows 400] [--seeds 3]

For texts the model is an n-gram language model, for labeled vectors a logistic regression. Both train in
seconds; what they rank first is a guess at what a large model would, not a proof of it. Printed is, for two
targets, the perplexity on a validation set that the choice is made by, and on held-out texts that it does not
see.
"""

from __future__ import annotations

import argparse
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.containers import as_matrix
from setwise.extras import needs
from setwise.finetuning.distribution import Distribution

#: Words, and runs of marks.
_WORD = re.compile(r"\w+|[^\w\s]+")

Ids = NDArray[np.int64]


# ---------------------------------------------------------------------- the language model


class Words:
    """Texts as numbers of hashed words, the same for every model that is to be compared.

    Parameters
    ----------
    buckets : int
        Words are lower-cased and hashed into so many (CRC-32 modulo ``buckets``). Two more numbers stand for
        the end of a text and for what comes before its beginning.
    """

    def __init__(self, buckets: int = 1 << 18) -> None:
        self.buckets = checks.integer("buckets", buckets, least=1, most=(1 << 20) - 2)
        self.end, self.start = self.buckets, self.buckets + 1
        self._numbers: dict[str, int] = {}

    def encode(self, texts: Iterable[str]) -> list[Ids]:
        """Return the numbers of each text's words, the end included."""
        numbers, found = self._numbers, []
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"texts: row {row} is {type(text).__name__}, not a text")
            ids = []
            for word in _WORD.findall(text.lower()):
                number = numbers.get(word)
                if number is None:
                    number = numbers[word] = zlib.crc32(word.encode("utf-8", "surrogatepass")) % self.buckets
                ids.append(number)
            ids.append(self.end)
            found.append(np.array(ids, np.int64))
        return found


class LanguageModel:
    """An n-gram language model with interpolated absolute discounting.

    p(w | h) = max(c(h w) - D, 0) / c(h) + D T(h) / c(h) · p(w | h'), where c counts, T(h) is the number of
    different words seen after the context h, and h' is h without its first word; below single words lies the
    uniform distribution over all words and the end of a text. The probabilities of all words sum to 1.

    Parameters
    ----------
    words : Words
        What the texts were encoded with.
    texts : sequence of ndarray of int64
        To learn from, as `Words.encode` returns them; a text that is given twice counts twice.
    order : {1, 2, 3}
        Longest n-gram.
    discount : float
        D, in (0, 1).

    Raises
    ------
    ValueError
        No texts, or a parameter outside its range.

    References
    ----------
    Ney, Essen and Kneser, On structuring probabilistic dependences in stochastic language modelling, 1994.
    """

    def __init__(self, words: Words, texts: Sequence[Ids], *, order: int = 3, discount: float = 0.75) -> None:
        self.words = words
        self.order = checks.integer("order", order, least=1, most=3)
        if not 0.0 < discount < 1.0:
            raise ValueError(f"discount: expected a number between 0 and 1, got {discount}")
        if not len(texts):
            raise ValueError("texts: there is none to learn from")
        self.discount = discount
        grams = self._grams(texts)
        self._levels = [_Level(grams, size, words.buckets + 2) for size in range(1, self.order + 1)]

    def log_probabilities(self, texts: Sequence[Ids]) -> NDArray[np.float64]:
        """Return the natural logarithm of every word's probability, of all texts in a row."""
        grams = self._grams(texts)
        p = np.full(len(grams), 1.0 / (self.words.buckets + 1))
        for level in self._levels:
            p = level.interpolate(grams, p, self.discount)
        return np.asarray(np.log(p), np.float64)

    def perplexity(self, texts: Sequence[Ids]) -> float:
        """Return the perplexity per word (the ends of texts included) of at least one text."""
        return float(np.exp(-self.log_probabilities(texts).mean()))

    def _grams(self, texts: Sequence[Ids]) -> Ids:
        """Return every word with what precedes it, shape (words, order); the word itself comes last."""
        before = np.full(self.order - 1, self.words.start, np.int64)
        padded = np.concatenate([part for text in texts for part in (before, text)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.order)
        found: Ids = windows[windows[:, -1] != self.words.start]
        return found


class _Level:
    """Counts of the n-grams of one size, as sorted keys."""

    def __init__(self, grams: Ids, size: int, radix: int) -> None:
        self.size, self.radix = size, radix
        self.keys, self.counts = np.unique(self._key(grams), return_counts=True)
        contexts = self.keys // radix
        self.contexts, first = np.unique(contexts, return_index=True)
        self.totals = np.add.reduceat(self.counts, first)
        self.different = np.diff(np.append(first, len(contexts)))

    def _key(self, grams: Ids) -> Ids:
        """Return a number for each n-gram: its words as the digits; below 2^63 for three of 2^20 words."""
        key = np.zeros(len(grams), np.int64)
        for column in range(grams.shape[1] - self.size, grams.shape[1]):
            key = key * self.radix + grams[:, column]
        return key

    def interpolate(self, grams: Ids, lower: NDArray[np.float64], discount: float) -> NDArray[np.float64]:
        """Return the words' probabilities, given those after contexts shorter by a word."""
        keys = self._key(grams)
        place, seen = _look_up(self.contexts, keys // self.radix)
        total, different = self.totals[place], self.different[place]
        at, known = _look_up(self.keys, keys)
        count = np.where(known, self.counts[at] - discount, 0.0)
        return np.where(seen, (count + discount * different * lower) / total, lower)


def _look_up(table: Ids, keys: Ids) -> tuple[Ids, NDArray[np.bool_]]:
    """Return the place of each key in a sorted table, and whether it is there."""
    place = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    return place, table[place] == keys


# ---------------------------------------------------------------------- the choice


@dataclass(frozen=True, repr=False)
class Choice:
    """How the surrogate trained on each distribution did on the validation set.

    Attributes
    ----------
    names : tuple of str, one a distribution
    scores : ndarray of shape (distributions, seeds), float64
    measure : {"perplexity", "macro F1"}
        Low perplexity is good, high F1 is.
    """

    names: tuple[str, ...]
    scores: NDArray[np.float64]
    measure: str

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean score of each distribution, shape (distributions,)."""
        return np.asarray(self.scores.mean(axis=1))

    @property
    def error(self) -> NDArray[np.float64]:
        """Standard error of each mean, shape (distributions,)."""
        return np.asarray(self.scores.std(axis=1, ddof=1) / np.sqrt(self.scores.shape[1]))

    @property
    def best(self) -> int:
        """Number of the distribution with the best mean; ties by lowest."""
        return int(self.mean.argmin() if self.measure == "perplexity" else self.mean.argmax())

    @property
    def tied(self) -> tuple[int, ...]:
        """Numbers of those, the best included, whose difference from it chance explains.

        That is a two-sided t-test at 5 % of each against the best, not corrected for how many there are.
        """
        from scipy import stats

        apart = np.abs(self.mean - self.mean[self.best])
        freedom = 2 * (self.scores.shape[1] - 1)
        limit = stats.t.ppf(0.975, freedom) * np.hypot(self.error, self.error[self.best])
        return tuple(np.flatnonzero(apart <= limit).tolist())

    def __repr__(self) -> str:
        lines = [f"{self.measure} on the validation set, {self.scores.shape[1]} seeds"]
        for row, (name, mean, error) in enumerate(zip(self.names, self.mean, self.error, strict=True)):
            mark = "  best" if row == self.best else "  tied" if row in self.tied else ""
            lines.append(f"  {name}: {mean:.4g} ± {error:.2g}{mark}")
        return "\n".join(lines)


def choose(
    distributions: Sequence[Distribution] | Mapping[str, Distribution],
    candidates: Any,
    validation: Any,
    *,
    rows: int,
    seeds: int = 3,
    labels: Any = None,
    validation_labels: Any = None,
    replace: bool = True,
) -> Choice:
    """Score distributions, such as those of several diversities, by a model trained on a sample of each.

    Parameters
    ----------
    distributions : sequence of Distribution, or mapping of names to them
        Over the rows of ``candidates``.
    candidates : sequence of str, or array-like of shape (n, d)
        Texts: a `LanguageModel` learns from the sample; its perplexity on the validation texts is the
        score. Vectors, with ``labels``: a logistic regression; the score is its macro F1.
    validation : sequence of str, or array-like of shape (m, d)
        Held out: not the examples that the distributions were matched to.
    rows : int
        Rows of a sample; what the real training will take, or fewer.
    seeds : int
        Samples of each distribution, at least 2.
    labels, validation_labels : sequences of length n and m, optional
        Needed with vectors, and only then.
    replace : bool
        As for `Distribution.sample`.

    Returns
    -------
    Choice

    Raises
    ------
    TypeError, ValueError
        No distributions, one over another number of rows, an empty validation set, labels that are
        missing or do not fit, or a sample that cannot be drawn.
    """
    if isinstance(distributions, Mapping):
        names, given = tuple(map(str, distributions)), list(distributions.values())
    else:
        given = list(distributions)
        names = tuple(str(number) for number in range(len(given)))
    if not given:
        raise ValueError("distributions: there is none to choose from")
    rows = checks.integer("rows", rows, least=1)
    seeds = checks.integer("seeds", seeds, least=2)
    for name, one in zip(names, given, strict=True):
        if one.n != len(candidates):
            raise ValueError(
                f"distributions: {name!r} is over {one.n} rows, candidates has {len(candidates)}"
            )
    samples = [[one.sample(rows, seed=seed, replace=replace) for seed in range(seeds)] for one in given]
    if labels is None and validation_labels is None and _are_texts(candidates, "candidates"):
        if not _are_texts(validation, "validation"):
            raise TypeError("validation: expected texts, as candidates are")
        return Choice(names, _perplexities(samples, candidates, validation), "perplexity")
    if labels is None or validation_labels is None:
        raise ValueError("labels: vectors need labels and validation_labels; or pass texts")
    return Choice(names, _f1(samples, candidates, labels, validation, validation_labels), "macro F1")


def _are_texts(given: Any, name: str) -> bool:
    """Return whether the first of many is a text."""
    if isinstance(given, str | bytes):
        raise TypeError(f"{name}: expected many texts, got one; put it in a list")
    if len(given) == 0:
        raise ValueError(f"{name}: empty")
    return isinstance(given[0], str)


def _perplexities(
    samples: list[list[Ids]], candidates: Sequence[str], validation: Sequence[str]
) -> NDArray[np.float64]:
    """Return the perplexity of the validation texts after each sample."""
    words = Words()
    held = words.encode(validation)
    drawn = np.unique(np.concatenate([sample for of_one in samples for sample in of_one])).tolist()
    encoded = dict(zip(drawn, words.encode(candidates[row] for row in drawn), strict=True))

    def score(sample: Ids) -> float:
        return LanguageModel(words, [encoded[row] for row in sample.tolist()]).perplexity(held)

    return np.array([[score(sample) for sample in of_one] for of_one in samples])


def _f1(
    samples: list[list[Ids]], candidates: Any, labels: Any, validation: Any, validation_labels: Any
) -> NDArray[np.float64]:
    """Return the macro F1 on the validation rows after each sample."""
    X, V = as_matrix(candidates, "candidates"), as_matrix(validation, "validation")
    if X.shape[1] != V.shape[1]:
        raise ValueError(f"validation: {V.shape[1]} wide where candidates are {X.shape[1]}")
    y, truth = (
        _as_labels(labels, len(X), "labels"),
        _as_labels(validation_labels, len(V), "validation_labels"),
    )
    if not np.isfinite(V).all():
        raise ValueError("validation: NaN or infinite numbers; drop those rows")
    drawn = np.unique(np.concatenate([sample for of_one in samples for sample in of_one]))
    bad = drawn[~np.isfinite(X[drawn]).all(axis=1)]
    if len(bad):
        raise ValueError(f"candidates: row {bad[0]} has NaN or infinite numbers; drop it")
    return np.array([[f1_after(X[rows], y[rows], V, truth) for rows in of_one] for of_one in samples])


def _as_labels(given: Any, n: int, name: str) -> NDArray[Any]:
    found = np.asarray(given)
    if found.shape != (n,):
        raise ValueError(f"{name}: expected {n} labels, one a row; got shape {found.shape}")
    return found


def f1_after(train: NDArray[Any], labels: NDArray[Any], test: NDArray[Any], truth: NDArray[Any]) -> float:
    """Return the macro F1, over the classes of ``truth``, of a logistic regression.

    A class that the training rows lack counts 0; training rows of a single class predict that class.
    """
    with needs("text", "the surrogate"):
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import f1_score

    classes = np.unique(labels)
    if len(classes) == 1:
        guess = np.repeat(classes, len(test))
    else:
        guess = LogisticRegression(C=10.0, max_iter=1000).fit(train, labels).predict(test)
    return float(f1_score(truth, guess, labels=np.unique(truth), average="macro", zero_division=0))


# ---------------------------------------------------------------------- measured

DIVERSITIES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def main() -> None:
    """Print what each diversity gives on two targets."""
    from benchmarks import finetune_data as data
    from benchmarks import finetune_methods as methods
    from benchmarks.reporting import heading, table

    from setwise.encode.ngrams import counts
    from setwise.finetuning import sweep

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=400, help="rows of a sample")
    parser.add_argument("--seeds", type=int, default=3, help="samples of each diversity")
    parser.add_argument("--limit", type=int, default=20_000, help="rows of the repository")
    asked = parser.parse_args()
    heading()
    problem = data.instructions(asked.limit)
    counted = counts(problem.texts)
    targets = [one for one in problem.targets if one.name in ("GSM8K", "emotion")] or problem.targets[:2]
    for target in targets:
        pool = methods.pool_without(problem, counted, target.own)
        texts = [problem.texts[row] for row in pool.origin]
        half = len(target.held) // 2
        drawn = methods.draw(problem, target, 0)
        swept = sweep(pool.vectors, drawn.vectors, DIVERSITIES, scale=5.0, kernel_width=0.1, neighbors=5_000)
        choices = [
            choose(swept.matches, texts, held, rows=asked.rows, seeds=asked.seeds)
            for held in (target.held[:half], target.held[half:])
        ]
        lines = []
        for number, found in enumerate(swept):
            shown = [f"{one.mean[number]:,.0f} ± {one.error[number]:,.0f}" for one in choices]
            mark = " (best)" if number == choices[0].best else " (tied)" if number in choices[0].tied else ""
            lines.append([found.diversity, f"{found.neighborhoods.mean():,.0f}", shown[0] + mark, shown[1]])
        columns = ["diversity", "neighbors an example", "validation", "held out"]
        table(f"{target.name}: perplexity after {asked.rows} rows", columns, lines)


if __name__ == "__main__":
    main()
