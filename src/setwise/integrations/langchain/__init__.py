"""LangChain: a retriever over any vector store or index, and a compressor for after a reranker."""

from setwise.extras import needs

with needs("langchain", "setwise.integrations.langchain"):
    from setwise.integrations.langchain.compressor import DiverseCompressor
    from setwise.integrations.langchain.retriever import DiverseRetriever
    from setwise.integrations.langchain.stores import StoreReader, register

__all__ = ["DiverseCompressor", "DiverseRetriever", "StoreReader", "register"]
