"""A few texts with vectors made by hand: two near-duplicates, and two others at an angle to each."""

from __future__ import annotations

import os

import numpy as np
import pytest

# Tests tell nobody that they run.
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
os.environ["LANGSMITH_TRACING"] = "false"

#: By relevance to QUERY: a, a again (its near-duplicate), b, c, far.
VECTORS = {
    "a": [0.95, 0.31, 0.0, 0.0],
    "a again": [0.9499, 0.3101, 0.001, 0.0],
    "b": [0.8, -0.6, 0.0, 0.0],
    "c": [0.7, 0.0, 0.714, 0.0],
    "far": [0.1, 0.0, 0.0, 0.995],
}

QUERY = [1.0, 0.0, 0.0, 0.0]

RANKED = ["a", "a again", "b", "c", "far"]


def cosine(left, right):
    """In float64."""
    left, right = np.asarray(left, np.float64), np.asarray(right, np.float64)
    return float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))


@pytest.fixture(scope="session")
def crowd():
    """300 texts with random vectors in 16 dimensions around a query's direction, and the query."""
    rng = np.random.default_rng(7)
    query = rng.standard_normal(16)
    vectors = rng.standard_normal((300, 16)) + 0.6 * query
    return {f"text {row}": vectors[row].tolist() for row in range(300)}, query.tolist()
