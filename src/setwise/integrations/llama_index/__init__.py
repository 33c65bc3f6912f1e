"""LlamaIndex: a postprocessor that diversifies what was retrieved, and a retriever over any index."""

from setwise import checks

try:
    from setwise.integrations.llama_index.postprocessor import DiverseNodePostprocessor
    from setwise.integrations.llama_index.retriever import DiverseRetriever
except ImportError:
    checks.optional_import("llama_index.core", "llama-index", "setwise.integrations.llama_index")
    raise

__all__ = ["DiverseNodePostprocessor", "DiverseRetriever"]
