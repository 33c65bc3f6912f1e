"""Catalogs with labels: items of a games shop with what was bought next, and books."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent


def games(
    folder: Path, dim: int = 64, train: float = 0.95, seed: int = 0
) -> tuple[NDArray, NDArray, NDArray]:
    """Return vectors, qualities and labels of the games shop's items, or raise FileNotFoundError.

    Most users (drawn from the seed) give vectors and qualities: a truncated SVD of the positive
    pointwise mutual information of items in one history, and the logarithm of an item's count, both of
    histories alone. An item's label is whether any of the other users bought it next (the held-out target).
    Items without a vector (in no history of theirs) are left out.
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
    labels = np.zeros(count)
    labels[[int(target) for target, on in zip(targets, draw, strict=True) if not on]] = 1.0
    known = np.linalg.norm(vectors, axis=1) > 1e-9
    quality = np.log1p(times[known])
    return vectors[known].astype(np.float32), quality / quality.max(), labels[known]


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
