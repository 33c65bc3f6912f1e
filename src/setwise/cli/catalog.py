"""``setwise catalog``: items clustered once, kept in a folder, and selected from every hour."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from setwise.cli import folders
from setwise.cli.options import CERTIFY, as_workers, given, json_option, option, threads_option

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

_INPUT, _CLUSTERS, _SET, _OUTPUT = "What to read", "How to cluster", "What a good set is", "Where to"


_Items = Annotated[
    str,
    typer.Argument(
        help="A .npy file of vectors, or a table (.parquet, .arrow, .feather, .jsonl, .jsonl.gz, .csv).",
        metavar="ITEMS",
    ),
]
_Folder = Annotated[str, typer.Argument(help="What setwise catalog build has made.", metavar="DIR")]
_Vectors = Annotated[
    str | None,
    option(
        "--vectors",
        help="The vectors of a table. By default vector, vectors, embedding or embeddings.",
        panel=_INPUT,
        metavar="COLUMN|FILE.npy",
    ),
]
_Quality = Annotated[
    str | None,
    option(
        "--quality",
        help="One number an item, at least 0. By default a table's column quality.",
        panel=_INPUT,
        metavar="COLUMN|FILE.npy",
    ),
]
_Id = Annotated[
    str | None,
    option("--id", help="The ids. By default id, _id, pid, …, else numbers.", panel=_INPUT, metavar="COLUMN"),
]
_Threads = Annotated[int | None, threads_option()]


@app.command()
def build(
    items: _Items,
    out: Annotated[
        str,
        option("--out", help="The folder; it appears whole or not at all.", panel=_OUTPUT, metavar="DIR"),
    ],
    vectors: _Vectors = None,
    quality: _Quality = None,
    id: _Id = None,
    clusters: Annotated[
        int, option("--clusters", help="How many; at most the items.", panel=_CLUSTERS)
    ] = 200,
    metric: Annotated[str, option("--metric", help="cosine or euclidean.", panel=_CLUSTERS)] = "cosine",
    quality_weight: Annotated[
        float,
        option(
            "--quality-weight", help="Above 0: clusters of vectors and quality together.", panel=_CLUSTERS
        ),
    ] = 0.0,
    seed: Annotated[int, option("--seed", help="Of everything random.", panel=_CLUSTERS)] = 0,
    threads: _Threads = None,
    force: Annotated[bool, option("--force", help="Replace a catalog that is there.", panel=_OUTPUT)] = False,
) -> None:
    """Read items, cluster them, and keep both in a folder."""
    import numpy as np

    from setwise.catalog import Catalog
    from setwise.catalog.files import FORMAT
    from setwise.cli import catalog_output, output
    from setwise.cli.items import read_items
    from setwise.cli.retrieve import at_most
    from setwise.vectors import check_metric

    FORMAT.check_target(out, force=force)
    check_metric(metric)
    began = time.perf_counter()
    with folders.step_bar() as tell, at_most(threads):
        tell("reading", 0, 0)
        read = read_items(items, vectors, quality, id)
        if read.quality is None and quality_weight:
            raise ValueError("quality_weight: it needs qualities; name them with --quality")
        tell("clustering", 0, 0)
        made = Catalog.build(
            read.vectors,
            np.ones(len(read.vectors)) if read.quality is None else read.quality,
            clusters=clusters,
            ids=read.ids,
            metric=metric,
            quality_weight=quality_weight,
            seed=seed,
            threads=threads,
        )
        tell("writing", 0, 0)
        made.save(out, force=force)
    if read.quality is None:
        output.note("no quality was given, so every item has 1 until setwise catalog select --quality")
    catalog_output.print_summary(out, made, f"{len(made):,} item{'' if len(made) == 1 else 's'}", began)


@app.command()
def add(
    path: _Folder,
    items: _Items,
    vectors: _Vectors = None,
    quality: _Quality = None,
    id: _Id = None,
    threads: _Threads = None,
) -> None:
    """Add items to a catalog, each to the nearest cluster; the folder is replaced in one step."""
    from setwise.catalog import Catalog
    from setwise.catalog.files import read_info
    from setwise.cli import catalog_output
    from setwise.cli.items import ids_like, read_items
    from setwise.cli.retrieve import at_most

    read_info(path)
    began = time.perf_counter()
    with folders.step_bar() as tell, at_most(threads):
        tell("reading", 0, 0)
        catalog = Catalog.load(path, threads)
        read = read_items(items, vectors, quality, id)
        if read.quality is None:
            raise ValueError("quality: new items need one; name it with --quality")
        tell("adding", 0, 0)
        before = len(catalog)
        catalog.add(read.vectors, read.quality, ids_like(read, items, catalog))
        tell("writing", 0, 0)
        catalog.save(path, force=True)
    catalog_output.print_summary(
        path, catalog, f"{len(catalog):,} items, {len(catalog) - before:,} of them new", began
    )


@app.command()
def remove(
    path: _Folder,
    ids: Annotated[
        list[str] | None,
        typer.Argument(help="Ids of items; after -- where one starts with -.", metavar="[ID]..."),
    ] = None,
    source: Annotated[
        str | None,
        option(
            "--from",
            help="A file of ids: a table, a .npy array, or a .txt with one a line.",
            panel=_INPUT,
            metavar="FILE",
        ),
    ] = None,
    id: Annotated[
        str | None,
        option("--id", help="Of that table. By default id, _id, pid, …", panel=_INPUT, metavar="COLUMN"),
    ] = None,
    threads: _Threads = None,
) -> None:
    """Remove items from a catalog by their ids; the folder is replaced in one step."""
    from setwise.catalog import Catalog
    from setwise.catalog.files import read_info
    from setwise.cli import catalog_output
    from setwise.cli.items import ids_as_in, read_ids
    from setwise.cli.retrieve import at_most

    if not ids and source is None:
        raise ValueError("ids: say which items to remove, or name a file of ids with --from")
    if id is not None and source is None:
        raise ValueError("id: --id goes with --from TABLE")
    read_info(path)
    began = time.perf_counter()
    with folders.step_bar() as tell, at_most(threads):
        tell("reading", 0, 0)
        catalog = Catalog.load(path, threads)
        gone = ids_as_in(catalog, ids or [], "the command line")
        if source is not None:
            gone = [*gone, *ids_as_in(catalog, *read_ids(source, id))]
        tell("removing", 0, 0)
        before = len(catalog)
        catalog.remove(gone)
        tell("writing", 0, 0)
        catalog.save(path, force=True)
    catalog_output.print_summary(
        path, catalog, f"{len(catalog):,} items, {before - len(catalog):,} removed", began
    )


@app.command()
def select(
    context: typer.Context,
    path: _Folder,
    quality: Annotated[
        str | None,
        option(
            "--quality",
            help="This hour's: in the items' order, or a table with ids.",
            panel=_INPUT,
            metavar="FILE.npy|TABLE",
            show_default="as saved",
        ),
    ] = None,
    quality_column: Annotated[
        str, option("--quality-column", help="Of that table.", panel=_INPUT, metavar="COLUMN")
    ] = "quality",
    id: Annotated[
        str | None,
        option("--id", help="Of that table. By default id, _id, pid, …", panel=_INPUT, metavar="COLUMN"),
    ] = None,
    k: Annotated[int, option("-k", help="Size of the set.", panel=_SET)] = 500,
    diversity: Annotated[
        float, option("--diversity", help="0 = quality alone, 1 = diversity alone.", panel=_SET)
    ] = 0.1,
    method: Annotated[
        str,
        option("--method", help="auto, frank-wolfe, muss, dgds, greedy, clustering, top-k, …", panel=_SET),
    ] = "auto",
    clusters: Annotated[
        int | None,
        option(
            "--clusters",
            help="Of muss: clusters to keep. Of dgds: parts.",
            panel=_SET,
            show_default="half of them; all",
        ),
    ] = None,
    per_cluster: Annotated[
        int | None,
        option("--per-cluster", help="Items selected inside each.", panel=_SET, show_default="k / 10"),
    ] = None,
    cluster_diversity: Annotated[
        float, option("--cluster-diversity", help="Diversity of the clusters kept.", panel=_SET)
    ] = 0.5,
    no_top_up: Annotated[
        bool, option("--no-top-up", help="The k best by quality do not join the last step.", panel=_SET)
    ] = False,
    final_quality_scale: Annotated[
        float, option("--final-quality-scale", help="Quality's factor in the last step.", panel=_SET)
    ] = 1.0,
    criterion: Annotated[
        str, option("--criterion", help="Greedy's distance to the chosen: sum or min.", panel=_SET)
    ] = "sum",
    certify: Annotated[
        str, option("--certify", help="How hard to prove it: none, bounded or full.", panel=_SET)
    ] = "none",
    seed: Annotated[int, option("--seed", help="Of everything random.", panel=_SET)] = 0,
    threads: _Threads = None,
    workers: Annotated[
        str | None,
        option(
            "--workers",
            help="Run partitions in so many processes, on ray, or on the Ray at an address.",
            panel=_SET,
            metavar="N|ray|ADDRESS",
        ),
    ] = None,
    as_json: Annotated[bool, json_option(_OUTPUT)] = False,
    out: Annotated[
        str | None,
        option(
            "--out",
            help="Also write the set: .csv, .jsonl, .parquet, .json, .npy.",
            panel=_OUTPUT,
            metavar="FILE",
        ),
    ] = None,
    force: Annotated[bool, option("--force", help="Replace an existing FILE.", panel=_OUTPUT)] = False,
) -> None:
    """Select k items by quality and spread."""
    from setwise import checks
    from setwise.catalog import METHODS, Catalog
    from setwise.cli import catalog_output, output
    from setwise.cli.items import read_quality
    from setwise.cli.retrieve import at_most
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
    unused = None
    with output.Status() as status, at_most(threads):
        status.tell("reading")
        catalog = Catalog.load(path, threads)
        if quality is not None:
            fresh, unused = read_quality(quality, quality_column, id, catalog)
            catalog.set_quality(fresh)
        status.tell("selecting")
        with output.notes_for_warnings():
            found = catalog.select(
                **settings,
                certify=CERTIFY[certify],
                threads=threads,
                workers=as_workers(workers),
            )
    if unused is not None:
        output.note(unused)
    for name, methods in _FOR.items():
        if given(context, name) and found.method not in methods:
            known = ", ".join(methods)
            output.note(f"--{name.replace('_', '-')} does nothing for {found.method}; it is for {known}")
    columns = catalog_output.as_columns(catalog, found)
    record = catalog_output.as_record(path, catalog, found, columns, {**settings, "certify": certify})
    if target is not None:
        catalog_output.write(target, record, columns, force=force)
    if as_json:
        typer.echo(json.dumps(record, ensure_ascii=False, allow_nan=False))
        return
    name = Path(path).resolve().name
    catalog_output.print_selection(name, catalog, found, columns, kept=target is not None)
    if target is not None:
        output.note(f"wrote {out}")


@app.command()
def info(
    path: _Folder,
    check: Annotated[
        bool, typer.Option("--verify", help="Read every file, vectors too, and compare its checksum.")
    ] = False,
    as_json: Annotated[bool, json_option()] = False,
) -> None:
    """Say what a catalog is, and whether it is whole."""
    import numpy as np

    from setwise.catalog import Catalog
    from setwise.catalog.files import read_info, verify
    from setwise.cli import catalog_output, output

    folder, found = read_info(path)
    verified = folders.seconds_to_verify(verify, path) if check else None
    if as_json:
        folders.print_record(found, verified)
        return
    catalog = Catalog.load(path)
    low, middle, high = np.quantile(catalog.quality, [0, 0.5, 1])
    radius = catalog.clusters.radii.max()
    made_of = f" of vectors and quality (weight {found.quality_weight:g})" if found.quality_weight else ""
    lines = {
        "items": f"{found.n:,} × {found.d:,}, {found.dtype}, {found.metric}",
        "ids": f"{found.ids}, {catalog_output.some(catalog.ids)}",
        "clusters": f"{catalog_output.clusters_of(catalog)}{made_of}, radii up to {radius:.3g}",
        "quality": f"{low:.3g} to {high:.3g}, median {middle:.3g}",
        "saved": f"{found.saved[:16].replace('T', ' ')} UTC by setwise {found.setwise}",
        **folders.file_facts(found, verified),
    }
    output.print_facts(folder.resolve().name, "catalog", lines)
