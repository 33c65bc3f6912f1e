"""Retrieval: k passages for a query, relevant and diverse; from an index, after a reranker, from texts."""

from setwise.retrieval.defaults import DIVERSITY, SHARPNESS, default_sharpness
from setwise.retrieval.passages import NEAR_DUPLICATE, Passages
from setwise.retrieval.prepared import PreparedCorpus
from setwise.retrieval.rerank import diversify
from setwise.retrieval.retrieved import Retrieved
from setwise.retrieval.search import aretrieve, retrieve
from setwise.retrieval.texts import prepare, retrieve_texts

__all__ = [
    "DIVERSITY",
    "NEAR_DUPLICATE",
    "SHARPNESS",
    "Passages",
    "PreparedCorpus",
    "Retrieved",
    "aretrieve",
    "default_sharpness",
    "diversify",
    "prepare",
    "retrieve",
    "retrieve_texts",
]
