"""Drop near-duplicates from a repository before selecting from it: one row of each group is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.centers import ROWS_A_CLUSTER
from setwise.cluster import Clusters, k_means, rows_of_parts
from setwise.finetuning.copies import lowest_copies
from setwise.finetuning.distribution import Distribution
from setwise.threads import thread_count
from setwise.vectors import Vectors

KEEP = ("far", "near", "first")

#: Up to so many rows all pairs are compared by default, so that no pair is lost to a cluster's border.
ALL_PAIRS = 20_000

#: Rows that are compared with each other, or with as many kept ones, at once.
_BLOCK = 1024


@dataclass(frozen=True, repr=False)
class Deduplicated:
    """Which rows were kept, and for every row which kept row stands for it.

    Attributes
    ----------
    kept : ndarray of shape (s,), int64
        Ascending.
    representative : ndarray of shape (n,), int64
        A kept row is its own. The others are exact copies of theirs, or more similar to it than
        the threshold.
    exact : int
        Rows dropped as exact copies.
    """

    kept: NDArray[np.int64]
    representative: NDArray[np.int64]
    exact: int

    @property
    def groups(self) -> list[NDArray[np.int64]]:
        """The rows of each group of more than one, the kept row first, the others ascending."""
        slots = np.searchsorted(self.kept, self.representative).astype(np.int32)
        sizes = np.bincount(slots, minlength=len(self.kept))
        order = np.argsort(slots, kind="stable")
        stops = np.cumsum(sizes)
        found = []
        for slot in np.flatnonzero(sizes > 1).tolist():
            rows = order[stops[slot] - sizes[slot] : stops[slot]]
            own = self.kept[slot]
            found.append(np.concatenate([[own], rows[rows != own]]))
        return found

    def restore(self, distribution: Distribution) -> Distribution:
        """Return a distribution over the kept rows (``vectors[kept]``) as one over all rows.

        Raises ValueError: it is not over as many rows as were kept.
        """
        if distribution.n != len(self.kept):
            raise ValueError(
                f"distribution: over {distribution.n} rows, {len(self.kept)} were kept; match vectors[kept]"
            )
        rows = self.kept[distribution.indices]
        return Distribution(rows, distribution.probabilities, len(self.representative))

    def __repr__(self) -> str:
        n = len(self.representative)
        return (
            f"{type(self).__name__}(kept {len(self.kept):,} of {n:,} rows; dropped {self.exact:,} exact "
            f"and {n - len(self.kept) - self.exact:,} near copies)"
        )


def deduplicate(
    vectors: Any,
    *,
    eps: float = 0.05,
    clusters: int | None = None,
    keep: str = "far",
    seed: int = 0,
    threads: int | None = None,
) -> Deduplicated:
    """Keep one of each group of near-duplicates: pairs of cosine above 1 - eps (after SemDeDup).

    Exact copies are found by a hash of every row, wherever they are; the lowest row of them goes on. The
    rest is parted by k-means, and within a cluster, rows are visited in the order of ``keep``: a row is
    dropped if a row that was kept is more similar to it than 1 - eps. So no two kept rows of a cluster are
    near-duplicates, and every dropped row has a kept one that close. (SemDeDup's code drops a row for any
    earlier row, dropped or not; along a chain of near-duplicates nothing close to the last may be left.)

    Near-duplicates on the two sides of a cluster's border are not found; fewer clusters find more and
    take longer: O(n d (clusters + n / clusters)) for clusters of even size. Beside the vectors, memory is
    O(n) and a block of rows.

    Parameters
    ----------
    vectors : array-like of shape (n, d)
        A memory map is not read whole.
    eps : float
        In [0, 1]; 0 drops exact copies alone.
    clusters : int, optional
        1 to n. By default 1 (all pairs) up to 20,000 rows, else the root of n.
    keep : {"far", "near", "first"}
        Which row of a group: the one farthest from its cluster's centroid (SemDeDup's choice), the one
        nearest to it, or the lowest.
    seed : int
        Of k-means.
    threads : int, optional

    Returns
    -------
    Deduplicated

    Raises
    ------
    TypeError
        Vectors or a parameter are no numbers.
    ValueError
        A row has NaN or is zero, a parameter is outside its range, or ``keep`` is unknown.

    References
    ----------
    Abbas et al., SemDeDup: Data-efficient learning at web-scale through semantic deduplication, 2023,
    section 3.
    """
    rows = Vectors(vectors, "cosine", workers=thread_count(threads))
    checks.fraction("eps", eps, "pairs of cosine above 1 - eps go")
    checks.choice("keep", keep, KEEP)
    seed = checks.integer("seed", seed, least=0)
    if clusters is not None:
        clusters = checks.integer("clusters", clusters, least=1, most=rows.n)
    representative = _exact_copies(rows)
    distinct = np.flatnonzero(representative == np.arange(rows.n))
    exact = rows.n - len(distinct)
    if eps > 0.0 and len(distinct) > 1:
        count = clusters or (1 if len(distinct) <= ALL_PAIRS else round(len(distinct) ** 0.5))
        labels, away = _parted(rows, distinct, min(count, len(distinct)), seed)
        key = {"far": -away, "near": away, "first": np.zeros(len(distinct))}[keep]
        for part in rows_of_parts(labels, int(labels.max()) + 1):
            order = distinct[part[np.argsort(key[part], kind="stable")]]
            representative[order] = _leaders(rows, order, 1.0 - eps)
        representative = representative[representative]
    kept = np.flatnonzero(representative == np.arange(rows.n))
    return Deduplicated(kept, representative, exact)


def _exact_copies(rows: Vectors) -> NDArray[np.int64]:
    """Return, for every row, the lowest row of the same values."""
    step = max(1, (1 << 18) // rows.d)
    blocks = ((start, rows.raw[start : start + step]) for start in range(0, rows.n, step))
    return lowest_copies(blocks, lambda ids: rows.raw[ids], rows.n, rows.d)


def _parted(
    rows: Vectors, distinct: NDArray[np.int64], count: int, seed: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return each distinct row's cluster, and its distance to the centroid.

    k-means learns from distinct rows alone: copies would draw centroids to themselves.
    """
    rng = np.random.default_rng(seed)
    size = min(len(distinct), ROWS_A_CLUSTER * count)
    learned = distinct if size == len(distinct) else np.sort(rng.choice(distinct, size, replace=False))
    centers: Clusters = k_means(Vectors(rows.rows(learned), "cosine"), count, seed=seed)
    labels = np.empty(len(distinct), np.int32)
    away = np.empty(len(distinct))
    step = max(1, (1 << 22) // rows.d)
    for start in range(0, len(distinct), step):
        stop = start + step
        block = rows.rows(distinct[start:stop])
        labels[start:stop], away[start:stop] = centers.assign(block)
    return labels, away


def _leaders(rows: Vectors, order: NDArray[np.int64], threshold: float) -> NDArray[np.int64]:
    """Return, for every row of a cluster, the earlier kept row more similar than the threshold, or itself.

    Of several such rows the most similar one. Compares blocks of rows with blocks of kept ones.
    """
    leader, threshold = order.copy(), np.float64(threshold)  # a Python float would be rounded to float32
    kept = np.empty(0, np.int64)
    for start in range(0, len(order), _BLOCK):
        ids = order[start : start + _BLOCK]
        block = rows.rows(ids)
        best = np.full(len(ids), threshold, np.float64)
        chosen = np.full(len(ids), -1, np.int64)
        for a in range(0, len(kept), _BLOCK):
            earlier = kept[a : a + _BLOCK]
            _improve(best, chosen, block @ rows.rows(earlier).T, earlier)
        within = block @ block.T
        free = chosen < 0
        for one in np.flatnonzero(free & (np.tril(within, -1) > threshold).any(axis=1)).tolist():
            before = np.flatnonzero(free[:one])
            _improve(best[one : one + 1], chosen[one : one + 1], within[one : one + 1, before], ids[before])
            free[one] = chosen[one] < 0
        leader[start : start + len(ids)] = np.where(chosen < 0, ids, chosen)
        kept = np.concatenate([kept, ids[chosen < 0]])
    return leader


def _improve(
    best: NDArray[np.float64], chosen: NDArray[np.int64], products: NDArray[Any], earlier: NDArray[np.int64]
) -> None:
    """Take over, in place, the most similar of some earlier rows where it beats the best so far."""
    if not products.shape[1]:
        return
    place = products.argmax(axis=1)
    found = products[np.arange(len(place)), place]
    better = found > best
    best[better] = found[better]
    chosen[better] = earlier[place[better]]
