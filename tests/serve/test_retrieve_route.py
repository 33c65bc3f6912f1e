"""The retrieve route: what the library retrieves from the same index, page by page."""

import numpy as np
import pytest

import setwise
from optional import needs

pytestmark = needs("fastapi", "prometheus_client", "httpx", "wordllama", "pyarrow")

QUERY = "how long do apples keep"


@pytest.fixture(scope="module")
def index(folder):
    return setwise.open_index(folder)


def ids(told):
    assert told.status_code == 200, told.text
    return [one["id"] for one in told.json()["results"]]


def test_it_is_the_library_s_set(ask, index):
    for wish in (
        {},
        {"diversity": 0.7, "objective": "mmr"},
        {"filter": "length > 60"},
        {"filter": ["n1", "n2", "n5"], "k": 2},
        {"include": ["n4"], "exclude": ["n0"]},
        {"groups": "kind", "max_per_group": 3},
        {"limits": {"kind": [2, 3]}},
        {"shown": ["n0", "n1"]},
        {"objective": "facets", "facets": ["pears", "how to store fruit"]},
        {"objective": "max-min", "pool": 7, "max_similarity": 0.9},
        {"solver": "frank-wolfe", "solver_options": {"penalty": 3}},
        {"costs": "length", "budget": 200},
        {"offset": 5},
    ):
        wish = {"k": 5, **wish}
        told = ask.post("/v1/retrieve", {"index": "notes", "query": QUERY, **wish})
        found = setwise.retrieve(QUERY, index, **wish)
        assert ids(told) == found.ids.tolist(), wish
        assert told.json()["setwise"]["value"] == pytest.approx(found.value)
        assert [one["score"] for one in told.json()["results"]] == pytest.approx(found.scores.tolist())


def test_vectors_ask_too_and_the_only_index_needs_no_name(ask, index):
    vector = index.encode(QUERY)
    told = ask.post("/v1/retrieve", {"query": vector.tolist(), "k": 3, "explain": True})
    found = setwise.retrieve(vector, index, 3)
    assert ids(told) == found.ids.tolist()
    assert [why["words"] for why in told.json()["setwise"]["reasons"]] == [
        str(why) for why in found.explain(10)
    ]


def test_pages_go_on_at_the_cursor_and_have_texts_and_columns(ask, index, notes):
    body = {"query": QUERY, "k": 4}
    first = ask.post("/v1/retrieve", body)
    second = ask.post("/v1/retrieve", {**body, "after": first.json()["cursor"]})
    assert ids(second) == setwise.retrieve(QUERY, index, 4).next().ids.tolist()
    one = second.json()["results"][0]
    row = int(one["id"][1:])
    assert one["text"] == notes[row]
    assert one["columns"] == {"length": len(notes[row]), "kind": "ab"[row % 2]}
    bare = ask.post("/v1/retrieve", {**body, "return_documents": False}).json()["results"][0]
    assert set(bare) == {"id", "score", "novelty", "gain"}


def test_texts_are_counted_for_a_budget_of_tokens(ask, notes):
    from setwise.files.lengths import lengths

    told = ask.post("/v1/retrieve", {"query": QUERY, "max_tokens": 45})
    assert len(ids(told)) > 1
    assert sum(lengths([one["text"] for one in told.json()["results"]])) <= 45


def test_requests_that_come_together_get_their_own_sets(ask, index, notes):
    bodies = [{"query": text, "k": 3} for text in notes[:12]]
    bodies[4]["query"] = "!!"
    for body, told in zip(bodies, ask.together("/v1/retrieve", bodies), strict=True):
        if body["query"] == "!!":
            assert told.json()["message"].startswith("query: static")
        else:
            assert ids(told) == setwise.retrieve(body["query"], index, 3).ids.tolist()


def test_indexes_are_named_and_no_more_is_told_of_them(ask, folder):
    told = ask.get("/v1/indexes")
    [one] = told.json()["indexes"]
    assert (one["name"], one["vectors"], one["width"], one["columns"]) == (
        *("notes", 36, 256),
        ["text", "length", "kind"],
    )
    assert str(folder.parent) not in told.text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"index": "note"}, "index: there is no 'note'; did you mean 'notes'?"),
        ({"index": "../notes"}, "index: there is no"),
        ({"query": [1.0, 2.0]}, "query: "),
        ({"query": "?!"}, "query: static"),
        ({"query": 7}, "query"),
        ({"k": 0}, "k: "),
        ({"k": 99}, "k: 99 is more than the 36 vectors"),
        ({"k": 3000}, "k: 3,000 is more than the 2,000"),
        ({"filter": "year > 7"}, "filter: "),
        ({"filter": "length >"}, "filter: "),
        ({"filter": "length > 99999"}, "k: "),
        ({"filter": ["zebra"]}, "filter: the index has no id 'zebra'"),
        ({"after": "s1-zebra"}, "after: "),
        ({"include": ["zebra"]}, ""),
        ({"max_per_group": 1}, "groups: the index has none"),
        ({"relevance_scale": "rank"}, "relevance_scale: "),
        ({"groups": "zebra", "max_per_group": 1}, "groups: the index has no column"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_field(ask, folder, wrong, said):
    told = ask.post("/v1/retrieve", {"index": "notes", "query": QUERY, "k": 3, **wrong})
    if wrong == {"filter": "length > 99999"}:  # which the library answers by an empty set
        assert ids(told) == []
        return
    assert told.status_code == 422, told.text
    assert told.json()["message"].startswith(said)
    assert str(folder.parent) not in told.text


def test_an_index_that_is_replaced_is_seen_by_the_next_request(tmp_path, caplog):
    """Each answer is of one content; what cannot be opened leaves the one before; all are asked together."""
    import shutil

    from asking import Asked, closing

    from setwise.index.saving import save
    from setwise.serve import Settings, create_app

    def write(version, **options):
        names = [f"v{version}-{row}" for row in range(4)]
        columns = {"version": [version] * 4}
        save(tmp_path / "own", np.eye(4), ids=names, texts=names, columns=columns, **options)

    write(1)
    body = {"query": [4.0, 3.0, 2.0, 1.0], "k": 2}
    with closing(create_app(Settings(indexes={"own": tmp_path / "own"}, model="none"))) as app:
        ask = Asked(app)
        service = app.state.service
        first = ask.post("/v1/retrieve", body).json()
        assert [one["text"] for one in first["results"]] == ["v1-0", "v1-1"]
        old = service.indexes["own"]
        write(2, force=True)
        for answer in ask.together("/v1/retrieve", [body] * 4):
            assert [
                (one["id"], one["text"], one["columns"]["version"]) for one in answer.json()["results"]
            ] == [
                ("v2-0", "v2-0", 2),
                ("v2-1", "v2-1", 2),
            ]
        assert ask.get("/v1/indexes").json()["indexes"][0]["vectors"] == 4
        assert setwise.retrieve(body["query"], old, 2).ids.tolist() == ["v1-0", "v1-1"]  # who has it keeps it
        refused = ask.post("/v1/retrieve", {**body, "after": first["cursor"]})
        assert refused.status_code == 422
        assert "which an earlier page had; begin with the first" in refused.json()["message"]
        shutil.rmtree(tmp_path / "own")
        for _ in range(2):
            assert ids(ask.post("/v1/retrieve", body)) == ["v2-0", "v2-1"]
        assert [one.levelname for one in caplog.records if "kept" in one.getMessage()] == ["ERROR"]
        assert str(tmp_path) not in caplog.text
        write(3)
        assert ids(ask.post("/v1/retrieve", body)) == ["v3-0", "v3-1"]


def test_a_retrieval_that_nobody_waits_for_ends_before_its_next_search(app, monkeypatch):
    import asyncio
    import json

    from setwise.index.saved import SavedIndex
    from setwise.serve.retrieve import retrieve
    from setwise.serve.service import Posted
    from setwise.serve.work import Dropped, Task

    body = json.dumps(
        {"query": QUERY, "k": 2, "objective": "facets", "facets": ["pears", "plums", "figs"] * 9}
    )
    searched, search = [], SavedIndex.fetch

    async def scene():
        job = Task(retrieve, Posted(body.encode(), "application/json", {}, "1"), asyncio.Future())

        def fetch(*given, **options):
            searched.append(given)
            if len(searched) == 3:
                job.drop()
            return search(*given, **options)

        monkeypatch.setattr(SavedIndex, "fetch", fetch)
        return retrieve(app.state.service, [job])

    [answer] = asyncio.run(scene())
    assert isinstance(answer, Dropped)
    assert len(searched) == 3
