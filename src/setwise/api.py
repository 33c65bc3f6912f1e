"""`setwise.select`: the front door. It checks, picks the solver, and says how good the set is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

import numpy as np

from setwise import frames, kernels, solvers
from setwise import relevance as relevances
from setwise.checks import brief
from setwise.constraints import Constraints
from setwise.extras import require
from setwise.facets import facets_by
from setwise.ids import in_rows_of
from setwise.limits import OwnIfMissing
from setwise.missing import Usable, check_missing
from setwise.queries import as_query
from setwise.relevance import Relevance
from setwise.request import Options, Request, takes
from setwise.selection import Selection
from setwise.solvers import direct
from setwise.solvers.described import describe
from setwise.solvers.problem import Problem, Solved
from setwise.threads import one_blas_thread
from setwise.vectors import THREAD_WORK, Vectors, as_matrix


@takes()
def select(
    vectors: Any,
    k: int | None = None,
    *,
    relevance: Any = None,
    query: Any = None,
    relevance_scale: str = "none",
    sharpness: int = 1,
    metric: str = "cosine",
    progress: bool | Callable[[str], None] = False,
    missing: str = "raise",
    **options: Unpack[Options],
) -> Selection:
    """Select k of n candidates: relevant, diverse, and with a proof of how good the set is.

    Parameters
    ----------
    vectors : array-like of shape (n, d), or frame
        Candidates: NumPy array or memory map of any float or integer dtype, torch CPU tensor, Arrow column of
        lists, or nested lists. Never modified, never copied whole. Of a frame (pandas, polars, Arrow or a
        Hugging Face dataset) the column that holds vectors; `relevance`, `groups` and `costs` may then name
        others, and ``to_pandas`` and its like give the chosen rows back.
    k : int or None
        Size of the set, 1 to n. With `budget` or `min_gain` the most there may be; with a budget None leaves
        that open.
    relevance : array-like of shape (n,), optional
        One number a candidate, higher is better; -inf is never selected, as if it were in `exclude`. At most
        one of `relevance` and `query`; with neither, every candidate is equally relevant.
    query : array-like of shape (d,), optional
        A vector whose similarity is the relevance: the cosine, or minus the Euclidean distance.
    relevance_scale : {"none", "minmax", "zscore", "rank"}
        How relevance is rescaled first.
    diversity : float
        In [0, 1]: 0 = relevance alone, 1 = diversity alone.
    objective : {"max-sum", "mmr", "log-det", "coverage", "max-min", "facets"} or Objective
        What a good set is. An object brings its own diversity, metric and sharpness.
    sharpness : int
        For max-sum under cosine: the distance is 1 - cos^sharpness; 1 or an even integer.
    solver : str
        "auto", or one of `setwise.solvers.SOLVERS` that serves the objective.
    solver_options : mapping of name to value, optional
        What the solver is told: `penalty` and `steps` of "frank-wolfe"; `partition`, `per_cluster`, `top_up`
        and `final_quality_scale` of "multilevel" and "distributed", and `clusters` and `cluster_diversity`
        of the first. See `setwise.solver_options`.
    metric : {"cosine", "euclidean"}
    include : sequence of int
        Rows that must be in the set; they come first.
    exclude : sequence of int
        Rows that must not: the selection, its certificate and any rescaling are as if they were not there.
    groups : array-like of shape (n,), or mapping of names to such, optional
        A label a candidate, for `max_per_group`; by name, for `limits` and `shares`.
    max_per_group : int, optional
        At most this many of each group.
    limits : mapping of name to int or (int, int), optional
        How many there may be of each label of `groups[name]`: the most, or the least and the most.
    shares : mapping of name to a mapping of label to fraction, optional
        The part of the set that has a label of `groups[name]`: rounded down it is the least, rounded up the
        most. Labels that are not named share what is left.
    costs : array-like of shape (n,), optional
        What each costs, above 0: tokens, say. The set's costs sum to at most `budget`.
    budget : float, optional
        In the unit of `costs`.
    min_gain : float, optional
        What each member must add, in the unit of relevance: the set ends where nothing adds that much.
    max_similarity : float, optional
        No two members, nor a member and one that was shown, have a larger cosine.
    shown : array-like of shape (h, d), optional
        Vectors that were shown before. They count as members for diversity, and are not returned.
    shown_weight : float
        How much each of them counts, at least 0; a member counts 1.
    facets : array-like of shape (m, d) or (n, m), or mapping of names to (n,) numbers, optional
        What the set should cover, for objective="facets": m vectors, to each of which a candidate's relevance
        is the cosine, or 0 where that is less; or the relevance itself, at least 0. What is as wide as
        `vectors` is vectors.
    certify : bool or "full"
        Whether to prove how good the set is: with bounded effort, or until the bound has converged and
        branch and bound has had its turn. Proving may also find a better set, which is then returned.
    time_limit : float
        Seconds that solver="exact" and certify="full" may take for each set; then the best so far is
        returned, with the bound that is proven by then. 0 searches for no proof.
    seed : int
        Of everything random. The same call gives the same set; reordering the rows does too, up to ties.
    threads : int, optional
        For passes over the data. Default: what BLAS is set to.
    progress : bool or callable
        True shows a status line on a terminal; a callable gets each step as a short text.
    missing : {"raise", "drop", "append"}
        What becomes of a candidate whose vector or relevance cannot be used: a row of zeros under cosine,
        with NaN or Inf, or a relevance that is NaN or missing. Refused by its row; left out, with a warning;
        or placed after those chosen, in the order they come, while there are fewer than k.

    Returns
    -------
    Selection

    Raises
    ------
    TypeError
        An argument is of the wrong type.
    ValueError
        Vectors or relevance are empty, ragged or not finite, or zero under cosine; k is more than the
        candidates; an argument is out of its range or unknown; no set satisfies the constraints. Both name
        the argument, the row and the mend, before any work is done.

    Warns
    -----
    UserWarning
        Relevance spans so much that diversity hardly counts; log-det stopped at the kernel's rank.

    Notes
    -----
    Memory: the input, O(n), and a pool of a few thousand rows.

    With `budget` or `min_gain` sets have any size, and the value is that of the per-item form:
    Σ_i ((1-t) r_i + t - min_gain) less t/(κ-1) Σ_{i≠j} (1 - d_ij), where κ is k or else the budget over the
    mean cost. At size κ it is κ times max-sum's own. For mmr and log-det it is the sum of the gains, each t
    larger; for max-min
    (1-t) Σ r_i + t κ times the least distance; for facets max-sum's with κ (1-t) times the coverage.

    Examples
    --------
    >>> import numpy as np, setwise
    >>> vectors = np.random.default_rng(0).standard_normal((1000, 32))
    >>> sel = setwise.select(vectors, 5, query=vectors[0], diversity=0.3)
    >>> len(sel), sel.certificate.gap < 0.2
    (5, True)
    """
    began = time.perf_counter()
    request = Request.of(
        select, options, k=k, sharpness=sharpness, metric=metric, relevance_scale=relevance_scale
    )
    framed = frames.kind_of(vectors, "vectors") is not None
    request, relevance = beside(vectors, request, relevance)
    found = selected(
        request, vectors, relevance=relevance, query=query, progress=progress, missing=missing, began=began
    )
    return replace(found, candidates=vectors) if framed else found


def selected(
    request: Request,
    vectors: Any,
    *,
    relevance: Any = None,
    query: Any = None,
    progress: bool | Callable[[str], None] = False,
    missing: str = "raise",
    began: float,
) -> Selection:
    """Return what `select` does, for a request; `began` is when, in `time.perf_counter`'s seconds."""
    if not (progress is False or progress is True or callable(progress)):
        raise TypeError(f"progress: expected True, False or a function of a text, got {brief(progress)}")
    solvers.check(request)
    if check_missing(missing) != "raise":
        usable = Usable(vectors, relevance, request.goal.metric, missing, request.include, request.exclude)
        found = selected(
            replace(request, k=usable.most(request.k, request.wishes), exclude=usable.barred),
            usable.vectors,
            relevance=usable.relevance,
            query=query,
            progress=progress,
            began=began,
        )
        rest = usable.left[: max(0, (request.k or 0) - len(found))]
        gains = np.concatenate([found.gains, np.zeros(len(rest))])
        return replace(found, indices=np.concatenate([found.indices, rest]), gains=gains)
    data = kernels.legible(as_matrix(vectors))
    if (one := direct.select(request, data, relevance, query, pose, began)) is not None:
        return one
    with one_blas_thread():
        problem = pose(request, data, relevance=relevance, query=query)
        if progress is False:
            return run(problem, began)
        with _Progress(progress) as tell:
            problem.progress = tell
            return run(problem, began)


def beside(vectors: Any, request: Request, relevance: Any) -> tuple[Request, Any]:
    """Return a request, and relevance, whose columns stand in the order of a frame's rows; may be named.

    Raises ValueError: the frame has no such column, or a pandas column another index.
    """
    framed = frames.kind_of(vectors, "vectors") is not None
    if not framed and not hasattr(vectors, "iloc"):
        return request, relevance
    take = partial(_column, vectors)
    request = replace(request.mapped(take, fields=framed), facets=facets_by(take, request.facets))
    return request, relevance if getattr(relevance, "ndim", 1) == 2 else take("relevance", relevance)


def _column(frame: Any, argument: str, given: Any) -> Any:
    """Return a frame's column by name, or what was given in place of one, in the order of its rows."""
    if isinstance(given, OwnIfMissing):
        return OwnIfMissing(_column(frame, argument, given.groups))
    if isinstance(given, str) and frames.kind_of(frame) is not None:
        return frames.column(frame, given, argument)
    return in_rows_of(given, frame, argument)


def pose(request: Request, vectors: Any, *, relevance: Any = None, query: Any = None) -> Problem:
    """Check the candidates and return the problem that a request for some of them poses."""
    if relevance is not None and query is not None:
        raise ValueError("relevance: pass relevance or query, not both")
    goal = request.goal
    data = as_matrix(vectors)
    n, d = data.shape
    values, never = (None, None) if relevance is None else relevances.or_never(relevance, n)
    constraints = Constraints(n, request, never)
    probe = None if query is None else as_query(query, d, goal.metric)
    given = None if values is None else constraints.left(values)
    workers = request.workers if data.size >= THREAD_WORK else 1
    checked = Vectors(data, goal.metric, query=probe, workers=workers, kept=constraints.kept)
    numbers = np.zeros(checked.n) if given is None else given
    if checked.similarity is not None:
        numbers = checked.similarity
    known = Relevance(numbers, checked, probe, request.relevance_scale)
    if given is not None and 0 < goal.diversity < 1 and goal.metric == "cosine":
        known.warn_if_wide()
    return Problem(checked, known, request, constraints)


def run(problem: Problem, began: float, found: Solved | None = None) -> Selection:
    """Solve a checked problem, unless its set is found already, and describe it."""
    request = problem.request
    if found is None:
        found = solvers.find(problem, request.solver)
    if request.certify:
        found = solvers.certify(problem, found)
    label = solvers.label_of(request.goal.name, request.solver, wished=bool(request.wishes))
    return describe(problem, found, label, began)


class _Progress:
    """A status line on a terminal, a caller's function, or nothing."""

    def __init__(self, progress: bool | Callable[[str], None]) -> None:
        self._wanted = progress
        self._status: Any = None

    def __enter__(self) -> Callable[[str], None] | None:
        if callable(self._wanted):
            return self._wanted
        if not self._wanted or not sys.stderr.isatty():
            return None
        rich = require("rich.console", "cli", "progress=True")
        self._status = rich.Console(stderr=True).status("selecting")
        self._status.__enter__()
        status = self._status

        def tell(text: str) -> None:
            status.update(text)

        return tell

    def __exit__(self, *details: Any) -> None:
        if self._status is not None:
            self._status.__exit__(*details)
