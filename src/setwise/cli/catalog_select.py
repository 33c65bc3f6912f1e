"""``setwise catalog select``: k items of a saved catalog, by quality and spread."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from setwise.cli import options
from setwise.cli.options import described, read_option

#: A saved catalog, and the ids of a table beside it.
Folder = Annotated[str, options.folder_made_by("setwise catalog build")]
IdOfTable = Annotated[
    str | None,
    read_option(
        "--id COLUMN", "Column of that table with the ids.", show_default="id, _id, pid or another usual name"
    ),
]


#: What the command calls arguments of `Catalog.select`.
_CALLED = {"filter": "where", "limits": "limit", "facets": "facet"}

#: Its arguments that a record of the set has; most are called as the options are.
_SETTINGS = (
    *("k", "diversity", "objective", "sharpness", "facets", "method", "clusters", "per_cluster"),
    *("cluster_diversity", "top_up", "final_quality_scale", "criterion", "seed", "groups", "max_per_group"),
    *("limits", "costs", "budget", "min_gain", "max_similarity", "shown"),
)


@described("""
    What to read
        --quality FILE.npy|TABLE  New qualities: a .npy file in the items' order, or a table that gives them
            by id. [default: those saved]
        --quality-column COLUMN  Column of that table with the qualities.
    What a good set is
        --include ID  Id of an item that must be in the set; may be repeated.
        --exclude ID  Id of an item that must not; may be repeated.
        --exclude-from FILE  A file of ids that must not: a table, a .npy array, or a .txt with one a line.
        --objective NAME  What is weighed against quality: mean distance (max-sum), the least distance
            (max-min), distance to the nearest (mmr), volume (log-det), what is good at each --facet (facets).
        --sharpness 1|EVEN  Which likeness max-sum avoids: 1 = a common topic, too; 8 = near-duplicates alone.
        --facet COLUMN  Kept column of numbers that the set should cover; sets --objective facets. Repeat for
            several.
        --costs COLUMN  Kept column of what each item costs, for --budget.
        --budget NUMBER  Select as many as cost this together; -k, where given, is the most. [default: no
            budget]
    How to find it
        --method NAME  How the set is found: auto (the best of them for this size), frank-wolfe+swap, muss,
            dgds, greedy, clustering, top-k (quality alone), …
        --clusters COUNT  muss: clusters to keep, the best of them; dgds: parts to cut the items into.
            [default: muss: half of them; dgds: as many as there are]
        --per-cluster COUNT  muss, dgds: items to select inside each cluster or part. [default: k / 10]
        --cluster-diversity 0…1  muss: the trade-off when clusters are kept, from 0 (the best alone) to 1 (the
            most different alone).
        --no-top-up  muss: choose at the end among the clusters' items alone, without the k of highest
            quality.
        --final-quality-scale NUMBER  muss, dgds: what quality is multiplied by in the last step.
        --criterion sum|min  muss, dgds, greedy: distance of an item to those chosen, as their sum or the
            least.
    How to run
        --workers COUNT|ray|ADDRESS  muss, dgds: work on the parts in this many processes, or on Ray (ray, or
            its address). [default: in this process]
""")
def select(
    context: typer.Context,
    path: Folder,
    quality: str | None = None,
    quality_column: str = "quality",
    id: IdOfTable = None,
    include: list[str] | None = None,
    exclude: list[str] | None = None,
    where: str | None = None,
    exclude_from: str | None = None,
    k: int = 500,
    diversity: float = 0.1,
    objective: str = "max-sum",
    sharpness: int = 1,
    facet: list[str] | None = None,
    costs: str | None = None,
    budget: float | None = None,
    min_gain: float | None = None,
    shown: list[str] | None = None,
    limit: list[str] | None = None,
    group: str | None = None,
    max_per_group: int | None = None,
    max_similarity: float | None = None,
    certify: str = "none",
    time_limit: float = 60.0,
    method: str = "auto",
    clusters: int | None = None,
    per_cluster: int | None = None,
    cluster_diversity: float = 0.5,
    no_top_up: bool = False,
    final_quality_scale: float = 1.0,
    criterion: str = "sum",
    seed: int = 0,
    threads: int | None = None,
    workers: str | None = None,
    as_json: options.AsJson = False,
    out: options.SetFile = None,
    force: bool = False,
) -> None:
    """Select k items by quality and spread."""
    from setwise import checks
    from setwise.catalog import METHODS, Catalog
    from setwise.cli import catalog_output, output
    from setwise.cli.items import ids_as_in, read_ids, read_quality
    from setwise.files import check_output

    target = None if out is None else check_output(out, force=force)
    checks.choice("certify", certify, options.CERTIFY)
    if facet and not options.given(context, "objective"):
        objective = "facets"
    if objective == "facets" and not facet:
        raise ValueError("facet: --objective facets covers the columns that --facet names; give one or more")
    if objective == "max-sum":
        checks.choice("method", method, METHODS)
    options.check_group(group, max_per_group)
    if quality is None:
        for name in ("quality_column", "id"):
            if options.given(context, name):
                raise ValueError(f"{name}: --{name.replace('_', '-')} goes with --quality TABLE")
    settings: dict[str, Any] = {name: context.params.get(name) for name in _SETTINGS} | {
        "k": k if budget is None or options.given(context, "k") else None,
        "objective": objective,
        "facets": facet or None,
        "top_up": not no_top_up,
        "groups": group,
        "limits": options.as_limits(limit),
    }
    notes: tuple[str, ...] = ()
    with output.Status() as status, options.at_most(threads):
        status.tell("reading")
        catalog = Catalog.load(path, threads)
        if quality is not None:
            fresh, notes = read_quality(quality, quality_column, id, catalog)
            catalog.set_quality(fresh)
        barred = ids_as_in(catalog, exclude or [], "--exclude")
        if exclude_from is not None:
            with checks.renamed(**{"from": "exclude_from"}):
                listed, where_from, told = read_ids(exclude_from, None)
            barred = list(dict.fromkeys([*barred, *ids_as_in(catalog, listed, where_from)]))
            notes = (*notes, *([told] if told else []))
        settings["shown"] = ids_as_in(catalog, shown, "--shown") if shown else None
        status.tell("selecting")
        labels = "limit" if limit and group is None else "group"
        with output.notes_for_warnings(), checks.renamed(**_CALLED, groups=labels):
            found = catalog.select(
                **settings,
                include=ids_as_in(catalog, include or [], "--include"),
                exclude=barred,
                filter=where,
                certify=options.CERTIFY[certify],
                time_limit=time_limit,
                threads=threads,
                workers=options.as_count(workers),
            )
    for line in notes:
        output.note(line)
    columns = catalog_output.as_columns(catalog, found)
    record = catalog_output.as_record(path, catalog, found, columns, {**settings, "certify": certify})
    if target is not None:
        catalog_output.write(target, record, columns, force=force)
    if as_json:
        output.print_json(record)
        return
    name = Path(path).resolve().name
    catalog_output.print_selection(
        name,
        catalog,
        found,
        columns,
        objective,
        kept=target is not None,
        any_size=budget is not None or min_gain is not None,
    )
    if target is not None:
        output.note(f"wrote {out}")
