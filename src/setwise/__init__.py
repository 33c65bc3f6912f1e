"""Select sets: relevant and diverse, of exactly k, with a proof of how good they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from setwise._version import __version__
from setwise.lazy import loader

_HOMES = {
    "Catalog": "setwise.catalog",
    "Certificate": "setwise.certificate",
    "Index": "setwise.index.base",
    "OwnIfMissing": "setwise.limits",
    "Selection": "setwise.selection",
    "Retrieved": "setwise.retrieval.retrieved",
    "aretrieve": "setwise.retrieval.search",
    "diversify": "setwise.retrieval.rerank",
    "open_index": "setwise.index.saved",
    "retrieve": "setwise.retrieval.search",
    "select": "setwise.api",
    "select_many": "setwise.batch",
}

if TYPE_CHECKING:
    from setwise.api import select
    from setwise.batch import select_many
    from setwise.catalog import Catalog
    from setwise.certificate import Certificate
    from setwise.index.base import Index
    from setwise.index.saved import open_index
    from setwise.limits import OwnIfMissing
    from setwise.retrieval.rerank import diversify
    from setwise.retrieval.retrieved import Retrieved
    from setwise.retrieval.search import aretrieve, retrieve
    from setwise.selection import Selection

__all__ = [
    "Catalog",
    "Certificate",
    "Index",
    "OwnIfMissing",
    "Retrieved",
    "Selection",
    "__version__",
    "aretrieve",
    "diversify",
    "open_index",
    "retrieve",
    "select",
    "select_many",
]

_ROOMS = (
    "compat",
    "objectives",
    "solvers",
    "encode",
    "evaluate",
    "files",
    "engine",
    "finetuning",
    "index",
    "integrations",
    "metrics",
    "preference",
    "retrieval",
)

__getattr__, __dir__ = loader(__name__, _HOMES, _ROOMS)
