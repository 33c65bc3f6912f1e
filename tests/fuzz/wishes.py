"""Random requests with wishes over few candidates, and the best of every set that keeps them, by trying all.

    python -m tests.fuzz.wishes [COUNT] [FIRST SEED] [OBJECTIVE] [DOOR]

Through one call, or by default each through another. For each: the set keeps every wish, its value is the
definition's, no bound is below the best, and what is said to be optimal is; what no set keeps is refused.
"""

import itertools
import sys
import warnings
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import setwise
from reference.objectives import unit_rows

TOLERANCE = 1e-9

#: The same for an index, which keeps single precision.
SINGLE = 2e-6

SOLVERS = ("auto", "auto", "auto", "greedy", "swap", "exact")

#: Those of objectives beside max-sum.
OTHERS = ("auto", "auto", "greedy", "exact")


#: What an instance without wishes has.
PLAIN = {"diversity", "sharpness", "certify", "objective", "facets"}

#: The calls that an instance is asked of.
DOORS = ("select", "many", "pools", "diversify", "catalog", "shelves")


def instance_of(objective, seed):
    """One request for an objective as the arguments of `setwise.select`."""
    X, k, options = instance(seed)
    if objective == "max-sum":
        return X, k, options
    rng = np.random.default_rng([seed, 2])
    options |= {"objective": objective, "solver": OTHERS[rng.integers(len(OTHERS))], "sharpness": 1}
    if objective == "facets":
        options["sharpness"] = int(rng.choice([1, 1, 8]))
        if rng.random() < 0.5:
            options["facets"] = rng.standard_normal((int(rng.integers(1, 4)), X.shape[1]))
        else:
            table = rng.random((len(X), int(rng.integers(1, 5)))) * (rng.random((len(X), 1)) < 0.8)
            options["facets"] = {str(place): column for place, column in enumerate(table.T)}
    if objective == "max-min" and options.pop("min_gain", None) is not None and "budget" not in options:
        options.setdefault("max_similarity", 0.9)
    return X, k, options


def instance(seed):
    """One request as the arguments of `setwise.select`."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(2, 11)), int(rng.integers(2, 7))
    X = rng.standard_normal((n, d))
    if rng.random() < 0.4:  # near-duplicates, and repeats
        X[rng.integers(n, size=n // 2)] = X[0] + 0.01 * rng.standard_normal(d) * rng.integers(0, 2)
    X = X.astype([np.float32, np.float64][rng.integers(2)])
    options = {
        "relevance": np.round(rng.normal(0.3, 0.5, n), int(rng.integers(1, 6))),
        "diversity": float(rng.choice([0.0, 0.1, 0.3, 0.5, 0.8, 1.0])),
        "sharpness": int(rng.choice([1, 1, 2, 8])),
        "solver": SOLVERS[rng.integers(len(SOLVERS))],
        "certify": ["full", True][rng.integers(2)],
    }
    k = int(rng.integers(1, n + 1))
    wishes = rng.permutation(
        ["limits", "limits", "shares", "budget", "min_gain", "max_similarity", "shown", "include"]
    )
    wishes = set(wishes[: rng.integers(1, 4)].tolist())
    if "limits" in wishes or "shares" in wishes:
        labels = {name: rng.integers(0, 4, n).tolist() for name in ("document", "domain")}
        options["groups"] = labels
        if "limits" in wishes:
            options["limits"] = {"document": int(rng.integers(1, 4))}
            if rng.random() < 0.7:
                least = int(rng.integers(0, 2))
                options["limits"]["domain"] = (least, int(rng.integers(max(1, least), 4)))
        if "shares" in wishes and not wishes & {"budget", "min_gain"}:
            options["shares"] = {"domain": {0: 0.5, 1: float(rng.choice([0.2, 0.5]))}}
        if not {"limits", "shares"} & set(options):
            del options["groups"]
    if "budget" in wishes:
        options["costs"] = rng.integers(1, 9, n) if rng.random() < 0.5 else rng.uniform(0.2, 3.0, n)
        options["budget"] = float(rng.uniform(0.2, 0.8) * np.sum(options["costs"]))
        k = None if rng.random() < 0.5 else k
    if "min_gain" in wishes:
        options["min_gain"] = float(rng.uniform(-0.2, 0.8))
    if "max_similarity" in wishes:
        options["max_similarity"] = float(rng.choice([0.1, 0.5, 0.9, 0.98]))
    if "shown" in wishes:
        options["shown"] = np.concatenate([X[:1], rng.standard_normal((int(rng.integers(0, 3)), d))])
        options["shown_weight"] = float(rng.choice([0.0, 0.5, 1.0]))
    if "include" in wishes:
        options["include"] = rng.choice(n, int(rng.integers(1, 3 if n > 2 else 2)), replace=False).tolist()
    if not {"shares", "limits", "budget", "min_gain", "max_similarity", "shown"} & set(options):
        options["max_similarity"] = 0.9
    return X, k, options


def keeps(X, k, options, chosen):
    """Whether a set keeps every wish, by definition."""
    E, chosen = unit_rows(X), list(chosen)
    sized = "budget" not in options and "min_gain" not in options
    if (len(chosen) != k) if sized else (k is not None and len(chosen) > k):
        return False
    if not set(options.get("include", ())) <= set(chosen):
        return False
    if "budget" in options and np.asarray(options["costs"])[chosen].sum() > options["budget"]:
        return False
    for name, asked in options.get("limits", {}).items():
        least, most = asked if isinstance(asked, tuple) else (0, asked)
        labels = options["groups"][name]
        held = [sum(labels[row] == label for row in chosen) for label in set(labels)]
        if min(held) < least or max(held) > most:
            return False
    for name, parts in options.get("shares", {}).items():
        labels = options["groups"][name]
        rest = {label for label in labels if label not in parts}
        for these, part in [
            *(({label}, part) for label, part in parts.items()),
            (rest, 1 - sum(parts.values())),
        ]:
            held = sum(labels[row] in these for row in chosen)
            if held > np.ceil(part * k - 1e-9) or (these and held < np.floor(part * k + 1e-9)):
                return False
    if "shown" in options and len(chosen) and (E[chosen] @ unit_rows(options["shown"]).T).max() >= 1 - 1e-12:
        return False
    if "max_similarity" in options:
        near = E @ E.T
        most = options["max_similarity"] + 1e-12
        if any(near[i, j] > most for i, j in itertools.combinations(chosen, 2)):
            return False
        if "shown" in options and len(chosen) and (E[chosen] @ unit_rows(options["shown"]).T).max() > most:
            return False
    return True


def value_of(X, k, options, chosen):
    """The per-item form of a set by its definition, over κ where sets have a size."""
    objective = options.get("objective", "max-sum")
    if objective == "max-min":
        return max_min_of(X, k, options, chosen)
    covered = facets_of(X, k, options, chosen) if objective == "facets" else 0.0
    E, r, t, p = unit_rows(X), options["relevance"], options["diversity"], options["sharpness"]
    size, sized = size_of(k, options)
    worth = 0.0
    for i in chosen:
        worth += (1 - t) * r[i] + (t if size > 1 else 0.0) - options.get("min_gain", 0.0)
        if "shown" in options:
            near = np.sort((unit_rows(options["shown"]) @ E[i]) ** p)[::-1][: max(1, round(size) - 1)]
            worth -= 2 * t / max(1, size - 1) * options["shown_weight"] * near.sum()
    if size > 1:
        worth -= t / (size - 1) * sum((E[i] @ E[j]) ** p for i in chosen for j in chosen if i != j)
    return (worth / size if sized else worth) + covered


def size_of(k, options):
    """The reference size κ, and whether sets have it."""
    sized = "budget" not in options and "min_gain" not in options
    if k is None:
        return max(2.0, options["budget"] / np.mean(options["costs"])), sized
    return (k if sized else max(2, k)), sized


def max_min_of(X, k, options, chosen):
    """(1 - t) * mean relevance + t * the least distance; Σ and κ * it where sets have any size."""
    E, r, t, (size, sized) = unit_rows(X), options["relevance"], options["diversity"], size_of(k, options)
    apart = [1 - E[i] @ E[j] for i, j in itertools.combinations(chosen, 2)]
    if "shown" in options and options["shown_weight"] > 0:
        apart += [1 - E[i] @ h for i in chosen for h in unit_rows(options["shown"])]
    over = size if sized else 1.0
    return (1 - t) * sum(r[i] for i in chosen) / over + t * size / over * min(apart, default=0.0)


def facets_of(X, k, options, chosen):
    """(1 - t) * the coverage of the facets, κ times that where sets have any size."""
    size, sized = size_of(k, options)
    given = options["facets"]
    if isinstance(given, dict):
        table = np.stack(list(given.values()), axis=1)
    else:
        table = np.maximum(unit_rows(X) @ unit_rows(given).T, 0.0)
    each = [
        sum(0.5**place * one for place, one in enumerate(sorted(column[list(chosen)], reverse=True)))
        for column in table.T
    ]
    return (1 - options["diversity"]) * np.mean(each) * (1 if sized else size)


def best_of_all(X, k, options):
    """The largest value of a set that keeps every wish; None where there is none."""
    best = None
    for size in range(len(X) + 1):
        for chosen in itertools.combinations(range(len(X)), size):
            if keeps(X, k, options, chosen):
                value = value_of(X, k, options, chosen)
                best = value if best is None else max(best, value)
    return best


def asked(door, X, k, options):
    """What a call says of an instance, its ids row numbers."""
    wish = dict(options)
    relevance = wish.pop("relevance")
    if door == "select":
        return setwise.select(X, k, relevance=relevance, **wish)
    if door == "diversify":
        return setwise.diversify(
            range(len(X)), k, relevance=relevance, vectors=X, relevance_scale="none", **wish
        )
    if door == "many":
        return setwise.select_many(X, k, relevance=np.stack([relevance, relevance]), **wish)[1]
    if door == "pools":
        wish["include"] = [wish.pop("include", ())]
        return setwise.select_many(X, k, relevance=relevance, offsets=[0, len(X)], **wish)[0]
    solver = wish.pop("solver")
    if wish.get("objective", "max-sum") != "max-sum" or solver == "greedy":
        wish["method"] = solver
    catalog = setwise.Catalog.build(X, np.zeros(len(X)), clusters=min(3, len(X)))
    if door == "catalog":
        return catalog.select(k, relevance=relevance, **wish)
    return catalog.select_many(k, relevance=np.stack([relevance, relevance]), **wish)[1]


def check(seed, objective="max-sum", door="select"):
    """Whether setwise is right about one instance; returns what it was of."""
    X, k, options = instance_of(objective, seed)
    if door in ("catalog", "shelves") and objective == "max-sum" and options["solver"] != "greedy":
        options["solver"] = "auto"
    best = best_of_all(X, k, options)
    refusal = {"pools": "pool 0: "}.get(door, "query 0: ")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = asked(door, X, k, options)
        except ValueError as error:
            if str(error).startswith(refusal):  # nobody's set
                error = ValueError(str(error)[len(refusal) :])
            if best is not None and not (best == 0.0 and str(error).startswith("budget: ")):
                raise AssertionError(f"seed {seed}: refused, but a set is feasible: {error}") from error
            return "refused"
    assert best is not None, f"seed {seed}: a set where none is feasible"
    chosen = found.indices.tolist()
    assert keeps(X, k, options, chosen), f"seed {seed}: {chosen} breaks a wish"
    value = value_of(X, k, options, chosen)
    scale = TOLERANCE * (1 + abs(value))
    assert abs(found.value - value) <= scale, f"seed {seed}: value {found.value}, by definition {value}"
    proof = found.certificate
    assert proof.upper_bound is not None, f"seed {seed}: no bound"
    assert proof.upper_bound >= best - scale, f"seed {seed}: bound {proof.upper_bound} below the best {best}"
    assert value <= best + scale, f"seed {seed}: better than the best?"
    if proof.optimal:
        assert value >= best - scale, f"seed {seed}: {value} is called optimal, the best is {best}"
    if options["solver"] == "exact":
        assert proof.optimal, f"seed {seed}: exact without a proof"
    return "optimal" if proof.optimal else "best" if value >= best - scale else "short"


def check_retrieved(seed, objective="max-sum"):
    """Whether `setwise.retrieve` is right about one instance, of whose candidates it looks at a few alone."""
    X, k, options = instance_of(objective, seed)
    rng = np.random.default_rng([seed, 1])
    X, k = X.astype(np.float32), k or len(X) // 2
    if seed % 4 == 3:  # without a wish
        options = {name: options[name] for name in PLAIN & set(options)}
    if isinstance(options.get("facets"), dict):  # relevance to each is no index's
        options["facets"] = rng.standard_normal((2, X.shape[1]))
    query = rng.standard_normal(X.shape[1])
    options |= {
        "relevance": unit_rows(X) @ unit_rows(query[None])[0],
        "solver": ("auto", "greedy")[rng.integers(2)],
    }
    index = setwise.Index.from_array(X)
    pool = int(rng.integers(k, max(k + 1, len(X) // 2 + 2)))
    best = best_of_all(X, k, options)
    given = {name: value for name, value in options.items() if name != "relevance"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = setwise.retrieve(query, index, k, pool=pool, **given)
        except ValueError:
            return "refused"
    chosen = found.ids.tolist()
    # The least of a label is of those that the candidates looked at have.
    caps = {
        name: asked[1] if isinstance(asked, tuple) else asked
        for name, asked in options.get("limits", {}).items()
    }
    kept = {name: value for name, value in options.items() if name != "shares"} | {"limits": caps}
    assert keeps(X, k, kept, chosen) or len(chosen) < k, f"seed {seed}: {chosen} breaks a wish"
    value = value_of(X, k, options, chosen)
    scale = SINGLE * (1 + abs(value))
    assert abs(found.value - value) <= scale, f"seed {seed}: value {found.value}, by definition {value}"
    proof = found.certificate
    if proof.upper_bound is None:
        return "no bound"
    if best is None:
        return "refused"
    assert proof.upper_bound >= best - scale, f"seed {seed}: bound {proof.upper_bound} below the best {best}"
    assert not proof.optimal or value >= best - scale, (
        f"seed {seed}: {value} called optimal, the best is {best}"
    )
    return "optimal" if proof.optimal else "best" if value >= best - scale else "short"


def main():
    given = sys.argv[1:] + ["200", "0", "max-sum", ""][len(sys.argv) - 1 :]
    count, first, objective = int(given[0]), int(given[1]), given[2]
    kinds = {}
    for seed in range(first, first + count):
        door = given[3] or (*DOORS, "retrieve")[seed % (len(DOORS) + 1)]
        kind = check_retrieved(seed, objective) if door == "retrieve" else check(seed, objective, door)
        kinds[kind] = kinds.get(kind, 0) + 1
    print(f"{count} instances of {objective} from seed {first}: {kinds}")


if __name__ == "__main__":
    main()
