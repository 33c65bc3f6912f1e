"""What the retriever and the compressor do alike with documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.documents import Document

from setwise.integrations.common import Reading, prefixed


def document_id(document: Document) -> Any:
    """Return the id a store knows a document by, None where it has none."""
    return document.id if document.id is not None else document.metadata.get("_id")


def label(document: Document) -> str:
    """Return how a message names a document: its id, or how its text starts."""
    name = document_id(document)
    return f"id {name!r}" if name is not None else repr(document.page_content[:40])


#: How documents are read.
READING = Reading(
    lambda document: document_id(document) or document.page_content[:40],
    lambda document: document.page_content,
    lambda document: document.metadata,
)


def from_metadata(documents: Sequence[Document], rows: Sequence[Any], key: str) -> list[Any]:
    """Return the documents' vectors, those that are missing from their metadata, None where there is none."""
    return [
        document.metadata.get(key) if row is None else row
        for document, row in zip(documents, rows, strict=True)
    ]


def described(document: Document, facts: Mapping[str, Any], prefix: str | None) -> Document:
    """Return a copy with facts in its metadata, under ``<prefix>_<name>``; with no prefix set, no facts."""
    return document.model_copy(update={"metadata": {**document.metadata, **prefixed(facts, prefix)}})


def in_order(documents: Sequence[Document], names: Sequence[Any]) -> list[Document]:
    """Return documents in the order of their ids. Raises ValueError: one is not there."""
    by_name = {str(document_id(document)): document for document in documents}
    absent = [name for name in names if str(name) not in by_name]
    if absent:
        raise ValueError(
            f"index: it holds id {absent[0]!r}, which the vector store does not; build both from the same "
            "data, or pass documents="
        )
    return [by_name[str(name)] for name in names]
