"""Load on `setwise serve`, on this machine alone: requests a second, how long they take, errors, memory.

    python benchmarks/serve.py                 # every row, 10 s each, at 2 workers
    python benchmarks/serve.py --seconds 600 --only "vectors, base64"

The generator is a process of its own with a number of connections on loopback; each sends one request after
the other, so that at most that many are inside. It shares the processors with the service. A second round
sends at half of the rate that the first had, for the latency that a service with room has.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# A module beside this file bears the name of a standard one: its folder must not be looked in for modules.
sys.path[:] = [str(HERE.parent), *[entry for entry in sys.path if Path(entry or ".").resolve() != HERE]]

import argparse
import asyncio
import base64
import json
import os
import subprocess
import time
from typing import Any

from benchmarks.reporting import heading, table

#: Requests, by the row's name: the route, and what makes the body.
WIDTH, DOCUMENTS, TEXTS, K = 384, 200, 100, 10


def bodies(only: str | None) -> dict[str, tuple[str, bytes]]:
    """Return a route and a body, by the name of what is asked for."""
    import numpy as np

    rng = np.random.default_rng(0)
    topics = rng.standard_normal((12, WIDTH))
    rows = (topics[rng.integers(12, size=DOCUMENTS)] + rng.standard_normal((DOCUMENTS, WIDTH))).astype("<f4")
    words = [
        f"{a} {b}" for a in ("red", "ripe", "cut", "cold") for b in ("apples", "pears", "bread", "glass")
    ]
    texts = [" ".join(rng.choice(words, 6)) for _ in range(TEXTS)]
    relevance = rng.random(DOCUMENTS).round(6).tolist()
    packed = [base64.b64encode(row.tobytes()).decode() for row in rows]
    vectors = {"query": "", "documents": [""] * DOCUMENTS, "top_n": K, "relevance": relevance}
    fast = {"certify": False}
    greedy = {**fast, "objective": "mmr"}
    asked: dict[str, Any] = {
        "vectors, base64": {**vectors, "embeddings": packed},
        "vectors, base64, no certificate": {**vectors, "embeddings": packed, **fast},
        "vectors, base64, mmr, no certificate": {**vectors, "embeddings": packed, **greedy},
        "vectors, JSON": {**vectors, "embeddings": rows.round(5).astype(float).tolist()},
        "texts": {"query": "ripe apples", "documents": texts, "top_n": K},
        "texts, no certificate": {"query": "ripe apples", "documents": texts, "top_n": K, **fast},
    }
    return {
        name: ("/v1/rerank", json.dumps(body).encode())
        for name, body in asked.items()
        if only is None or name == only
    }


async def load(at: str, route: str, body: bytes, seconds: float, connections: int, rate: float | None) -> Any:
    """Send a request after the other on each connection; return their durations, and the other statuses.

    Parameters
    ----------
    at : str
        The service's host and port.
    route : str
    body : bytes
    seconds : float
    connections : int
    rate : float, optional
        Requests a second in all; by default as many as are answered.
    """
    host, _, port = at.partition(":")
    head = (
        f"POST {route} HTTP/1.1\r\nhost: {at}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode()
    began = time.perf_counter()
    durations: list[float] = []
    others: dict[int, int] = {}
    turn = iter(range(1 << 62))

    async def client() -> None:
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 22)
        while (now := time.perf_counter()) < began + seconds:
            if rate is not None:
                due = began + next(turn) / rate
                await asyncio.sleep(max(0.0, due - now))
            sent = time.perf_counter()
            writer.write(head + body)
            await writer.drain()
            told = await reader.readuntil(b"\r\n\r\n")
            size = int(told.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(size)
            status = int(told[9:12])
            if status == 200:
                durations.append(time.perf_counter() - sent)
            else:
                others[status] = others.get(status, 0) + 1
        writer.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    return durations, others, time.perf_counter() - began


def memory(process: int) -> float:
    """Return the megabytes that a process and its children have in memory."""
    kept, total = [process], 0
    while kept:
        one = kept.pop()
        children = Path(f"/proc/{one}/task/{one}/children").read_text().split()
        kept += map(int, children)
        lines = Path(f"/proc/{one}/status").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return total / 1024


def main() -> None:
    """Start the service, load it, print the table, and write what was measured where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", help="one row, by its name")
    parser.add_argument("--json", help="file to write the rows to")
    asked = parser.parse_args()
    command = [sys.executable, "-m", "setwise", "serve", "--port", "0", "--workers", str(asked.workers)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    at = server.stderr.readline().split("//")[1].strip()
    drain = subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)  # its log
    rows = []
    try:
        for name, (route, body) in bodies(asked.only).items():
            asyncio.run(load(at, route, body, 2.0, asked.connections, None))  # what is loaded at first
            before = memory(server.pid)
            full = asyncio.run(load(at, route, body, asked.seconds, asked.connections, None))
            rate = len(full[0]) / full[2]
            half = asyncio.run(load(at, route, body, asked.seconds, asked.connections, max(1.0, rate / 2)))
            told = sorted(half[0]) or [float("nan")]
            rows.append(
                {
                    "request": name,
                    "kB": round(len(body) / 1e3),
                    "requests/s": round(rate, 1),
                    "median ms, half load": round(told[len(told) // 2] * 1e3, 1),
                    "p99 ms, half load": round(told[int(len(told) * 0.99)] * 1e3, 1),
                    "not answered 200": sum(full[1].values()) + sum(half[1].values()),
                    "MB before": round(before),
                    "MB after": round(memory(server.pid)),
                }
            )
    finally:
        server.terminate()
        server.wait()
        drain.wait()
    from setwise import kernels

    heading()
    said = "compiled" if kernels.available() else "NumPy"
    title = f"setwise serve, {asked.workers} workers, {asked.connections} connections, {said} kernels"
    table(title, list(rows[0]), [list(row.values()) for row in rows])
    if asked.json:
        Path(asked.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
