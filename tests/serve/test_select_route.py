"""The select route: the same set from JSON, .npy, .npz and Arrow, and bodies that are not what they say."""

import gzip
import io
import json
import zipfile

import numpy as np
import pytest

import setwise
from optional import needs

pytestmark = needs("fastapi", "prometheus_client", "httpx", "wordllama", "pyarrow")

N, D = 40, 6
ARROW = "application/vnd.apache.arrow.stream"


@pytest.fixture
def pool(rng):
    rows = rng.standard_normal((N, D)).astype(np.float32)
    return rows, rows @ rows[3] / np.linalg.norm(rows, axis=1) / np.linalg.norm(rows[3])


def npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def arrow(rows, compression=None, file=False, **columns):
    import pyarrow as pa

    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    table = pa.table({"embedding": vectors, **columns})
    stream = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with (pa.ipc.new_file if file else pa.ipc.new_stream)(stream, table.schema, options=options) as writer:
        writer.write_table(table)
    return stream.getvalue()


def sent(ask, body, kind, **asked):
    return ask.post("/v1/select", content=body, params=asked, headers={"content-type": kind})


def test_every_kind_of_body_gives_the_library_s_set(ask, pool):
    rows, relevance = pool
    found = setwise.select(rows, 5, relevance=relevance, diversity=0.4)
    asked = {"k": 5, "diversity": 0.4}
    told = [
        ask.post("/v1/select", {"vectors": rows.tolist(), "relevance": relevance.tolist(), **asked}),
        ask.post("/v1/select", {"vectors": rows.tolist(), "query": rows[3].tolist(), **asked}),
        sent(ask, npz(vectors=rows, relevance=relevance), "application/x-npz", **asked),
        sent(ask, npz(vectors=np.asfortranarray(rows), query=rows[3]), "application/zip", **asked),
        sent(ask, arrow(rows, relevance=relevance), ARROW, **asked),
        sent(ask, arrow(rows, score=relevance), ARROW, relevance="score", **asked),
        sent(ask, arrow(rows, file=True, relevance=relevance), ARROW.replace("stream", "file"), **asked),
    ]
    for one in told:
        assert one.status_code == 200, one.text
        assert one.json()["selected"] == found.indices.tolist()
        assert one.json()["value"] == pytest.approx(found.value, rel=1e-6)
        assert one.json()["certificate"]["optimal"] == found.certificate.optimal
    alone = sent(ask, npy(rows), "application/x-npy", k=5, diversity=0.4, seed=1)
    assert alone.json()["selected"] == setwise.select(rows, 5, diversity=0.4).indices.tolist()


def test_groups_and_costs_are_columns_of_an_arrow_body(ask, pool):
    rows, relevance = pool
    kinds, costs = ["ab"[row % 2] for row in range(N)], np.arange(1.0, N + 1)
    found = setwise.select(
        *(rows, None), relevance=relevance, groups={"kind": kinds}, limits={"kind": 2}, costs=costs, budget=60
    )
    asked = {"groups": '{"kind": "kind"}', "limits": '{"kind": 2}', "costs": "tokens", "budget": 60}
    told = sent(ask, arrow(rows, relevance=relevance, kind=kinds, tokens=costs), ARROW, **asked)
    assert told.json()["selected"] == found.indices.tolist()


def test_requests_that_come_together_get_their_own_sets(ask, pool):
    rows, relevance = pool
    bodies = [
        {"vectors": np.roll(rows, shift, 0).tolist(), "relevance": np.roll(relevance, shift).tolist(), "k": 4}
        for shift in range(9)
    ]
    for body, answer in zip(bodies, ask.together("/v1/select", bodies), strict=True):
        found = setwise.select(body["vectors"], 4, relevance=body["relevance"])
        assert answer.json()["selected"] == found.indices.tolist()


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("application/x-npy", lambda rows: b"", "body: no .npy file"),
        ("application/x-npy", lambda rows: npy(rows)[:-1], "body: "),
        ("application/x-npy", lambda rows: npy(rows).replace(b"(40, 6)", b"(9999999, 6)"[:7]), "body: "),
        ("application/x-npy", lambda rows: npy(np.array([{}, {}])), "body: dtype object"),
        ("application/x-npy", lambda rows: npy(np.ones((3001, 2))), "vectors: 3,001 are more than the 2,000"),
        ("application/x-npy", lambda rows: npy(np.ones((2, 9000))), "vectors: 9,000 numbers a vector"),
        ("application/x-npz", lambda rows: b"PK\x03\x04", "body: no .npz file"),
        ("application/x-npz", lambda rows: npz(relevance=rows), "vectors: the archive has none"),
        ("application/x-npz", lambda rows: npz(vectors=rows, other=rows), "body: it has an array 'other'"),
        (ARROW, lambda rows: b"ARROW1", "body: no Arrow IPC stream"),
        (ARROW, lambda rows: arrow(rows)[:-200], "body: no Arrow IPC stream"),
        (ARROW, lambda rows: arrow(rows, compression="zstd"), "body: its buffers are compressed"),
        (ARROW, lambda rows: arrow(rows, compression="lz4"), "body: its buffers are compressed"),
        ("application/json", lambda rows: b"[1, 2", "body: no JSON"),
        ("application/json", lambda rows: b'{"vectors": [[1], [2]], "k": 3}', "k: 3 is more than"),
        ("application/json", lambda rows: b'{"vectors": [[1], [2]]}', "k: expected an integer"),
    ],
)
def test_a_body_that_is_not_what_it_says_is_refused(ask, pool, kind, body, said):
    told = sent(ask, body(pool[0]), kind, **({} if "json" in kind else {"k": 3}))
    assert told.status_code == 422, told.text
    assert told.json()["message"].startswith(said)


def test_an_archive_that_unpacks_to_more_than_a_body_may_have_is_not_unpacked(ask):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("vectors.npy", bytes(40 << 20))
    told = sent(ask, stream.getvalue(), "application/x-npz", k=3)
    assert told.status_code == 422
    assert told.json()["message"].startswith("body: unpacked it has more than")


def test_a_compressed_body_is_refused_by_its_coding(ask):
    body = json.dumps({"vectors": [[1, 0], [0, 1]], "relevance": [1, 0], "k": 1}).encode()
    kind = {"content-type": "application/json"}
    told = ask.post("/v1/select", content=gzip.compress(body), headers={**kind, "content-encoding": "gzip"})
    assert told.status_code == 415
    assert told.json()["message"] == "content-encoding: gzip is not read; send the body as it is"
    assert told.headers["accept-encoding"] == "identity"
    plain = ask.post("/v1/select", content=body, headers={**kind, "content-encoding": "identity"})
    assert plain.status_code == 200


def test_other_media_types_are_refused(ask):
    told = sent(ask, b"a=b", "application/x-www-form-urlencoded")
    assert told.status_code == 415
    assert told.json()["message"].startswith("content-type: ")


def test_facets_are_vectors_numbers_or_columns(ask, pool):
    rows, relevance = pool
    table = np.abs(rows[:, :2]).astype(np.float64)
    names = {"price": table[:, 0], "size": table[:, 1]}
    asked = {"k": 4, "objective": "facets", "diversity": 0.2}
    body = {"vectors": rows.tolist(), "relevance": relevance.tolist(), **asked}
    packed = dict(zip(names, table.T, strict=True))
    for facets, told in (
        (rows[:3], ask.post("/v1/select", {**body, "facets": rows[:3].tolist()})),
        (
            names,
            ask.post("/v1/select", {**body, "facets": {name: one.tolist() for name, one in names.items()}}),
        ),
        (
            rows[:3],
            sent(ask, npz(vectors=rows, relevance=relevance, facets=rows[:3]), "application/x-npz", **asked),
        ),
        (
            names,
            sent(ask, npz(vectors=rows, relevance=relevance, facets=table), "application/x-npz", **asked),
        ),
        (
            names,
            sent(ask, arrow(rows, relevance=relevance, **packed), ARROW, facets='["price", "size"]', **asked),
        ),
    ):
        assert told.status_code == 200, told.text
        found = setwise.select(rows, 4, relevance=relevance, objective="facets", diversity=0.2, facets=facets)
        assert told.json()["selected"] == found.indices.tolist()


def test_a_field_that_is_none_is_refused(ask, pool):
    body = {"vectors": pool[0].tolist(), "k": 3}
    told = ask.post("/v1/select", {**body, "min_gian": 0.2})
    assert told.status_code == 422
    assert told.json()["message"].startswith("min_gian: there is no such field")
    told = ask.post("/v1/select", {**body, "facets": pool[0][:2].tolist()})
    assert told.json()["message"].startswith("facets: max-sum does not cover them")
