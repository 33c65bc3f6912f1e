"""``setwise catalog``: items clustered once, kept in a folder, and selected from every hour."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from setwise.cli import folders
from setwise.cli.options import (
    CERTIFY,
    READ,
    RUN,
    SET,
    AsJson,
    Certify,
    Diversity,
    Force,
    IdColumn,
    ItemQuality,
    Items,
    ItemText,
    ItemVectors,
    K,
    Metric,
    Model,
    NewFolder,
    Seed,
    SetFile,
    Threads,
    TimeLimit,
    Verify,
    Where,
    as_workers,
    at_most,
    folder_made_by,
    given,
    option,
)

app = typer.Typer(
    help="Cluster items once, keep them in a folder, and select k by quality and spread every hour.",
    no_args_is_help=True,
)

_MUSS = ("muss", "muss-random-clusters", "muss-random-partition")

#: The methods that some options are for; others do not look at them.
_FOR = {
    "clusters": (*_MUSS, "dgds"),
    "per_cluster": (*_MUSS, "dgds"),
    "final_quality_scale": (*_MUSS, "dgds"),
    "cluster_diversity": ("muss", "muss-random-partition"),
    "no_top_up": _MUSS,
    "criterion": (*_MUSS, "dgds", "greedy"),
}

#: Declarations of options under each heading of the help.
_read = partial(option, panel=READ)
_cluster = partial(option, panel="How to cluster")
_method = partial(option, panel="How to find it")
_wish = partial(option, panel=SET)

_Folder = Annotated[str, folder_made_by("setwise catalog build")]
_IdOfTable = Annotated[
    str | None,
    _read(
        "--id",
        help="Column of that table with the ids.",
        metavar="COLUMN",
        show_default="id, _id, pid or another usual name",
    ),
]


@app.command()
def build(
    context: typer.Context,
    items: Items,
    out: NewFolder,
    vectors: ItemVectors = None,
    text: ItemText = None,
    model: Model = "auto",
    quality: ItemQuality = None,
    id: IdColumn = None,
    clusters: Annotated[
        int,
        _cluster(
            "--clusters",
            help="How many clusters to make; no more than there are items.",
            metavar="COUNT",
        ),
    ] = 200,
    metric: Metric = "cosine",
    quality_weight: Annotated[
        float,
        _cluster(
            "--quality-weight",
            help="Weight of quality beside the vectors when items are clustered; 0 clusters by the vectors "
            "alone.",
            metavar="NUMBER",
        ),
    ] = 0.0,
    seed: Seed = 0,
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Read items, cluster them, and keep both in a folder, with the columns that the table has beside."""
    import numpy as np

    from setwise import encode
    from setwise.catalog import Catalog
    from setwise.catalog.files import FORMAT
    from setwise.cli import catalog_output, output
    from setwise.cli.items import read_items
    from setwise.encode.cache import encode_texts
    from setwise.vectors import check_metric

    FORMAT.check_target(out, force=force)
    encode.parse(model)
    check_metric(metric)
    if text is not None and vectors is not None:
        raise ValueError("text: --vectors brings vectors already; leave one of the two out")
    if text is None and given(context, "model"):
        raise ValueError("model: --model goes with --text COLUMN")
    began = time.perf_counter()
    with folders.step_bar() as tell, at_most(threads):
        tell("reading", 0, 0)
        read = read_items(
            items,
            vectors,
            quality,
            id,
            text,
            lambda texts: encode_texts(
                texts,
                encode.encoder(model),
                None,
                lambda done, total: tell("encoding", done, total),
            ),
        )
        if read.quality is None and quality_weight:
            raise ValueError("quality_weight: it needs qualities; name them with --quality")
        tell("clustering", 0, 0)
        made = Catalog.build(
            read.vectors,
            np.ones(len(read.vectors)) if read.quality is None else read.quality,
            clusters=clusters,
            ids=read.ids,
            fields=read.fields,
            metric=metric,
            quality_weight=quality_weight,
            seed=seed,
            threads=threads,
        )
        tell("writing", 0, 0)
        made.save(out, force=force)
    for line in read.notes:
        output.note(line)
    if read.quality is None:
        output.note("no quality was given, so every item has 1 until setwise catalog select --quality")
    catalog_output.print_summary(out, made, f"{len(made):,} item{'' if len(made) == 1 else 's'}", began)


@app.command()
def add(
    path: _Folder,
    items: Items,
    vectors: ItemVectors = None,
    quality: ItemQuality = None,
    id: IdColumn = None,
    threads: Threads = None,
) -> None:
    """Add items to a catalog, each to the nearest cluster; the folder is replaced in one step."""
    from setwise.catalog import Catalog
    from setwise.catalog.files import FORMAT
    from setwise.cli import catalog_output
    from setwise.cli.items import ids_like, read_items

    FORMAT.read(path)
    began = time.perf_counter()
    with folders.step_bar() as tell, at_most(threads):
        tell("reading", 0, 0)
        read = read_items(items, vectors, quality, id)
        if read.quality is None:
            raise ValueError("quality: new items need one; name it with --quality")
        with Catalog.edit(path, threads) as catalog:
            tell("adding", 0, 0)
            before = len(catalog)
            held = () if catalog.fields is None else catalog.fields.column_names
            fields = {name: column for name, column in read.fields.items() if name in held}
            catalog.add(read.vectors, read.quality, ids_like(read, items, catalog), fields)
            tell("writing", 0, 0)
    catalog_output.print_summary(
        path, catalog, f"{len(catalog):,} items, {len(catalog) - before:,} of them new", began
    )


@app.command()
def remove(
    path: _Folder,
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            help="Ids of the items to remove; write -- before one that starts with -.", metavar="[ID]..."
        ),
    ] = None,
    source: Annotated[
        str | None,
        _read(
            "--from",
            help="A file of ids to remove: a table, a .npy array, or a .txt with one a line.",
            metavar="FILE",
        ),
    ] = None,
    id: _IdOfTable = None,
    threads: Threads = None,
) -> None:
    """Remove items from a catalog by their ids; the folder is replaced in one step."""
    from setwise.catalog import Catalog
    from setwise.catalog.files import FORMAT
    from setwise.cli import catalog_output
    from setwise.cli.items import ids_as_in, read_ids

    if not ids and source is None:
        raise ValueError("ids: say which items to remove, or name a file of ids with --from")
    if id is not None and source is None:
        raise ValueError("id: --id goes with --from TABLE")
    FORMAT.read(path)
    began = time.perf_counter()
    with folders.step_bar() as tell, at_most(threads):
        tell("reading", 0, 0)
        listed = None if source is None else read_ids(source, id)
        with Catalog.edit(path, threads) as catalog:
            gone = ids_as_in(catalog, ids or [], "the command line")
            if listed is not None:
                gone = [*gone, *ids_as_in(catalog, *listed)]
            tell("removing", 0, 0)
            before = len(catalog)
            catalog.remove(gone)
            tell("writing", 0, 0)
    catalog_output.print_summary(
        path, catalog, f"{len(catalog):,} items, {before - len(catalog):,} removed", began
    )


@app.command()
def select(
    context: typer.Context,
    path: _Folder,
    quality: Annotated[
        str | None,
        _read(
            "--quality",
            help="New qualities: a .npy file in the items' order, or a table that gives them by id.",
            metavar="FILE.npy|TABLE",
            show_default="those saved",
        ),
    ] = None,
    quality_column: Annotated[
        str,
        _read(
            "--quality-column",
            help="Column of that table with the qualities.",
            metavar="COLUMN",
        ),
    ] = "quality",
    id: _IdOfTable = None,
    include: Annotated[
        list[str] | None,
        _wish("--include", help="Id of an item that must be in the set; may be repeated.", metavar="ID"),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        _wish("--exclude", help="Id of an item that must not; may be repeated.", metavar="ID"),
    ] = None,
    where: Where = None,
    exclude_from: Annotated[
        str | None,
        _wish(
            "--exclude-from",
            help="A file of ids that must not: a table, a .npy array, or a .txt with one a line.",
            metavar="FILE",
        ),
    ] = None,
    k: K = 500,
    diversity: Diversity = 0.1,
    certify: Certify = "none",
    time_limit: TimeLimit = 60.0,
    method: Annotated[
        str,
        _method(
            "--method",
            help="How the set is found: auto (the best of them for this size), frank-wolfe, muss, dgds, "
            "greedy, clustering, top-k (quality alone), …",
            metavar="NAME",
        ),
    ] = "auto",
    clusters: Annotated[
        int | None,
        _method(
            "--clusters",
            help="muss: clusters to keep, the best of them; dgds: parts to cut the items into.",
            metavar="COUNT",
            show_default="muss: half of them; dgds: as many as there are",
        ),
    ] = None,
    per_cluster: Annotated[
        int | None,
        _method(
            "--per-cluster",
            help="muss, dgds: items to select inside each cluster or part.",
            metavar="COUNT",
            show_default="k / 10",
        ),
    ] = None,
    cluster_diversity: Annotated[
        float,
        _method(
            "--cluster-diversity",
            help="muss: the trade-off when clusters are kept, from 0 (the best alone) to 1 (the most "
            "different alone).",
            metavar="0…1",
        ),
    ] = 0.5,
    no_top_up: Annotated[
        bool,
        _method(
            "--no-top-up",
            help="muss: choose at the end among the clusters' items alone, without the k of highest quality.",
            metavar="",
        ),
    ] = False,
    final_quality_scale: Annotated[
        float,
        _method(
            "--final-quality-scale",
            help="muss, dgds: what quality is multiplied by in the last step.",
            metavar="NUMBER",
        ),
    ] = 1.0,
    criterion: Annotated[
        str,
        _method(
            "--criterion",
            help="muss, dgds, greedy: distance of an item to those chosen, as their sum or the least.",
            metavar="sum|min",
        ),
    ] = "sum",
    seed: Seed = 0,
    threads: Threads = None,
    workers: Annotated[
        str | None,
        option(
            "--workers",
            help="muss, dgds: work on the parts in this many processes, or on Ray (ray, or its address).",
            panel=RUN,
            metavar="COUNT|ray|ADDRESS",
            show_default="in this process",
        ),
    ] = None,
    as_json: AsJson = False,
    out: SetFile = None,
    force: Force = False,
) -> None:
    """Select k items by quality and spread."""
    from setwise import checks
    from setwise.catalog import METHODS, Catalog
    from setwise.cli import catalog_output, output
    from setwise.cli.items import ids_as_in, read_ids, read_quality
    from setwise.files import check_output

    target = None if out is None else check_output(out, force=force)
    checks.choice("certify", certify, CERTIFY)
    checks.choice("method", method, METHODS)
    if quality is None:
        for name in ("quality_column", "id"):
            if given(context, name):
                raise ValueError(f"{name}: --{name.replace('_', '-')} goes with --quality TABLE")
    settings: dict[str, Any] = {
        "k": k,
        "diversity": diversity,
        "method": method,
        "clusters": clusters,
        "per_cluster": per_cluster,
        "cluster_diversity": cluster_diversity,
        "top_up": not no_top_up,
        "final_quality_scale": final_quality_scale,
        "criterion": criterion,
        "seed": seed,
    }
    notes: tuple[str, ...] = ()
    with output.Status() as status, at_most(threads):
        status.tell("reading")
        catalog = Catalog.load(path, threads)
        if quality is not None:
            fresh, notes = read_quality(quality, quality_column, id, catalog)
            catalog.set_quality(fresh)
        barred = ids_as_in(catalog, exclude or [], "--exclude")
        if exclude_from is not None:
            barred = list(dict.fromkeys([*barred, *ids_as_in(catalog, *read_ids(exclude_from, None))]))
        status.tell("selecting")
        with output.notes_for_warnings():
            found = catalog.select(
                **settings,
                include=ids_as_in(catalog, include or [], "--include"),
                exclude=barred,
                filter=where,
                certify=CERTIFY[certify],
                time_limit=time_limit,
                threads=threads,
                workers=as_workers(workers),
            )
    for line in notes:
        output.note(line)
    for name, methods in _FOR.items():
        if given(context, name) and found.method not in methods:
            known = ", ".join(methods)
            output.note(f"--{name.replace('_', '-')} does nothing for {found.method}; it is for {known}")
    columns = catalog_output.as_columns(catalog, found)
    record = catalog_output.as_record(path, catalog, found, columns, {**settings, "certify": certify})
    if target is not None:
        catalog_output.write(target, record, columns, force=force)
    if as_json:
        output.print_json(record)
        return
    name = Path(path).resolve().name
    catalog_output.print_selection(name, catalog, found, columns, kept=target is not None)
    if target is not None:
        output.note(f"wrote {out}")


@app.command()
def info(
    path: _Folder,
    check: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Say what a catalog is, and whether it is whole."""
    import numpy as np

    from setwise.catalog import Catalog
    from setwise.catalog.files import FORMAT, CatalogInfo
    from setwise.cli import catalog_output

    def described(found: CatalogInfo) -> tuple[str, dict[str, str]]:
        catalog = Catalog.load(path)
        numbers = catalog.quality[np.isfinite(catalog.quality)]
        low, middle, high = np.quantile(numbers, [0, 0.5, 1])
        never = len(catalog) - len(numbers)
        weight = f" of vectors and quality (weight {found.quality_weight:g})" if found.quality_weight else ""
        clusters = f"{catalog_output.clusters_of(catalog)}{weight}"
        return "catalog", {
            "items": f"{found.n:,} × {found.d:,}, {found.dtype}, {found.metric}",
            "ids": f"{found.ids}, {catalog_output.some(catalog.ids)}",
            "clusters": f"{clusters}, radii up to {catalog.clusters.radii.max():.3g}",
            "quality": f"{low:.3g} to {high:.3g}, median {middle:.3g}"
            + (f"; {never:,} items are never selected" if never else ""),
            "columns": "none" if catalog.fields is None else ", ".join(catalog.fields.column_names),
        }

    folders.print_info(path, FORMAT, described, check=check, as_json=as_json)
