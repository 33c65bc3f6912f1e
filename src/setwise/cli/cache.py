"""``setwise cache``: what is kept of encoded texts, and how to be rid of it."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from setwise.cli import folders
from setwise.cli.options import AsJson, described

app = typer.Typer(help="Look at encoded texts that are kept, and remove them.", no_args_is_help=True)

#: More bytes, and more seconds, than there are.
_ALL = 1 << 62

_Place = Annotated[
    str | None,
    typer.Argument(
        help="A corpus, or the folder that keeps its encoded texts.",
        metavar="[PATH]",
        show_default="the one here and the user's",
    ),
]


@app.command()
@described()
def info(path: _Place = None, as_json: AsJson = False) -> None:
    """List what is kept: how large it is, and when it was used last."""
    from setwise.cli import output
    from setwise.encode.entries import KEPT_BYTES, KEPT_SECONDS, entries
    from setwise.encode.places import folders_of

    caches = {folder: entries(folder) for folder in folders_of(path)}
    if as_json:
        record = {
            str(folder): [
                {"name": one.path.name, "bytes": one.bytes, "used": _when(one.used), "whole": one.whole}
                for one in found
            ]
            for folder, found in caches.items()
        }
        output.print_json({"caches": record})
        return
    for folder, found in caches.items():
        size = folders.size_of(sum(one.bytes for one in found))
        lines = {
            one.path.name: f"{folders.size_of(one.bytes)}, used {_when(one.used)}"
            + ("" if one.whole else ", unfinished")
            for one in found
        }
        output.print_facts(str(folder), f"{len(found):,} kept, {size}", lines)
    limits = f"{KEPT_SECONDS // 86_400} days unused, or {folders.size_of(KEPT_BYTES)} in all"
    output.print_line("limits", f"an entry goes after {limits}")


@app.command()
@described("""
    --unused DAYS  Only what no run has used for this long. [default: all]
    --above MEGABYTES  Only what makes all of it larger than this, the longest unused first. [default: all]
""")
def clear(
    path: _Place = None,
    unused: int | None = None,
    above: int | None = None,
) -> None:
    """Remove what is kept, but for what other runs work on."""
    from setwise import checks
    from setwise.cli import output
    from setwise.encode.entries import prune
    from setwise.encode.places import folders_of

    age = None if unused is None else checks.integer("unused", unused, least=0) * 86_400
    size = None if above is None else checks.integer("above", above, least=0) * 1_000_000
    if age is None and size is None:
        age = size = 0
    for folder in folders_of(path):
        if folder.is_dir():
            gone = prune(folder, size=_ALL if size is None else size, age=_ALL if age is None else age)
            freed = folders.size_of(sum(one.bytes for one in gone))
            output.print_line(str(folder), f"{len(gone):,} removed, {freed}")


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
