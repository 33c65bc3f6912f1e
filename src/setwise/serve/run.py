"""A service that runs: one process or several on one port, until it is told to end."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import logging
import math
import os
import socket
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from setwise.serve.app import create_app
from setwise.serve.metrics import SHARED
from setwise.serve.protocol import Protocol
from setwise.serve.service import Service
from setwise.serve.settings import LOOPBACK, Settings

#: Connections of each process, at most; further ones are answered 503 by the server itself.
CONNECTIONS = 1000


class JsonFormatter(logging.Formatter):
    """Writes what is logged as one JSON object a line; of an error its kind, without what it says."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line."""
        when = datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(
            timespec="milliseconds"
        )
        told: dict[str, Any] = {"time": when, "level": record.levelname.lower()}
        told |= getattr(record, "fields", None) or {"message": record.getMessage()}
        if record.exc_info and record.exc_info[0] is not None:
            told["error"] = record.exc_info[0].__name__
        return json.dumps(told)


#: All that is logged goes to stderr, one JSON object a line.
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"lines": {"()": "setwise.serve.run.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
    "loggers": {
        "setwise.serve": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
    },
}


def is_loopback(host: str) -> bool:
    """Return whether an address is of this machine alone."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def run(
    settings: Settings,
    host: str = "127.0.0.1",
    port: int = 8765,
    *,
    workers: int = 1,
    listening: Callable[[str], object] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; requests that are worked on then are answered first.

    Parameters
    ----------
    settings : Settings
        Its `hosts` are those of `allowed_hosts`. Several processes share the processors.
    host : str
        The address to listen on.
    port : int
        0 for a free one.
    workers : int
        Processes; each opens the indexes, whose vectors they share through one memory map.
    listening : callable, optional
        Called with the service's address once it is taken.

    Raises OSError: the address cannot be taken; ImportError, FileNotFoundError, ValueError: as
    `setwise.serve.create_app`.
    """
    if not settings.limits.threads:
        share = max(1, (os.cpu_count() or 1) // workers)
        settings = replace(settings, limits=replace(settings.limits, threads=share))
    alone = workers == 1
    if not alone:
        Service(settings).close()  # what cannot be opened is said before anything is begun
    config = uvicorn.Config(
        _application(settings) if alone else partial(_application, settings),
        factory=not alone,
        workers=workers,
        lifespan="on",
        http=Protocol,
        log_config=LOGGING,
        access_log=False,  # the application has its own
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=math.ceil(settings.limits.seconds),
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=2048) as taken:
        taken.set_inheritable(True)
        if listening is not None:
            named = f"[{host}]" if ":" in host else host
            listening(f"http://{named}:{taken.getsockname()[1]}")
        if alone:
            with contextlib.suppress(KeyboardInterrupt):  # which the server raises again when it has ended
                uvicorn.Server(config).run(sockets=[taken])
            return
        with tempfile.TemporaryDirectory(prefix="setwise-") as counters:
            os.environ[SHARED] = counters
            Multiprocess(config, sockets=[taken]).run()


def allowed_hosts(host: str, named: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names that requests may call a service by which listens on an address.

    On loopback these are loopback's own and those named. Elsewhere only those named, or any where none is:
    what else the machine is called is not known here.
    """
    return (*LOOPBACK, *named) if is_loopback(host) else named


def _application(settings: Settings) -> FastAPI:
    """Return the application of one process."""
    warnings.simplefilter("ignore", UserWarning)  # of a request, which nobody reads here
    return create_app(settings)
