"""Retrieval: k passages for a query, relevant and diverse; from an index, after a reranker, from texts."""

from setwise.retrieval.rerank import diversify
from setwise.retrieval.retrieved import Retrieved
from setwise.retrieval.search import aretrieve, retrieve
from setwise.retrieval.texts import (
    DIVERSITY,
    NEAR_DUPLICATE,
    SHARPNESS,
    Candidates,
    Hits,
    default_sharpness,
    prepare,
    retrieve_texts,
)

__all__ = [
    "DIVERSITY",
    "NEAR_DUPLICATE",
    "SHARPNESS",
    "Candidates",
    "Hits",
    "Retrieved",
    "aretrieve",
    "default_sharpness",
    "diversify",
    "prepare",
    "retrieve",
    "retrieve_texts",
]
