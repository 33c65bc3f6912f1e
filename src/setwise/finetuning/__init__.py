"""Finetune: which rows of a repository to train on, matched to a few examples of the task (TSDS)."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Distribution": "setwise.finetuning.distribution",
    "Match": "setwise.finetuning.matched",
    "match": "setwise.finetuning.api",
}

__all__ = ["Distribution", "Match", "match"]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'setwise.finetuning' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
