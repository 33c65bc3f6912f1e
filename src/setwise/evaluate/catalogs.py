"""Ways to select from a catalog, compared on what users took later."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from setwise.catalog.catalog import Catalog
from setwise.evaluate.compare import MEASURES, TOP, Comparison, answered, configurations_of, told
from setwise.evaluate.questions import Questions
from setwise.evaluate.statistics import grouped
from setwise.progress import tell

#: Ways to select, as `Catalog.select` is told.
CATALOG_METHODS: dict[str, dict[str, Any]] = {
    TOP: {"method": "top-k"},
    "frank-wolfe": {"method": "frank-wolfe"},
    "greedy": {"method": "greedy"},
    "muss": {"method": "muss"},
}


def compare_catalog(
    catalog: Catalog,
    taken: Sequence[Sequence[Hashable]] | Questions,
    *,
    k: int | Sequence[int] = 500,
    diversities: Sequence[float] = (0.05, 0.1, 0.3, 0.5),
    methods: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Select one set by every method, at every diversity and size, and measure it on each user.

    What `setwise.evaluate.tune` chooses from such a comparison is judged on users that had no part in it.

    Parameters
    ----------
    catalog : Catalog
    taken : sequence of sequences of ids, or Questions
        For each user the items taken after what vectors and qualities were made of: later purchases, say.
        At least one each.
    k : int or several
        Sizes of the set that all users are shown.
    diversities : sequence of float
        In [0, 1].
    methods : mapping of str to dict, optional
        Labels, and what `Catalog.select` is told; by default `CATALOG_METHODS`. Top-k is always there.
    seed : int
    progress : callable, optional
        Gets how many sets are selected, and of how many.

    Returns
    -------
    Comparison
        Its questions are the users; every item that a user took is a right answer of its own, so recall is
        the share of them that is in the set.

    Raises
    ------
    KeyError, TypeError, ValueError
        There are no users, or one who took nothing; an id is none of the catalog's; a method or a number is
        refused by `Catalog.select`.
    """
    users = _users(taken).located(catalog.ids.tolist())
    chosen = {**CATALOG_METHODS} if methods is None else {TOP: CATALOG_METHODS[TOP], **methods}
    configurations = configurations_of(k, diversities, [label for label in chosen if label != TOP])
    values = np.empty((len(configurations), len(users), len(MEASURES)))
    for place, one in enumerate(configurations):
        began = time.perf_counter()
        found = catalog.select(one.k, diversity=one.diversity, seed=seed, **told(one, chosen))
        seconds = time.perf_counter() - began
        ids = np.asarray(found).tolist()
        for row, answers in enumerate(users.answers):
            values[place, row] = [*answered(ids, answers, one.k), found.diversity, found.relevance, seconds]
        tell(progress, place + 1, len(configurations))
    return Comparison(users.names, grouped(users.groups), configurations, values)


def _users(taken: Sequence[Sequence[Hashable]] | Questions) -> Questions:
    """Return users as questions."""
    if isinstance(taken, Questions):
        return taken
    names = tuple(map(str, range(len(taken))))
    return Questions(names, tuple(tuple((one,) for one in dict.fromkeys(each)) for each in taken))
