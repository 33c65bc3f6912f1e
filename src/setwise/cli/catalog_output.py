"""What ``setwise catalog`` tells: a line on a folder, and of a set a table, a record and files."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from setwise._version import __version__
from setwise.catalog import Catalog, CatalogSelection
from setwise.catalog.files import FORMAT
from setwise.cli import output
from setwise.cli.folders import size_of
from setwise.cli.set_output import middle
from setwise.files import without_gaps, write_array, write_json, write_table
from setwise.files.names import ending

#: Members, and kept columns of theirs, that are printed.
_SHOWN, _BESIDE = 10, 2

#: Columns of a terminal below which clusters and kept columns are left to files, so that numbers stay whole.
_WIDE = 60


def as_columns(catalog: Catalog, found: CatalogSelection) -> dict[str, list[Any]]:
    """Return a set's members as columns, those that are kept beside the items last."""
    columns: dict[str, list[Any]] = {
        "id": found.ids.tolist(),
        "rank": list(range(1, len(found) + 1)),
        "gain": [gain if math.isfinite(gain) else None for gain in found.gains.tolist()],
        "quality": catalog.quality[found.indices].tolist(),
        "cluster": found.clusters.tolist(),
    }
    kept = {
        f"item_{name}" if name in (*columns, "row") else name: list(map(without_gaps, values))
        for name, values in found.fields.items()
    }
    return columns | kept


def as_record(
    path: str,
    catalog: Catalog,
    found: CatalogSelection,
    columns: dict[str, list[Any]],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Return everything that a run of ``setwise catalog select`` found, as plain values."""
    return {
        "setwise": __version__,
        "catalog": path,
        "items": len(catalog),
        "settings": settings,
        "set": {
            "items": [
                dict(zip([*columns, "row"], [*row, place], strict=True))
                for *row, place in zip(*columns.values(), found.indices.tolist(), strict=True)
            ],
            "value": found.value,
            "quality": found.relevance,
            "diversity": found.diversity,
            "method": found.method,
            "reason": found.reason,
            "seconds": found.seconds,
            "certificate": None if found.certificate is None else found.certificate.to_dict(),
        },
    }


def write(target: Path, record: dict[str, Any], columns: dict[str, list[Any]], *, force: bool) -> None:
    """Write a set: .json the whole record, .npy a structured array, else a table of the members."""
    if ending(target) == ".json":
        write_json(target, record, force=force)
    elif ending(target) == ".npy":
        own = ("id", "rank", "gain", "quality", "cluster")  # an array has no place for what may be missing
        arrays = {name: np.asarray(columns[name], float if name == "gain" else None) for name in own}
        table = np.empty(len(columns["id"]), [(name, array.dtype) for name, array in arrays.items()])
        for name, array in arrays.items():
            table[name] = array
        write_array(target, table, force=force)
    else:
        write_table(target, columns, force=force)


def print_selection(
    name: str,
    catalog: Catalog,
    found: CatalogSelection,
    columns: dict[str, list[Any]],
    objective: str,
    *,
    kept: bool,
    any_size: bool,
) -> None:
    """Print the first members of a set, then what it is worth, and how it was found."""
    out = output.console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=name, title_justify="left", title_style="bold")
    if not out.is_terminal:  # what is piped has its ids whole
        out.width = max(out.width, 60 + max((len(str(one)) for one in columns["id"][:_SHOWN]), default=0))
    narrow = out.width < _WIDE
    some = 2 if out.width < output.SLIM else 4 if narrow else 5
    labels = ("", "id", "gain", "quality", "cluster")[:some]
    for label in labels:
        table.add_column(label, justify="left" if label == "id" else "right", no_wrap=True)
    beside = [] if narrow else list(found.fields)[:_BESIDE]
    id_width = out.width // 3 if out.is_terminal else sys.maxsize
    for label in beside:
        table.add_column(label, overflow="fold")  # wrapped, so that ids and numbers stay whole
    for row in range(min(_SHOWN, len(found))):
        gain = columns["gain"][row]
        cells = (
            Text(str(columns["rank"][row]), style="dim"),
            middle(output.one_line(str(columns["id"][row])), id_width, "bold"),
            Text("" if gain is None else f"{gain:.4g}", style="dim"),
            f"{columns['quality'][row]:.4g}",
            str(columns["cluster"][row]),
        )
        table.add_row(*cells[:some], *(_cell(found.fields[label][row]) for label in beside))
    out.print(table)
    if len(found) > _SHOWN:
        rest = f"… and {len(found) - _SHOWN:,} more"
        out.print(Text(f"{rest}\n" if kept else f"{rest}; --out FILE writes all\n", style="dim"))
    lines = Table.grid(padding=(0, 2))
    terms = (
        f"value {found.value:.4f}",
        f"quality {found.relevance:.4f}",
        f"diversity {found.diversity:.4f}",
        f"{len(found):,} of {len(catalog):,} in {output.milliseconds(found.seconds)}",
    )
    lines.add_row(Text("set", style="dim"), Text(" · ".join(terms)))
    quality, diversity = output.terms(objective, any_size)
    legend = f"quality: {quality} · diversity: {diversity} · gain: what a member adds to those above it"
    lines.add_row("", Text(legend, style="dim"))
    reason = f" ({found.reason.removeprefix(f'{found.method} ')})" if found.reason else ""
    lines.add_row(Text("method", style="dim"), Text(f"{found.method}{reason}"))
    lines.add_row(Text("proof", style="dim"), output.proof(found, len(catalog), objective))
    out.print(lines)


def _cell(value: Any) -> str:
    """Return a kept value on one line; nothing for a missing one."""
    shown = f"{value:.6g}" if isinstance(value, float) else str(value)
    return "" if value is None else output.one_line(shown)


def print_summary(path: str, catalog: Catalog, items: str, began: float) -> None:
    """Print what a folder holds now, in one line."""
    _, found = FORMAT.read(path)
    facts = items, f"{found.d:,} d {found.dtype}", clusters_of(catalog), size_of(found.bytes)
    seconds = output.milliseconds(time.perf_counter() - began)
    output.print_line(Path(path).resolve().name, " · ".join([*facts, seconds]))


def clusters_of(catalog: Catalog) -> str:
    """Return how many clusters there are, and of what size."""
    sizes = catalog.clusters.sizes()
    least, most = int(sizes.min()), int(sizes.max())
    each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return f"{len(sizes):,} cluster{'' if len(sizes) == 1 else 's'} of {each}"


def some(ids: Any, most: int = 3) -> str:
    """Return the first few ids."""
    shown = ", ".join(str(name)[:40] for name in ids[:most].tolist())
    return f"{shown}{', …' if len(ids) > most else ''}"
