"""What a selection is asked for: the options of every selecting call, checked once and handed on whole.

A further wish is a key of `Options`, a field of `Request` and its check there: each call that takes options
then takes it, and every solver finds it at ``problem.request``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Literal, Self, TypedDict, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from setwise import checks, frames
from setwise.limits import ranges_of
from setwise.objectives import Objective, make
from setwise.relevance import check_scale
from setwise.solver_options import Distributed, FrankWolfe, Levels, Multilevel, options_of
from setwise.threads import thread_count

Certify = bool | Literal["full"]
Rows = Sequence[Any] | NDArray[Any]
Listed = Sequence[object] | NDArray[np.generic]
Function = TypeVar("Function", bound=Callable[..., Any])


class SetOptions(TypedDict, total=False):
    """The keywords that say what a good set is; `setwise.select` says what each means."""

    diversity: float
    objective: str | Objective
    include: Listed
    exclude: Listed
    groups: object
    max_per_group: int | None
    limits: Mapping[str, object] | None
    shares: Mapping[str, object] | None
    costs: object
    budget: float | None
    min_gain: float | None
    max_similarity: float | None
    shown: object
    shown_weight: float
    facets: object
    certify: Certify
    time_limit: float
    seed: int
    threads: int | None


class Options(SetOptions, total=False):
    """The keywords of every call that is told how to find the set, too."""

    solver: str
    solver_options: Mapping[str, object] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What a selection is asked for; checked when it is made, but for what only the candidates can tell.

    Attributes
    ----------
    k : int or None
        Size of the set, at least 1; with `budget` or `min_gain` the most there may be. None, with a
        budget, for as many as fit.
    diversity, objective, sharpness, metric
        What `goal` is made of.
    relevance_scale, solver, solver_options, include, exclude, groups, max_per_group, limits, shares, costs,
    budget, min_gain, max_similarity, shown, shown_weight, facets, certify, time_limit, seed, threads
        As for `setwise.select`. Must-have and barred candidates are rows, or the ids of an index. A single
        limit without a least is kept as `groups` and `max_per_group`; others as (least, most or None).
    reference_size : float, optional
        Size at which a set of any size is worth as much as one of that size; see
        `Constraints.reference_size`.
    cap : str
        What the limit that is kept as `max_per_group` is called: its name among the limits it was given by.
    said : mapping of str to str, optional
        What arguments are called, for messages, where the call that made the request calls them otherwise.
    goal : Objective
        What a good set is.
    options : FrankWolfe, Multilevel, Distributed or None
        What the solver is told, as `solver_options` says; None where it takes none.

    Raises
    ------
    TypeError
        A field is of the wrong type.
    ValueError
        A field is out of its range or unknown, or one that is needed with another is missing.
    """

    #: What the argument that names the solver is called, for messages.
    solver_word: ClassVar[str] = "solver"

    k: int | None
    relevance_scale: str = "none"
    diversity: float = 0.2
    objective: str | Objective = "max-sum"
    sharpness: int = 1
    solver: str = "auto"
    solver_options: Mapping[str, Any] | None = None
    metric: str = "cosine"
    include: Rows = ()
    exclude: Rows = ()
    groups: Any = None
    max_per_group: int | None = None
    limits: Mapping[str, Any] | None = None
    shares: Mapping[str, Any] | None = None
    costs: Any = None
    budget: float | None = None
    min_gain: float | None = None
    max_similarity: float | None = None
    shown: Any = None
    shown_weight: float = 1.0
    facets: Any = None
    certify: Certify = True
    time_limit: float = 60.0
    seed: int = 0
    threads: int | None = None
    reference_size: float | None = None
    cap: str = "max_per_group"
    said: Mapping[str, str] | None = None
    goal: Objective = field(init=False, repr=False)
    options: FrankWolfe | Multilevel | Distributed | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        goal = make(self.objective, diversity=self.diversity, sharpness=self.sharpness, metric=self.metric)
        object.__setattr__(self, "goal", goal)
        object.__setattr__(self, "options", options_of(self.solver, self.solver_options))
        check_certify(self.certify)
        check_scale(self.relevance_scale)
        object.__setattr__(self, "seed", checks.integer("seed", self.seed, least=0))
        object.__setattr__(self, "time_limit", checks.seconds("time_limit", self.time_limit))
        if self.k is not None:
            object.__setattr__(self, "k", checks.integer("k", self.k, least=1))
        elif self.budget is None:
            raise TypeError("k: expected an integer, got None; only with a budget may it be left out")
        for name in ("include", "exclude"):
            rows: Any = getattr(self, name)
            if getattr(rows, "ndim", 1) == 2 or frames.kind_of(rows, name):  # those of many queries
                object.__setattr__(self, name, rows := list(np.asarray(rows)))
            listed = hasattr(rows, "__iter__") and getattr(rows, "ndim", 1) == 1
            if listed and not hasattr(rows, "__getitem__"):  # a set has no order of its own
                rows = sorted(rows, key=str) if isinstance(rows, Set) else list(rows)
                object.__setattr__(self, name, rows)
            if isinstance(rows, str | bytes) or not listed:
                got = checks.brief(rows)
                raise TypeError(f"{name}: expected row numbers or ids, one after the other, got {got}")
            if not hasattr(rows, "__len__"):  # read once, and kept
                object.__setattr__(self, name, tuple(rows))
        if self.threads is not None:
            checks.integer("threads", self.threads, least=1)
        self._check_limits()
        if (self.costs is None) != (self.budget is None):
            missing, given = ("costs", "budget") if self.costs is None else ("budget", "costs")
            raise ValueError(f"{missing}: needed with {given}")
        if self.budget is not None:
            object.__setattr__(self, "budget", checks.positive("budget", self.budget))
        for name in ("min_gain", "max_similarity"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, checks.finite(name, value))
        if self.max_similarity is not None and abs(self.max_similarity) > 1.0:
            raise ValueError(f"max_similarity: {self.max_similarity:g} is no cosine; it is from -1 to 1")
        if self.max_similarity is not None and goal.metric != "cosine":
            raise ValueError("max_similarity: it is a cosine; pass metric='cosine'")
        if goal.name == "facets" and self.facets is None:
            raise ValueError("facets: needed with objective='facets', vectors (m, d) or relevance (n, m)")
        if goal.name != "facets" and self.facets is not None:
            raise ValueError(f"facets: {goal.name} does not cover them; pass objective='facets'")
        weight = checks.finite("shown_weight", self.shown_weight)
        if weight < 0:
            raise ValueError(f"shown_weight: {weight:g} is below 0; pass 0 for shown ones that do not count")
        object.__setattr__(self, "shown_weight", weight)

    def _check_limits(self) -> None:
        """Check groups, limits and shares, and write limits as (least, most)."""
        if self.max_per_group is not None:
            checks.integer("max_per_group", self.max_per_group, least=1)
        for name in ("limits", "shares"):
            if not isinstance(given := getattr(self, name), Mapping | None):
                raise TypeError(f"{name}: expected a mapping of names, got {type(given).__name__}")
        if not self.limits and not self.shares:
            if (self.groups is None) != (self.max_per_group is None):
                missing, given = (
                    ("groups", "max_per_group") if self.groups is None else ("max_per_group", "groups")
                )
                raise ValueError(f"{missing}: needed with {given}")
            return
        if self.max_per_group is not None:
            raise ValueError("max_per_group: not with limits or shares; limits={name: most} says the same")
        if self.shares and not self.sized:
            raise ValueError("shares: they are of a set of k; with budget or min_gain pass limits")
        limits = ranges_of(self.limits or {}, self.shares or {})
        object.__setattr__(self, "limits", limits)
        if len(limits) == 1 and not self.shares and isinstance(self.groups, Mapping):
            [(name, (least, most))] = limits.items()
            if least == 0 and most is not None and most > 0 and name in self.groups:
                object.__setattr__(self, "groups", self.groups[name])
                object.__setattr__(self, "max_per_group", most)
                object.__setattr__(self, "cap", name)
                object.__setattr__(self, "limits", None)

    def argument(self, name: str) -> str:
        """Return what messages call an argument."""
        return (self.said or {}).get(name, name)

    @property
    def cap_argument(self) -> str:
        """What messages call what is kept as `max_per_group`."""
        return self.cap if self.cap == "max_per_group" else f"limits: {self.cap}"

    @property
    def labeled(self) -> bool:
        """Whether there is anything for each candidate that `mapped` would put in other terms."""
        given = isinstance(self.options, Levels) and self.options.is_given
        return self.groups is not None or self.costs is not None or given

    def mapped(self, take: Callable[[str, Any], Any], *, fields: bool = False) -> Self:
        """Return this request with what it has for each candidate, labels and costs, put in other terms.

        Parameters
        ----------
        take : callable (argument's name, what was given) -> what is meant
        fields : bool
            Whether limits on what `groups` does not have are on a stored field of that name.
        """
        groups, named = self.groups, [*(self.limits or ()), *(self.shares or ())]
        if not named and not self.labeled:
            return self
        if self.max_per_group is not None:
            groups = take("groups", groups)
        elif named:
            given = groups if isinstance(groups, Mapping) else {}
            missing = [] if fields else [name for name in named if name not in given]
            if missing:
                raise ValueError(
                    f"limits: no labels {missing[0]!r}; pass groups={{{missing[0]!r}: one label a candidate}}"
                )
            groups = {
                name: take(f"{'groups' if name in given else 'limits'}[{name!r}]", given.get(name, name))
                for name in dict.fromkeys(named)
            }
        options = self.solver_options
        if isinstance(self.options, Levels) and self.options.is_given:
            options = {
                **(options or {}),
                "partition": take("solver_options: partition", self.options.partition),
            }
        costs = None if self.costs is None else take("costs", self.costs)
        return replace(self, groups=groups, costs=costs, solver_options=options)

    @property
    def timed(self) -> bool:
        """Whether a search for a proof may take all of `time_limit`."""
        return self.certify == "full" or self.solver == "exact"

    @property
    def sized(self) -> bool:
        """Whether the set has exactly k members, rather than as many as a budget or their gain allows."""
        return self.budget is None and self.min_gain is None

    @property
    def size(self) -> int:
        """The size of the set, where it has one."""
        assert self.k is not None
        return self.k

    @cached_property
    def plain(self) -> bool:
        """Whether sets have a size, and there are no other constraints and nothing of each candidate."""
        listed = len(self.include) or len(self.exclude) or self.labeled or self.facets is not None
        return self.sized and not listed and not self.wishes and self.relevance_scale == "none"

    @cached_property
    def wishes(self) -> tuple[str, ...]:
        """What is asked for beyond a size, must-have and barred candidates, and one `max_per_group`."""
        asked = {
            "limits": self.limits or self.shares,
            "budget": self.budget is not None,
            "min_gain": self.min_gain is not None,
            "max_similarity": self.max_similarity is not None,
            "shown": self.shown is not None,
        }
        return tuple(name for name, whether in asked.items() if whether)

    def check_shown(self) -> None:
        """Refuse a weight of what was shown where that is not given."""
        if self.shown is None and self.shown_weight != 1.0:
            raise ValueError("shown: needed with shown_weight; [] where nothing has been shown")

    @classmethod
    def of(cls, call: Callable[..., Any], options: SetOptions, **more: Any) -> Self:
        """Return the request that options of a call make, which `takes` them, with other fields.

        Raises TypeError: an option is not the call's; TypeError, ValueError: as for `Request`.
        """
        asked = taken(call, options, **more)
        if all(type(one) in _PLAIN for one in (*options.values(), *more.values())):
            made = cast(Self, _made(cast(Hashable, cls), **asked))
            made.check_shown()
            return made
        made = cls(**asked)
        made.check_shown()
        own = made.goal.diversity
        if isinstance(made.objective, Objective) and options.get("diversity") not in (None, own):
            raise ValueError(f"diversity: the objective brings its own, {own:g}; leave one of them out")
        return made

    @property
    def workers(self) -> int:
        """How many threads passes over the data may use."""
        return thread_count(self.threads)


#: Types of what is told from everything else by its type and value; requests of these alone are made once.
_PLAIN = frozenset((bool, int, float, str, type(None)))


@lru_cache(maxsize=64, typed=True)
def _made(kind: Any, **asked: Any) -> Any:
    """Return a request: as it cannot be changed, one serves every call that asks for the same."""
    return kind(**asked)


#: The options that each call takes, and what some of them are for one that says otherwise than its request.
_TAKEN: dict[Callable[..., Any], frozenset[str]] = {}
_USUAL: dict[Callable[..., Any], dict[str, Any]] = {}


def takes(
    options: type = Options, request: type[Any] = Request, **usual: Any
) -> Callable[[Function], Function]:
    """Let a call take options, spelled out in its signature for help and completion.

    Parameters
    ----------
    options : TypedDict
        Their names.
    request : type of request
        Whose fields they are.
    **usual
        What some of them are where they are not given, if that is another value than in the request.
    """
    names = frozenset(options.__annotations__)

    def spelled_out(call: Function) -> Function:
        written = inspect.signature(call)
        own = {one.name: one for one in written.parameters.values() if one.kind is not one.VAR_KEYWORD}
        for one in fields(request):  # in this order, the call's own among them
            if one.name in names:
                own[one.name] = inspect.Parameter(
                    one.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=usual.get(one.name, one.default),
                    annotation=one.type,
                )
            elif one.name in own and own[one.name].kind is inspect.Parameter.KEYWORD_ONLY:
                own[one.name] = own.pop(one.name)
        _TAKEN[call], _USUAL[call] = names, usual
        call.__signature__ = written.replace(parameters=list(own.values()))  # type: ignore[attr-defined]
        return call

    return spelled_out


def taken(call: Callable[..., Any], options: Mapping[str, object], **more: Any) -> dict[str, Any]:
    """Return what a call is told, with what is usual for it; refuse an option that it does not take."""
    for name in options:
        if name not in _TAKEN[call]:
            raise TypeError(f"{call.__qualname__}() got an unexpected keyword argument {name!r}")
    return {**_USUAL[call], **options, **more}


def check_certify(certify: Any) -> None:
    """Refuse anything but False, True and "full".

    Raises TypeError: `certify` is neither a bool nor a string; ValueError: it is another string than "full".
    """
    if isinstance(certify, bool | np.bool_):
        return
    if not isinstance(certify, str):
        raise TypeError(f"certify: expected False, True or 'full', got {checks.brief(certify)}")
    if certify != "full":
        raise ValueError(f"certify: expected False, True or 'full', got {certify!r}")
