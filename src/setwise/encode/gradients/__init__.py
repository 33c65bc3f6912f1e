"""What a row would teach a language model: its gradient, as a vector (LESS)."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Checkpoint": "setwise.encode.gradients.checkpoint",
    "GradientEncoder": "setwise.encode.gradients.encoder",
    "Row": "setwise.encode.gradients.rows",
    "save_checkpoint": "setwise.encode.gradients.checkpoint",
    "usable_rows": "setwise.encode.gradients.rows",
    "warm_up": "setwise.encode.gradients.training",
}

__all__ = ["Checkpoint", "GradientEncoder", "Row", "save_checkpoint", "usable_rows", "warm_up"]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'setwise.encode.gradients' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
