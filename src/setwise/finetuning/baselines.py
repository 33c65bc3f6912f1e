"""What a matched distribution is measured against: random, influence, importance, neighbors, transport.

Every baseline returns a `Distribution`, so all are sampled, repeated over epochs and written alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.finetuning.distribution import Chosen, Distribution
from setwise.finetuning.importance import Importance, dsir, dsir_counts, log_ratio
from setwise.finetuning.unbalanced import uot
from setwise.index.array import ArrayIndex
from setwise.index.base import Index
from setwise.limits import as_labels, codes_of
from setwise.threads import thread_count
from setwise.top import top_k
from setwise.vectors import Vectors

__all__ = [
    "Importance",
    "doubly_greedy",
    "dsir",
    "dsir_counts",
    "less",
    "log_ratio",
    "nearest",
    "random",
    "uot",
]

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
) -> Chosen:
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
    Chosen
        Uniform over the chosen rows.

    Raises TypeError: features are no numbers, or ``rows`` is no integer; ValueError: features have NaN, a
    zero row or different widths; ``rows`` is below 1 or above n; there are not as many labels as examples.

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
    return Chosen.of(near[top_k(scores, rows)], train.n)


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
    names, member = codes_of(as_labels(subtasks, examples.n, "subtasks"))
    return np.stack([unit[member == one].mean(axis=0) for one in range(len(names))])


# ---------------------------------------------------------------------- nearest neighbors


def doubly_greedy(candidates: Any, examples: Any, rows: int, *, threads: int | None = None) -> Chosen:
    """Choose the rows that are most similar to any one example.

    Without turns: an example that many rows are near to may take them all. It is `less` with every example
    as a subtask of its own.

    Parameters
    ----------
    candidates : array-like of shape (n, d)
    examples : array-like of shape (m, d)
    rows : int
        1 to n. Ties by lowest row.
    threads : int, optional

    Returns
    -------
    Chosen
        Uniform over the chosen rows.

    Raises TypeError, ValueError: as `less`.

    References
    ----------
    A critical look at targeted instruction selection: disentangling what matters (and what doesn't),
    arXiv 2602.14696, 2026.
    """
    probes = Vectors(examples, "cosine", name="examples")
    with checks.renamed(train_features="candidates", example_features="examples"):
        return less(candidates, examples, rows, subtasks=range(probes.n), threads=threads)


def nearest(
    candidates: Any, examples: Any, rows: int, *, metric: str = "cosine", threads: int | None = None
) -> Chosen:
    """Let the examples choose in turns, each the nearest row that is not taken, until there are ``rows``.

    Round robin in the order of the examples, as RDS+ has it (Ivison et al., Large-scale data selection for
    instruction tuning, 2025): an example whose nearest row is taken takes the next one in the same turn,
    where RDS+'s code lets the turn pass.

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
    Chosen
        Uniform over the chosen rows.

    Raises TypeError: vectors or ``rows`` are no numbers, or the index knows its vectors by names; ValueError:
    vectors have NaN or different widths, or a zero row under cosine; ``rows`` is below 1 or above n; or the
    index finds fewer.
    """
    index = candidates if isinstance(candidates, Index) else None
    if index is None:
        with checks.renamed(vectors="candidates"):
            index = ArrayIndex(candidates, metric=metric, threads=threads)
    probes = Vectors(examples, index.metric, name="examples")
    if probes.d != index.dim:
        raise ValueError(f"examples: {probes.d} wide where the candidates are {index.dim}")
    n = len(index)
    rows = checks.integer("rows", rows, least=1, most=n)
    unit = np.asarray(probes.rows(slice(None), np.float64), np.float64)
    depth = min(n, 2 * -(-rows // probes.n) + 8)
    while True:
        found = _in_turns(_neighbors(index, unit, depth), rows, whole=depth == n)
        if found is not None:
            break
        depth = min(n, 2 * depth)
    if len(found) < rows:
        raise ValueError(
            f"rows: the index finds {len(found)} different rows in all, {rows} are asked for; "
            "search it more widely, or pass the array"
        )
    return Chosen.of(found, n)


def _neighbors(index: Index, probes: NDArray[np.float64], depth: int) -> NDArray[np.int64]:
    """Return every example's neighbors down to a depth, nearest first, -1 for none."""
    step = max(1, _SCORES // len(index))
    batches = [index.search(probes[start : start + step], depth)[1] for start in range(0, len(probes), step)]
    found = np.concatenate(batches)
    if found.dtype.kind != "i":
        raise TypeError("candidates: the index knows its vectors by names; rows need numbers 0 to n - 1")
    if found.size and found.max() >= len(index):
        raise ValueError(f"candidates: the index has an id {found.max()} above its {len(index)} rows")
    return found


def _in_turns(neighbors: NDArray[np.int64], rows: int, *, whole: bool) -> NDArray[np.int64] | None:
    """Return the rows that the examples choose in turns; None where some would have to look deeper.

    With `whole` lists, an example that has come to the end of its own is passed over.
    """
    taken: dict[int, None] = {}
    lists = [iter(own) for own in neighbors.tolist()]
    while lists and len(taken) < rows:
        left = []
        for own in lists:
            row = next((row for row in own if row >= 0 and row not in taken), None)
            if row is not None:
                taken[row] = None
                left.append(own)
                if len(taken) == rows:
                    break
            elif not whole:
                return None
        lists = left
    return np.array(list(taken), np.int64)
