"""How many rows an epoch has, by rows, share or tokens, and which: drawn, in the order of training."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.files.lengths import counter
from setwise.finetuning.distribution import Distribution, row_numbers
from setwise.finetuning.rows.repository import Repository

#: Epochs at most, and rows drawn in all of them: all are held, and in a folder each epoch is a file.
MOST_EPOCHS, MOST_DRAWS = 10_000, 1 << 32


def draw(
    distribution: Distribution,
    *,
    rows: int | None = None,
    fraction: float | None = None,
    tokens: int | None = None,
    lengths: NDArray[Any] | None = None,
    of: NDArray[np.integer] | None = None,
    n: int | None = None,
    epochs: int = 1,
    seed: int = 0,
    replace: bool = True,
) -> list[NDArray[np.int64]]:
    """Draw the rows of every epoch, in the order in which to train on them.

    Exactly one of ``rows``, ``fraction`` and ``tokens`` says how many an epoch has. The same seed draws the
    same rows, and an epoch is the same however many follow it.

    Parameters
    ----------
    distribution : Distribution
        Over the rows of a repository, or over candidates that ``of`` maps to them.
    rows : int, optional
        At least 1.
    fraction : float, optional
        Of the repository's rows, in (0, 1]; rounded, at least one row.
    tokens : int, optional
        Rows are drawn until the next one would take the sum of their lengths above this.
    lengths : array-like of shape (n,), optional
        Tokens of each row of the repository, whole numbers of at least 0. Needed for ``tokens``.
    of : ndarray of shape (m,), int64, optional
        The repository's row of each candidate; by default candidates are the repository's rows.
    n : int, optional
        Rows of the repository; by default those of ``distribution``.
    epochs : int
        1 to 10,000.
    seed : int
    replace : bool
        Whether a row may be drawn again within an epoch.

    Returns
    -------
    list of ndarray, int64
        Rows of the repository, one array an epoch.

    Raises
    ------
    TypeError
        A budget is no number.
    ValueError
        None or several of the three are given; one is outside its range; all epochs together have more than
        2³² rows; fewer rows than asked for can be drawn without replacement; or lengths are missing, do not
        fit, or let no row into the budget.
    """
    given = [
        name
        for name, value in (("rows", rows), ("fraction", fraction), ("tokens", tokens))
        if value is not None
    ]
    if len(given) != 1:
        what = " and ".join(given) + " are two budgets; keep one" if given else "none of them is given"
        raise ValueError(f"rows: one of rows, fraction and tokens says how many to draw; {what}")
    checks.integer("epochs", epochs, least=1, most=MOST_EPOCHS)
    if not isinstance(distribution, Distribution):
        raise TypeError(f"distribution: expected a Distribution or a Match, got {checks.brief(distribution)}")
    total = distribution.n if n is None else checks.integer("n", n, least=1)
    places = None if of is None else row_numbers(of, checks.LARGEST if n is None else total, "of")
    if places is not None and places.shape != (distribution.n,):
        raise ValueError(f"of: expected one row a candidate, {distribution.n}; got shape {places.shape}")
    if tokens is not None:
        with checks.renamed(n="tokens"):
            found = _until_full(distribution, tokens, lengths, places, total, epochs, seed, replace)
    else:
        size = count(total, rows=rows, fraction=fraction)
        check_draws(given[0], size, epochs)
        most = len(distribution.indices)
        if not checks.flag("replace", replace) and size > most:
            raise ValueError(
                f"{given[0]}: {size:,} are more than the {most:,} rows of positive probability; draw with "
                "replacement, ask for fewer, or spread the distribution (diversity, neighbors)"
            )
        with checks.renamed(n=given[0]):
            found = list(distribution.epochs(size, epochs, seed=seed, replace=replace))
    return found if places is None else [places[drawn] for drawn in found]


def count(n: int, *, rows: int | None = None, fraction: float | None = None) -> int:
    """Return how many rows an epoch has: ``rows``, or a share of the n rows of a repository.

    Raises TypeError: ``rows`` is no integer, or ``fraction`` no number; ValueError: ``rows`` is below 1, or
    ``fraction`` not above 0 and at most 1.
    """
    if rows is not None:
        return checks.integer("rows", rows, least=1)
    if isinstance(fraction, bool) or not isinstance(fraction, int | float):
        raise TypeError(f"fraction: expected a number above 0 and at most 1, got {checks.brief(fraction)}")
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction: {fraction} is not above 0 and at most 1; for more rows give rows")
    return max(1, round(fraction * n))


def check_draws(name: str, rows: int, epochs: int) -> None:
    """Refuse epochs that have together more rows than are held at once.

    Raises ValueError: they have; ``name`` is the budget that the message begins with.
    """
    if rows * epochs > MOST_DRAWS:
        times = f"{rows:,} rows" + (f" in each of {epochs:,} epochs" if epochs > 1 else "")
        raise ValueError(f"{name}: {times} are more than {MOST_DRAWS:,} in all; draw fewer")


def text_lengths(repository: Repository, tokenizer: str = "tokens") -> NDArray[np.int64]:
    """Return how long each row's text is, what all roles of a conversation say: shape (n,), int64; kept.

    Raises FileNotFoundError, ImportError, ValueError: as `setwise.files.lengths.counter`, of the tokenizer.
    """
    count = counter(tokenizer)
    if tokenizer not in repository.lengths:
        texts = chain.from_iterable(repository.texts(roles=("all",)))
        repository.lengths[tokenizer] = np.fromiter(map(count, texts), np.int64, len(repository))
    return repository.lengths[tokenizer]


def token_counts(repository: Repository, name: str) -> NDArray[np.int64]:
    """Return a repository's column of lengths, shape (n,), int64.

    Raises TypeError: a row has no number; ValueError: there is no such column, or a row's number is not whole
    or below 0.
    """
    return _whole(repository.numbers(name, "length_column"), f"length_column: {repository.source.name}")


def _whole(lengths: Any, what: str) -> NDArray[np.int64]:
    values = np.asarray(lengths)
    if values.dtype.kind not in "iuf":
        raise TypeError(f"{what}: expected numbers, got {values.dtype}")
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0) & (values == np.floor(values))))
    if len(bad):
        raise ValueError(
            f"{what}, row {bad[0]} has {values[bad[0]]}; a length is a whole number of at least 0"
        )
    return values.astype(np.int64)


def _until_full(
    distribution: Distribution,
    tokens: int,
    lengths: NDArray[Any] | None,
    places: NDArray[np.int64] | None,
    total: int,
    epochs: int,
    seed: int,
    replace: bool,
) -> list[NDArray[np.int64]]:
    """Return for every epoch as many draws as fit into a number of tokens."""
    tokens = checks.integer("tokens", tokens, least=1)
    if lengths is None:
        raise ValueError("lengths: a budget of tokens needs the length of every row")
    known = _whole(lengths, "lengths")
    if known.shape != (total,):
        raise ValueError(f"lengths: expected one a row of the repository, {total}; got shape {known.shape}")
    own = known if places is None else known[places]
    mean = float(own[distribution.indices] @ distribution.probabilities)
    if mean <= 0:
        raise ValueError("lengths: every row that can be drawn has 0 tokens, so no budget is ever filled")
    most = len(distribution.indices)
    size = int(1.1 * tokens / mean) + 16
    while True:
        size = size if replace else min(size, most)
        check_draws("tokens", size, epochs)
        # More draws only go on where fewer ended, so an epoch does not depend on how many are asked for.
        found = list(distribution.epochs(size, epochs, seed=seed, replace=replace))
        sums = [np.cumsum(own[drawn]) for drawn in found]
        if all(each[-1] > tokens for each in sums):
            break
        if not replace and size == most:
            if int(own[distribution.indices].sum()) < tokens:
                raise ValueError(
                    f"tokens: {tokens:,} are more than the {int(own[distribution.indices].sum()):,} of all "
                    f"{most:,} rows of positive probability; draw with replacement, ask for fewer, or spread "
                    "the distribution (diversity, neighbors)"
                )
            break
        size *= 2
    cut = [
        drawn[: int(np.searchsorted(each, tokens, side="right"))]
        for drawn, each in zip(found, sums, strict=True)
    ]
    for epoch, drawn in enumerate(cut):
        if not len(drawn):
            first = int(own[found[epoch][0]])
            raise ValueError(
                f"tokens: {tokens:,} hold no row; the first drawn has {first:,}. Raise the budget"
            )
    return cut
