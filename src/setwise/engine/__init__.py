"""Where work runs: local processes that share memory, or Ray. What the work is, is not known here."""

from setwise.engine.base import Engine, engine_for, opened, shared_rows

__all__ = ["Engine", "engine_for", "opened", "shared_rows"]
