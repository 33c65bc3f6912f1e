"""What is asked of a choice of responses, checked once."""

from __future__ import annotations

from dataclasses import dataclass

from setwise import checks
from setwise.request import Certify, check_certify

METHODS = ("opt-select", "coreset", "bottom-k", "random")
SOLVERS = ("swap", "exact", "greedy")
SPLITS = ("one-vs-k", "mean")


@dataclass(frozen=True, kw_only=True)
class ResponseRequest:
    """Which responses of a prompt to choose: the parameters of `select_responses` but for the data.

    Raises
    ------
    TypeError
        A parameter is of another type.
    ValueError
        A number is below 1 (``seed``: below 0), or a name is unknown; the message has the nearest one.
    """

    k: int
    method: str = "opt-select"
    solver: str = "swap"
    positives: int = 1
    split: str = "one-vs-k"
    certify: Certify = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("k", 1), ("positives", 1), ("seed", 0)):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), least=least))
        for name, known in (("method", METHODS), ("solver", SOLVERS), ("split", SPLITS)):
            checks.choice(name, getattr(self, name), known)
        check_certify(self.certify)

    @property
    def needed(self) -> int:
        """How many responses a prompt has to have."""
        return self.k + self.positives
