"""Mistakes at the doors beside `select`: one line that has the door's own name for what was passed."""

import copy
import os
import pickle

import numpy as np
import pytest

import setwise
from optional import needs
from setwise import compat
from setwise.files import read_corpus
from setwise.finetuning import (
    Distribution,
    Repository,
    draw,
    kernel_width,
    sweep,
    write_epochs,
    write_file,
)
from setwise.finetuning.baselines import doubly_greedy, nearest
from setwise.finetuning.deduplicate import deduplicate
from setwise.preference import select_responses

rng = np.random.default_rng(0)
X, E, R = rng.standard_normal((9, 3)), rng.standard_normal((2, 3)), rng.random(9)
even = Distribution.uniform(np.arange(4), 9)

CALLS = {
    "k of another library": (
        lambda: compat.diversify(X, R, "3"),
        TypeError,
        "k: expected an integer, got '3'",
    ),
    "k of LangChain": (lambda: compat.maximal_marginal_relevance(X[0], X, k=2.5), TypeError, "k: expected"),
    "scale": (lambda: compat.diversify(X, R, 3, scale=None), TypeError, "scale: expected a number"),
    "another width": (
        lambda: compat.maximal_marginal_relevance(X[0, :2], X),
        ValueError,
        "query_embedding: expected 3 numbers",
    ),
    "a text for a flag": (
        lambda: even.sample(2, replace="no"),
        TypeError,
        "replace: expected True or False, got 'no'",
    ),
    "and in draw": (
        lambda: draw(even, rows=2, replace="False"),
        TypeError,
        "replace: expected True or False",
    ),
    "seed of epochs": (lambda: even.epochs(2, 2, seed=0.5), TypeError, "seed: expected an integer"),
    "no distribution": (lambda: draw([0.5, 0.5], rows=2), TypeError, "distribution: expected a Distribution"),
    "a mask for rows": (
        lambda: Distribution.uniform(X[:, 0] > 0, 9),
        TypeError,
        "rows: expected a list of row numbers, got .*np.flatnonzero",
    ),
    "a row too many": (
        lambda: Distribution.uniform([3, 9], 9),
        ValueError,
        "rows: 9 is none of the rows 0 to 8",
    ),
    "no row": (lambda: Distribution.uniform([], 9), ValueError, "rows: empty"),
    "of": (
        lambda: draw(even, rows=2, of=np.arange(3)),
        ValueError,
        r"of: expected one row a candidate, 9; got shape \(3,\)",
    ),
    "weights": (
        lambda: Distribution.over(X),
        ValueError,
        r"weights: expected one number a row, got shape \(9, 3\)",
    ),
    "eps": (lambda: deduplicate(X, eps=None), TypeError, r"eps: expected a number in \[0, 1\], got NoneType"),
    "candidates": (lambda: nearest([[1.0, np.nan]], E, 1), ValueError, "candidates: row 0 has NaN"),
    "candidates again": (lambda: doubly_greedy(None, E, 1), TypeError, "candidates: "),
    "groups": (
        lambda: kernel_width(X, groups=[1, 2]),
        TypeError,
        r"groups\[0\]: expected a list of row numbers, got 1",
    ),
    "diversities": (lambda: sweep(X, E, 0.4), TypeError, "diversities: expected a list of numbers, got 0.4"),
    "no frame": (lambda: even.to_pandas(X), TypeError, "candidates: expected a frame, got ndarray"),
    "one value": (
        lambda: select_responses(3.0, R, 3),
        ValueError,
        r"embeddings: expected shape \(N, d\), got \(\)",
    ),
    "arrays as ids": (
        lambda: setwise.Catalog.build(X, R, clusters=2, ids=[E] * 9),
        TypeError,
        "ids: row 0 is array",
    ),
    "one id": (
        lambda: setwise.Catalog.build(X, R, clusters=2).set_quality(R, ids=5),
        TypeError,
        "ids: expected a seq",
    ),
    "a weight": (
        lambda: select_responses(X, R, 3, reward_weight=X),
        TypeError,
        "reward_weight: expected a number",
    ),
    "quality_weight": (lambda: setwise.Catalog.build(X, R, clusters=2, quality_weight=10**30), None, ""),
}
#: Those that get as far as clustering.
CLUSTERED = {"one id", "quality_weight"}


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=needs("faiss") if one in CLUSTERED else ()) for one in CALLS]
)
def test_a_mistake_is_named_as_the_door_names_it(name):
    call, error, message = CALLS[name]
    if error is None:
        call()
        return
    with pytest.raises(error, match=f"^{message}") as caught:
        call()
    assert "\n" not in str(caught.value)


@needs("pyarrow")
def test_rows_that_a_repository_lacks_are_never_left_out_in_silence(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\n')
    repository = Repository(path)
    for rows, message in {
        (0, 2): "2 is none of the rows 0 to 1",
        (-1,): "-1 is none",
        (True, False): "flatnonzero",
    }.items():
        rows = np.array(rows)
        with pytest.raises((TypeError, ValueError), match=f"^rows: .*{message}"):
            list(repository.take(rows))
        with pytest.raises((TypeError, ValueError), match=f"^rows: .*{message}"):
            repository.texts_of(rows)
        with pytest.raises((TypeError, ValueError), match=rf"^epochs\[0\]: .*{message}"):
            write_file(repository, [rows], tmp_path / "out.jsonl")
        with pytest.raises((TypeError, ValueError), match=rf"^epochs\[1\]: .*{message}"):
            write_epochs(repository, [np.array([0]), rows], tmp_path / "out")
    with pytest.raises(ValueError, match=r"^epochs\[0\]: it has no rows"):
        write_file(repository, [np.array([], np.int64)], tmp_path / "out.jsonl")
    with pytest.raises(TypeError, match="^force: expected True or False, got 'no'"):
        write_file(repository, [np.array([0])], path, force="no")
    assert [one.name for one in tmp_path.iterdir()] == ["rows.jsonl"]


@needs("faiss")
def test_a_text_promises_no_exact_search():
    import faiss

    index = faiss.index_factory(3, "IVF2,Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(X.astype(np.float32))
    index.add(X.astype(np.float32))
    with pytest.raises(TypeError, match="^exact: expected True or False, got 'no'"):
        setwise.Index.from_faiss(index, exact="no")


@needs("torch", "transformers", "accelerate")
@pytest.mark.parametrize("name", ["lora", "share_prompt", "streaming", "chat", "length_normalized"])
def test_a_text_switches_nothing_on_in_training(name, tmp_path):
    from setwise.preference import PreferenceConfig

    with pytest.raises(TypeError, match=f"^{name}: expected True or False, got 'false'"):
        PreferenceConfig(output_dir=str(tmp_path), **{name: "false"})


@needs("faiss")
@pytest.mark.parametrize("kind", ["Flat", "IDMap2,Flat", "IVF2,Flat", "HNSW4"])
def test_copies_of_a_faiss_index_answer_alike(kind):
    import faiss

    made = faiss.index_factory(3, kind, faiss.METRIC_INNER_PRODUCT)
    unit = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    made.train(unit)
    names = np.arange(9) if kind in ("Flat", "HNSW4") else np.arange(9) * 7 - 20
    made.add(unit) if kind in ("Flat", "HNSW4") else made.add_with_ids(unit, names)
    if kind.startswith("IVF"):
        made.nprobe = 2
    index = setwise.Index.from_faiss(made)
    wanted = names[np.argsort(-(unit @ E[0].astype(np.float32)))[:3]].tolist()
    for copied in (pickle.loads(pickle.dumps(index)), copy.deepcopy(index), copy.copy(index), index):
        found = setwise.retrieve(E[0], copied, 3, diversity=0)
        assert found.ids.tolist() == wanted
        assert copied.exact == index.exact == (kind != "HNSW4")


@needs("duckdb")
def test_a_database_is_not_copied():
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE items (id BIGINT, vector FLOAT[2])")
        connection.execute("INSERT INTO items VALUES (1, [1, 0]), (2, [0, 1])")
        index = setwise.Index.from_duckdb(connection, "items")
        for way in (pickle.dumps, copy.deepcopy):
            with pytest.raises(
                TypeError, match="'items': an open connection cannot be copied; open the index"
            ):
                way(index)


@needs("pyarrow")
@pytest.mark.parametrize("wish", [{"objective": "facets", "facets": ["a"]}, {"costs": "a", "budget": 9}])
def test_an_item_without_a_number_is_named_by_its_id(wish):
    columns = {"a": [1.0] * 4 + [None] + [1.0] * 4, "b": ["x"] * 9}
    catalog = setwise.Catalog.build(X, R, clusters=2, ids=[f"i{row}" for row in range(9)], fields=columns)
    with pytest.raises(ValueError, match=r"^(facets\['a'\]|costs): no number for 'i4'; give each item one$"):
        catalog.select(3, **wish)
    with pytest.raises(ValueError, match=r"^facets\['b'\]: no number for 'i0'; give each item one$"):
        catalog.select(3, objective="facets", facets=["b"])
    with pytest.raises(ValueError, match="^filter: it and exclude leave no item; loosen them$"):
        catalog.select(3, exclude=[f"i{row}" for row in range(9)])


@needs("pyarrow")
@pytest.mark.parametrize(
    "head", ["id, text", " id ,text ", "\ufeff\ufeffid,text", "\0\0id,text", "ID\t,\tText"]
)
def test_names_of_columns_are_known_with_blanks_and_marks_around_them(tmp_path, head):
    path = tmp_path / "rows.csv"
    path.write_text(f"{head}\na,hello\nb,you\n", encoding="utf-8")
    corpus = read_corpus(path)
    assert list(corpus.ids) == ["a", "b"]
    assert list(corpus.texts) == ["hello", "you"]
    assert Repository(path).texts_of(np.array([1])) == ["you"]


@needs("pyarrow")
def test_what_is_wrong_with_a_path_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.jsonl").symlink_to("loop.jsonl")
    (tmp_path / "gone.jsonl").symlink_to("moved.jsonl")
    for path, error, message in (
        ("gone.jsonl", FileNotFoundError, "'gone.jsonl' is a link to 'moved.jsonl', and nothing is there"),
        ("loop.jsonl", FileNotFoundError, "'loop.jsonl' is a link to 'loop.jsonl', and nothing is there"),
        ("x" * 300 + ".jsonl", ValueError, "'x+'… is no path here \\(File name too long\\)"),
    ):
        with pytest.raises(error, match=f"^corpus: {message}$"):
            read_corpus(path)
    folder = tmp_path / "~nobody-of-this-name"
    setwise.Catalog.build(X, R, clusters=2).save(folder.name)
    assert len(setwise.Catalog.load(folder.name).select(2)) == 2
    assert folder.is_dir()


@needs("pyarrow")
def test_what_may_not_be_read_is_said(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n')
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read everything
    with pytest.raises(PermissionError, match="^corpus: '.*' may not be read by this user; change its mode$"):
        read_corpus(path)
