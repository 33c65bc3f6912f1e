"""Where vectors live and how to search them: one protocol, and an adapter for each store."""

from setwise.index.base import Found, Ids, Index
from setwise.index.store import Answer, StoreIndex

__all__ = ["Answer", "Found", "Ids", "Index", "StoreIndex"]
