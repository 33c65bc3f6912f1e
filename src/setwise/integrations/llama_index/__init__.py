"""LlamaIndex: a postprocessor that diversifies what was retrieved, and a retriever over any index."""

from setwise.extras import needs

with needs("llama-index", "setwise.integrations.llama_index"):
    from setwise.integrations.llama_index.postprocessor import DiverseNodePostprocessor
    from setwise.integrations.llama_index.retriever import DiverseRetriever

__all__ = ["DiverseNodePostprocessor", "DiverseRetriever"]
