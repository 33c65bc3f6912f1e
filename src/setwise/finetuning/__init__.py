"""Finetune: which rows of a repository to train on, matched to a few examples of the task (TSDS)."""

from __future__ import annotations

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

__all__ = [*_HOMES]

__getattr__, __dir__ = loader(__name__, _HOMES, _ROOMS)
