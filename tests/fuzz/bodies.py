"""Mutated bodies, sent to every route that takes one.

    python -m tests.fuzz.bodies TIMES [FIRST]

A case is a whole body, changed as its seed says: values put in the place of others, fields taken away or
renamed, bytes flipped, cut or repeated, another media type. The service answers it, or refuses it in one
line: never by an error that nobody foresaw, nor with a traceback, a path or a text of the index in it; and
the log has nothing of what was sent.
"""

from __future__ import annotations

import asyncio
import copy
import io
import json
import logging
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import httpx
import numpy as np

#: What stands in every text that is sent, and in every text of the index.
SENT, KEPT = "quince", "medlar"

#: Statuses that a case may be answered by.
EXPECTED = (200, 413, 415, 422, 504)

ODD = [
    *(None, True, False, 0, -1, 1, 2, 0.5, 1e308, -1e308, 10**400, 2**31, 2**63, -(2**63), 1e-320),
    *("", "x", SENT, "\0", "\ud7ff", "a" * 3000, "../../etc/passwd", "%s%s%n", "{{7*7}}", "' or 1=1", "NaN"),
    *(
        [],
        {},
        [[]],
        [None],
        [[1]],
        [[1, 2], [3]],
        [0] * 40,
        {"a": {"b": [{}]}},
        [[[1]]],
        ["AAAA"],
        ["/////w=="],
    ),
    *("max-sum", "mmr", "log-det", "coverage", "exact", "k-dpp", "full", "greedy", "rank", "euclidean"),
    *([1, 1], [-1], [0, 10**12], {"kind": [2, 1]}, {"kind": 0}, {"kind": {"a": 0.5}}, {"length": [0, None]}),
]


def bodies(rng: np.random.Generator) -> list[tuple[str, dict]]:
    """Return a route and a body that it answers, of each kind."""
    texts = [f"{SENT} {word}" for word in ("tart", "in a tart", "jelly", "tree", "wood", "of Portugal")]
    rows = rng.standard_normal((6, 4)).round(3).tolist()
    wishes = {
        "diversity": 0.4,
        "sharpness": 8,
        "objective": "max-sum",
        "solver": "auto",
        "certify": True,
        "seed": 0,
        "explain": True,
    }
    rank = {"query": f"{SENT} tart", "top_n": 3, **wishes}
    return [
        ("/v1/rerank", {**rank, "documents": texts, "return_documents": True, "max_tokens_per_doc": 9}),
        ("/v2/rerank", {**rank, "documents": [{"text": text} for text in texts], "max_tokens": 9}),
        ("/rerank", {"query": SENT, "texts": texts, "raw_scores": True, "return_text": True}),
        ("/v1/reranking", {"query": SENT, "input": texts, "top_k": 2, "shown": texts[:1], "exclude": [0]}),
        ("/v1/rerank", {**rank, "documents": texts, "embeddings": rows, "query_embedding": rows[0]}),
        ("/v1/rerank", {**rank, "documents": texts, "relevance": [3, 1, 2, None, 0, 1], "include": [1]}),
        (
            "/v1/rerank",
            {**rank, "documents": texts, "groups": {"kind": list("aabbcc")}, "limits": {"kind": 2}},
        ),
        ("/v1/select", {"vectors": rows, "relevance": [1, 2, 3, 4, 5, 6], "k": 3, **wishes}),
        ("/v1/select", {"vectors": rows, "query": rows[0], "costs": [1, 2, 3, 1, 2, 3], "budget": 4}),
        ("/v1/select", {"vectors": rows, "k": 2, "metric": "euclidean", "min_gain": 0.1, "shown": rows[:1]}),
        ("/v1/retrieve", {"index": "kept", "query": "tart", "k": 3, "filter": "length > 3", **wishes}),
        ("/v1/retrieve", {"query": rng.standard_normal(256).round(2).tolist(), "k": 2, "offset": 2}),
        ("/v1/retrieve", {"query": "tart", "k": 3, "groups": "kind", "max_per_group": 2, "exclude": ["n1"]}),
        ("/v1/retrieve", {"query": "tart", "max_tokens": 12, "shown": ["n2"], "limits": {"kind": [0, 2]}}),
        ("/v1/retrieve", {"query": "tart", "k": 2, "after": "s1-WyJuMCJd"}),
    ]


def binary(rng: np.random.Generator) -> list[tuple[str, bytes, str]]:
    """Return addresses and bodies that are no JSON, with their media types."""
    import pyarrow as pa

    rows = rng.standard_normal((6, 4)).astype(np.float32)
    alone, several, table = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(alone, rows)
    np.savez(several, vectors=rows, relevance=rows[:, 0])
    made = pa.table(
        {"v": pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 4), "relevance": rows[:, 0]}
    )
    with pa.ipc.new_stream(table, made.schema) as writer:
        writer.write_table(made)
    return [
        ("/v1/select?k=2", alone.getvalue(), "application/x-npy"),
        ("/v1/select?k=2&diversity=0.3", several.getvalue(), "application/x-npz"),
        ("/v1/select?k=2", table.getvalue(), "application/vnd.apache.arrow.stream"),
    ]


def mutated(body: dict, draw: random.Random) -> dict:
    """Return a body with a few values in others' places, and fields gone or renamed."""
    body = copy.deepcopy(body)
    for _ in range(draw.choice([0, 1, 1, 1, 2, 3])):
        place, key = body, draw.choice(list(body) or ["query"])
        while isinstance(place.get(key) if isinstance(place, dict) else place[key], dict | list):
            inner = place[key]
            if not inner or draw.random() < 0.5:
                break
            place, key = inner, draw.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
        how = draw.random()
        if how < 0.1 and isinstance(place, dict):
            place.pop(key, None)
        elif how < 0.2 and isinstance(place, dict):
            place[
                draw.choice(["documents", "texts", "input", "top_k", "limits", "groups", "budget", "q"])
            ] = place.pop(key, None)
        else:
            place[key] = copy.deepcopy(draw.choice(ODD))
    return body


def damaged(body: bytes, draw: random.Random) -> bytes:
    """Return bytes with some flipped, cut, repeated or put in."""
    for _ in range(draw.randint(1, 4)):
        at, how = draw.randrange(len(body) + 1), draw.random()
        if how < 0.5 and at < len(body):
            body = body[:at] + bytes([draw.randrange(256)]) + body[at + 1 :]
        elif how < 0.7:
            body = body[:at]
        elif how < 0.85:
            body = body[:at] + body[at - min(at, 20) :]
        else:
            body = (
                body[:at]
                + draw.choice([b"\xff", b"\0" * 9, b"NaN", b"[" * 400, b"1e999", b'\\ud800"'])
                + body[at:]
            )
    return body


def case(seed: int) -> tuple[str, bytes, str]:
    """Return the address, body and media type of a case."""
    draw, rng = random.Random(seed), np.random.default_rng(7)
    if draw.random() < 0.15:
        path, body, kind = draw.choice(binary(rng))
        return path, damaged(body, draw), kind
    path, given = draw.choice(bodies(rng))
    text = json.dumps(mutated(given, draw)).encode()
    if draw.random() < 0.2:
        text = damaged(text, draw)
    if draw.random() < 0.05:
        path = draw.choice(["/v1/rerank", "/rerank", "/v1/select", "/v1/retrieve"])
    return path, text, draw.choice(["application/json"] * 19 + ["text/plain"])


def application(folder: Path):
    """Return a service with an index of a few texts."""
    from setwise.encode import encoder
    from setwise.index.saving import save
    from setwise.serve import Limits, Settings, create_app

    texts = [
        f"{KEPT} {word}"
        for word in ("tart", "in a tart", "jelly", "tree", "wood", "of old", "again", "or not")
    ]
    columns = {"length": [len(text) for text in texts], "kind": list("aabbccdd")}
    static = encoder("static")
    ids = [f"n{row}" for row in range(len(texts))]
    save(
        folder / "kept",
        static.encode(texts),
        ids=ids,
        texts=texts,
        columns=columns,
        encoder=static,
        model="static",
    )
    limits = Limits(documents=60, seconds=5.0, body=1 << 20)
    return create_app(Settings(indexes={"kept": folder / "kept"}, limits=limits))


def run(times: int, first: int, folder: Path) -> tuple[Counter, list[str]]:
    """Send so many cases from a seed on; return how often each status came, and what was wrong."""
    app, log = application(folder), io.StringIO()
    handler = logging.StreamHandler(log)
    logger = logging.getLogger("setwise.serve")
    logger.addHandler(handler)
    before, logger.level = logger.level, logging.INFO
    counts, faults = Counter(), []

    async def send() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            for seed in range(first, first + times):
                path, body, kind = case(seed)
                told = await client.post(path, content=body, headers={"content-type": kind})
                counts[told.status_code] += 1
                wrong = told.status_code not in EXPECTED
                if told.status_code != 200:
                    leak = any(word in told.text for word in ("Traceback", 'File "', str(folder), KEPT))
                    wrong = wrong or leak or not told.json()["message"] or "\n" in told.json()["message"]
                else:
                    told.json()
                if wrong:
                    faults.append(f"{seed}: {path} {body[:300]!r} -> {told.status_code} {told.text[:300]}")

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            asyncio.run(send())
    finally:
        logger.removeHandler(handler)
        logger.level = before
        app.state.service.close()
    faults += [f"the log has {word!r}" for word in (SENT, KEPT, "Traceback") if word in log.getvalue()]
    return counts, faults


def main() -> None:
    """Send them, and leave with an error where one was wrong."""
    times, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        counts, faults = run(times, first, Path(name))
    print(f"{times:,} bodies: {dict(counts)}, {time.perf_counter() - began:.0f} s")
    for fault in faults:
        print(fault)
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
