"""Diversity after a reranker: its scores are the relevance, the stored vectors the distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from setwise import relevance as relevances
from setwise.api import select
from setwise.index.base import Ids, Index
from setwise.request import Certify
from setwise.retrieval.retrieved import Retrieved, retrieved
from setwise.retrieval.seen import labels_of
from setwise.retrieval.texts import DIVERSITY, default_sharpness
from setwise.vectors import as_matrix


def diversify(
    ids: Sequence[Any] | Ids,
    k: int,
    *,
    relevance: Any,
    vectors: Index | Any,
    relevance_scale: str = "minmax",
    diversity: float = DIVERSITY,
    sharpness: int | None = None,
    objective: Any = "max-sum",
    solver: str = "auto",
    metric: str | None = None,
    include: Sequence[Any] | Ids = (),
    groups: Any = None,
    max_per_group: int | None = None,
    certify: Certify = True,
    seed: int = 0,
    threads: int | None = None,
) -> Retrieved:
    """Select k of the candidates that a reranker, a fusion or any other scorer has scored.

    Nothing is encoded again: the vectors are those stored.

    Parameters
    ----------
    ids : sequence of length m
        The candidates, none twice.
    k : int
        At most m.
    relevance : array-like of shape (m,)
        Their scores, higher is better, on any scale.
    vectors : Index or array-like of shape (m, d)
        An index that has the ids, asked for their vectors once; or their vectors.
    relevance_scale : {"minmax", "none", "zscore", "rank"}
        Scorers' scales differ; by default scores are mapped to [0, 1] over the candidates.
    diversity, sharpness, objective, solver, certify, seed, threads
        As for `retrieve`.
    metric : {"cosine", "euclidean"}, optional
        The index's own; "cosine" where vectors are an array.
    include : sequence of ids
        Must be in the set.
    groups, max_per_group
        As for `retrieve`; a sequence has a label for each candidate.

    Returns
    -------
    Retrieved
        ``indices`` are positions among the candidates; ``scores`` is the relevance, scaled.

    Raises
    ------
    TypeError, ValueError
        Bad input: the argument and the mend.
    KeyError
        The index does not have an id.

    Examples
    --------
    >>> import setwise
    >>> vectors = [[1.0, 0.0], [1.0, 0.01], [0.0, 1.0]]
    >>> setwise.diversify(["a", "a again", "b"], 2, relevance=[3.1, 3.0, 2.2], vectors=vectors).ids.tolist()
    ['a', 'b']
    """
    names = list(ids.tolist() if hasattr(ids, "tolist") else ids)
    if not names:
        raise ValueError("ids: no candidates; pass at least one")
    if len(set(names)) != len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise ValueError(f"ids: {twice!r} is named twice; keep its best score")
    whole = all(isinstance(one, int) and not isinstance(one, bool) for one in names)
    keys: Ids = np.array(names, np.int64) if whole else np.array(names, object)
    if isinstance(vectors, Index):
        measured = vectors.metric if metric is None else metric
        rows: Any = vectors.vectors(keys)
        values: Any = vectors.values
    else:
        measured = "cosine" if metric is None else metric
        rows = as_matrix(vectors)
        if len(rows) != len(names):
            raise ValueError(f"vectors: {len(rows)} rows for {len(names)} ids; pass one each")
        values = _no_fields
    relevances.check_scale(relevance_scale)
    if sharpness is None:
        sharpness = default_sharpness(objective if isinstance(objective, str) else "other", measured)
    place = {name: position for position, name in enumerate(names)}
    for name in include:
        if name not in place:
            raise ValueError(f"include: {name!r} is not one of the candidates")
    labels = None
    if groups is not None:
        listed = not isinstance(groups, str) and not callable(groups) and not hasattr(groups, "keys")
        labels = list(groups) if listed else labels_of(groups, values)(keys)
    found = select(
        rows,
        k,
        relevance=relevance,
        relevance_scale=relevance_scale,
        diversity=diversity,
        sharpness=sharpness,
        objective=objective,
        solver=solver,
        metric=measured,
        include=[place[name] for name in include],
        groups=labels,
        max_per_group=max_per_group,
        certify=certify,
        seed=seed,
        threads=threads,
    )
    chosen = np.asarray(np.asarray(rows)[found.indices], np.float64)
    given = relevances.scaled(relevance, len(names), relevance_scale)
    unit = chosen / np.linalg.norm(chosen, axis=1, keepdims=True) if measured == "cosine" else chosen
    result = retrieved(found, keys[found.indices], given[found.indices], unit, measured)
    return replace(result, indices=found.indices)


def _no_fields(ids: Ids, field: str) -> list[Any]:
    """Refuse to look up a field where there is no index."""
    raise ValueError(f"groups: vectors alone have no field {field!r}; pass a label a candidate")
