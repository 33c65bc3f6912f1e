"""What a repository of any size takes: bytes, hours and memory a node, from rates that are measured here.

    python -m benchmarks.finetune_plan                  # the 150 million rows of TSDS's second corpus
    python -m benchmarks.finetune_plan --rows 1_000_000 --nodes 1 --cores 8

Every stage is run on one core, on rows of instruct_mix or made-up ones, and its rate is taken (seconds of the
processor, so that other work on the machine does not count). Search and density are run as a worker runs
them, on one shard of the shape that each core gets, for all examples and neighbors: every shard does the same
work. Stages over the repository's rows go on in parts: their hours are divided by the cores, which assumes
that all are kept busy.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from benchmarks.data import SHARED
from benchmarks.reporting import heading, table
from numpy.typing import NDArray

from setwise.encode import encoder
from setwise.finetuning import Repository, match, search, write_file
from setwise.finetuning.repository_vectors import RepositoryVectors

#: Rows that rates are measured on: of text, and of texts that a language model reads.
TEXTS, READ = 8_000, 24

#: Rows of the shard that is searched, at most: more are reckoned from so many.
SHARD = 600_000

#: Numbers of a vector, and repositories whose memory is compared: what grows with the rows is the difference.
WIDTH, HELD = 64, (200_000, 800_000)

#: Tokens of a text that the language model reads.
TOKENS = 64


@dataclass(frozen=True)
class Rates:
    """What one core did.

    Attributes
    ----------
    encoded : dict of str to (float, int)
        Rows a second, and numbers of a vector, by encoder.
    search, density : float
        Seconds a row of a shard: to search it for all examples, and to count near-duplicates in it.
    shard : tuple of int
        Rows and numbers of the shard, the rows whose near-duplicates were counted, and in how many passes.
    lists : float
        Bytes that searching the shard holds at most, beside the map.
    fold : float
        Seconds a row to look for exact copies, which the process that leads does for all shards.
    folded : float
        Bytes a row that it holds beside the map.
    read, text : float
        Rows a second while a sample is written, of those read; bytes of a row.
    drawn : float
        Draws a second.
    """

    encoded: dict[str, tuple[float, int]]
    search: float
    density: float
    shard: tuple[int, int, int, int]
    lists: float
    fold: float
    folded: float
    read: float
    text: float
    drawn: float


def seconds_of(call: Callable[[], Any]) -> float:
    """Return how long a call keeps a processor busy."""
    began = time.process_time()
    call()
    return time.process_time() - began


def measured(folder: Path, model: bool, shard: int, examples: int, neighbors: int) -> Rates:
    """Run every stage."""
    texts = _texts(folder)
    rows = Repository(folder / "rows.parquet")
    encoded = {}
    for name in ("static", "ngrams"):
        own = encoder(name)
        if hasattr(own, "fit"):
            own.fit(texts)
        width = own.encode(texts[:8]).shape[1]
        encoded[name] = (len(texts) / seconds_of(lambda own=own: own.encode(texts)), width)
    if model:
        from setwise.encode.hidden import Hidden

        hidden = Hidden("smollm2", max_tokens=TOKENS)
        some = texts[:READ]
        encoded[f"hidden:smollm2, {TOKENS} tokens"] = (
            len(some) / seconds_of(lambda: hidden.encode(some)),
            576,
        )
    rng = np.random.default_rng(0)
    probes = rng.standard_normal((200, WIDTH), np.float32)
    peaks = [_peak(_vectors(folder, n), probes[:8]) for n in HELD]
    own = encoder("static").encode(texts)
    made = _shard(folder, own, shard, rng)
    times, facts, held = _searched(made, own[rng.integers(len(own), size=examples)], neighbors)
    folding = seconds_of(lambda: RepositoryVectors(made).folded()) / shard
    mapped = _vectors(folder, 2_000)
    drawn = rng.integers(len(rows), size=len(rows) // 100)
    writing = seconds_of(lambda: write_file(rows, [drawn], folder / "out.parquet"))
    found = match(mapped, probes, neighbors=200, threads=1)
    drawing = seconds_of(lambda: found.sample(1_000_000))
    return Rates(
        encoded,
        times["find_in_parts"] / shard,
        times["density_in_parts"] / shard,
        (*made.shape, *facts),
        held,
        folding,
        max(peaks[1] - peaks[0], 0) / (HELD[1] - HELD[0]),
        len(rows) / writing,
        (folder / "rows.parquet").stat().st_size / len(rows),
        1_000_000 / drawing,
    )


def _shard(
    folder: Path, own: NDArray[np.float32], rows: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return a map of unit vectors spread as those of texts are: a text's and half of another's, jittered."""
    made = np.lib.format.open_memmap(folder / "shard.npy", "w+", np.float32, (rows, own.shape[1]))
    for start in range(0, rows, 50_000):
        one, other = rng.integers(len(own), size=(2, min(50_000, rows - start)))
        block = own[one] + 0.5 * own[other]
        block += 0.01 * rng.standard_normal(block.shape, np.float32)
        made[start : start + len(block)] = block / np.linalg.norm(block, axis=1, keepdims=True)
    made.flush()
    return np.load(folder / "shard.npy", mmap_mode="r")


def _searched(
    shard: NDArray[np.float32], examples: NDArray[np.float32], neighbors: int
) -> tuple[dict[str, float], tuple[int, int], int]:
    """Match with one worker; return seconds of its two kinds of work, what was counted, and bytes held."""
    times, counted = dict.fromkeys(("find_in_parts", "density_in_parts"), 0.0), list[int]()

    def timed(name: str) -> Callable[..., Any]:
        work = getattr(search, name)

        def called(rows: Any, given: Any, *rest: Any) -> Any:
            began = time.process_time()
            found = work(rows, given, *rest)
            times[name] += time.process_time() - began
            counted.append(len(given))
            return found

        return called

    with patch.multiple(search, **{name: timed(name) for name in times}):
        tracemalloc.start()
        match(shard, examples, neighbors=neighbors, workers=1, threads=1)
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return times, (sum(counted[1:]), len(counted) - 1), held


def _vectors(folder: Path, n: int) -> NDArray[np.float32]:
    """Return a memory map of made-up vectors, one in a hundred of them near another."""
    vectors = np.random.default_rng(n).standard_normal((n, WIDTH), np.float32)
    vectors[::100] = vectors[1] + np.float32(0.01)
    np.save(folder / f"{n}.npy", vectors)
    return np.load(folder / f"{n}.npy", mmap_mode="r")


def _peak(mapped: NDArray[np.float32], probes: NDArray[np.float32]) -> int:
    """Return the bytes that a match holds at most, beside the map."""
    tracemalloc.start()
    match(mapped, probes, neighbors=16, diversity=0.05, threads=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def _texts(folder: Path) -> list[str]:
    """Write a repository, and return its texts."""
    import pyarrow as arrow
    from pyarrow import parquet

    path = SHARED / "instruct_mix" / "instruct_mix.parquet"
    if path.exists():
        rows = parquet.read_table(path).slice(0, TEXTS)
        texts = [f"{one['instruction']}\n{one['input']}\n{one['output']}" for one in rows.to_pylist()]
        rows = arrow.table({"text": texts})
    else:
        rng = np.random.default_rng(0)
        texts = [" ".join(f"w{word}" for word in rng.integers(3_000, size=60)) for _ in range(TEXTS)]
        rows = arrow.table({"text": texts})
    parquet.write_table(rows, folder / "rows.parquet")
    return texts


def plan(rates: Rates, n: int, examples: int, neighbors: int, nodes: int, cores: int) -> list[list[str]]:
    """Return what each stage takes: core hours, hours on all cores, and bytes."""
    workers = nodes * cores

    def line(stage: str, seconds: float, bytes_: str, spread: int = workers) -> list[str]:
        return [stage, f"{seconds / 3600:,.2f}", f"{seconds / 3600 / spread:,.2f}", bytes_]

    rows = []
    for name, (rate, width) in rates.encoded.items():
        size = f"{4 * n * width / 1e9:,.0f} GB of vectors ({width} d)"
        rows.append(line(f"encode by {name}", n / rate, size))
    _, width, counted, passes = rates.shard
    lists = workers * examples * neighbors * 16 / 1e9
    rows.append(line(f"look for copies, {width} d", n * rates.fold, f"{4 * n * width / 1e9:,.0f} GB read", 1))
    rows.append(
        line(f"search, {width} d", n * rates.search, f"{lists:,.1f} GB of neighbor lists, all workers")
    )
    what = f"{counted:,} rows counted in {passes} passes"
    rows.append(line(f"density, {width} d", n * rates.density, what))
    rows.append(line("draw 1 %", n / 100 / rates.drawn, "8 bytes a draw", 1))
    size = f"{n * rates.text / 1e9:,.0f} GB read, {n * rates.text / 1e11:,.1f} GB written"
    rows.append(line("write 1 %, one epoch", n / rates.read, size, 1))
    rows.append(line(f"write {workers:,} epochs of 1 %", workers * n / rates.read, f"{workers:,} × that"))
    return rows


def memory(rates: Rates, n: int, examples: int, neighbors: int, nodes: int, cores: int) -> list[list[str]]:
    """Return what a node holds at once, beside pages of the map that it may drop."""
    lists = examples * neighbors * 16
    return [
        [
            "the node that leads: folding copies, lists, distribution",
            f"{(n * rates.folded + 3 * lists) / 1e9:,.1f}",
        ],
        [f"another node: {cores} workers' lists and blocks", f"{cores * rates.lists / 1e9:,.1f}"],
        ["its share of the map, 256 d, to read it from disk once", f"{4 * n * 256 / nodes / 1e9:,.1f}"],
    ]


def main() -> None:
    """Measure, and print the plan."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=150_000_000, help="rows of the repository")
    parser.add_argument("--examples", type=int, default=1_000, help="examples of the task")
    parser.add_argument("--neighbors", type=int, default=2_000, help="neighbors an example")
    parser.add_argument("--nodes", type=int, default=8, help="machines")
    parser.add_argument("--cores", type=int, default=32, help="cores of each")
    parser.add_argument("--no-model", action="store_true", help="leave the language model out")
    asked = parser.parse_args()
    heading()
    with tempfile.TemporaryDirectory() as folder:
        shard = min(-(-asked.rows // (asked.nodes * asked.cores)), SHARD)
        rates = measured(Path(folder), not asked.no_model, shard, asked.examples, asked.neighbors)
    size = (asked.rows, asked.examples, asked.neighbors, asked.nodes, asked.cores)
    on = f"{asked.nodes} × {asked.cores} cores"
    table(
        f"{asked.rows:,} rows, {asked.examples:,} examples, {asked.neighbors:,} neighbors",
        ["stage", "core hours", f"hours on {on}", "bytes"],
        plan(rates, *size),
    )
    table("memory a node, GB", ["what", "GB"], memory(rates, *size))
    print(f"\nRates, one core: {rates}; peak of this process {resource.getrusage(0).ru_maxrss / 1e6:.1f} GB")


if __name__ == "__main__":
    main()
