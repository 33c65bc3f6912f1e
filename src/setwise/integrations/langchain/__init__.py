"""LangChain: a retriever over any vector store or index, and a compressor for after a reranker."""

from setwise import checks

try:
    from setwise.integrations.langchain.compressor import DiverseCompressor
    from setwise.integrations.langchain.retriever import DiverseRetriever
    from setwise.integrations.langchain.stores import StoreReader, register
except ImportError:
    checks.optional_import("langchain_core", "langchain", "setwise.integrations.langchain")
    raise

__all__ = ["DiverseCompressor", "DiverseRetriever", "StoreReader", "register"]
