"""Several targets: the mixture of their matches by their shares, and how far they overlap."""

import json

import numpy as np
import pytest

from optional import needs
from setwise.finetuning import Pipeline, match
from setwise.finetuning.targets import Mixture

pytestmark = needs("pyarrow", "faiss")


@pytest.fixture
def data(rng):
    X = rng.standard_normal((200, 5))
    return X, X[:60] + 0.5 * rng.standard_normal((60, 5)), X[100:106] + 0.5 * rng.standard_normal((6, 5))


def test_each_target_has_its_share_however_many_examples_it_has(data):
    X, many, few = data
    found = Pipeline(X, {"many": many, "few": (few, 3)}, rows=40, kernel_width=0.3).run()
    parts = [match(X, Q, kernel_width=0.3) for Q in (many, few)]
    expected = 0.25 * parts[0].dense() + 0.75 * parts[1].dense()
    np.testing.assert_allclose(found.distribution.dense(), expected, atol=1e-15)
    common = np.minimum(parts[0].dense(), parts[1].dense()).sum()
    np.testing.assert_allclose(found.distribution.overlap, [[1, common], [common, 1]])
    record = json.loads(json.dumps(found.to_dict()))
    assert [one["share"] for one in record["targets"]] == [0.25, 0.75]
    assert record["targets"][1]["overlap"] == {"many": pytest.approx(common)}
    assert record["targets"][0]["distribution"]["transport_cost"] == pytest.approx(parts[0].transport_cost)
    far = max((part.nearest.max(), name) for part, name in zip(parts, ("many", "few"), strict=True))
    assert (record["least_covered"][0]["distance"], record["least_covered"][0]["target"]) == far
    assert len(found.epochs[0]) == 40
    # Pooled, the larger target would have had ten times the other's share.
    assert match(X, np.concatenate([many, few]), kernel_width=0.3).dense() != pytest.approx(expected)


@pytest.mark.parametrize("method", ["nearest", "less", "doubly-greedy", "uot"])
def test_methods_that_count_rows_give_each_target_its_budget(data, method):
    """Each target's rows are its first choices that no target before it has taken."""
    from setwise.finetuning import baselines

    X, many, _ = data
    other = X[:6] + 0.1  # near rows that the first target wants, too
    found = Pipeline(X, {"many": many, "other": (other, 2)}, method=method, rows=33).run()
    choose = getattr(baselines, method.replace("-", "_"))
    more = {"metric": "euclidean"} if method == "nearest" else {}
    first = choose(X, many, 11, **more).order
    second = [row for row in choose(X, other, len(X), **more).order.tolist() if row not in first][:22]
    assert sorted(found.epochs[0]) == sorted([*first.tolist(), *second])
    alone = choose(X, other, 22, **more)
    common = len(np.intersect1d(first, alone.indices))
    assert common > 0  # else nothing had to be passed over
    record = found.to_dict()["targets"]
    assert [one["share"] for one in record] == pytest.approx([1 / 3, 2 / 3])
    assert record[0]["overlap"]["other"] == pytest.approx(common / 22)


@pytest.mark.parametrize("method", ["dsir", "random"])
def test_methods_that_weigh_texts_or_nothing_take_several_targets(tmp_path, method):
    kinds = {"sums": "add two numbers and more", "letters": "write a polite letter about pears"}
    rows = [f"{text} {i}" for i in range(300) for text in kinds.values()]
    files = {
        "rows": rows,
        **{kind: [f"{text} please"] * (3 if kind == "sums" else 9) for kind, text in kinds.items()},
    }
    for name, lines in files.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    targets = {"sums": (tmp_path / "sums.jsonl", 3), "letters": tmp_path / "letters.jsonl"}
    options = {"min_words": 0} if method == "dsir" else {}
    found = Pipeline(tmp_path / "rows.jsonl", targets, method=method, rows=100, **options).run()
    json.dumps(found.to_dict())
    letters = (found.epochs[0] % 2).sum()
    if method == "random":
        assert 30 < letters < 70
        assert found.targets() == []
        return
    assert letters == 25  # the second share, whatever the number of examples
    assert [one["share"] for one in found.targets()] == [0.75, 0.25]
    assert found.targets()[0]["overlap"]["letters"] < 1e-6


def test_examples_of_every_target_are_looked_for_among_the_texts(tmp_path):
    for name, lines in {
        "rows": ["red tree", "blue house", "poor thing"],
        "a": ["red tree"],
        "b": ["Poor thing"],
    }.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    targets = {name: tmp_path / f"{name}.jsonl" for name in "ab"}
    found = Pipeline(
        tmp_path / "rows.jsonl", targets, method="dsir", min_words=0, rows=1, exclude_examples=True
    ).run()
    assert found.sources.leaked.exact.tolist() == [0, 2]
    assert found.epochs[0].tolist() == [1]


def test_shares_of_rows_are_whole_and_sum_up():
    from setwise.finetuning.targets import split

    assert split(10, [1 / 3, 1 / 3, 1 / 3]) == [4, 3, 3]
    assert split(7, [0.5, 0.25, 0.25]) == [3, 2, 2]
    assert split(30, [0.1] * 10) == [3] * 10


def test_a_mixture_is_over_the_union_of_rows(rng):
    from setwise.finetuning import Distribution

    a, b = Distribution.uniform(np.array([1, 3]), 6), Distribution.uniform(np.array([3, 4, 5]), 6)
    both = Mixture.of(["a", "b"], [0.5, 0.5], [a, b])
    np.testing.assert_allclose(both.dense(), [0, 0.25, 0, 0.25 + 1 / 6, 1 / 6, 1 / 6])
    assert both.overlap[0, 1] == pytest.approx(1 / 3)


def test_targets_in_files_are_encoded_with_the_repository_once(tmp_path):
    kinds = {"sums": "add two numbers and more", "letters": "write a polite letter about pears"}
    rows = [f"{text} {i}" for i in range(40) for text in kinds.values()]
    paths = {}
    texts = {"rows": rows, **{kind: [f"{text} please"] * 3 for kind, text in kinds.items()}}
    for name, lines in texts.items():
        paths[name] = tmp_path / f"{name}.jsonl"
        paths[name].write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    steps = []
    found = Pipeline(
        paths.pop("rows"), paths, model="ngrams", rows=60, epochs=2, out=tmp_path / "run", replace=True
    ).run(lambda step, *_: steps.append(step))
    assert [steps[at] for at in range(1, len(steps)) if steps[at - 1] != steps[at]].count("encoding") <= 1
    drawn = np.concatenate(found.epochs) % 2
    assert 0.3 < drawn.mean() < 0.7
    made_of = json.loads((tmp_path / "run" / ".meta.json").read_text())["provenance"]["examples"]
    assert {name: facts["files"][0]["name"] for name, facts in made_of.items()} == {
        "sums": "sums.jsonl",
        "letters": "letters.jsonl",
    }
    assert {one["target"] for one in found.least_covered(6)} == {"sums", "letters"}


def test_targets_that_cannot_be_are_refused(data):
    X, many, few = data
    for change, message in (
        ({"examples": {}}, "examples: there is no target"),
        ({"examples": {"a": (few, 0)}}, "examples: the weight of 'a': 0 is not"),
        (
            {"examples": {"a": few, "b": (many, 99)}, "method": "less", "rows": 3},
            "rows: 3 are too few for the share of 'a'",
        ),
        ({"examples": {"a": few, "b": many[:, :3]}}, "example_vectors: they have 3 d, the repository's 5"),
    ):
        with pytest.raises(ValueError, match=message):
            Pipeline(X, **change).run()
    with pytest.raises(ValueError, match="a sweep is of one target"):
        Pipeline(X, {"a": few, "b": many}).sweep()


def test_the_command_takes_targets_by_name():
    from setwise.cli.finetune_options import as_shares, as_targets

    assert as_targets(["task.jsonl"]) == "task.jsonl"
    assert as_targets(["a=x.jsonl", "b=y/z.npy:2.5"]) == {"a": ("x.jsonl", 1.0), "b": ("y/z.npy", 2.5)}
    assert as_shares(["source=.3", "kind=.1:.5"]) == {"source": (0.0, 0.3), "kind": (0.1, 0.5)}
    for typed, message in (
        (["a.jsonl", "b=b.jsonl"], "each needs a name, NAME=PATH; got 'a.jsonl'"),
        (["a=1", "a=2"], "two targets are called 'a'"),
        (["a=1:much", "b=2"], "'much' is no weight"),
    ):
        with pytest.raises(ValueError, match=message):
            as_targets(typed)
    for typed in (["source"], ["source=much"], ["=.3"]):
        with pytest.raises(ValueError, match="limit: expected COLUMN=SHARE"):
            as_shares(typed)
