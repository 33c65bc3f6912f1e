"""Where vectors live and how to search them: one protocol, and an adapter for each store."""

from setwise.index.answers import Reply
from setwise.index.base import Found, Ids, Index
from setwise.index.store import StoreIndex

__all__ = ["Found", "Ids", "Index", "Reply", "StoreIndex"]
