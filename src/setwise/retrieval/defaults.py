"""What retrieval asks for where nothing is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from setwise import solvers
from setwise.objectives import Objective, has_sharpness
from setwise.request import Options, Request

#: Diversity and, for max-sum under cosine, the sharpness that retrieval defaults to.
DIVERSITY, SHARPNESS = 0.3, 8

#: How many are selected where nothing is said.
K = 10


def default_sharpness(objective: str | Objective, metric: str) -> int:
    """Return the sharpness that retrieval uses: 8 for max-sum by name under cosine, else 1."""
    return SHARPNESS if has_sharpness(objective) and metric == "cosine" else 1


def request_of(
    call: Callable[..., Any], options: Options, *, sharpness: int | None, metric: str, **more: Any
) -> Request:
    """Return the request of one of retrieval's calls, with the sharpness that it uses where none is given.

    Raises TypeError: an option is not the call's, or of the wrong type; ValueError: an option is out of its
    range or unknown, or the solver is not for the objective and constraints.
    """
    if more.get("k", K) is None and options.get("budget") is None:
        more["k"] = K
    if sharpness is None:
        sharpness = default_sharpness(options.get("objective", "max-sum"), metric)
    request = Request.of(call, options, sharpness=sharpness, metric=metric, **more)
    solvers.check(request)
    return request
