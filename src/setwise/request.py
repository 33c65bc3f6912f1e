"""What a selection is asked for: the options of every selecting call, checked once and handed on whole.

A further wish is a key of `Options`, a field of `Request` and its check there: each call that takes options
then takes it, and every solver finds it at ``problem.request``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.objectives import Objective, make
from setwise.relevance import check_scale
from setwise.threads import thread_count

Certify = bool | Literal["full"]
Rows = Sequence[Any] | NDArray[Any]
Function = TypeVar("Function", bound=Callable[..., Any])


class Options(TypedDict, total=False):
    """The keywords that all selecting calls share; `setwise.select` says what each means."""

    diversity: float
    objective: str | Objective
    solver: str
    include: Rows
    exclude: Rows
    groups: Any
    max_per_group: int | None
    certify: Certify
    seed: int
    threads: int | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What a selection is asked for; checked when it is made, but for what only the candidates can tell.

    Attributes
    ----------
    k : int
        Size of the set, at least 1.
    diversity, objective, sharpness, metric
        What `goal` is made of.
    relevance_scale, solver, include, exclude, groups, max_per_group, certify, seed, threads
        As for `setwise.select`. Must-have and barred candidates are rows, or the ids of an index.
    goal : Objective
        What a good set is.

    Raises
    ------
    TypeError
        A field is of the wrong type.
    ValueError
        A field is out of its range or unknown, or one of `groups` and `max_per_group` is missing.
    """

    k: int
    relevance_scale: str = "none"
    diversity: float = 0.2
    objective: str | Objective = "max-sum"
    sharpness: int = 1
    solver: str = "auto"
    metric: str = "cosine"
    include: Rows = ()
    exclude: Rows = ()
    groups: Any = None
    max_per_group: int | None = None
    certify: Certify = True
    seed: int = 0
    threads: int | None = None
    goal: Objective = field(init=False, repr=False)

    def __post_init__(self) -> None:
        goal = make(self.objective, diversity=self.diversity, sharpness=self.sharpness, metric=self.metric)
        object.__setattr__(self, "goal", goal)
        check_certify(self.certify)
        check_scale(self.relevance_scale)
        checks.integer("seed", self.seed, least=0)
        object.__setattr__(self, "k", checks.integer("k", self.k, least=1))
        for name in ("include", "exclude"):
            rows: Any = getattr(self, name)
            if getattr(rows, "ndim", 1) == 2:  # those of many queries
                object.__setattr__(self, name, rows := list(rows))
            listed = hasattr(rows, "__iter__") and getattr(rows, "ndim", 1) == 1
            if isinstance(rows, str | bytes) or not listed:
                raise TypeError(f"{name}: expected row numbers or ids, one after the other, got {rows!r}")
            if not hasattr(rows, "__len__"):  # read once, and kept
                object.__setattr__(self, name, tuple(rows))
        if self.threads is not None:
            checks.integer("threads", self.threads, least=1)
        if (self.groups is None) != (self.max_per_group is None):
            missing, given = (
                ("groups", "max_per_group") if self.groups is None else ("max_per_group", "groups")
            )
            raise ValueError(f"{missing}: needed with {given}")
        if self.max_per_group is not None:
            checks.integer("max_per_group", self.max_per_group, least=1)

    @classmethod
    def of(cls, call: Callable[..., Any], options: Options, **more: Any) -> Request:
        """Return the request that a call's options make.

        Parameters
        ----------
        call : function
            One that `takes` options, and says what some of them are where they are not given.
        options : Options
            As given.
        **more
            The other fields.

        Raises
        ------
        TypeError
            An option is not the call's, or a field of the wrong type.
        ValueError
            See `Request`.
        """
        for name in options:
            if name not in _NAMES:
                raise TypeError(f"{call.__name__}() got an unexpected keyword argument {name!r}")
        return cls(**{**_USUAL[call], **options, **more})

    @property
    def workers(self) -> int:
        """How many threads passes over the data may use."""
        return thread_count(self.threads)


def split(request: Request, count: int) -> list[Request]:
    """Return one request for each of many queries, where some wishes are given for each by itself.

    Parameters
    ----------
    request : Request
        Its `include` and `exclude` may be lists of rows or ids, one (or None) a query, or a mask of shape
        (m, n); its `groups` of shape (m, n).
    count : int
        Number of queries, m.

    Raises
    ------
    ValueError
        There are not as many lists as queries.
    """
    own = own_wishes(request)
    for name, wished in own.items():
        if len(wished) != count:
            raise ValueError(f"{name}: expected one list for each of {count} queries, got {len(wished)}")
    if not own:
        return [request] * count
    return [replace(request, **{name: wished[one] for name, wished in own.items()}) for one in range(count)]


def own_wishes(request: Request) -> dict[str, Any]:
    """Return what is wished for each of many queries by itself, one entry a query; see `split`."""
    own: dict[str, Any] = {}
    for name in ("include", "exclude"):
        wished = getattr(request, name)
        if any(one is None or isinstance(one, _LISTED) for one in wished):
            own[name] = [_rows_of(one) for one in wished]
    groups = request.groups
    listed = isinstance(groups, list) and len(groups) > 0 and isinstance(groups[0], list | np.ndarray)
    if listed or getattr(groups, "ndim", 1) == 2:
        own["groups"] = groups
    return own


#: What rows of one query may come in, among those of many.
_LISTED = (list, tuple, set, frozenset, np.ndarray)


def _rows_of(wished: Any) -> Any:
    """Return one query's rows or ids: nothing for None, the rows of a mask."""
    if wished is None:
        return ()
    if isinstance(wished, set | frozenset):
        return sorted(wished)
    if isinstance(wished, np.ndarray) and wished.dtype == np.bool_:
        return np.flatnonzero(wished)
    return wished


#: The options' names, and what some of them are for a call that says otherwise than `Request`.
_NAMES = frozenset(Options.__annotations__)
_USUAL: dict[Callable[..., Any], dict[str, Any]] = {}


def takes(**usual: Any) -> Callable[[Function], Function]:
    """Let a call take `Options`, spelled out in its signature for help and completion.

    Parameters
    ----------
    **usual
        What some of them are where they are not given, if that is another value than in `Request`.
    """

    def spelled_out(call: Function) -> Function:
        written = inspect.signature(call)
        own = {one.name: one for one in written.parameters.values() if one.kind is not one.VAR_KEYWORD}
        for one in fields(Request):  # in this order, the call's own among them
            if one.name in _NAMES:
                own[one.name] = inspect.Parameter(
                    one.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=usual.get(one.name, one.default),
                    annotation=one.type,
                )
            elif one.name in own and own[one.name].kind is inspect.Parameter.KEYWORD_ONLY:
                own[one.name] = own.pop(one.name)
        _USUAL[call] = usual
        call.__signature__ = written.replace(parameters=list(own.values()))  # type: ignore[attr-defined]
        return call

    return spelled_out


def check_certify(certify: Any) -> None:
    """Refuse anything but False, True and "full".

    Raises
    ------
    TypeError
        `certify` is neither a bool nor a string.
    ValueError
        It is another string than "full".
    """
    if isinstance(certify, bool | np.bool_):
        return
    if not isinstance(certify, str):
        raise TypeError(f"certify: expected False, True or 'full', got {certify!r}")
    if certify != "full":
        raise ValueError(f"certify: expected False, True or 'full', got {certify!r}")
