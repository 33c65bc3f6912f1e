"""LlamaIndex's parts that the tests of its integration stand on."""

from __future__ import annotations

import asyncio

from llama_index.core.embeddings import BaseEmbedding
from pydantic import PrivateAttr

from .conftest import QUERY, VECTORS


class Known(BaseEmbedding):
    """Embeddings of texts known beforehand; the query's is refused where it is asked for synchronously."""

    only_async: bool = False
    _vectors: dict = PrivateAttr()
    _query: list = PrivateAttr()

    def __init__(self, vectors=VECTORS, query=QUERY, **more):
        super().__init__(**more)
        self._vectors, self._query = vectors, query

    def _get_text_embedding(self, text):
        return self._vectors[text.splitlines()[-1]]

    def _get_query_embedding(self, query):
        assert not self.only_async, "called synchronously"
        return self._query

    async def _aget_query_embedding(self, query):
        await asyncio.sleep(0)
        return self._query
