"""``setwise retrieve --index``: a query against a saved index, nothing encoded but the query."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from setwise.cli.options import read_vector

if TYPE_CHECKING:
    from setwise.index.saved import SavedIndex
    from setwise.retrieval import Passages


def retrieve_from(
    path: str,
    query: str | None,
    query_vector: str | None,
    k: int,
    *,
    solver: str,
    certify: tuple[str, Any],
    compare: str | None,
    settings: dict[str, Any],
    as_json: bool,
    target: Path | None,
    force: bool,
) -> None:
    """Select k of a saved index for a query, and print them.

    Parameters
    ----------
    path : str
        The index.
    query, query_vector : str, optional
        A text, or the name of a .npy file; one of the two.
    k : int
    solver : str
    certify : tuple
        As it was typed, and as `setwise.retrieve` takes it.
    compare : str, optional
        Another solver, whose set is shown beside.
    settings : dict
        The other options, as typed: ``include`` and ``exclude`` are ids as strings.
    as_json : bool
    target : Path, optional
        A file for the set.
    force : bool
        Replace that file.
    """
    from setwise.cli import output, records, set_output
    from setwise.index.saved import open_index
    from setwise.retrieval import default_sharpness
    from setwise.retrieval.pages import earlier

    pool = _pool(settings["pool"])
    before = settings["offset"] + len(earlier(settings["after"] or ()))
    if compare is not None and before:
        raise ValueError("compare: it compares first pages; leave --offset, --after or --compare out")
    with output.Status() as status:
        status.tell("opening")
        saved = open_index(path, threads=settings["threads"])
        if k > len(saved):
            raise ValueError(
                f"k: {k} is more than the {len(saved):,} of the index; ask for at most {len(saved):,}"
            )
        options = _options(saved, {**settings, "pool": pool})
        began = time.perf_counter()
        with output.notes_for_warnings():
            probe = saved.encode(query) if query is not None else read_vector(str(query_vector), saved.info.d)
            encoding = time.perf_counter() - began
            status.tell("selecting")
            hits = _select(saved, probe, k, {**options, "solver": solver, "certify": certify[1]})
            compared = (
                None
                if compare is None
                else _select(saved, probe, k, {**options, "solver": compare, "certify": False})
            )
    objective = settings["objective"]
    if settings["sharpness"] is None:
        settings = {**settings, "sharpness": default_sharpness(objective, saved.info.metric)}
    if as_json or target is not None:
        shown = {"k": k, "solver": solver, **settings, "pool": pool, "certify": certify[0]}
        record = records.as_index_record(saved, path, hits, compared, query, shown)
        if target is not None:
            records.write(target, record, hits, force=force)
        if as_json:
            output.print_json(record)
            return
    heading = f"“{query}”" if query is not None else Path(str(query_vector)).name
    if len(hits) == 0:
        output.note("nothing to show: the set is empty")
    elif compared is None:
        set_output.print_hits(hits, len(saved), objective, heading, offset=before, pool=pool)
    else:
        sides = (str(compare), compared), ("setwise" if solver == "auto" else solver, hits)
        set_output.print_side_by_side(*sides, len(saved), objective, heading, pool=pool)
    set_output.print_index_origin(saved, hits, encoding)
    if target is not None:
        output.note(f"wrote {target.name}")


def _pool(typed: str) -> int | str:
    """Return how many candidates to fetch."""
    if typed == "auto":
        return typed
    try:
        return int(typed)
    except ValueError:
        raise ValueError(f"pool: {typed!r} is neither auto nor a number") from None


def _options(saved: SavedIndex, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the options as `setwise.retrieve` takes them: rows for ids, groups where they are needed."""
    from setwise.index.saved import GROUP

    options = {**settings, "after": settings["after"] or ()}
    where = options.pop("where")
    if where is not None:
        options["filter"] = saved.mask(where)
        if not options["filter"].any():
            raise ValueError(f"where: nothing of the {len(saved):,} of the index fulfils {where!r}")
    for argument in ("include", "exclude"):
        names = options[argument]
        twice = [name for place, name in enumerate(names) if name in names[:place]]
        if twice:
            raise ValueError(f"{argument}: {twice[0]!r} is named twice")
        options[argument] = saved.rows_of(names, argument)
    both = [name for name in settings["include"] if name in settings["exclude"]]
    if both:
        raise ValueError(f"include: {both[0]!r} is in exclude, too")
    if options["max_per_group"] is not None:
        if saved.groups is None:
            raise ValueError("max_per_group: the index has no groups; build it with --group COLUMN")
        options["groups"] = GROUP
    return options


def _select(saved: SavedIndex, probe: Any, k: int, options: dict[str, Any]) -> Passages:
    """Return a set with what a person wants to see of it."""
    import numpy as np

    from setwise.retrieval import Passages, retrieve

    found = retrieve(probe, saved.index, k, **options)
    rows = np.asarray(found.ids, np.int64)
    chosen = np.asarray(saved.index.vectors(rows), np.float64)
    unit = chosen / np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), np.finfo(float).tiny)
    return Passages(
        selection=found,
        rows=rows,
        ids=saved.ids.take(rows),
        texts=None if saved.texts is None else saved.texts.take(rows),
        columns={name: column.take(rows) for name, column in saved.columns.items()},
        relevances=found.scores,
        cosines=unit @ unit.T,
    )
