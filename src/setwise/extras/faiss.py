"""FAISS, for all that searches or clusters with it."""

from setwise.extras import needs

with needs("faiss", "search and clustering by FAISS"):
    import faiss

__all__ = ["faiss"]
