"""MUSS and DGDS over shards, in this process, in local processes and on Ray: time, and memory of a worker."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.reporting import table, timed

#: Ray's workers.
WORKERS = 2

#: MUSS gets so many shards, which grow with the items; DGDS shards of so many rows, of which there are more.
SHARDS, ROWS = 4, 31_250


def elsewhere(sizes: list[int], d: int, k: int, qualities: Any) -> None:
    """Print times and a worker's peak memory as the items grow; every engine has to give the same set."""
    from benchmarks import data

    import setwise
    from setwise.catalog.shards import select_shards

    lines = []
    for n in sizes:
        rows, _ = data.clustered(n, d, queries=1)
        clusters = max(8, n // 10_000)
        built, catalog = timed(lambda: setwise.Catalog.build(rows, np.ones(n), clusters=clusters), 1)
        catalog.set_quality(qualities(catalog.clusters.labels))
        chosen, own = timed(lambda: catalog.select(k, method="muss"))
        for method, step in (("muss", -(-n // SHARDS)), ("dgds", ROWS)):
            options = {"clusters": clusters} if method == "muss" else {}
            with tempfile.TemporaryDirectory() as folder:
                shards = _written(Path(folder), rows, catalog.quality, step)

                def run(workers: Any) -> tuple[float, Any]:
                    return timed(
                        lambda: select_shards(shards, k, method=method, workers=workers, **options), 1
                    )

                one, here = run(1)
                two, there = run(WORKERS)
                with _ray() as (started, ray):
                    idle = _peaks(ray)
                    first, remote = run("ray")
                    again, _ = run("ray")
                    peaks = _peaks(ray)
            for other in (there, remote):
                _same(here, other)
            if method == "muss":
                picked = step * here.shards + here.rows
                assert np.array_equal(picked, own.indices), "over shards, another set than in memory"
            memory = f"{built + chosen:.2f}" if method == "muss" else ""
            cells = [f"{seconds:.2f}" for seconds in (one, two, started, first, again)]
            held = f"{max(peaks):,.0f} ({max(idle):,.0f})"
            layout = f"{len(shards)} × {min(step, n):,}"
            # Under muss a worker holds a block or a cluster at most, under dgds it maps a shard.
            part = catalog.clusters.sizes().max() if method == "muss" else step
            data_and_part = f"{rows.nbytes / 1e6:,.0f} ({part * 4 * d / 1e6:,.0f})"
            value = f"{here.value:.5f}"
            lines.append([f"{n:,}", method, layout, value, memory, *cells, data_and_part, held])
    table(
        f"over .npy shards, {d} dimensions float32, k = {k}, 10,000 items a cluster, diversity 0.1; seconds "
        "of a call. Every engine's set is the same, and that of muss is the catalog's in memory",
        [
            "n",
            "method",
            "shards × rows",
            "objective",
            "in memory (build, select)",
            "1 process",
            f"{WORKERS} processes",
            "start of Ray",
            f"Ray, {WORKERS} workers",
            "once more",
            "all vectors, MB (of the largest partition)",
            "a worker's peak, MB (before any work)",
        ],
        lines,
    )


def _same(one: Any, other: Any) -> None:
    """Refuse to report on two sets that differ."""
    alike = np.array_equal(one.shards, other.shards) and np.array_equal(one.rows, other.rows)
    assert alike, "two engines, two sets"
    assert one.value == other.value, "two engines, two values"


def _written(folder: Path, rows: Any, quality: Any, step: int) -> list[Any]:
    """Write items as .npy shards."""
    from setwise.catalog.shards import Shard

    shards = []
    for start in range(0, len(rows), step):
        vectors, qualities = folder / f"{start}.npy", folder / f"quality-{start}.npy"
        np.save(vectors, rows[start : start + step])
        np.save(qualities, quality[start : start + step])
        shards.append(Shard(str(vectors), str(qualities)))
    return shards


@contextlib.contextmanager
def _ray() -> Iterator[tuple[float, Any]]:
    """Start a Ray of its own, so that no worker has a past; yield the seconds it took."""
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    began = time.perf_counter()
    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        yield time.perf_counter() - began, ray
    finally:
        ray.shutdown()


def _peaks(ray: Any) -> list[float]:
    """Return the most memory that each worker has held so far (resident, mapped files too), in MB."""

    def ask(_: int) -> tuple[int, float]:
        import os
        import resource
        import sys
        import time

        import setwise.catalog.shards  # what a task imports is there before any work

        assert setwise.catalog.shards
        time.sleep(0.2)  # so that the other worker takes the next
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return os.getpid(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6

    task = ray.remote(num_cpus=1)(ask)
    found: dict[int, float] = dict(ray.get([task.remote(number) for number in range(4 * WORKERS)]))
    return list(found.values())
