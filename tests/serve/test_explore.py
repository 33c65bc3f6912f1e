"""The explorer: its pictures against what the library's own calls return, and what its routes let through."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from tests.optional import lazily, needs

import setwise
from setwise import pictures
from setwise.files import Corpus
from setwise.retrieval import prepare

pytestmark = needs("fastapi", "prometheus_client", "httpx")
asking = lazily("tests.serve.asking")
engine = lazily("setwise.serve.explore.engine")
kept = lazily("setwise.serve.explore.kept")
explore = lazily("setwise.serve.explore")
asked_of = lazily("setwise.serve.explore.wish")

N = 3000
HOSTILE = "<script>window.ran = 1</script><img src=x onerror='window.ran = 2'> \ud800 \x00 ="


class Words:
    """Encodes "a b" as the mean of two known directions."""

    name, key = "words", "words"

    def __init__(self, vectors):
        self.vectors = vectors

    def encode(self, texts):
        return np.array([self.vectors[[int(word) for word in text.split()]].mean(axis=0) for text in texts])


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    topics = rng.standard_normal((60, 24)) + 0.5
    return (topics[rng.integers(60, size=N)] + 0.5 * rng.standard_normal((N, 24))).astype(np.float32)


@pytest.fixture(scope="module")
def source(vectors):
    texts = [f"{HOSTILE} " + "word " * (row % 9) for row in range(N)]
    corpus = Corpus(
        None,
        [f"d{row}" for row in range(N)],
        texts,
        vectors=vectors,
        columns={"n": [float("nan"), *range(1, N)]},
    )
    return explore.of_corpus(prepare(corpus, Words(vectors)), "corpus.jsonl")


@pytest.fixture
def explorer(source):
    return engine.Explorer(source)


def wish(**given):
    return asked_of.Wish(**{"query": "3 4", "k": 8, **given})


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"diversity": 0.8, "sharpness": 1},
        {"objective": "mmr", "diversity": 0.6},
        {"objective": "log-det", "k": 3},
        {"diversity": 0.5, "sharpness": 2, "thorough": True},
    ],
)
def test_a_picture_is_what_retrieve_returns(explorer, vectors, asked):
    one = wish(**asked)
    picture = explorer.picture(one)
    query = vectors[[3, 4]].mean(axis=0)
    index = setwise.Index.from_array(vectors)
    pool = "auto" if one.thorough else 400
    sharp = {"sharpness": one.sharpness} if one.sharpness else {}
    own = setwise.retrieve(
        query, index, one.k, diversity=one.diversity, objective=one.objective, pool=pool, **sharp
    )
    assert [item["row"] for item in picture["set"]] == own.ids.tolist()
    assert picture["value"] == pytest.approx(own.value)
    assert picture["certificate"]["gap"] == (own.certificate.gap and pytest.approx(own.certificate.gap))
    assert picture["certificate"]["pool_sufficient"] == own.certificate.pool_sufficient
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ query / np.linalg.norm(query)
    ranked = [item["row"] for item in picture["ranked"]]
    assert ranked == np.argsort(-cosines)[: one.k].tolist()
    shared = set(ranked) & set(own.ids.tolist())
    members = own.ids.tolist()
    for item in [*picture["set"], *picture["ranked"]]:
        assert item["id"] == f"d{item['row']}"
        assert item["shared"] == (item["row"] in shared)
        assert item["relevance"] == pytest.approx(cosines[item["row"]], abs=1e-6)
        near = {row: unit[row] @ unit[item["row"]] for row in members if row != item["row"]}
        assert item["similarity"] == pytest.approx(max(near.values()), abs=1e-6)
        assert near[members[item["nearest"]]] == pytest.approx(item["similarity"], abs=1e-6)
    came = {members[new] for new, _ in picture["instead"]}
    assert came == set(members) - shared
    assert {ranked[old] for _, old in picture["instead"]} == set(ranked) - shared
    assert [item["novelty"] for item in picture["set"]] == pytest.approx(own.novelty.tolist(), abs=1e-6)


def test_members_lie_on_the_map_of_the_candidates(explorer, source, vectors):
    told = explorer.map(wish())
    places = dict(zip(told["rows"], told["places"], strict=True))
    assert len(places) == 400
    query = source.encode("3 4")
    scores = vectors[told["rows"]] @ query / np.linalg.norm(vectors[told["rows"]], axis=1)
    assert (np.diff(scores) < 1e-6).all()  # the most relevant first
    for item in explorer.picture(wish())["set"]:
        assert item["place"] == pytest.approx(places[item["row"]], abs=2e-5)
    assert 0 < told["share"][1] <= told["share"][0] < 1


def test_neighborhoods_hold_what_is_alike_the_same_each_time(explorer, source, vectors):
    manifold = pytest.importorskip("sklearn.manifold")
    told = explorer.neighborhoods(wish())
    again = engine.Explorer(source).neighborhoods(wish())
    assert again == told
    assert told["rows"] == explorer.map(wish())["rows"]
    rows, near = vectors[told["rows"]], np.array(told["places"])
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    axes = np.array(explorer.map(wish())["places"])
    # By scikit-learn's measure nearly all neighbors are kept; two axes keep fewer.
    kept_near, kept_axes = (manifold.trustworthiness(rows, one, n_neighbors=10) for one in (near, axes))
    assert kept_near > 0.95 > kept_axes + 0.1
    # A passage that is no candidate stands with the candidate most like it.
    pool = explorer._pool(wish())
    ids = np.array([told["rows"][7], *np.setdiff1d(np.arange(N), told["rows"])[:20]])
    unit = explorer._unit(pool.index, ids)
    found = explorer._candidates(ids, unit, pool)
    assert found[0] == ids[0]
    assert found[1:] == [told["rows"][place] for place in (unit[1:] @ rows.T).argmax(axis=1)]


def test_neighborhoods_of_few_or_equal_rows_are_their_axes():
    rng = np.random.default_rng(0)
    few = rng.standard_normal((4, 6))
    assert np.array_equal(pictures.neighborhoods(few), pictures.Axes.of(few).places(few))
    assert not pictures.neighborhoods(np.ones((30, 6))).any()
    assert np.isfinite(pictures.neighborhoods(rng.standard_normal((10, 6)))).all()


def test_moves_scan_the_index_once(explorer, source, monkeypatch):
    scans = []
    search = type(source.index).search
    monkeypatch.setattr(
        type(source.index),
        "search",
        lambda self, *given, **more: scans.append(1) or search(self, *given, **more),
    )
    for diversity in np.linspace(0, 1, 11):
        for k in (2, 30):
            explorer.picture(wish(k=k, diversity=float(diversity)))
    explorer.frontier(wish())
    assert len(scans) == 1


def test_a_kept_answer_is_the_index_own(source, vectors):
    index = kept.KeptIndex(source.index, 50)
    rng = np.random.default_rng(0)
    for _ in range(6):
        query = rng.standard_normal((1, 24))
        for k in (60, 3, 50, 90, 5000):
            [own], [found] = source.index.fetch(query, k), index.fetch(query, k)
            assert np.array_equal(own.ids, found.ids)
            assert np.array_equal(own.scores, found.scores)
            assert np.array_equal(own.vectors, found.vectors)
    own = source.index.fetch(query, 5, exclude=[int(found.ids[0])])[0]
    assert np.array_equal(index.fetch(query, 5, exclude=[int(found.ids[0])])[0].ids, own.ids)


def test_a_frontier_is_that_of_the_pictures(explorer):
    told = explorer.frontier(wish(diversity=0.7))
    for diversity, relevance, spread in zip(
        told["diversities"], told["relevance"], told["spread"], strict=True
    ):
        picture = explorer.picture(wish(diversity=diversity))
        assert (picture["relevance"], picture["diversity"]) == pytest.approx((relevance, spread), abs=1e-3)


def test_a_budget_of_tokens_holds(explorer, source):
    for thorough in (False, True):
        picture = explorer.picture(wish(tokens=200, thorough=thorough))
        spent = sum(explorer._count(item["row"]) for item in picture["set"])
        assert picture["tokens"] == spent
        assert 150 < spent <= 200
        assert (picture["certificate"] is None) is not thorough
    bare = explore.of_corpus(prepare(Corpus(None, list("abc"), None, vectors=np.eye(3))), "x")
    with pytest.raises(ValueError, match="^tokens: "):
        engine.Explorer(bare).picture(engine.Wish(like="a", tokens=9))


def test_reasons_speak_of_ids(explorer):
    one = wish(diversity=0.6)
    told = explorer.reasons(one)["reasons"]
    picture = explorer.picture(one)
    rows = {item["row"] for item in [*picture["set"], *picture["ranked"]]}
    assert rows <= {int(row) for row in told}
    for item in picture["ranked"]:
        if not item["shared"]:
            words = told[str(item["row"])]["words"]
            near = picture["set"][item["nearest"]]["id"]
            assert words[0].startswith((f"most like {near} (", f"repeats {near} ("))


def test_a_saved_index_shows_the_same_as_its_corpus(tmp_path, vectors, explorer):
    from setwise.index.saving import save

    save(tmp_path / "index", vectors, ids=[f"d{row}" for row in range(N)], columns={"n": list(range(N))})
    with setwise.open_index(tmp_path / "index") as saved:
        other = engine.Explorer(explore.of_index(saved, "index"))
        one = {"k": 5, "like": "d17"}
        mine, its = (each.picture(engine.Wish(**one)) for each in (explorer, other))
        assert [item["id"] for item in its["set"]] == [item["id"] for item in mine["set"]]
        assert its["set"][0]["text"] == ""
        assert other.about()["encoder"] is None
        first = {"rank": 1, "id": "d17", "relevance": pytest.approx(1.0), "novelty": 1.0, "n": 17}
        assert other.members(engine.Wish(**one, diversity=0))[0] == first
        with pytest.raises(ValueError, match="^like: the index has no id 'nobody'"):
            other.picture(engine.Wish(like="nobody"))


@pytest.fixture
def client(source):
    return asking.Asked(explore.create_app(source))


def test_routes_answer_and_keep_the_page_to_itself(client):
    page = client.get("/")
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    for asset in ("page.js", "page.css"):
        assert client.get(f"/assets/{asset}").status_code == 200
        assert f'"/assets/{asset}"' in page.text
    for path in ("about", "select", "map", "neighborhoods", "frontier", "reasons"):
        answer = client.get(f"/api/{path}", params={"query": "3 4", "k": 4})
        assert answer.status_code == 200, answer.text
        assert answer.content.isascii()
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers
        assert client.post(f"/api/{path}", {}).status_code == 405


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, "query: say what to look for"),
        ({"query": "3", "like": "d1"}, "query: say what to look for"),
        ({"like": "nobody"}, "like: 'nobody' is no id"),
        ({"query": "3", "k": 0}, "k: expected at least 1, got 0"),
        ({"query": "3", "k": "many"}, "k: expected a whole number, got a text"),
        ({"query": "3", "tokens": "true"}, "tokens: expected a whole number, got true"),
        ({"query": "3", "diversity": "nan"}, "diversity: expected a number, got a text"),
        ({"query": "3", "diversity": "1e400"}, "diversity: expected a finite number, got inf"),
        ({"query": "3", "objective": "coverage"}, "objective: expected 'max-sum', 'mmr' or 'log-det'"),
        ({"query": "3", "sharpness": 3}, "sharpness: "),
        ({"query": "x" * 4001}, "query: expected at most 4000 characters, got a text"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(client, asked, told):
    answer = client.get("/api/select", params=asked)
    assert answer.status_code == 422
    assert answer.json()["message"].startswith(told)
    assert "\n" not in answer.json()["message"]


def test_a_page_of_another_name_is_not_answered(client):
    for host in ("evil.example", "127.0.0.1.evil.example", ""):
        assert client.get("/api/about", headers={"host": host}).status_code == 400
    assert client.get("/api/about", headers={"host": "localhost:8"}).status_code == 200


def test_files_of_the_set(client):
    asked = {"query": "3 4", "k": 4}
    shown = client.get("/api/select", params=asked).json()
    table = client.get("/export/set.csv", params=asked)
    assert table.headers["content-disposition"] == 'attachment; filename="set.csv"'
    rows = list(csv.DictReader(io.StringIO(table.content.decode())))
    assert [row["id"] for row in rows] == [item["id"] for item in shown["set"]]
    assert list(rows[0]) == ["rank", "id", "relevance", "novelty", "text", "n"]
    told = json.loads(client.get("/export/set.json", params=asked).content, parse_constant=pytest.fail)
    assert [one["id"] for one in told["members"]] == [row["id"] for row in rows]
    assert told["asked"]["k"] == 4
    assert told["proven"] == shown["proven"]
    of_first = client.get("/export/set.json", params={"like": "d0", "k": 1})
    (first,) = json.loads(of_first.content, parse_constant=pytest.fail)["members"]
    assert (first["id"], first["n"]) == ("d0", None)
