"""The catalog: items clustered once, and k of them by quality and spread as often as quality changes."""

from setwise.catalog.catalog import Catalog
from setwise.catalog.request import METHODS, choose
from setwise.catalog.selection import CatalogSelection

__all__ = ["METHODS", "Catalog", "CatalogSelection", "choose"]
