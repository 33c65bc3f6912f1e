"""Solvers: how a set is found. They know objectives and constraints, never the job."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from setwise import checks
from setwise.request import Request


class Ability(NamedTuple):
    """What a solver can do: the objectives it serves, and the constraints it honours."""

    objectives: tuple[str, ...]
    include: bool
    groups: bool


#: Every solver by name. The table in the docs is made from this one, and the tests walk it.
SOLVERS: dict[str, Ability] = {
    "auto": Ability(("max-sum", "mmr", "log-det", "coverage"), include=True, groups=True),
    "greedy": Ability(("max-sum", "mmr", "log-det", "coverage"), include=True, groups=True),
    "frank-wolfe": Ability(("max-sum",), include=True, groups=True),
    "swap": Ability(("max-sum", "coverage"), include=True, groups=True),
    "exact": Ability(("max-sum", "coverage"), include=True, groups=True),
    "k-dpp": Ability(("log-det",), include=False, groups=False),
    "k-means": Ability(("coverage",), include=False, groups=False),
    "top-k": Ability(("max-sum", "mmr", "log-det", "coverage"), include=True, groups=True),
    "random": Ability(("max-sum", "mmr", "log-det", "coverage"), include=True, groups=True),
    "clustering": Ability(("max-sum", "mmr", "log-det", "coverage"), include=False, groups=False),
}


def check(request: Request) -> str:
    """Return the name of the solver asked for, if it serves the objective and honors the constraints.

    Raises
    ------
    TypeError
        The solver is not a name.
    ValueError
        The name is unknown, or the combination does not exist; the message has those that do.
    """
    name, objective = checks.choice("solver", request.solver, SOLVERS), request.goal.name
    able = SOLVERS[name]
    if objective not in able.objectives:
        others = [other for other, ability in SOLVERS.items() if objective in ability.objectives]
        raise ValueError(f"solver: {name!r} is not for {objective}; use one of {', '.join(others)}")
    for argument, asked, honoured in (
        ("include", np.size(request.include) > 0, able.include),
        ("groups", request.groups is not None, able.groups),
    ):
        if asked and not honoured:
            others = [
                other
                for other, ability in SOLVERS.items()
                if objective in ability.objectives and getattr(ability, argument)
            ]
            raise ValueError(
                f"{argument}: the {name!r} solver cannot honour it; use one of {', '.join(others)}"
            )
    return name
