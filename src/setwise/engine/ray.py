"""Ray: partitions as tasks of a cluster, vectors in its object store."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from setwise.engine.base import RETRIES, Engine
from setwise.extras import require

#: Seconds to wait for a cluster's door to open.
WAIT = 5.0


class RayEngine(Engine):
    """A Ray cluster's workers; a lost worker's partitions are run again by Ray.

    Parameters
    ----------
    address : str, optional
        Of a cluster. Without one, the Ray that this process is connected to, else one started here and
        shut down by `close`.

    Raises ImportError: Ray is not installed; ConnectionError: there is no Ray at that address.
    """

    def __init__(self, address: str | None = None) -> None:
        self._ray = ray = require("ray", "ray", "workers='ray'")
        self._started = not ray.is_initialized()
        if not self._started:
            return
        options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if address is not None:
            _check_reachable(address)
        try:
            if address is None:
                ray.init(include_dashboard=False, **options)
            else:
                ray.init(address=address, **options)
        except Exception as error:
            where = "here" if address is None else f"at {address!r}"
            reason = str(error).strip().splitlines()
            raise ConnectionError(
                f"workers: no Ray {where} ({reason[0] if reason else type(error).__name__})"
            ) from error

    @property
    def slots(self) -> int:  # type: ignore[override]
        """Processors of the cluster."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def map(
        self, function: Callable[[Any], Any], arguments: Sequence[Any], *, accelerated: bool = False
    ) -> list[Any]:
        # Ray ends a worker after each call that has a GPU, unless told otherwise; its model would go with it.
        options: dict[str, Any] = {"num_cpus": 1, "max_retries": RETRIES, "max_calls": 0}
        if accelerated and self._ray.cluster_resources().get("GPU", 0) >= 1:
            options["num_gpus"] = 1
        remote = self._ray.remote(**options)(_one_thread)
        waiting = [remote.remote(function, *_spread(argument)) for argument in arguments]
        try:
            return list(self._ray.get(waiting))
        except self._ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from None
        except self._ray.exceptions.WorkerCrashedError as error:
            raise RuntimeError(f"workers: a Ray worker was lost {1 + RETRIES} times over") from error
        except BaseException:
            for task in waiting:
                self._ray.cancel(task, force=True)
            raise

    @contextlib.contextmanager
    def share(self, array: NDArray[Any]) -> Iterator[Any]:
        yield self._ray.put(array)

    def close(self) -> None:
        if self._started:
            self._ray.shutdown()


def _check_reachable(address: str) -> None:
    """Refuse a host and port where nothing listens, which Ray itself would ask for minutes.

    Raises ConnectionError: nothing listens there, or the port is no number.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or "://" in host:  # "auto" and names that Ray looks up itself
        return
    if not host or not (port.isdecimal() and int(port) < 1 << 16):
        raise ConnectionError(f"workers: no Ray at {address[:60]!r} (a host and a port are HOST:NUMBER)")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=WAIT).close()
    except OSError as error:
        raise ConnectionError(f"workers: no Ray at {address!r} ({error})") from error


def _spread(argument: Any) -> tuple[Any, ...]:
    """Return whether it is a tuple, and its entries: Ray resolves what it shares in arguments alone."""
    return (True, *argument) if isinstance(argument, tuple) else (False, argument)


def _one_thread(function: Callable[[Any], Any], is_tuple: bool, *parts: Any) -> Any:
    """Run a function in a worker, its libraries on one thread."""
    from setwise.threads import one_blas_thread

    with one_blas_thread():
        return function(parts if is_tuple else parts[0])
