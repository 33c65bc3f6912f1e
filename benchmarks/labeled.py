"""Catalogs with labels: items of a games shop with what was bought next, and books."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, eq=False)
class Shop:
    """A catalog of items with what held-out users bought.

    Attributes
    ----------
    vectors : ndarray of shape (n, d), float32
    quality : ndarray of shape (n,), float64
        In [0, 1].
    titles : list of str
    later : list of ndarray of int64
        What each held-out user bought, in time order, as rows; the last is the set's held-out target.
    """

    vectors: NDArray
    quality: NDArray
    titles: list[str]
    later: list[NDArray]

    def bought(self, steps: int = 1, users: Iterable[int] | None = None) -> NDArray:
        """Return whether any held-out user bought each item among their last purchases."""
        labels = np.zeros(len(self.vectors))
        for user in range(len(self.later)) if users is None else users:
            labels[self.later[user][-steps:]] = 1.0
        return labels


def games(
    folder: Path, dim: int = 64, train: float = 0.95, seed: int = 0
) -> tuple[NDArray, NDArray, NDArray]:
    """Return vectors, qualities and labels of `shop`'s items: bought next by a held-out user."""
    found = shop(folder, dim, train, seed)
    return found.vectors, found.quality, found.bought()


def shop(folder: Path, dim: int = 64, train: float = 0.95, seed: int = 0) -> Shop:
    """Return the games shop's items, or raise FileNotFoundError.

    Most users (drawn from the seed) give vectors and qualities: a truncated SVD of the positive
    pointwise mutual information of items in one history, and the logarithm of an item's count, both of
    histories alone. Items without a vector (in no history of theirs) are left out, from what the other users
    bought too.
    """
    import pyarrow.parquet as parquet
    from scipy import sparse
    from sklearn.utils.extmath import randomized_svd

    path = folder / "games6k" / "sequences.parquet"
    if not path.exists():
        raise FileNotFoundError(path)
    table = parquet.read_table(path).to_pydict()
    histories, targets = table[_named(table, "history")], table[_named(table, "target")]
    count = 1 + max(max(map(int, history), default=0) for history in histories)
    count = max(count, 1 + max(map(int, targets)))
    draw = np.random.default_rng(seed).random(len(histories)) < train
    users = [
        np.unique(np.asarray(history, np.int64)) for history, on in zip(histories, draw, strict=True) if on
    ]
    columns = np.concatenate(users)
    rows = np.repeat(np.arange(len(users)), [len(user) for user in users])
    seen = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), (len(users), count))
    both = (seen.T @ seen).tocoo()
    times = np.asarray(seen.sum(axis=0)).ravel()
    keep = both.row != both.col
    a, b, together = both.row[keep], both.col[keep], both.data[keep]
    information = np.maximum(np.log(together * len(users) / (times[a] * times[b])), 0.0)
    matrix = sparse.csr_matrix((information, (a, b)), (count, count))
    left, strength, _ = randomized_svd(matrix, dim, random_state=seed)
    vectors = left * np.sqrt(strength)
    known = np.linalg.norm(vectors, axis=1) > 1e-9
    row = np.where(known, np.cumsum(known) - 1, -1)
    bought = (
        row[np.array([*history, target], np.int64)]
        for history, target, on in zip(histories, targets, draw, strict=True)
        if not on
    )
    named = parquet.read_table(folder / "games6k" / "items.parquet").to_pydict()
    title = dict(zip(named["item_id"], named["title"], strict=True))
    quality = np.log1p(times[known])
    return Shop(
        vectors[known].astype(np.float32),
        quality / quality.max(),
        [title.get(item, "") for item in np.flatnonzero(known).tolist()],
        [each[each >= 0] for each in bought],
    )


def books(folder: Path) -> tuple[NDArray, NDArray]:
    """Return vectors (of title and authors) and qualities (ratings, doubted where few) of books."""
    import csv

    from setwise.encode import encoder

    path = folder / "goodbooks" / "books.csv"
    if not path.exists():
        raise FileNotFoundError(path)
    with path.open(encoding="utf-8", newline="") as lines:
        table = list(csv.DictReader(lines))
    texts = [f"{row['title']} {row['authors']}" for row in table]
    model = encoder("lsa")
    model.fit(texts)
    vectors = np.asarray(model.encode(texts), np.float32)
    rating = np.array([float(row["average_rating"]) for row in table])
    votes = np.array([float(row["ratings_count"]) for row in table])
    quality = (rating * votes + rating.mean() * np.median(votes)) / (votes + np.median(votes))
    known = np.linalg.norm(vectors, axis=1) > 1e-9
    quality = (quality - quality.min()) / np.ptp(quality)
    return vectors[known], quality[known]


def _named(table: dict[str, list], part: str) -> str:
    """Return the column whose name holds a word."""
    return next(name for name in table if part in name)
