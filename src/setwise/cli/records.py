"""A retrieved set as data: one JSON object, or a table in a file. The keys are public and stay."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from setwise._version import __version__
from setwise.cli.streams import shown
from setwise.files import plain_value, without_gaps, write_array, write_json, write_table
from setwise.files.names import ending
from setwise.retrieval import Passages, PreparedCorpus, Retrieved

if TYPE_CHECKING:
    from setwise.index.saved import SavedIndex


def as_record(
    candidates: PreparedCorpus,
    hits: Passages,
    compared: Passages | None,
    query: str | None,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Return everything that a run of ``setwise retrieve`` found, as plain values.

    Parameters
    ----------
    hits : Passages
        The set.
    compared : Passages, optional
        Another solver's set.
    query : str, optional
    settings : dict
        The options in force.

    Returns
    -------
    dict
        ``setwise`` (version), ``corpus``, ``query``, ``settings``, ``encoder``, ``candidates`` (how many),
        ``unknown`` (ids left out since no word of their text is known), ``duplicates`` (each ``id`` with
        the earlier id it is the ``same_as``), ``set`` and ``compare`` (see `as_set`; the latter may be null).
    """
    corpus = candidates.corpus
    return {
        "setwise": __version__,
        "corpus": None if corpus.source is None else shown(str(corpus.source)),
        "query": query,
        "settings": without_gaps(settings),
        "encoder": None if candidates.encoder is None else candidates.encoder.name,
        "candidates": len(candidates),
        "unknown": list(candidates.unknown),
        "duplicates": [
            {"id": corpus.ids[row], "same_as": corpus.ids[first]} for row, first in candidates.repeats.items()
        ],
        "set": as_set(hits),
        "compare": None if compared is None else as_set(compared),
    }


def as_index_record(
    saved: SavedIndex,
    path: str,
    hits: Passages,
    compared: Passages | None,
    query: str | None,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Return everything that a run of ``setwise retrieve --index`` found, as plain values.

    Returns
    -------
    dict
        ``setwise`` (version), ``index`` (as it was named), ``query``, ``settings``, ``encoder``,
        ``candidates`` (how many the index has), ``set`` and ``compare`` (see `as_set`; the latter may be
        null), ``cursor`` (for ``--after``). An item's ``row`` is that of the index.
    """
    assert isinstance(hits.selection, Retrieved)
    return {
        "setwise": __version__,
        "index": path,
        "query": query,
        "settings": without_gaps(settings),
        "encoder": None if saved.info.encoder is None else saved.info.encoder["name"],
        "candidates": len(saved),
        "set": as_set(hits),
        "compare": None if compared is None else as_set(compared),
        "cursor": hits.selection.cursor,
    }


def as_set(hits: Passages) -> dict[str, Any]:
    """Return a set as plain values.

    Returns
    -------
    dict
        ``items`` (see `as_columns`), ``value``,
        ``relevance``, ``diversity``, ``closest_pair``, ``solver``, ``seconds`` and ``certificate``
        (``upper_bound``, ``gap``, ``optimal``, ``pool_size``, ``pool_sufficient``, ``scope``, or null).
    """
    columns = as_columns(hits)
    selection = hits.selection
    return {
        "items": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
        "value": _finite(selection.value),
        "relevance": _finite(selection.relevance),
        "diversity": _finite(selection.diversity),
        "closest_pair": hits.closest_pair,
        "solver": selection.solver,
        "seconds": selection.seconds,
        "certificate": None if selection.certificate is None else selection.certificate.to_dict(),
    }


def as_columns(hits: Passages) -> dict[str, list[Any]]:
    """Return a set's members as columns: rank, id, row, relevance, gain and, if there are texts, text.

    The corpus's own columns follow; one whose name is taken has ``corpus_`` before it.
    """
    one_type = len({type(name) for name in hits.ids}) == 1
    columns: dict[str, list[Any]] = {
        "rank": list(range(1, len(hits) + 1)),
        "id": list(hits.ids) if one_type else [str(name) for name in hits.ids],
        "row": hits.rows.tolist(),
        "relevance": hits.relevances.tolist(),
        "gain": [_finite(gain) for gain in hits.selection.gains.tolist()],
    }
    if hits.texts is not None:
        columns["text"] = list(hits.texts)
    for name, values in hits.columns.items():
        columns[f"corpus_{name}" if name in columns else name] = list(map(plain_value, values))
    return columns


def write(
    target: Path, record: Any, columns: dict[str, list[Any]], rows: NDArray[np.int64], *, force: bool
) -> None:
    """Write a set to a file: .json the whole record, .npy the rows alone, else a table of the members."""
    kind = ending(target)
    if kind == ".json":
        write_json(target, record, force=force)
    elif kind == ".npy":
        write_array(target, np.asarray(rows), force=force)
    else:
        write_table(target, columns, force=force)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
