"""What is counted, for Prometheus: requests, how long they took, how many wait, and what was selected."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector

#: What `GET /metrics` says it is.
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

#: The variable that names the folder in which several processes count together.
SHARED = "PROMETHEUS_MULTIPROC_DIR"

#: Upper ends of the histogram of durations, in seconds.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Counters:
    """The counters of one application."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "setwise_requests", "Requests answered.", ["path", "status"], registry=registry
        )
        self._seconds = Histogram(
            "setwise_request_seconds",
            "From a request's first byte to the last of its answer.",
            ["path"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.inside = Gauge(
            "setwise_requests_inside",
            "Requests that are worked on or wait.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.batched = Histogram(
            "setwise_batch_requests",
            "Requests that are worked on together.",
            buckets=(1, 2, 4, 8, 16),
            registry=registry,
        )
        self.candidates = Counter(
            "setwise_candidates", "Documents and vectors selected from.", registry=registry
        )

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        """Return all counters as Prometheus reads them; of all processes, where there are several."""
        if SHARED not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
