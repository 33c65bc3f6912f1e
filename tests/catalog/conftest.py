"""What the tests of this folder need."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from optional import installed
from setwise.engine import local

#: Clusters and neighbors are FAISS's, tables are Arrow's.
collect_ignore_glob = [] if installed("faiss", "pyarrow") else ["test_*.py"]


@pytest.fixture(scope="session")
def pool():
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as made:
        yield made


@pytest.fixture
def processes(pool, monkeypatch):
    """Two processes that work for all calls, which would start and end their own (see the tests of engines)."""
    monkeypatch.setattr(local, "ProcessPoolExecutor", lambda *_, **__: pool)
    monkeypatch.setattr(local.LocalEngine, "close", lambda *_, **__: None)
    return 2
