"""Some of the mutated bodies that ``python -m tests.fuzz.bodies`` sends without end."""

import pytest

from optional import installed

pytestmark = pytest.mark.skipif(
    not installed("fastapi", "prometheus_client", "httpx", "wordllama", "pyarrow"),
    reason="the service is not installed",
)


def test_mutated_bodies_are_answered_or_refused(tmp_path):
    import bodies

    counts, faults = bodies.run(150, 0, tmp_path)
    assert faults == []
    assert counts[200] > 20
    assert counts[422] > 50
