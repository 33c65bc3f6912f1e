"""Retrieval from texts: the recipe over `setwise.select`, and what is left out, reported or refused."""

from __future__ import annotations

import numpy as np
import pytest

import setwise
from optional import needs
from setwise import api
from setwise.files import Corpus
from setwise.retrieval import default_sharpness, prepare, retrieve_texts

pytestmark = needs("sklearn")

TEXTS = [
    "open a file and read its lines",
    "open a file and read its lines now",
    "read a socket",
    "write a file",
    "close the window",
    "paint the window red",
    "a file has many lines",
    "sort the lines of a file",
]
IDS = list("abcdefgh")


def corpus(texts=TEXTS, ids=None, **more):
    return Corpus(None, IDS[: len(texts)] if ids is None else ids, texts, **more)


def numbers(n=30, d=5, seed=0, **more):
    draw = np.random.default_rng(seed)
    return Corpus(None, range(n), None, draw.standard_normal((n, d)).astype(np.float32), **more)


def test_it_is_select_with_retrievals_defaults():
    candidates = prepare(corpus(), "lsa")
    hits = candidates.select("read the lines of a file", 3)
    expected = setwise.select(
        candidates.vectors, 3, query=candidates.encode("read the lines of a file"), diversity=0.3, sharpness=8
    )
    assert hits.selection.indices.tolist() == expected.indices.tolist()
    assert hits.selection.value == expected.value
    assert hits.ids == [IDS[index] for index in expected]
    assert hits.texts == [TEXTS[index] for index in expected]


@pytest.mark.parametrize(
    ("objective", "metric", "expected"),
    [("max-sum", "cosine", 8), ("max-sum", "euclidean", 1), ("mmr", "cosine", 1), ("log-det", "cosine", 1)],
)
def test_sharpness_is_for_max_sum_under_cosine(objective, metric, expected):
    assert default_sharpness(objective, metric) == expected
    assert len(prepare(corpus(), "lsa").select("file", 3, objective=objective, metric=metric)) == 3


def test_every_option_reaches_the_selection(monkeypatch):
    asked = []

    def selected(request, *arguments, **options):
        asked.append(request)
        return api.selected(request, *arguments, **options)

    monkeypatch.setattr("setwise.retrieval.prepared.selected", selected)
    given = {
        "diversity": 0.7, "objective": "mmr", "sharpness": 1, "solver": "greedy", "metric": "euclidean",
        "relevance_scale": "rank", "certify": "full", "seed": 5, "threads": 1,
    }  # fmt: skip
    prepare(corpus(), "lsa").select("file", 2, include=["c"], exclude=["a"], **given)
    retrieve_texts(corpus(), "file", 2, model="lsa", include=["c"], exclude=["a"], **given)
    assert len(asked) == 2
    for request in asked:
        assert {name: getattr(request, name) for name in given} == given
        assert (request.k, request.include, request.exclude) == (2, [2], [0])
        assert (request.groups, request.max_per_group) == (None, None)


def test_barred_passages_are_left_out():
    candidates = prepare(corpus(), "lsa")
    best = candidates.select("read the lines of a file", 1).ids
    again = candidates.select("read the lines of a file", 3, exclude=best)
    assert best[0] not in again.ids
    with pytest.raises(ValueError, match=r"^exclude: the corpus has no id 'zz'"):
        candidates.select("file", 2, exclude=["zz"])
    with pytest.raises(ValueError, match="^include: 'a' is in exclude, too"):
        candidates.select("file", 2, include=["a"], exclude=["a"])


def test_groups_given_for_the_call():
    """One label a row of the corpus, in place of its own."""
    labels = ["x", "x", "x", "y", "y", "y", "y", "y"][: len(corpus())]
    hits = prepare(corpus(), "lsa").select("file", 2, groups=labels, max_per_group=1)
    assert {labels[row] for row in hits.rows} == {"x", "y"}
    with pytest.raises(ValueError, match=r"^groups: expected \d labels, one a row of the corpus, got 1"):
        prepare(corpus(), "lsa").select("file", 2, groups=["x"], max_per_group=1)


def test_a_passage_without_a_label_is_refused_by_its_id_or_a_group_of_its_own():
    candidates = prepare(corpus(), "lsa")
    labels = [None] * len(TEXTS)
    with pytest.raises(ValueError, match=r"^groups: id 'a' has no label \(None\).*OwnIfMissing"):
        candidates.select("file", 3, groups=labels, max_per_group=1)
    with pytest.raises(ValueError, match=r"^costs: id 'a' has none \(None\); give it a number"):
        candidates.select("file", costs=labels, budget=3)
    own = candidates.select("file", 3, groups=setwise.OwnIfMissing(labels), max_per_group=1)
    assert list(own.ids) == list(candidates.select("file", 3).ids)


def test_members_carry_their_relevance_and_cosines():
    candidates = prepare(corpus(), "lsa")
    hits = candidates.select("read the lines of a file", 4)
    chosen = candidates.vectors[hits.selection.indices].astype(np.float64)
    np.testing.assert_allclose(
        hits.relevances, chosen @ candidates.encode("read the lines of a file"), atol=1e-6
    )
    np.testing.assert_allclose(hits.relevances.mean(), hits.selection.relevance, atol=1e-6)
    np.testing.assert_allclose(hits.cosines, chosen @ chosen.T, atol=1e-6)
    off = hits.cosines[~np.eye(4, dtype=bool)]
    assert hits.closest_pair == pytest.approx(off.max())


def test_relevance_under_euclidean_is_minus_the_distance():
    source = numbers()
    query = np.ones(5)
    hits = prepare(source).select(query, 4, metric="euclidean")
    np.testing.assert_allclose(
        hits.relevances, -np.linalg.norm(source.vectors[hits.rows] - query, axis=1), rtol=1e-6
    )
    np.testing.assert_allclose(hits.relevances.mean(), hits.selection.relevance, rtol=1e-5)


def test_near_duplicates_point_to_the_member_they_echo():
    candidates = prepare(
        corpus(["red apple pie", "red apple pie", "blue sky", "red apple pie !"], ids=[1, 2, 3, 4]), "lsa"
    )
    hits = candidates.select("apple", 4, solver="top-k")
    order = hits.ids
    assert {order[late]: order[early] for late, early in hits.echoes.items()} == {2: 1, 4: 1}
    assert candidates.select("apple", 1).closest_pair is None
    assert candidates.select("apple", 1).echoes == {}


def test_a_query_without_a_known_word():
    candidates = prepare(corpus(), "lsa")
    with pytest.raises(
        ValueError, match=r"query: lsa .* knows no word of 'xyzzy plugh'; use other words, or another"
    ):
        candidates.select("xyzzy plugh", 2)
    with pytest.raises(ValueError, match="knows no word of ''"):
        candidates.select("", 2)
    with pytest.raises(TypeError, match="query: expected a string, got int"):
        candidates.encode(5)


def test_texts_without_a_known_word_are_left_out_and_counted():
    texts = ["", "read a file", "  \n", "?!", "read a line"]
    candidates = prepare(corpus(texts), "lsa")
    assert candidates.unknown == ["a", "c", "d"]
    assert candidates.rows.tolist() == [1, 4]
    hits = candidates.select("file", 2)
    assert hits.ids == ["b", "e"]
    assert hits.rows.tolist() == [1, 4]
    with pytest.raises(ValueError, match="k: 3 is more than the 2 candidates"):
        candidates.select("file", 3)
    with pytest.raises(
        ValueError, match="include: 'c' was left out of the candidates: no word of its text is known"
    ):
        candidates.select("file", 2, include=["c"])


def test_a_corpus_without_words():
    with pytest.raises(ValueError, match="corpus: no text has a word in it"):
        prepare(corpus(["", "..."]), "lsa")
    with pytest.raises(ValueError, match="corpus: it has neither texts nor vectors"):
        prepare(Corpus(None, [1]), "lsa")


def test_duplicates_are_kept_and_reported_or_dropped():
    texts = ["read a file", "write a file", "read a file", "read a file", "sort"]
    kept = prepare(corpus(texts), "lsa")
    assert kept.repeats == {2: 0, 3: 0}
    assert len(kept) == 5
    dropped = prepare(corpus(texts), "lsa", drop_duplicates=True)
    assert dropped.rows.tolist() == [0, 1, 4]
    assert sorted(dropped.select("read a file", 3).ids) == ["a", "b", "e"]
    with pytest.raises(
        ValueError, match="include: 'c' was left out of the candidates: its text repeats an earlier one"
    ):
        dropped.select("file", 2, include=["c"])


def test_dropping_duplicates_of_brought_vectors():
    source = Corpus(None, [1, 2, 3], ["x", "x", "y"], np.eye(3, dtype=np.float32), np.array([1.0, 2.0, 3.0]))
    candidates = prepare(source, drop_duplicates=True)
    hits = candidates.select(None, 2)
    assert sorted(hits.ids) == [1, 3]
    assert sorted(hits.relevances) == [1.0, 3.0]


def test_included_ids_come_first():
    candidates = prepare(corpus(), "lsa")
    assert candidates.select("read the lines of a file", 3, include=["f", "e"]).ids[:2] == ["f", "e"]
    with pytest.raises(ValueError, match=r"include: the corpus has no id 'zz'"):
        candidates.select("file", 3, include=["zz"])


def test_ids_that_are_numbers_may_be_named_either_way():
    candidates = prepare(numbers())
    for name in (7, "7"):
        assert candidates.select(np.ones(5), 3, include=[name]).ids[0] == 7


def test_groups():
    labels = ["x", 1, "x", 1, "x", "x", "x", "x"]
    candidates = prepare(corpus(groups=labels), "lsa")
    hits = candidates.select("read the lines of a file", 3, max_per_group=2)
    assert sum(labels[row] == "x" for row in hits.rows) <= 2
    with pytest.raises(ValueError, match="max_per_group: the corpus has no groups; name their column"):
        prepare(corpus(), "lsa").select("file", 2, max_per_group=1)


def test_brought_relevance_instead_of_a_query():
    draw = np.random.default_rng(1)
    source = numbers(relevance=draw.random(30))
    hits = prepare(source).select(None, 5, diversity=0)
    assert hits.rows.tolist() == np.argsort(-source.relevance)[:5].tolist()
    np.testing.assert_array_equal(hits.relevances, source.relevance[hits.rows])
    with pytest.raises(ValueError, match="query: pass a query or a corpus with relevance, not both"):
        prepare(source).select(np.ones(5), 5)
    with pytest.raises(ValueError, match="query: pass one"):
        prepare(numbers()).select(None, 5)


def test_texts_with_relevance_are_encoded_for_their_distances():
    source = corpus(relevance=np.linspace(1, 0, 8))
    hits = prepare(source, "lsa").select(None, 2, diversity=0.5)
    assert hits.ids[0] == "a"
    assert hits.ids[1] != "b"


def test_a_text_query_for_brought_vectors_needs_their_model():
    candidates = prepare(numbers())
    with pytest.raises(ValueError, match="query: a text cannot be compared with vectors that you bring"):
        candidates.select("file", 2)
    with pytest.raises(
        ValueError, match="model: lsa learns from texts and cannot encode queries for vectors"
    ):
        prepare(numbers(), "lsa")


def test_the_model_of_brought_vectors_encodes_queries():
    pytest.importorskip("wordllama", reason="wordllama is not installed")
    from setwise.encode.static import Static

    source = Corpus(None, IDS, TEXTS, Static().encode(TEXTS))
    hits = prepare(source, "static").select("paint a window", 2)
    assert set(hits.ids) == {"e", "f"}
    with pytest.raises(ValueError, match=r"model: static .* does not fit vectors of 5 d"):
        prepare(numbers(), "static").select("file", 2)


def test_one_call_does_it_all(tmp_path):
    hits = retrieve_texts(corpus(), "read the lines of a file", 3, model="lsa", cache=tmp_path, diversity=0)
    assert hits.ids == prepare(corpus(), "lsa").select("read the lines of a file", 3, solver="top-k").ids
    assert prepare(corpus(), "lsa", cache=tmp_path).cached
