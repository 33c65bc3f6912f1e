"""What rows are worth and which there may be: shares by label, quality, rows that are examples."""

import hashlib
import json

import numpy as np
import pytest
from scipy.optimize import minimize

from optional import needs
from setwise.finetuning import Distribution, Pipeline, match
from setwise.finetuning.leakage import leaked
from setwise.finetuning.shares import limited

pytestmark = needs("pyarrow", "faiss")


@pytest.fixture
def data(rng):
    X = rng.standard_normal((120, 6))
    Q = X[:5] + 0.8 * rng.standard_normal((5, 6))
    return X, Q


@pytest.fixture
def files(tmp_path, data):
    """A repository of three sources and examples, as files of rows with vectors."""
    paths = []
    for name, rows in zip(("rows", "task"), data, strict=True):
        lines = [
            {"text": f"row {i}", "source": "abc"[i % 3], "value": 1 + i % 5, "vector": row.tolist()}
            for i, row in enumerate(rows)
        ]
        paths.append(tmp_path / f"{name}.jsonl")
        paths[-1].write_text("".join(json.dumps(line) + "\n" for line in lines))
    return paths


VECTORS = {"vectors": "vector", "example_vectors": "vector"}


# ---------------------------------------------------------------- shares by label


def nearest_within(p, labels, limits):
    """The distribution within limits that is nearest to p in relative entropy, by SLSQP."""

    def divergence(q):
        q = np.maximum(q, 1e-300)
        return float((q * np.log(q / p)).sum())

    constraints = [{"type": "eq", "fun": lambda q: q.sum() - 1}]
    for name, (low, high) in limits.items():
        for one in np.unique(labels[name]):
            mine = (labels[name] == one).astype(float)
            constraints.append({"type": "ineq", "fun": lambda q, mine=mine, low=low: mine @ q - low})
            constraints.append({"type": "ineq", "fun": lambda q, mine=mine, high=high: high - mine @ q})
    options = {"maxiter": 500, "ftol": 1e-14}
    bounds = [(0, 1)] * len(p)
    best = minimize(
        divergence, np.full(len(p), 1 / len(p)), bounds=bounds, constraints=constraints, options=options
    )
    return divergence, best


@pytest.mark.parametrize(
    "limits",
    [
        *({"source": both} for both in ((0.0, 0.4), (0.2, 1.0), (0.15, 0.45), (1 / 3, 1 / 3))),
        {"source": (0.05, 0.44), "year": (0.1, 0.43)},
        {"source": (0.3, 0.36), "year": (0.0, 0.4)},
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_shares_within_limits_are_the_nearest_there_are(seed, limits):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(12, 0.7))
    labels = {"source": np.array(list("aaaaaabbbccc")), "year": rng.permutation(np.arange(12) % 3)}
    found = limited(Distribution(np.arange(12), p, 12), labels, limits).probabilities
    for name, (low, high) in limits.items():
        for one in np.unique(labels[name]):
            assert low - 1e-8 <= found[labels[name] == one].sum() <= high + 1e-8
    divergence, best = nearest_within(p, labels, limits)
    assert divergence(found) <= best.fun + 1e-7
    np.testing.assert_allclose(found, best.x, atol=2e-4)


def test_limits_that_change_nothing_leave_a_distribution_as_it_is(rng):
    p, years = rng.dirichlet(np.ones(40)), rng.choice([1, 2, 3, 4], 40)
    found = limited(Distribution(np.arange(40), p, 40), {"year": years}, {"year": 1.0})
    assert found.probabilities == pytest.approx(p)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (
            {"source": 0.3},
            "'source' has 3 labels among the rows that can be drawn, whose shares at most 0.3 do",
        ),
        ({"source": (0.4, 1.0)}, "whose shares at least 0.4 do not sum to 1"),
        ({"source": (0.5, 0.4)}, "'source' has 0.5 to 0.4; expected a least and a larger most"),
        ({"source": 1.4}, r"limits: 1.4 is outside \[0, 1\]"),
        (
            {"half": (0.5, 0.5), "twin": (0.32, 0.35)},
            "no distribution over the rows .* 'half' and 'twin' at once",
        ),
    ],
)
def test_limits_that_nothing_meets_are_refused(limits, message):
    labels = {"source": list("aabc"), "half": list("ppqq"), "twin": list("xyzz")}
    with pytest.raises(ValueError, match=message):
        limited(Distribution(np.arange(4), np.full(4, 0.25), 4), labels, limits)


def test_a_label_that_has_no_mass_cannot_have_a_share():
    with pytest.raises(ValueError, match="^limits: a label of 'source' has no row of positive probability"):
        limited(Distribution(np.arange(2), np.array([1.0, 0.0]), 2), {"source": ["a", "b"]}, {"source": 0.6})


def test_a_pipeline_keeps_shares_and_quality(files, data):
    X, Q = data
    rows, task = files
    value, source = 1 + np.arange(120) % 5, np.arange(120) % 3
    plain = match(X, Q, quality=value)
    found = Pipeline(rows, task, quality="value", **VECTORS).run().distribution
    np.testing.assert_allclose(found.dense(), plain.dense(), rtol=1e-9)
    with_limits = Pipeline(rows, task, quality="value", limits={"source": (0.3, 0.35)}, **VECTORS)
    found = with_limits.run().distribution.dense()
    expected = limited(plain, {"source": source[plain.indices]}, {"source": (0.3, 0.35)}).dense()
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert with_limits.settings()["limits"] == {"source": [0.3, 0.35]}


def test_what_is_wrong_with_columns_is_said_before_anything_is_encoded(files, monkeypatch):
    rows, task = files
    monkeypatch.setattr("setwise.finetuning.sources.encoded_rows", lambda *_, **__: pytest.fail("encoded"))
    for change, error, message in (
        ({"quality": "valeu"}, ValueError, "quality: rows.jsonl has no column 'valeu'; did you mean 'value'"),
        ({"quality": "source"}, TypeError, "quality: .*expected a number"),
        ({"densities": "text"}, TypeError, "densities: .*expected a number"),
        ({"limits": {"sourse": 0.5}}, ValueError, "limits: rows.jsonl has no column 'sourse'"),
        (
            {"limits": {"source": 0.3}},
            ValueError,
            "limits: 'source' has 3 labels .* at most 0.3 do not sum to 1",
        ),
        ({"limits": {"source": 2}}, ValueError, r"limits: 2.0 is outside \[0, 1\]"),
        ({"limits": {"source": 0.5}, "method": "nearest", "rows": 3}, ValueError, "limits: nearest chooses"),
        (
            {"limits": {"source": 0.5}, "method": "dsir", "rows": 3},
            ValueError,
            "limits: dsir chooses distinct",
        ),
        ({"exclude_examples": True, "method": "random"}, ValueError, "random does not look at examples"),
        ({"quality": "value", "method": "dsir"}, ValueError, "quality: it goes with the method match"),
        ({"tokens": 9, "length_column": "lenght"}, ValueError, "length_column: rows.jsonl has no column"),
    ):
        with pytest.raises(error, match=message):
            Pipeline(rows, task, model="ngrams", **change).run()
    with pytest.raises(ValueError, match="limits: the repository is vectors without rows"):
        Pipeline(np.eye(4), np.eye(4), limits={"source": 0.5}).run()


# ---------------------------------------------------------------- rows that are examples


@pytest.mark.parametrize("shift", [0.0, 1e3])
def test_rows_that_are_examples_are_found(rng, shift):
    X = rng.standard_normal((3_000, 5)).astype(np.float32)
    Q = X[[7, 900, 2_999]].astype(np.float64)
    X[41] = Q[0] + [0.05, 0, 0, 0, 0]
    Q[2] += 0.2
    X, Q = X + np.float32(shift), Q + shift
    apart = np.sqrt(((X[:, None].astype(float) - Q[None]) ** 2).sum(-1)).min(axis=1)
    for width in (0.0, 0.1, 0.6):
        found = leaked(X, Q, width)
        exact = np.flatnonzero(apart <= 1e-5 * np.sqrt((Q**2).sum(axis=1).mean()))
        np.testing.assert_array_equal(found.exact, exact)
        np.testing.assert_array_equal(found.near, np.setdiff1d(np.flatnonzero(apart < width), exact))
        assert {7, 900} <= set(found.exact)
    assert "--exclude-examples leaves them out" in found.told(False)


@pytest.mark.parametrize("method", ["match", "nearest", "less", "uot", "dsir"])
def test_examples_among_the_rows_are_said_and_can_be_left_out(tmp_path, method):
    texts = [f"note {i} about {'pears' if i % 2 else 'sums'} and number{i * i}" for i in range(60)]
    rows, task = tmp_path / "rows.jsonl", tmp_path / "task.jsonl"
    rows.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    task.write_text("".join(json.dumps({"text": texts[i]}) + "\n" for i in (3, 5, 9)))
    options = {"method": method, "rows": 20, "model": "ngrams", "kernel_width": 1e-3, "replace": False}
    if method != "match":
        del options["kernel_width"]
    if method == "dsir":
        options["min_words"] = 0
    told = Pipeline(rows, task, **options).run()
    assert {3, 5, 9} <= set(told.sources.leaked.rows)
    assert any("--exclude-examples leaves them out" in note for note in told.notes)
    record = told.to_dict()
    assert record["leaked"]["exact"] >= 3
    assert not record["leaked"]["excluded"]
    kept = Pipeline(rows, task, exclude_examples=True, **options).run()
    assert not {3, 5, 9} & set(kept.epochs[0].tolist())
    assert kept.to_dict()["candidates"] == 60 - len(kept.sources.leaked)
    assert all(row in kept.sources.rows for row in kept.epochs[0])


def test_without_the_examples_others_are_chosen_as_if_they_had_not_been_there(data, tmp_path):
    X, Q = data
    inside = np.concatenate([X[:60], Q, X[60:]])
    found = Pipeline(inside, Q, exclude_examples=True, kernel_width=1e-3).run()
    np.testing.assert_array_equal(found.sources.leaked.exact, range(60, 65))
    expected = match(X, Q, kernel_width=1e-3).dense()
    own = np.zeros(125)
    own[found.sources.rows_of(found.distribution.indices)] = found.distribution.probabilities
    np.testing.assert_allclose(np.delete(own, range(60, 65)), expected, atol=1e-12)
    with pytest.raises(ValueError, match="exclude_examples: every row is an example"):
        Pipeline(Q, Q, exclude_examples=True).run()


# ---------------------------------------------------------------- the record


def test_the_record_says_what_it_was_made_of(files, tmp_path):
    rows, task = files
    out = tmp_path / "run"
    selection = Pipeline(rows, task, rows=9, epochs=2, out=out, **VECTORS).run()
    record = json.loads((out / ".meta.json").read_text())
    made_of = record["provenance"]
    assert made_of == json.loads(json.dumps(selection.to_dict()["provenance"]))
    for side, path in zip(("repository", "examples"), files, strict=True):
        (file,) = made_of[side]["files"]
        digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
        assert (file["name"], file["bytes"], file["blake2b"]) == (path.name, path.stat().st_size, digest)
    assert (made_of["repository"]["rows"], made_of["examples"]["rows"]) == (120, 5)
    assert {"setwise", "python", "numpy", "pyarrow"} <= set(made_of["versions"])
    assert Pipeline(np.eye(3), np.eye(3)).run().to_dict()["provenance"]["repository"]["files"] == []
