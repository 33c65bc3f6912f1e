"""Data that the benchmarks run on: generated, and real text where it is at hand."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def clustered(
    n: int = 200_000, d: int = 384, *, clusters: int = 1000, queries: int = 8, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return n unit rows in a narrow cone, in clusters of very unequal size, and queries beside some of them.

    A common direction makes them anisotropic (mean cosine about 0.26), as text embeddings are; the
    spectrum falls as 1/sqrt(rank).
    """
    rng = np.random.default_rng(seed)
    spectrum = (np.arange(1, d + 1) ** -0.5).astype(np.float32)

    def directions(count: int) -> NDArray[np.float32]:
        found = rng.standard_normal((count, d), dtype=np.float32) * spectrum
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    common = rng.standard_normal(d).astype(np.float32)
    common /= np.linalg.norm(common)
    centers = directions(clusters)
    labels = rng.zipf(1.3, n) % clusters
    rows = np.empty((n, d), np.float32)
    for start in range(0, n, 20_000):
        part = labels[start : start + 20_000]
        mixed = 0.6 * common + 0.8 * centers[part] + 0.7 * directions(len(part))
        rows[start : start + 20_000] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    near = rows[rng.integers(n, size=queries)]
    asked = near + rng.standard_normal((queries, d), dtype=np.float32) * (0.5 / np.sqrt(d))
    return rows, (asked / np.linalg.norm(asked, axis=1, keepdims=True)).astype(np.float32)


def text(
    queries: int = 8, limit: int = 200_008, seed: int = 0
) -> tuple[str, NDArray[np.float32], NDArray[np.float32]]:
    """Return real texts' vectors, and other real texts' as queries, with a name that says which.

    Sentences of an instruction-tuning mix where the shared data is at hand, else of the docstrings of
    the Python installation; encoded with the encoder that setwise takes by default.
    """
    from setwise.encode import encoder
    from setwise.encode.base import FittedEncoder

    mix = SHARED / "instruct_mix" / "instruct_mix.parquet"
    if mix.exists():
        import pyarrow.parquet as parquet

        table = parquet.read_table(mix, columns=["instruction", "input", "output"]).to_pydict()
        texts = [one for column in table.values() for one in column if one]
        name = "sentences of instruct_mix"
    else:
        from setwise.cli.docstrings import standard_library

        texts = list(standard_library().texts)
        name = "sentences of docstrings"
    sentences = (part.strip() for one in texts for part in re.split(r"(?<=[.!?])\s+|\n+", one))
    texts = list(dict.fromkeys(part for part in sentences if len(part) >= 20))
    texts = [texts[place] for place in np.random.default_rng(seed).permutation(len(texts))[:limit]]
    model = encoder("auto")
    print(f"encoding {len(texts):,} texts of {name} with {model.name}", file=sys.stderr)
    if isinstance(model, FittedEncoder):
        model.fit(texts)
    rows = np.asarray(model.encode(texts), np.float32)
    rows = rows[np.linalg.norm(rows, axis=1) > 0]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    picked = np.random.default_rng(seed).permutation(len(rows))
    return (
        f"{name} ({len(rows) - queries:,} × {rows.shape[1]})",
        np.ascontiguousarray(rows[picked[queries:]]),
        rows[picked[:queries]],
    )
