"""What a row would teach a language model: its gradient, as a vector (LESS)."""

from __future__ import annotations

from setwise.lazy import loader

_HOMES = {
    "Checkpoint": "setwise.encode.gradients.checkpoint",
    "GradientEncoder": "setwise.encode.gradients.encoder",
    "Row": "setwise.encode.gradients.rows",
    "save_checkpoint": "setwise.encode.gradients.checkpoint",
    "usable_rows": "setwise.encode.gradients.rows",
    "warm_up": "setwise.encode.gradients.training",
}

__all__ = ["Checkpoint", "GradientEncoder", "Row", "save_checkpoint", "usable_rows", "warm_up"]

__getattr__, __dir__ = loader(__name__, _HOMES)
