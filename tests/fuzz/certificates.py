"""Random selections of every kind through every call, against every set there is.

    python -m tests.fuzz.certificates SECONDS [SEED]

What a selection says of itself is compared with numbers of more digits than it had: its value, its bound,
its gap, whether it is proven best, and what it had to keep. A case is made of its seed alone.
"""

from __future__ import annotations

import itertools
import sys
import traceback
import warnings
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import setwise
from fuzz.outcomes import Outcome, run_all
from reference.objectives import mmr_value
from setwise.index import Found, Index
from setwise.solvers import SOLVERS, solver_of

DTYPES = ("float64", "float64", "float32", "float32", "float16", "int8", ">f4", ">f8")
GEOMETRIES = (
    "spread", "clustered", "collinear", "duplicates", "close", "closer", "far", "meters", "lattice", "cone",
)  # fmt: skip
SCALES = (0, 0, 0, -6, 6, -18, 18, -100, 100, -320)
OFFSETS = (0.0, 0.0, 0.0, 1.0, 1e3, -1e6, 1e8, 1.7e9, -1.7e9, 1e13)
OBJECTIVES = ("max-sum", "max-sum", "max-sum", "coverage", "coverage", "mmr", "log-det")
DOORS = ("select", "select", "many", "pools", "array", "mine", "lossy", "diversify", "catalog")

Wide = np.longdouble
EPSILON = float(np.finfo(np.float64).eps)


class Mine(Index):
    """A user's own index, exact in float64."""

    exact = True

    def __init__(self, X, metric):
        self.X, self.metric, self.dim = X.astype(np.float64), metric, X.shape[1]

    @property
    def size(self):
        return len(self.X)

    def _scores(self, query):
        if self.metric == "cosine":
            lengths = np.linalg.norm(self.X, axis=1)
            return self.X @ query / lengths
        return -np.linalg.norm(self.X - query, axis=1)

    def search(self, queries, k, *, filter=None, exclude=()):
        found = self.fetch(queries, k, exclude=exclude)
        scores, ids = np.full((len(queries), k), -np.inf), np.full((len(queries), k), -1)
        for row, one in enumerate(found):
            scores[row, : len(one)], ids[row, : len(one)] = one.scores, one.ids
        return scores, ids

    def fetch(self, queries, k, *, filter=None, exclude=()):
        found = []
        for query in queries:
            rows = np.setdiff1d(self.reached(), exclude).astype(np.int64)
            scores = self._scores(query)[rows]
            best = np.argsort(-scores, kind="stable")[:k]
            found.append(Found(rows[best], scores[best], self.X[rows[best]]))
        return found

    def reached(self):
        return np.arange(len(self.X))

    def vectors(self, ids):
        return self.X[np.asarray(ids, int)]


class Lossy(Mine):
    """One that never finds every third vector, and says that it is not exact."""

    exact = False

    def reached(self):
        return np.flatnonzero(np.arange(len(self.X)) % 3 != 1)


@dataclass
class Case:
    """One call."""

    X: Any
    metric: str
    k: int
    t: float
    objective: str
    sharpness: int
    solver: str
    door: str
    certify: bool | str
    scale: str = "none"
    relevance: Any = None
    query: Any = None
    include: list[int] = field(default_factory=list)
    exclude: list[int] = field(default_factory=list)
    groups: Any = None
    most: int | None = None
    small: bool = False
    seed: int = 0
    geometry: str = ""

    def options(self, *names):
        """Return keywords of a call, those that say something."""
        given = {
            "diversity": self.t, "objective": self.objective, "sharpness": self.sharpness,
            "solver": self.solver, "metric": self.metric, "certify": self.certify, "seed": self.seed,
            "relevance_scale": self.scale, "include": self.include, "exclude": self.exclude,
        }  # fmt: skip
        if self.groups is not None:
            given |= {"groups": self.groups, "max_per_group": self.most}
        return {name: value for name, value in given.items() if name not in names}

    def __str__(self):
        wishes = [f"include={self.include}"] if self.include else []
        wishes += [f"exclude={self.exclude}"] if self.exclude else []
        wishes += [f"groups={self.groups.tolist()} most={self.most}"] if self.groups is not None else []
        told = "query" if self.query is not None else "neither" if self.relevance is None else "relevance"
        return (
            f"{self.door} {self.X.dtype} {self.geometry} n={len(self.X)} d={self.X.shape[1]} k={self.k} "
            f"t={self.t} {self.objective} {self.metric} sharpness={self.sharpness} {self.solver} {told} "
            f"{self.scale} certify={self.certify} {' '.join(wishes)}{' small pools' if self.small else ''}"
        )


def rows_of(rng, n, d, metric):
    """Vectors of one of the geometries in float64, and its name."""
    X = rng.standard_normal((n, d))
    geometry = str(rng.choice(GEOMETRIES))
    if geometry == "clustered":
        X = 3 * rng.standard_normal((3, d))[rng.integers(3, size=n)] + 0.1 * X
    elif geometry == "collinear":
        X = rng.standard_normal(d) * rng.choice([-1, 1, 2, 3, 0.5], (n, 1))
    elif geometry == "duplicates":
        X = X[rng.integers(max(2, n // 3), size=n)]
    elif geometry == "close":
        X = X[rng.integers(max(2, n // 3), size=n)] + 1e-7 * X
    elif geometry == "closer":
        X = X[rng.integers(2, size=n)] + 10.0 ** rng.uniform(-14, -3) * X
    elif geometry == "far":
        X = X + 10.0 ** rng.integers(1, 9)
    elif geometry == "meters":
        X = np.linspace(5e5, 5.2e6, d) + X * 10.0 ** rng.uniform(-3, 2)
    elif geometry == "lattice":
        X = np.round(X)
    elif geometry == "cone":
        X = 0.2 * X + 2 * rng.standard_normal(d)
    if geometry in ("spread", "lattice", "duplicates", "clustered"):
        power = int(rng.choice(SCALES))
        if metric == "cosine" and rng.random() < 0.3 and abs(power) < 20:
            X = X * 10.0 ** rng.uniform(-3, 3, (n, 1))
        X, geometry = X * 10.0**power if power > -300 else X * 1e-160 * 1e-160, f"{geometry} 1e{power}"
    return X, geometry


def stored(rng, X, metric):
    """The vectors as they are passed: of some dtype and some strides."""
    dtype = np.dtype(str(rng.choice(DTYPES)))
    with np.errstate(over="ignore", under="ignore"):
        largest = np.abs(X).max() or 1.0
        if dtype.kind == "i":
            X = np.clip(np.round(20 * X / largest), -127, 127)
        elif dtype == np.float16:
            X = X / largest
        stored = X.astype(dtype)
    if not np.isfinite(stored.astype(np.float64)).all():
        stored = X.astype(np.float64)
    if metric == "cosine":
        stored[~stored.astype(bool).any(axis=1)] = 1
    how = rng.integers(5)
    if how == 1:
        return np.asfortranarray(stored)
    if how == 2:
        return np.repeat(stored, 2, axis=0)[::2]
    if how == 3:
        return stored[::-1].copy()[::-1]
    if how == 4:
        wide = np.zeros((len(stored), 2 * stored.shape[1] + 1), stored.dtype)
        wide[:, 1::2] = stored
        return wide[:, 1::2]
    return stored


def case_of(seed) -> Case:
    """Return the case of a seed."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(3, 12)), int(rng.choice([1, 2, 3, 5, 9, 20, 70]))
    metric, door = str(rng.choice(["cosine", "euclidean"])), str(rng.choice(DOORS))
    X, geometry = rows_of(rng, n, d, metric)
    X = stored(rng, X, metric)
    objective = "max-sum" if door == "catalog" else str(rng.choice(OBJECTIVES))
    if door in ("array", "mine", "lossy") and objective == "coverage":
        objective = "max-sum"  # coverage is of all candidates
    known = [name for name in SOLVERS if (serves := solver_of(objective, name)) is not None]
    if door in ("array", "mine", "lossy"):
        known = [name for name in known if solver_of(objective, name).partial]
    solver = "auto" if rng.random() < 0.4 else str(rng.choice(known))
    case = Case(
        X=X,
        metric=metric,
        k=int(rng.integers(1, min(n, 5) + 1)),
        t=float(rng.choice([0.0, 0.0, 0.001, 0.2, 0.5, 0.7, 0.999, 1.0, 1.0])),
        objective=objective,
        sharpness=int(rng.choice([1, 1, 2, 8])) if metric == "cosine" and objective == "max-sum" else 1,
        solver=solver,
        door=door,
        certify=[True, "full"][rng.integers(2)] if rng.random() < 0.85 else False,
        scale=str(rng.choice(["none", "none", "none", "minmax", "zscore", "rank"])),
        small=bool(rng.random() < 0.4),
        seed=int(rng.integers(100)),
        geometry=geometry,
    )
    held = X.astype(np.float64)
    if door in ("array", "mine", "lossy") or (door not in ("diversify", "catalog") and rng.random() < 0.4):
        near = held[rng.integers(n)] if rng.random() < 0.7 else held.mean(axis=0)
        away = float(np.abs(held - held[0]).max()) or float(np.abs(held[0]).max()) or 1.0
        case.query = near + rng.choice([0, 1e-7, 0.3, 3]) * away * rng.standard_normal(d)
        if not np.linalg.norm(case.query):
            case.query = np.ones(d)
        case.scale = case.scale if door in ("select", "many", "pools") else "none"
    elif rng.random() < 0.9 or door in ("diversify", "catalog", "many"):
        r = rng.random(n) * 10.0 ** rng.choice([0, 0, 0, -7, -200, 3])
        if rng.random() < 0.3:
            r = rng.integers(3, size=n) / 2
        offset = float(rng.choice(OFFSETS))
        case.relevance = np.abs(r + offset) if door == "catalog" else r + offset
        if rng.random() < 0.1:
            case.relevance = rng.integers(9, size=n) * 5e-324
    serves = solver_of(objective, solver)
    order = rng.permutation(n)
    if door == "catalog":
        case.scale, case.sharpness = "none", 1
    if serves.include and rng.random() < 0.3:
        case.include = order[: rng.integers(0, case.k + 1)].tolist()
    if rng.random() < 0.3:
        case.exclude = order[case.k : case.k + rng.integers(0, 3)].tolist()
    if door == "lossy":  # what was not found may be included, and is then known
        case.include = []
    if serves.groups and door != "catalog" and rng.random() < 0.3:
        case.groups, case.most = rng.integers(3, size=n), int(rng.integers(1, 4))
    if objective == "log-det":
        case.solver = case.solver if case.solver != "k-dpp" or case.t > 0.0 else "greedy"
    return case


# --- what is true -------------------------------------------------------------------------------------------


def unit(X):
    """Rows of length 1, with more digits than float64 has."""
    X = np.asarray(X, Wide)
    X = X / np.abs(X).max(axis=-1, keepdims=True)
    return X / np.sqrt((X * X).sum(axis=-1, keepdims=True))


def distances_of(case):
    """Every pair's distance."""
    held = np.asarray(case.X.astype(np.float64), Wide)
    if case.metric == "cosine":
        held = unit(held)
    apart = held[:, None] - held
    if case.metric == "cosine":
        half = (apart * apart).sum(axis=2) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            powered = -np.expm1(case.sharpness * np.log1p(-np.minimum(half, 1)))
        exact = 1 - (1 - half) ** case.sharpness
        return np.where(half < 0.5, powered, exact)
    return np.sqrt((apart * apart).sum(axis=2))


def relevance_of(case):
    """Every candidate's relevance, and how far it may be off."""
    n = len(case.X)
    if case.query is not None:
        held, query = np.asarray(case.X.astype(np.float64), Wide), np.asarray(case.query, Wide)
        if case.metric == "cosine":
            r = unit(held) @ unit(query)
            return r, (case.X.shape[1] / 8 + 16) * EPSILON
        apart = held - query
        r = -np.sqrt((apart * apart).sum(axis=1))
        return r, (case.X.shape[1] / 8 + 16) * EPSILON * float(np.abs(r).max()) + 1e-150
    r = np.zeros(n) if case.relevance is None else case.relevance
    return np.asarray(r, Wide), 0.0


def left_of(case):
    """The candidates that are not barred."""
    return np.setdiff1d(np.arange(len(case.X)), case.exclude)


def scaled(case, r, error):
    """Relevance on a scale of the candidates left, and its error; None where rounding decides what it is."""
    left = left_of(case)
    told = on_scale(r[left], error, case.scale)
    if told is None:
        return None
    whole = np.zeros_like(r)
    whole[left] = told[0]
    return whole, told[1]


def on_scale(r, error, scale):
    """Relevance on a scale, and how far it may be off; None where rounding decides what it is."""
    if scale == "none":
        return r, error
    span = float(np.ptp(r))
    rounding = 4 * max(error, EPSILON * float(np.abs(r).max()))
    if span <= rounding / 64:
        return np.zeros_like(r), 0.0
    if span <= 64 * rounding:
        return None
    if scale == "rank":
        gaps = np.diff(np.sort(r))
        if ((gaps > 0) & (gaps <= 4 * error)).any():
            return None
        ranks = np.array([(r < x).sum() + ((r == x).sum() - 1) / 2 for x in r])
        return np.asarray(ranks / max(len(r) - 1, 1), Wide), 0.0
    level = (r - r.min()) / np.ptp(r)
    off = 4 * error / span + 8 * EPSILON
    if scale == "minmax":
        return level, off
    level = level - level.mean()
    return level / np.sqrt((level * level).mean()), 8 * off / float(level.std())


def sets_of(case):
    """Every set that keeps what it has to."""
    left = left_of(case)
    found = [S for S in itertools.combinations(left.tolist(), case.k) if set(case.include) <= set(S)]
    if case.groups is not None:
        found = [S for S in found if np.bincount(case.groups[list(S)]).max() <= case.most]
    return np.array(found, int).reshape(-1, case.k)


def values_of(case, sets, r, D):
    """What each set is worth."""
    relevance = r[sets].mean(axis=1)
    if case.objective == "coverage":
        spread = -D[left_of(case)][:, sets].min(axis=2).mean(axis=0)
    else:
        spread = D[sets[:, :, None], sets[:, None, :]].sum(axis=(1, 2)) / max(case.k * (case.k - 1), 1)
    return (1 - Wide(case.t)) * relevance + Wide(case.t) * spread


# --- the calls ----------------------------------------------------------------------------------------------


def called(case) -> list[Any]:
    """Make the call; what it returns, of the candidates in the order given."""
    X, k, told = case.X, case.k, {}
    if case.query is not None:
        told["query"] = case.query
    elif case.relevance is not None:
        told["relevance"] = case.relevance
    if case.door == "select":
        return [setwise.select(X, k, **told, **case.options())]
    if case.door == "many":
        name, value = next((("queries", told["query"]) if "query" in told else item) for item in told.items())
        return setwise.select_many(X, k, **{name: np.stack([value, value])}, **case.options())
    if case.door == "pools":
        each: dict[str, Any] = {}
        if "query" in told:
            each["queries"] = np.stack([case.query] * 2)
        elif "relevance" in told:
            each["relevance"] = np.concatenate([case.relevance] * 2)
        each |= {"include": [case.include] * 2} if case.include else {}
        each |= {"exclude": [case.exclude] * 2} if case.exclude else {}
        if case.groups is not None:
            each |= {"groups": np.concatenate([case.groups] * 2), "max_per_group": case.most}
        options = case.options("include", "exclude", "groups", "max_per_group")
        cuts = [0, len(X), 2 * len(X)]
        return setwise.select_many(np.concatenate([X, X]), k, offsets=cuts, **each, **options)
    if case.door == "diversify":
        return [
            setwise.diversify(np.arange(len(X)), k, relevance=case.relevance, vectors=X, **case.options())
        ]
    if case.door == "catalog":
        catalog = setwise.Catalog.build(X, case.relevance, clusters=min(3, len(X)), metric=case.metric)
        method = {"frank-wolfe": "frank-wolfe", "greedy": "greedy", "top-k": "top-k", "random": "random"}
        return [
            catalog.select(
                k,
                include=case.include,
                exclude=case.exclude,
                diversity=case.t,
                method=method.get(case.solver, ("auto", "muss", "dgds")[case.seed % 3]),
                certify=case.certify,
                seed=case.seed,
            )
        ]
    if case.door == "array":
        index = Index.from_array(X, metric=case.metric)
    else:
        index = (Mine if case.door == "mine" else Lossy)(X, case.metric)
    return [setwise.retrieve(case.query, index, k, **case.options("metric", "relevance_scale"))]


def run(seed) -> Outcome | None:
    """Select once; None where there is nothing to compare with."""
    case = case_of(seed)
    sets = sets_of(case)
    if case.metric == "cosine" and "1e-320" in case.geometry and case.X.dtype.itemsize == 8:
        return None  # refused: entries beyond 1e±150
    clusters = case.door == "catalog" or case.solver in ("clustering", "k-means", "multilevel")
    if clusters and find_spec("faiss") is None:
        return None
    with ExitStack() as stack:
        if case.small:  # of twelve candidates a few at a time
            for name, value in (("auto.TINY", 2), ("auto.POOLED", 3), ("frank_wolfe.POOLED", 3)):
                stack.enter_context(patch(f"setwise.solvers.{name}", value))
            for name, value in (("ask.FIRST", 5), ("ask.TIMES", 1), ("plan.GROWTH", 2), ("plan.SPARE", 1)):
                stack.enter_context(patch(f"setwise.retrieval.{name}", value))
        stack.enter_context(patch("setwise.retrieval.call.is_known", lambda index: True))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        try:
            found = called(case)
        except ValueError as error:
            if len(sets) == 0 or case.door == "lossy" or case.solver == "k-dpp":  # more than the rank
                return None
            return Outcome(wrong=f"{case}: {type(error).__name__}: {error}")
        except Exception:
            return Outcome(wrong=f"{case}: {traceback.format_exc()}")
    if len(sets) == 0 and case.door != "lossy":
        return Outcome(wrong=f"{case}: no set keeps the constraints, and one was returned")
    told = scaled(case, *relevance_of(case))
    wrong = [said for one in found if (said := kept(case, one))]
    if case.door == "lossy" and not wrong:  # it may have found fewer
        case.k = len(rows_in(case, found[0]))
        if case.k == 0:
            return None
        sets = sets_of(case)
    if wrong or told is None or case.objective in ("mmr", "log-det"):
        wrong += [said for one in found if told is not None and (said := valued(case, one, told))]
        return Outcome(wrong=f"{case}: {wrong[0]}" if wrong else "")
    outcomes = [compared(case, one, sets, *told) for one in found]
    return next((one for one in outcomes if one.wrong), outcomes[0])


def rows_in(case, one):
    """The rows of a selection."""
    return [int(row) for row in (one.ids if hasattr(one, "ids") else one.indices)]


def kept(case, one):
    """What of the constraints a selection breaks."""
    rows = rows_in(case, one)
    if len(set(rows)) != len(rows) or not set(rows) <= set(range(len(case.X))) - set(case.exclude):
        return f"rows {rows} repeat, or are barred"
    if len(rows) != case.k and case.objective != "log-det" and case.door != "lossy":
        return f"{len(rows)} rows"
    if not set(case.include) <= set(rows):
        return f"rows {rows} lack a must-have one"
    if case.groups is not None and np.bincount(case.groups[rows]).max(initial=0) > case.most:
        return f"rows {rows} have too many of a group"
    return ""


def valued(case, one, told):
    """Whether the value of an objective without a bound is off."""
    r, error = told
    rows, size = rows_in(case, one), float(np.abs(r).max())
    if case.objective != "mmr" or case.scale == "zscore" or not rows:
        return ""
    held = case.X.astype(np.float64)
    expected = mmr_value(held, np.asarray(r, np.float64), rows, case.t, case.metric)
    size += float(np.abs(distances_of(case)).max())
    if abs(one.value - expected) > 1e-9 * max(size, 1.0) + error:
        return f"value {one.value}, {expected} by definition"
    return ""


def compared(case, one, sets, r, error) -> Outcome:
    """Compare what a selection says with every set there is; relevance is counted from its least."""
    D = distances_of(case)
    np.fill_diagonal(D, 0)
    t = case.t
    least = r[left_of(case)].min()
    every = values_of(case, sets, r - least, D)
    own = values_of(case, np.array([rows_in(case, one)]), r - least, D)[0]
    moved, best = (1 - Wide(t)) * least, every.max()
    absolute = case.query is not None and case.metric == "cosine" and case.scale == "none"
    reach, span = float(D.max()), float(np.abs(r[left_of(case)] - least).max())
    size = (1 - t) * span + t * reach
    # What sums and distances are off by.
    slack = (case.X.shape[1] / 8 + 64) * EPSILON * size + (1 - t) * error + 64 * 5e-324
    if case.metric == "cosine":
        # What a cosine is off by, or next to 1, where distances come from differences, the lengths of rows.
        apart = 1 if case.sharpness > 1 or reach > 1e-6 else 0
        slack += t * 64 * case.sharpness * EPSILON * max(apart, reach**0.5, EPSILON)
    else:
        slack += t * 1e-150
    # Where rows are single, so is what their distances are compared with.
    single = 512 * case.sharpness * EPSILON * (case.metric == "cosine" and case.X.dtype.itemsize < 8)
    told = slack + 8 * float(np.spacing(float(abs(moved)) + size))
    value, certificate = Wide(one.value) - moved, one.certificate
    if abs(value - own) > told:
        return Outcome(wrong=f"{case}: value {one.value} is {float(value - own):.2e} off")
    if certificate is None or certificate.upper_bound is None or certificate.scope != "all":
        return Outcome()
    seen = case.door not in ("array", "mine")  # else relevance is counted from the least that was seen
    upper, optimal = Wide(certificate.upper_bound) - moved, certificate.optimal
    said = ""
    if upper < best - told:
        said = f"bound {float(upper)!r} is {float(best - upper):.2e} below {float(best)!r} (slack {told:.1e})"
    elif optimal and own < best - 8 * slack - t * single:
        said = f"{float(own)!r} is called best, {float(best)!r} is possible (slack {slack:.1e})"
    elif certificate.gap < 0 or optimal != (certificate.gap == 0):
        said = f"gap {certificate.gap}, optimal {optimal}"
    elif seen and (base := abs(float(value + (moved if absolute else 0)))) > 1e-3 * (size + single / EPSILON):
        off = abs(certificate.gap * base - float(upper - value))
        if not optimal and off > 1e-3 * certificate.gap * base + (4 + certificate.gap) * told:
            said = f"gap {certificate.gap} of {base!r}, bound {float(upper)!r}"
    elif case.solver == "exact" and case.door == "select" and not optimal:
        said = "the exact solver proved nothing"
    return Outcome(True, optimal, f"{case}: {said}" if said else "")


if __name__ == "__main__":
    run_all(run, "selections")
