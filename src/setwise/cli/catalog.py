"""``setwise catalog``: items clustered once, kept in a folder, and selected from every hour."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from setwise.cli import folders, options
from setwise.cli.catalog_select import Folder, IdOfTable, select
from setwise.cli.catalog_tune import tune
from setwise.cli.options import described, read_described, read_option

app = typer.Typer(
    help="Cluster items once, keep them in a folder, and select k by quality and spread every hour.",
    no_args_is_help=True,
)

#: Options of the commands that read items.
_ITEMS = read_described("""
    What to read
        --vectors COLUMN|FILE.npy  The items' vectors: a column of the table, or a .npy file. [default: column
            vector, vectors, embedding or embeddings]
        --quality COLUMN|FILE.npy  How good each item is, a number of at least 0: a column of the table, or a
            .npy file. [default: column quality]
""")


@app.command()
@described(
    """
    What to read
        --text COLUMN  Column of texts (titles, descriptions) to make the items' vectors from.
    How to cluster
        --clusters COUNT  How many clusters to make; no more than there are items. By default 200, or a fifth
            of the items where that is fewer.
        --quality-weight NUMBER  Weight of quality beside the vectors when items are clustered; 0 clusters by
            the vectors alone.
""",
    _ITEMS,
)
def build(
    context: typer.Context,
    items: options.Items,
    out: options.NewFolder,
    vectors: str | None = None,
    text: str | None = None,
    model: str = "auto",
    quality: str | None = None,
    id: str | None = None,
    clusters: int | None = None,
    metric: str = "cosine",
    quality_weight: float = 0.0,
    seed: int = 0,
    threads: int | None = None,
    force: bool = False,
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
    if text is None and options.given(context, "model"):
        raise ValueError("model: --model goes with --text COLUMN")
    began = time.perf_counter()
    with folders.step_bar() as tell, options.at_most(threads):
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
            ids=read.ids,
            fields=read.fields,
            **options.values_of(context, "clusters", "metric", "quality_weight", "seed", "threads"),
        )
        tell("writing", 0, 0)
        made.save(out, force=force)
    for line in read.notes:
        output.note(line)
    if read.quality is None:
        output.note("no quality was given, so every item has 1 until setwise catalog select --quality")
    catalog_output.print_summary(out, made, f"{len(made):,} item{'' if len(made) == 1 else 's'}", began)


@app.command()
@described(also=_ITEMS)
def add(
    path: Folder,
    items: options.Items,
    vectors: str | None = None,
    quality: str | None = None,
    id: str | None = None,
    threads: int | None = None,
) -> None:
    """Add items to a catalog, each to the nearest cluster; the folder is replaced in one step."""
    from setwise.catalog import Catalog
    from setwise.catalog.files import FORMAT
    from setwise.cli import catalog_output, output
    from setwise.cli.items import ids_like, read_items

    FORMAT.read(path)
    began = time.perf_counter()
    with folders.step_bar() as tell, options.at_most(threads):
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
    for line in read.notes:
        output.note(line)
    catalog_output.print_summary(
        path, catalog, f"{len(catalog):,} items, {len(catalog) - before:,} of them new", began
    )


@app.command()
@described()
def remove(
    path: Folder,
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            help="Ids of the items to remove; write -- before one that starts with -.", metavar="[ID]..."
        ),
    ] = None,
    source: Annotated[
        str | None,
        read_option(
            "--from FILE", "A file of ids to remove: a table, a .npy array, or a .txt with one a line."
        ),
    ] = None,
    id: IdOfTable = None,
    threads: int | None = None,
) -> None:
    """Remove items from a catalog by their ids; the folder is replaced in one step."""
    from setwise.catalog import Catalog
    from setwise.catalog.files import FORMAT
    from setwise.cli import catalog_output, output
    from setwise.cli.items import ids_as_in, read_ids

    if not ids and source is None:
        raise ValueError("ids: say which items to remove, or name a file of ids with --from")
    if id is not None and source is None:
        raise ValueError("id: --id goes with --from TABLE")
    FORMAT.read(path)
    began = time.perf_counter()
    with folders.step_bar() as tell, options.at_most(threads):
        tell("reading", 0, 0)
        listed, where_from, told = ([], "", "") if source is None else read_ids(source, id)
        with Catalog.edit(path, threads) as catalog:
            gone = ids_as_in(catalog, ids or [], "the command line")
            gone += ids_as_in(catalog, listed, where_from)
            tell("removing", 0, 0)
            before = len(catalog)
            catalog.remove(gone)
            tell("writing", 0, 0)
    if told:
        output.note(told)
    catalog_output.print_summary(
        path, catalog, f"{len(catalog):,} items, {before - len(catalog):,} removed", began
    )


app.command()(select)
app.command()(tune)


@app.command()
@described()
def info(
    path: Folder,
    check: options.Verify = False,
    as_json: options.AsJson = False,
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
