"""A catalog whose vectors stay on disk: half precision, mapped, larger than a program wants to hold."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.reporting import table, timed
from numpy.typing import NDArray

#: Rows that are generated, or passed over, at a time.
BLOCK = 16_384


def on_disk(n: int, d: int, k: int, clusters: int, steps: int, qualities: Any, scratch: Path | None) -> None:
    """Print the methods' values and times on n × d float16 rows in a .npy file.

    The published MMR is run for so many of its k passes. Where that is fewer, its time is extrapolated, and
    its set is taken to be that of ``greedy``, whose first picks are compared with it.
    """
    from benchmarks import published

    import setwise

    with tempfile.TemporaryDirectory(dir=scratch) as name:
        free, need = shutil.disk_usage(name).free, 2 * n * d
        if free < 1.1 * need:
            raise SystemExit(
                f"scratch: {need / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free in {name}; "
                "name another folder with --scratch"
            )
        file = Path(name) / "vectors.npy"
        written, _ = timed(lambda: _write(file, n, d), 1)
        rows = np.load(file, mmap_mode="r")
        built, catalog = timed(lambda: setwise.Catalog.build(rows, np.ones(n), clusters=clusters), 1)
        catalog.set_quality(qualities(catalog.clusters.labels))
        quality = catalog.quality.astype(np.float32)
        lengths = _lengths(rows)
        lines = []
        for t in (0.1, 0.5):
            greedy, whole = timed(lambda: catalog.select(k, diversity=t, method="greedy"), 1)
            mmr, picked = timed(lambda: _published(rows, lengths, quality, steps, t), 1)
            # In single precision near-equal scores may change places: the sets of the first picks agree.
            shared = len(set(picked.tolist()) & set(whole.indices[:steps].tolist()))
            assert shared >= 0.95 * steps, f"greedy and the published MMR share {shared} of {steps} picks"
            best = whole.value
            if steps == k:
                best = published.value(rows, quality, picked, t)
                label, shown = "published MMR", f"{best:.5f}"
            else:
                label = f"published MMR: {steps} of {k} picks run in {mmr:.1f} s, its seconds EXTRAPOLATED"
                shown = f"{best:.5f} (greedy's)"
                mmr *= (k - 1) / (steps - 1)  # the first pick takes no pass
            lines.append([t, label, shown, "1", f"{mmr:.1f}", "1"])
            line = [t, "greedy", f"{whole.value:.5f}", f"{whole.value / best:.4f}"]
            lines.append([*line, f"{greedy:.2f}", f"{mmr / greedy:.0f}"])
            for method in ("frank-wolfe+swap", "muss"):
                given = {"clusters": clusters // 2} if method == "muss" else {}
                cost, found = timed(lambda: catalog.select(k, diversity=t, method=method, **given))
                ratio = found.value / best
                line = [t, method, f"{found.value:.5f}", f"{ratio:.4f}", f"{cost:.2f}", f"{mmr / cost:.0f}"]
                lines.append(line)
    table(
        f"{n:,} × {d} float16 in a mapped file of {2 * n * d / 1e9:.1f} GB (written in {written:.0f} s), "
        f"k = {k}, {clusters} clusters (built in {built:.0f} s), half of them kept",
        ["diversity", "method", "objective", "of MMR's", "seconds", "times faster than MMR"],
        lines,
    )


def _write(file: Path, n: int, d: int, *, clusters: int = 1000, seed: int = 0) -> None:
    """Write rows as `benchmarks.data.clustered` draws them, block by block."""
    rng = np.random.default_rng(seed)
    spectrum = (np.arange(1, d + 1) ** -0.5).astype(np.float32)

    def directions(count: int) -> NDArray[np.float32]:
        found = rng.standard_normal((count, d), dtype=np.float32) * spectrum
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    common = rng.standard_normal(d).astype(np.float32)
    common /= np.linalg.norm(common)
    centers = directions(clusters)
    with file.open("xb") as stream:
        header = {"descr": "<f2", "fortran_order": False, "shape": (n, d)}
        np.lib.format.write_array_header_1_0(stream, header)
        for start in range(0, n, BLOCK):
            count = min(BLOCK, n - start)
            part = rng.zipf(1.3, count) % clusters
            mixed = 0.6 * common + 0.8 * centers[part] + 0.7 * directions(count)
            mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
            stream.write(mixed.astype(np.float16).data)


def _lengths(rows: Any) -> NDArray[np.float32]:
    """Return every row's length."""
    found = np.empty(len(rows), np.float32)
    for a in range(0, len(rows), BLOCK):
        found[a : a + BLOCK] = np.linalg.norm(rows[a : a + BLOCK].astype(np.float32), axis=1)
    return found


def _published(
    rows: Any, lengths: NDArray[np.float32], quality: NDArray[np.float32], steps: int, t: float
) -> NDArray[np.int64]:
    """MUSS Algorithm 1 under cosine for some steps: one pass over the file a pick, in single precision."""
    from setwise.blocks import widen_half

    n = len(rows)
    chosen = [int(quality.argmax())]
    total = rows[chosen[0]].astype(np.float32) / lengths[chosen[0]]
    products = np.empty(n, np.float32)
    base = np.float32(1 - t) * quality
    for step in range(1, steps):
        for a in range(0, n, BLOCK):
            np.matmul(widen_half(rows[a : a + BLOCK], finite=True), total, out=products[a : a + BLOCK])
        score = base + np.float32(t) * (1 - products / lengths / np.float32(step))
        score[chosen] = -np.inf
        chosen.append(int(score.argmax()))
        total += rows[chosen[-1]].astype(np.float32) / lengths[chosen[-1]]
    return np.array(chosen)
