"""What is asked of a choice of responses, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from setwise import checks
from setwise.request import Certify, check_certify

METHODS = ("opt-select", "coreset", "bottom-k", "sigma", "best-vs-worst", "random")
SOLVERS = ("swap", "exact", "greedy")
SPLITS = ("one-vs-k", "mean")
FORMULATIONS = ("appendix-e", "equation-8")

#: Of rewards: an exponential of more is no float64.
MOST_WEIGHT = 500


class ResponseOptions(TypedDict, total=False):
    """The keywords of every call that chooses responses; `select_responses` says what each means."""

    method: str
    solver: str
    positives: int
    split: str
    certify: Certify
    time_limit: float
    seed: int
    reward_weight: float
    formulation: str


@dataclass(frozen=True, kw_only=True)
class ResponseRequest:
    """Which responses of a prompt to choose: the parameters of `select_responses` but for the data.

    Raises TypeError: a parameter is of another type; ValueError: a number is below 1 (``seed``: below 0),
    ``reward_weight`` is not finite and at least 0, a name is unknown (the message has the nearest one), or
    "best-vs-worst" is to reject more than one.
    """

    k: int
    method: str = "opt-select"
    solver: str = "swap"
    positives: int = 1
    split: str = "one-vs-k"
    certify: Certify = True
    time_limit: float = 60.0
    seed: int = 0
    reward_weight: float = 1.0
    formulation: str = "appendix-e"

    def __post_init__(self) -> None:
        for name, least in (("k", 1), ("positives", 1), ("seed", 0)):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), least=least))
        named = {"method": METHODS, "solver": SOLVERS, "split": SPLITS, "formulation": FORMULATIONS}
        for name, known in named.items():
            checks.choice(name, getattr(self, name), known)
        if self.method == "best-vs-worst" and self.k != 1:
            raise ValueError(f"k: method='best-vs-worst' rejects the one worst response, got k={self.k}")
        if not 0 <= checks.finite("reward_weight", self.reward_weight) <= MOST_WEIGHT:
            raise ValueError(f"reward_weight: {self.reward_weight} is outside [0, {MOST_WEIGHT}]")
        check_certify(self.certify)
        object.__setattr__(self, "time_limit", checks.seconds("time_limit", self.time_limit))

    @property
    def needed(self) -> int:
        """How many responses a prompt has to have."""
        return self.k + self.positives
