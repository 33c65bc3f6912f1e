"""What long work calls to say how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Called with how much is done, and how much there is (0 where that is not known).
Progress = Callable[[int, int], object]

#: The same, with the name of the step before.
StepProgress = Callable[[str, int, int], object]


def check_progress(progress: Any) -> None:
    """Refuse, before any work, what cannot be told how far it is. Raises TypeError: it is no function."""
    if progress is not None and not callable(progress):
        raise TypeError(f"progress: expected a function or None, got {type(progress).__name__}")


def tell(progress: Callable[..., object] | None, *how_far: Any) -> None:
    """Call what was given to be told how far work is, if anything was."""
    if progress is not None:
        progress(*how_far)
