"""LangChain's parts that the tests of its integration stand on."""

from __future__ import annotations

import asyncio

from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore


class Known(Embeddings):
    """Embeddings of texts known beforehand, counted."""

    def __init__(self, vectors, query):
        self.vectors, self.query = vectors, query
        self.embedded = []

    def embed_documents(self, texts):
        self.embedded += texts
        return [self.vectors[text] for text in texts]

    def embed_query(self, text):
        return self.query


class OnlyAsync(Known):
    """The same, that refuses to be called from the event loop's thread."""

    def embed_query(self, text):
        raise AssertionError("called synchronously")

    async def aembed_query(self, text):
        await asyncio.sleep(0)
        return self.query


class Silent(InMemoryVectorStore):
    """A store of a kind that gives no vectors back."""
