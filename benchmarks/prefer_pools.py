"""Pools of responses to select from: those of many models to AlpacaEval's prompts, or generated ones."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

#: Responses of each prompt that are drawn, as many as the paper samples (AMPO, Section 7.1).
DRAWN = 32


@dataclass(frozen=True, eq=False)
class Pool:
    """A prompt's responses.

    Attributes
    ----------
    prompt : str
    texts : list of str, or None where responses are generated points
    rewards : ndarray of shape (N,), float64
    embeddings : ndarray of shape (N, d), float32
    """

    prompt: str
    texts: list[str] | None
    rewards: NDArray[np.float64]
    embeddings: NDArray[np.float32]


def alpaca_eval(folder: Path, prompts: int, model: str, seed: int = 0) -> list[Pool]:
    """Return pools of 32 of the 55 models' responses to so many of the 805 prompts.

    Rewards are the logits of the win probabilities. Vectors are kept in a folder for temporary files, so a
    second run does not encode again.

    Parameters
    ----------
    folder : Path
        With ``alpaca_eval/responses.parquet`` and ``prompts.jsonl``.
    prompts : int
    model : str
        As in `setwise.encode.encoder`; "sentence" is the packaged all-MiniLM-L6-v2.
    seed : int

    Raises
    ------
    FileNotFoundError
        The data is not there.
    """
    from pyarrow import parquet

    from setwise.encode import encoder
    from setwise.encode.cache import encode_texts
    from setwise.encode.places import folder_for

    source = folder / "alpaca_eval" / "responses.parquet"
    if not source.exists():
        raise FileNotFoundError(source)
    table = parquet.read_table(source, columns=["prompt_id", "response", "reward_logit"])
    ids = table.column("prompt_id").to_numpy()
    texts = table.column("response").to_pylist()
    rewards = table.column("reward_logit").to_numpy()
    lines = (folder / "alpaca_eval" / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    asked = {row["prompt_id"]: row["instruction"] for row in map(json.loads, lines)}
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(np.unique(ids))[:prompts])
    members = [np.sort(rng.permutation(np.flatnonzero(ids == one))[:DRAWN]) for one in chosen]
    every = [texts[row] for rows in members for row in rows]
    made = encoder(model, seed=seed)

    def tell(done: int, total: int) -> None:
        print(f"\rencoded {done:,} of {total:,} responses", end="", file=sys.stderr)

    kept = folder_for(None, str(Path(tempfile.gettempdir()) / "setwise-benchmark-vectors"))
    found = encode_texts(every, made, kept, tell)
    vectors = np.zeros((found.n, found.vectors.shape[1]), np.float32)
    vectors[found.rows] = found.vectors
    print(f"\n{len(every):,} responses encoded with {made.name}", file=sys.stderr)
    starts = np.cumsum([0, *map(len, members)])
    return [
        Pool(
            asked[int(one)],
            [texts[row] for row in rows],
            rewards[rows].astype(np.float64),
            vectors[start : start + len(rows)],
        )
        for one, rows, start in zip(chosen, members, starts, strict=False)
    ]


def generated(prompts: int, n: int = DRAWN, d: int = 64, modes: int = 8, seed: int = 0) -> list[Pool]:
    """Return pools of unit vectors in modes of unequal size, whose rewards differ by mode and by response."""
    rng = np.random.default_rng(seed)
    pools = []
    for number in range(prompts):
        shares = rng.dirichlet(np.full(modes, 0.7))
        mode = rng.choice(modes, n, p=shares)
        centers = rng.standard_normal((modes, d))
        spread = rng.uniform(0.15, 0.6, modes)
        points = centers[mode] + spread[mode, None] * rng.standard_normal((n, d))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        rewards = rng.normal(0, 2, modes)[mode] + rng.normal(0, 1, n)
        pools.append(Pool(f"generated {number}", None, rewards, points.astype(np.float32)))
    return pools
