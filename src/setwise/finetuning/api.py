"""`match`: the distribution over a repository that is nearest to some examples, and as spread as asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Unpack

from setwise import checks, frames
from setwise.finetuning.matched import Match, Sweep
from setwise.finetuning.neighborhood import Neighborhood
from setwise.finetuning.parameters import MatchOptions, MatchParameters
from setwise.progress import StepProgress
from setwise.request import taken, takes

#: The diversities that a sweep tries.
DIVERSITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@takes(MatchOptions, MatchParameters)
def match(
    candidates: Any,
    examples: Any,
    *,
    diversity: float = 0.4,
    progress: StepProgress | None = None,
    **parameters: Unpack[MatchOptions],
) -> Match:
    """Match a sampling distribution over a repository to a few examples of a task (TSDS).

    Every example spreads its share of the probability over its nearest candidates; how far is decided by
    ``diversity``. Near-duplicates share one row's worth of probability ("kde").

    Parameters
    ----------
    candidates : array-like of shape (N, d), or a sequence of shards
        The repository, encoded: in memory, a memory map, or shards (arrays or paths of .npy files) that are
        numbered through. float16 and integers are widened block by block.
    examples : array-like of shape (M, d)
        Examples of the task, encoded alike.
    diversity : float
        In [0, 1]; the paper's α is 1 - diversity. 0 = all mass on each example's nearest candidate, 1 = even
        over the whole repository.
    regularizer : {"kde", "uniform", "tv"}
        What is spread: G_KDE (section 3.3; near-duplicates count as one), G∞ (each row counts), or G_TV
        (Appendix A; nearly all mass stays with the nearest).
    scale : float or "auto"
        C, above 0, in the vectors' units: what a distance is divided by. The paper takes 5 for unit vectors;
        "auto" is 5 times the vectors' root mean square length in a sample.
    kernel_width : float or "auto"
        h, above 0, in the vectors' units: rows nearer than that are near-duplicates ("kde" alone). "auto"
        takes a quarter of the median distance between nearest neighbors in a sample of 1,024 rows. From
        near-duplicates that you mark: `setwise.finetuning.kernel_width`.
    neighbors : int
        L: at most so many candidates an example, at least 2; where there are fewer, all.
    density_neighbors : int
        I: at most so many near-duplicates of a row count, itself among them.
    index : str, path, faiss.Index or setwise.Index
        "exact", a FAISS factory string ("IVF4096,Flat"), a saved index (a folder of ``setwise index build``
        or a file of ``faiss.write_index``) or an open one, whose ids are row numbers; "auto" is exact up to
        some minutes of work. Anything but exact searches in two stages (Appendix C): the index over all,
        then exactly among the union of what it returned, where density is counted too.
    workers : int or str, optional
        Search the parts of the candidates in local processes, on "ray", or at a Ray address. The result is
        the same. Exact search alone.
    seed : int
        For the sample that "auto" looks at and an index learns from.
    threads : int, optional
    quality : array-like of shape (N,), optional
        What each row is worth, above 0: where all else is equal, twice the quality is twice the probability.
        The plan is held against q/ρ in place of 1/ρ, with q over its mean, and is as optimal. Not under
        "tv".
    densities : array-like of shape (N,), optional
        ρ of each row, above 0, in place of counting near-duplicates ("kde" alone).
    progress : callable, optional
        Called with the step, how many rows are done, and how many there are.

    Returns
    -------
    Match

    Raises
    ------
    FileNotFoundError
        A shard or an index is a path where nothing is.
    TypeError
        Vectors or a number are no numbers, or the index is none.
    ValueError
        There are no rows; one has NaN or Inf; examples and candidates differ in width; a parameter is outside
        its range or unknown; "auto" finds only zero vectors, or only copies of one row; an index is of other
        vectors, or stands beside workers.

    Warns
    -----
    UserWarning
        The neighbors ran out before the optimum: the result is as good as they allow (``complete`` False); or
        a row has more near-duplicates than ``density_neighbors``, and they weigh more than one row.
    """
    asked = MatchParameters(**taken(match, parameters))
    found = matched(candidates, examples, diversity, asked, progress)
    return (
        found if frames.kind_of(candidates, "candidates") is None else replace(found, candidates=candidates)
    )


@takes(MatchOptions, MatchParameters)
def sweep(
    candidates: Any,
    examples: Any,
    diversities: Iterable[float] = DIVERSITIES,
    *,
    progress: StepProgress | None = None,
    **parameters: Unpack[MatchOptions],
) -> Sweep:
    """Match with several diversities; the neighbors are searched once.

    Parameters
    ----------
    candidates, examples
        As for `match`.
    diversities : iterable of float
        Each in [0, 1].
    progress : callable, optional
    **parameters
        The other keywords of `match`, with its defaults.

    Returns
    -------
    Sweep
        A sequence of `Match`, with ``table()`` and ``plot(path)``.

    Raises
    ------
    FileNotFoundError
        A shard or an index is a path where nothing is.
    TypeError
        Vectors or a parameter are of another type, or a keyword is unknown.
    ValueError
        As for `match`, or no diversity is given, or one is outside [0, 1].
    """
    return swept(candidates, examples, diversities, MatchParameters(**taken(sweep, parameters)), progress)


def matched(
    candidates: Any,
    examples: Any,
    diversity: float,
    parameters: MatchParameters,
    progress: StepProgress | None,
) -> Match:
    """Return the match of one diversity; see `match`."""
    checks.fraction("diversity", diversity)
    with parameters.at_work():
        hood = Neighborhood.of(candidates, examples, parameters, progress)
        found = hood.match(diversity)
    if not found.complete:
        mend = f"raise neighbors (to {min(2 * hood.reach, hood.candidates.n):,} first), or lower diversity"
        if found.short_of_index:
            mend = "the index returned no more: raise its nprobe or ef, or search exactly"
        checks.warn(
            f"neighbors: {hood.reach:,} ran out before the optimum for diversity {diversity:g} was reached; "
            f"{mend}"
        )
    if told := hood.uncounted(found):
        checks.warn(told)
    return found


def swept(
    candidates: Any,
    examples: Any,
    diversities: Iterable[float],
    parameters: MatchParameters,
    progress: StepProgress | None,
) -> Sweep:
    """Return the matches of several diversities; see `sweep`."""
    values = checked_diversities(diversities)
    with parameters.at_work():
        hood = Neighborhood.of(candidates, examples, parameters, progress)
        return Sweep([hood.match(value) for value in values])


def checked_diversities(diversities: Iterable[float]) -> list[float]:
    """Return diversities as a list. Raises TypeError, ValueError: there is none, or one is not in [0, 1]."""
    if not isinstance(diversities, Iterable):
        raise TypeError(f"diversities: expected a list of numbers, got {checks.brief(diversities)}")
    values = [checks.fraction("diversities", value) for value in diversities]
    if not values:
        raise ValueError("diversities: give at least one, in [0, 1]")
    return values
