"""Fixtures and settings that all tests share."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores: threads of each would wait for one another
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from reference import make

settings.register_profile(
    "setwise",
    deadline=None,
    derandomize=True,
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "setwise"))


@pytest.fixture
def rng():
    """A generator that starts alike in every test."""
    return np.random.default_rng(20240607)


@pytest.fixture(scope="session")
def many():
    """20,000 clustered rows of 24 dimensions in float32, and their relevance to a query; not writable."""
    E, r = make.clustered(n=20_000, d=24, seed=5, clusters=40, cone=1.0)
    X = E.astype(np.float32)
    X.flags.writeable = False
    r.flags.writeable = False
    return X, r


@pytest.fixture
def split(monkeypatch):
    """Make every pass over the data worth a second thread, however small the data."""
    monkeypatch.setattr("setwise.vectors.THREAD_WORK", 64)


@pytest.fixture(scope="session")
def pool():
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as made:
        yield made


@pytest.fixture
def processes(pool, monkeypatch):
    """Two processes that work for all calls; each would start its own, and end them (tests/engine)."""
    monkeypatch.setattr("setwise.engine.local.ProcessPoolExecutor", lambda *_, **__: pool)
    monkeypatch.setattr("setwise.engine.local.LocalEngine.close", lambda *_, **__: None)
    return 2
