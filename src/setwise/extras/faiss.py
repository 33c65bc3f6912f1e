"""FAISS, for all that searches or clusters with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from setwise.extras import needs

with needs("faiss", "search and clustering by FAISS"):
    import faiss

__all__ = ["faiss", "read_index"]


def read_index(path: Path, flags: int = 0, *, mend: str = "save it again by faiss.write_index") -> Any:
    """Return the index that a file holds. Raises ValueError: the file is damaged, or holds something else."""
    try:
        return faiss.read_index(str(path), flags)
    except Exception:  # FAISS tells where in its sources it failed, and runs out of memory for a damaged size
        raise ValueError(f"index: {path.name} is damaged, or no FAISS index; {mend}") from None
