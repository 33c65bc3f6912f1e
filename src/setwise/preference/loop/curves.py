"""How the rewards of a run went, drawn."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from setwise.extras import require
from setwise.files.writing import write_atomic

ENDINGS = (".png", ".svg", ".pdf")

#: What is drawn, and what it is called.
_LINES = (
    ("best_reward", "best of N"),
    ("mean_reward", "mean"),
    ("worst_reward", "worst of N"),
    ("evaluation_reward", "held-out mean"),
)


def draw(metrics: Sequence[dict[str, Any]], path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Draw rewards by the number of trainings behind the policy that was sampled from.

    Parameters
    ----------
    metrics : sequence of dict
        Lines of ``metrics.jsonl``.
    path : path-like
        Ends in .png, .svg or .pdf.
    force : bool
        Replace an existing file.

    Raises
    ------
    FileExistsError
        `write_atomic` refuses to replace a file.
    ImportError
        matplotlib is not installed.
    ValueError
        ``path`` ends in something else.
    """
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        raise ValueError(f"path: {str(path)!r} ends in none of {', '.join(ENDINGS)}")
    figures = require("matplotlib.figure", "plot", "drawing metrics")
    figure = figures.Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, label in _LINES:
        held_out = name == "evaluation_reward"
        # Responses of iteration t are sampled before its training, those to held-out prompts after it.
        points = [(row["iteration"] - (not held_out), row[name]) for row in metrics if name in row]
        if points:
            axes.plot(
                *zip(*points, strict=True), marker="o", linestyle="--" if held_out else "-", label=label
            )
    axes.set_xlabel("trainings")
    axes.set_ylabel("reward")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    write_atomic(path, lambda stream: figure.savefig(stream, format=ending[1:]), force=force)
