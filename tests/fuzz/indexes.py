"""Random retrievals over indexes of every kind, against every set there is.

    python -m tests.fuzz.indexes SECONDS [SEED]

Few vectors, and pools of fewer, so that what is unseen is bounded and not searched. A case is made of its
seed alone.
"""

from __future__ import annotations

import sys
import warnings
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import setwise
from fuzz.outcomes import Outcome, run_all
from reference.brute import best_subset
from setwise.index import Found, Index

KINDS = ("float64", "float32", "float16", "mine", "hides", "Flat", "IVF2,Flat", "IDMap,Flat", "HNSW4")
GEOMETRIES = ("spread", "cone", "tight", "tight", "tight", "duplicates", "scaled", "grid", "offset")

#: How far a bound may lie below the best value, relative to the terms of the sum: single precision.
SLACK = 2e-6


class Mine(Index):
    """A user's own exact index, in single precision."""

    exact = True

    def __init__(self, X, metric):
        self.X, self.metric, self.dim = X, metric, X.shape[1]

    @property
    def size(self):
        return len(self.X)

    def search(self, queries, k, *, filter=None, exclude=()):
        found = self.fetch(queries, k, exclude=exclude)
        scores, ids = np.full((len(queries), k), -np.inf), np.full((len(queries), k), -1)
        for row, one in enumerate(found):
            scores[row, : len(one)], ids[row, : len(one)] = one.scores, one.ids
        return scores, ids

    def fetch(self, queries, k, *, filter=None, exclude=()):
        rows = np.setdiff1d(np.arange(len(self.X)), exclude)
        found = []
        for query in queries.astype(np.float32):
            if self.metric == "cosine":
                scores = self.X[rows] @ query / np.linalg.norm(self.X[rows], axis=1)
            else:
                scores = -np.linalg.norm(self.X[rows] - query, axis=1)
            best = np.argsort(-scores, kind="stable")[:k]
            found.append(Found(rows[best], scores[best].astype(np.float64), self.X[rows[best]]))
        return found

    def vectors(self, ids):
        return self.X[np.asarray(ids, int)]


class Hides(Mine):
    """One that says it is exact, and hides rows, or says that what it leaves out scores nothing."""

    def __init__(self, X, metric, rng):
        super().__init__(X, metric)
        self.hidden = rng.choice(len(X), rng.integers(0, 3), replace=False)
        self.shows, self.floor = rng.random() < 0.5, -2.0 if rng.random() < 0.3 else None

    def fetch(self, queries, k, *, filter=None, exclude=()):
        found = super().fetch(queries, k, exclude=[*exclude, *self.hidden])
        return [replace(one, floor=self.floor) for one in found]

    def sample(self, count=4096):
        rows = np.arange(len(self.X))
        return Found(rows, np.zeros(len(rows)), self.X) if self.shows else None


def shaped(rng, n, d):
    """Vectors of one of the geometries, float32."""
    X = rng.standard_normal((n, d))
    geometry = rng.choice(GEOMETRIES)
    if geometry == "cone":
        X = 0.3 * X + 2 * rng.standard_normal(d)
    elif geometry == "tight":
        X = rng.standard_normal(d) + 10.0 ** rng.uniform(-5, -1) * X
    elif geometry == "duplicates":
        X = X[rng.integers(0, max(2, n // 2), n)]
    elif geometry == "scaled":
        X = X * 10.0 ** rng.uniform(-4, 4, (n, 1))
    elif geometry == "grid":
        X = np.round(2 * X)
        X[~X.any(axis=1)] = 1
    elif geometry == "offset":
        X = X + 10.0 ** rng.integers(0, 5)
    return X.astype(np.float32)


def indexed(rng, kind, X, metric):
    """An index of the rows, and what it holds in float64."""
    if kind == "mine":
        return Mine(X, metric), X
    if kind == "hides":
        return Hides(X, metric, rng), X
    if kind == "float16":
        X = (X / np.abs(X).max()).astype(np.float16)
        X[~X.any(axis=1)] = 1
    if kind.startswith("float"):
        return Index.from_array(X.astype(kind), metric=metric), X
    import faiss

    if metric == "cosine":
        X = X / np.linalg.norm(X, axis=1, keepdims=True)
        X = (X * rng.uniform(1 - 9e-4, 1 + 9e-4, (len(X), 1))).astype(np.float32)
    by = faiss.METRIC_L2 if metric == "euclidean" or rng.random() < 0.5 else faiss.METRIC_INNER_PRODUCT
    index = faiss.index_factory(X.shape[1], kind, by)
    if kind.startswith("IVF"):
        index.cp.min_points_per_centroid = 1
        index.nprobe = 2
    index.train(X)
    if kind.startswith("IDMap"):
        index.add_with_ids(X, np.arange(len(X)))
    else:
        index.add(X)
    return Index.from_faiss(index, metric=metric), X


def run(seed) -> Outcome | None:
    """Retrieve once; None where no set keeps the constraints."""
    rng = np.random.default_rng(seed)
    n, d, k = int(rng.integers(5, 14)), int(rng.choice([2, 3, 6, 20])), int(rng.integers(1, 5))
    metric, kind = str(rng.choice(["cosine", "euclidean"])), str(rng.choice(KINDS))
    index, X = indexed(rng, kind, shaped(rng, n, d), metric)
    held = X.astype(np.float64)
    query = (
        held[rng.integers(n)] + rng.choice([0, 1e-3, 0.3, 3]) * rng.standard_normal(d) * np.abs(held).mean()
    )
    if metric == "cosine":
        relevance = held @ query / np.linalg.norm(held, axis=1) / np.linalg.norm(query)
    else:
        relevance = -np.linalg.norm(held - query, axis=1)
    t = float(rng.choice([0, 0, 0.01, 0.05, 0.2, 0.5, 0.8, 1.0]))
    sharpness = int(rng.choice([1, 1, 2, 8])) if metric == "cosine" else 1
    order = rng.permutation(n)
    include = order[: rng.integers(0, k + 1)].tolist() if rng.random() < 0.3 else []
    exclude = order[k : k + rng.integers(0, 3)].tolist() if rng.random() < 0.3 else []
    groups = rng.integers(0, 3, n) if rng.random() < 0.3 else np.arange(n)
    most = int(rng.integers(1, 4))
    pool = [None, None, k, k + 2][rng.integers(4)]
    left = np.setdiff1d(np.arange(n), exclude)
    places = {row: place for place, row in enumerate(left.tolist())}
    try:
        best, _ = best_subset(
            held[left],
            relevance[left],
            k,
            t,
            sharpness,
            metric,
            include=[places[row] for row in include],
            groups=groups[left],
            max_per_group=most,
        )
    except ValueError:
        return None
    case = f"{kind} {metric} n={n} d={d} k={k} t={t} sharpness={sharpness} pool={pool}"
    small = {
        "ask.FIRST": 5,
        "ask.TIMES": 1,
        "plan.GROWTH": 2,
        "plan.SPARE": 1,
        "plan.WIDE": 3,
        "plan.WIDER": 4,
    }
    with ExitStack() as stack:
        for name, value in small.items():
            stack.enter_context(patch(f"setwise.retrieval.{name}", value))
        stack.enter_context(patch("setwise.index.local.RowIndex.sample", lambda self, count=0: None))
        if kind != "hides":
            stack.enter_context(patch("setwise.retrieval.call.is_known", lambda index: True))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        try:
            hits = setwise.retrieve(
                query,
                index,
                k,
                diversity=t,
                sharpness=sharpness,
                pool="auto" if pool is None else pool,
                include=include,
                exclude=exclude,
                groups=groups,
                max_per_group=most,
                certify=[True, "full"][rng.integers(2)],
            )
        except ValueError as error:
            if pool is not None and "max_per_group" in str(error):  # too few of them in the pool asked for
                return None
            found_out = kind == "hides" and "says that its searches are exact" in str(error)
            return Outcome(False, False, "" if found_out else f"{case}: {error}")
    told = hits.certificate
    spread = 1.0 if metric == "cosine" else np.linalg.norm(held[:, None] - held, axis=2).max()
    slack = SLACK * ((1 - t) * np.abs(relevance).max() + t * spread)
    if told.scope == "all" and told.upper_bound is not None and told.upper_bound < best - slack:
        return Outcome(True, told.optimal, f"{case}: bound {told.upper_bound} is below {best}")
    if told.scope == "all" and told.optimal and hits.value < best - slack:
        return Outcome(True, True, f"{case}: {hits.value} is called best, {best} is possible")
    return Outcome(told.upper_bound is not None, told.optimal, "")


if __name__ == "__main__":
    run_all(run, "retrievals")
