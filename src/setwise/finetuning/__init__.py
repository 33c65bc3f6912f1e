"""Finetune: which rows of a repository to train on, matched to a few examples of the task (TSDS)."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Distribution": "setwise.finetuning.distribution",
    "Match": "setwise.finetuning.matched",
    "Neighborhood": "setwise.finetuning.neighborhood",
    "Repository": "setwise.finetuning.rows.repository",
    "Sweep": "setwise.finetuning.parameters",
    "draw": "setwise.finetuning.rows.draw",
    "encode_examples": "setwise.finetuning.rows.encoding",
    "encoded_rows": "setwise.finetuning.rows.encoding",
    "kernel_width": "setwise.finetuning.parameters",
    "match": "setwise.finetuning.api",
    "sweep": "setwise.finetuning.api",
    "write_epochs": "setwise.finetuning.rows.writing",
    "write_file": "setwise.finetuning.rows.writing",
}

_ROOMS = ("baselines", "deduplicate", "surrogate")

__all__ = [
    "Distribution",
    "Match",
    "Neighborhood",
    "Repository",
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


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return importlib.import_module(f"setwise.finetuning.{name}")
    raise AttributeError(f"module 'setwise.finetuning' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES, *_ROOMS])
