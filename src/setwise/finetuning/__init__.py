"""Finetune: which rows of a repository to train on, matched to a few examples of the task (TSDS)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from setwise.lazy import loader

_HOMES = {
    "Distribution": "setwise.finetuning.distribution",
    "Match": "setwise.finetuning.matched",
    "MatchParameters": "setwise.finetuning.parameters",
    "Neighborhood": "setwise.finetuning.neighborhood",
    "Pipeline": "setwise.finetuning.pipeline",
    "Repository": "setwise.finetuning.rows.repository",
    "RowSelection": "setwise.finetuning.row_selection",
    "Sources": "setwise.finetuning.sources",
    "Sweep": "setwise.finetuning.matched",
    "draw": "setwise.finetuning.rows.draw",
    "encode_examples": "setwise.finetuning.rows.encoding",
    "encoded_rows": "setwise.finetuning.rows.encoding",
    "kernel_width": "setwise.finetuning.parameters",
    "match": "setwise.finetuning.api",
    "sweep": "setwise.finetuning.api",
    "write_epochs": "setwise.finetuning.rows.writing",
    "write_file": "setwise.finetuning.rows.writing",
}

_ROOMS = ("baselines", "deduplicate")

__all__ = [
    "Distribution",
    "Match",
    "MatchParameters",
    "Neighborhood",
    "Pipeline",
    "Repository",
    "RowSelection",
    "Sources",
    "Sweep",
    "draw",
    "encode_examples",
    "encoded_rows",
    "kernel_width",
    "match",
    "sweep",
    "write_epochs",
    "write_file",
]

if TYPE_CHECKING:
    from setwise.finetuning.api import match, sweep
    from setwise.finetuning.distribution import Distribution
    from setwise.finetuning.matched import Match, Sweep
    from setwise.finetuning.neighborhood import Neighborhood
    from setwise.finetuning.parameters import MatchParameters, kernel_width
    from setwise.finetuning.pipeline import Pipeline
    from setwise.finetuning.row_selection import RowSelection
    from setwise.finetuning.rows.draw import draw
    from setwise.finetuning.rows.encoding import encode_examples, encoded_rows
    from setwise.finetuning.rows.repository import Repository
    from setwise.finetuning.rows.writing import write_epochs, write_file
    from setwise.finetuning.sources import Sources
else:
    __getattr__, __dir__ = loader(__name__, _HOMES, _ROOMS)
