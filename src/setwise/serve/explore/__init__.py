"""The explorer: a page on which the set changes as the sliders move."""

from setwise.serve.explore.app import create_app
from setwise.serve.explore.source import ExploredSource, of_corpus, of_index

__all__ = ["ExploredSource", "create_app", "of_corpus", "of_index"]
