"""What a row would teach a language model: its gradient, as a vector (LESS)."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from setwise.encode.gradients.checkpoint import Checkpoint, save_checkpoint
    from setwise.encode.gradients.encoder import GradientEncoder
    from setwise.encode.gradients.rows import Row, usable_rows
    from setwise.encode.gradients.training import warm_up
else:
    __getattr__, __dir__ = loader(__name__, _HOMES)
