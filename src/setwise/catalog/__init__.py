"""The catalog: items clustered once, and k of them by quality and spread as often as quality changes."""

from setwise.catalog.catalog import Catalog
from setwise.catalog.items import as_quality
from setwise.catalog.methods import METHODS, CatalogSelection, choose

__all__ = ["METHODS", "Catalog", "CatalogSelection", "as_quality", "choose"]
