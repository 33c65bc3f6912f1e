"""`match`: the distribution over a repository that is nearest to some examples, and as spread as asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from setwise import checks
from setwise.finetuning import parameters
from setwise.finetuning.matched import Match
from setwise.finetuning.neighborhood import Neighborhood
from setwise.finetuning.neighbors import Progress


def match(
    candidates: Any,
    examples: Any,
    *,
    diversity: float = 0.4,
    regularizer: str = "kde",
    scale: float | str = 5.0,
    kernel_width: float | str = 0.1,
    neighbors: int = 2_000,
    density_neighbors: int = 1_000,
    index: Any = "auto",
    workers: int | str | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
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
        C, above 0, in the vectors' units. 5 is for unit vectors; "auto" is 5 times their typical length.
    kernel_width : float or "auto"
        h, above 0, in the vectors' units: rows nearer than that are near-duplicates ("kde" alone). "auto"
        takes a quarter of the median distance between neighbors in a sample. From near-duplicates that you
        mark: `setwise.finetuning.kernel_width`.
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
    progress : callable, optional
        Called with the step, how many rows are done, and how many there are.

    Returns
    -------
    Match

    Raises
    ------
    TypeError, ValueError
        Bad input: the argument, the row and the mend are named.

    Warns
    -----
    UserWarning
        The neighbors ran out before the optimum: the result is as good as they allow (``complete`` False).
    """
    hood = Neighborhood.of(
        candidates,
        examples,
        regularizer=regularizer,
        scale=scale,
        kernel_width=kernel_width,
        neighbors=neighbors,
        density_neighbors=density_neighbors,
        index=index,
        workers=workers,
        seed=seed,
        threads=threads,
        progress=progress,
        diversity=diversity,
    )
    found = hood.match(diversity)
    if not found.complete:
        mend = f"raise neighbors (to {min(2 * hood.reach, hood.candidates.n):,} first), or lower diversity"
        if found.short_of_index:
            mend = "the index returned no more: raise its nprobe or ef, or search exactly"
        checks.warn(
            f"neighbors: {hood.reach:,} ran out before the optimum for diversity {diversity:g} was reached; "
            f"{mend}"
        )
    return found


def sweep(
    candidates: Any,
    examples: Any,
    diversities: Iterable[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    **settings: Any,
) -> parameters.Sweep:
    """Match with several diversities; the neighbors are searched once.

    Parameters
    ----------
    candidates, examples
        As for `match`.
    diversities : iterable of float
        Each in [0, 1].
    **settings
        Any other of `match`'s.

    Returns
    -------
    Sweep
        A sequence of `Match`, with ``table()`` and ``plot(path)``.

    Raises
    ------
    TypeError, ValueError
        As `match`, and where no diversity is given.
    """
    values: Sequence[float] = [checks.fraction("diversities", value) for value in diversities]
    if not values:
        raise ValueError("diversities: give at least one, in [0, 1]")
    hood = Neighborhood.of(candidates, examples, diversity=values[0], **settings)
    return parameters.Sweep([hood.match(value) for value in values])
