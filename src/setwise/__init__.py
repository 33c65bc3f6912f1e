"""Select sets: relevant and diverse, of exactly k, with a proof of how good they are."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Catalog": "setwise.catalog",
    "Certificate": "setwise.selection",
    "Index": "setwise.index.base",
    "Selection": "setwise.selection",
    "Retrieved": "setwise.retrieval.retrieved",
    "aretrieve": "setwise.retrieval.search",
    "diversify": "setwise.retrieval.rerank",
    "retrieve": "setwise.retrieval.search",
    "select": "setwise.api",
    "select_many": "setwise.batch",
}

if TYPE_CHECKING:
    from setwise.api import select
    from setwise.batch import select_many
    from setwise.catalog import Catalog
    from setwise.index.base import Index
    from setwise.retrieval.rerank import diversify
    from setwise.retrieval.retrieved import Retrieved
    from setwise.retrieval.search import aretrieve, retrieve
    from setwise.selection import Certificate, Selection

__all__ = [
    "Catalog",
    "Certificate",
    "Index",
    "Retrieved",
    "Selection",
    "__version__",
    "aretrieve",
    "diversify",
    "retrieve",
    "select",
    "select_many",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that importing setwise stays fast."""
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if name in (
        "objectives",
        "solvers",
        "encode",
        "files",
        "engine",
        "finetuning",
        "index",
        "integrations",
        "metrics",
        "preference",
        "retrieval",
    ):
        return importlib.import_module(f"setwise.{name}")
    raise AttributeError(f"module 'setwise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
