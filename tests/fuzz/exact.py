"""Certificates against every set there is, valued in exact integers: the smallest differences, at any scale.

    python -m tests.fuzz.exact TIMES [FIRST]

Rows, relevance and diversity are what floating point makes of them; everything after that is exact. What is
said may be wrong by `ALLOWED` roundings of the largest terms that the candidates have, and by no more.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections import Counter
from fractions import Fraction
from itertools import combinations

import numpy as np

import setwise

#: Roundings of the largest terms: what sums of them, and their bounds, may be off by.
ALLOWED, EPSILON = 2000, 2.0**-52

#: Entries are whole multiples of 2^-ENTRY, everything else of 2^-UNIT.
ENTRY, UNIT = 1100, 1300

SOLVERS = {
    "max-sum": ["auto", "auto", "exact", "greedy", "frank-wolfe", "swap"],
    "max-min": ["auto", "exact", "greedy"],
    "coverage": ["auto", "exact", "swap", "greedy"],
    "facets": ["auto", "exact", "greedy"],
}
GEOMETRIES = ("spread", "scaled", "near", "mixed", "clusters", "grid", "lengths", "tight")
RELEVANCE = ("plain", "offset", "tiny", "huge", "ties", "mixed", "like")
SHARES = (0, 1e-15, 1e-12, 1e-9, 0.01, 0.2, 0.5, 0.8, 1 - 1e-9, 1 - 1e-12, 1 - 1e-15, 1.0)


def whole(number):
    """A float as a multiple of 2^-ENTRY; those that are below are 0."""
    above, below = float(number).as_integer_ratio()
    return (above << ENTRY) // below


def plain(number):
    """A multiple of 2^-UNIT as a float."""
    return float(Fraction(number) / (1 << UNIT))


def rows_of(rng, n, d, k, metric):
    """Rows of one of the geometries."""
    X, geometry = rng.standard_normal((n, d)), rng.choice(GEOMETRIES)
    if geometry == "scaled":
        return X * 10.0 ** rng.uniform(-140, 140)
    if geometry == "near":
        return rng.standard_normal(d) + 10.0 ** rng.uniform(-15, -3) * X
    if geometry == "mixed":
        centers = rng.standard_normal((3, d)) * 10.0 ** rng.uniform(-3, 6)
        return centers[rng.integers(0, 3, n)] + rng.choice([1e-12, 1e-9, 1e-3, 1.0], (n, 1)) * X
    if geometry == "clusters":
        centers = rng.standard_normal((k, d))
        return centers[rng.integers(0, k, n)] + 10.0 ** rng.uniform(-14, -1) * X
    if geometry == "grid":
        X = np.round(2 * X)
        X[~X.any(axis=1)] = 1
    elif geometry == "lengths":
        return X * 10.0 ** rng.uniform(-20, 20, (n, 1))
    elif geometry == "tight":
        return 10.0 ** rng.uniform(-30, -5) * X if metric == "euclidean" else 10 + 1e-6 * X
    return X


def relevance_of(rng, X):
    """Relevance of one of the kinds."""
    r, kind = rng.standard_normal(len(X)), rng.choice(RELEVANCE)
    if kind == "offset":
        return r + 10.0 ** rng.uniform(0, 9)
    if kind in ("tiny", "huge"):
        return r * 10.0 ** (rng.uniform(-300, -3) if kind == "tiny" else rng.uniform(3, 250))
    if kind == "mixed":
        return r * rng.choice([1e-12, 1e-6, 1.0, 1e6], len(X))
    if kind == "like":  # as large as the distances
        return r * np.abs(X - X.mean(axis=0)).max()
    return np.round(r) if kind == "ties" else r


def distances(X, metric, sharpness):
    """Every two rows' distance."""
    rows = [[whole(entry) for entry in row] for row in X]
    squares = [sum(entry * entry for entry in row) for row in rows]
    found = [[0] * len(rows) for _ in rows]
    for one, other in combinations(range(len(rows)), 2):
        if metric == "euclidean":
            square = sum((a - b) ** 2 for a, b in zip(rows[one], rows[other], strict=True))
            apart = math.isqrt(square << (2 * (UNIT - ENTRY)))
        else:
            product = sum(a * b for a, b in zip(rows[one], rows[other], strict=True))
            cosine = (product << UNIT) // math.isqrt(squares[one] * squares[other])
            apart = (1 << UNIT) - (cosine**sharpness >> (UNIT * (sharpness - 1)))
        found[one][other] = found[other][one] = apart
    return found


def spread_of(objective, D, chosen, left):
    """The second term of a set's value."""
    pairs = [D[one][other] for one, other in combinations(chosen, 2)]
    if objective == "coverage":
        return -Fraction(sum(min(D[row][one] for one in chosen) for row in left), len(left))
    if not pairs:
        return Fraction(0)
    return Fraction(min(pairs)) if objective == "max-min" else Fraction(sum(pairs), len(pairs))


def covered(facets, chosen):
    """What a set has of its facets."""
    falling = [sorted((column[row] for row in chosen), reverse=True) for column in facets]
    return sum(Fraction(one, 2**place) for column in falling for place, one in enumerate(column)) / len(
        facets
    )


def run(seed):
    """Select once; return "optimal", "bounded", "nothing", or what is false."""
    rng = np.random.default_rng(seed)
    objective, metric = str(rng.choice([*SOLVERS, "max-sum"])), str(rng.choice(["cosine", "euclidean"]))
    if objective == "facets":
        metric = "cosine"
    n, d = int(rng.integers(3, 10)), int(rng.choice([2, 3, 6] if metric == "cosine" else [1, 2, 3, 6]))
    k = int(rng.integers(1, min(n, 5) + 1))
    sharp = metric == "cosine" and objective in ("max-sum", "facets")
    sharpness = int(rng.choice([1, 1, 2, 8, 50])) if sharp else 1
    X = rows_of(rng, n, d, k, metric)
    options = {"relevance": relevance_of(rng, X), "diversity": float(rng.choice(SHARES)), "metric": metric}
    options |= {"objective": objective, "certify": [True, "full"][rng.integers(2)]}
    options |= {"sharpness": sharpness} if sharp else {}
    options["solver"] = str(rng.choice(SOLVERS[objective]))
    facets = None
    if objective == "facets":
        facets = np.abs(rng.standard_normal((n, int(rng.choice([1, 4]))))) * 10.0 ** rng.uniform(-9, 9)
        options["facets"] = facets
    order = rng.permutation(n).tolist()
    if rng.random() < 0.2:
        options["include"] = order[: rng.integers(0, k + 1)]
    if rng.random() < 0.2 and n > k:
        options["exclude"] = order[k : k + 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sel = setwise.select(X, k, **options)
    told = sel.certificate
    if told.upper_bound is None:
        return "nothing"

    left = [row for row in range(n) if row not in options.get("exclude", ())]
    must, t = set(options.get("include", ())), Fraction(options["diversity"])
    D = distances(X, metric, sharpness)
    r = [whole(one) << (UNIT - ENTRY) for one in options["relevance"]]
    least = min(r[row] for row in left)
    shares = None if facets is None else [[whole(one) << (UNIT - ENTRY) for one in row] for row in facets.T]

    def value(chosen):
        worth = Fraction(sum(r[row] - least for row in chosen), len(chosen))
        worth += 0 if shares is None else covered(shares, chosen)
        return (1 - t) * worth + t * spread_of(objective, D, chosen, left)

    first = max((one for one in combinations(left, k) if must <= set(one)), key=value)
    best, own, moved = value(first), value(sel.indices.tolist()), (1 - t) * least
    longest = max(map(max, D))
    if objective == "max-min" and k > 1:  # no sum has a longer one
        longest = max(spread_of(objective, D, one, left) for one in (first, sel.indices.tolist()))
    reach = plain(t * longest)
    if metric == "cosine":  # rounded rows, whose distances are off by more the larger these are
        part = reach / float(t or 1)
        reach = float(t) * sharpness * max(part, math.sqrt(part), EPSILON)
    size = plain((1 - t) * (max(r[row] for row in left) - least)) + reach
    if facets is not None:  # summed as similarities, next to 1
        size += float(1 - t) * float(facets.max()) * k + float(t)
    slack = ALLOWED * EPSILON * size + 64 * 5e-324
    wide = slack + 4 * EPSILON * abs(plain(moved))
    case = f"seed {seed}: {objective} {metric} {options['solver']} n={n} k={k} t={options['diversity']!r}"
    if abs(plain(Fraction(sel.value) * (1 << UNIT) - moved - own)) > wide:
        return f"{case}: value {sel.value!r} is not {plain(own + moved)!r}"
    if plain(best + moved - Fraction(told.upper_bound) * (1 << UNIT)) > wide:
        return f"{case}: bound {told.upper_bound!r} is below {plain(best + moved)!r}"
    if told.optimal and plain(best - own) > slack:
        return f"{case}: {plain(own)!r} is called best, {plain(best)!r} is possible"
    return "optimal" if told.optimal else "bounded"


def main() -> None:
    """Run cases, and say what was wrong."""
    times, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    counts: Counter = Counter()
    for seed in range(first, first + times):
        told = run(seed)
        counts[told if " " not in told else "wrong"] += 1
        if " " in told:
            print(told, flush=True)
    print(dict(counts))
    raise SystemExit(counts["wrong"] > 0)


if __name__ == "__main__":
    main()
