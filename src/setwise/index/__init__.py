"""Where vectors live and how to search them: one protocol, and an adapter for each store."""

from setwise.index.base import Found, Ids, Index
from setwise.index.store import Reply, StoreIndex

__all__ = ["Found", "Ids", "Index", "Reply", "StoreIndex"]
