"""What was chosen from a comparison: printed, and written as settings that every command reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from setwise.evaluate import Comparison, Tuned

#: The measures that are printed, and what they are.
_LEGEND = {
    "aspect recall": "share of the right answers that the set gives",
    "alpha-nDCG": "the same by rank, each repetition half",
    "all answers": "share of questions with all of them",
    "ILAD": "mean distance of two",
}

#: Questions below which the bootstrap's intervals are too narrow to go by.
_FEW = 10

#: Columns of a terminal that a method and its diversity take, and a measure.
_NAMES, _NUMBER = 32, 9


def checked(out: str, force: bool) -> Path:
    """Return where settings will go, refused before any work where they could not."""
    from setwise.files import check_output

    return check_output(out, force=force, endings=(".toml",))


def tell(
    found: Comparison,
    chosen: Tuned,
    command: Sequence[str],
    *,
    notes: Sequence[str],
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Print what was chosen and what it is worth, and write it as settings.

    Parameters
    ----------
    command : sequence of str
        The command that takes the settings: ("catalog", "select").
    notes : sequence of str
        What else there is to say.
    out : Path, optional
        The settings' file.
    force : bool
        Replace the file where it exists.
    as_json : bool
        Print one object instead.
    """
    from setwise.cli import config, output
    from setwise.files import write_atomic

    if out is not None:
        text = config.written(command, chosen.settings, (str(chosen), *notes))
        write_atomic(out, lambda file: file.write(text.encode("utf-8")), force=force)
    if as_json:
        record = {
            "settings": chosen.settings,
            "helps": chosen.helps,
            "measure": chosen.measure,
            "top_k": chosen.top,
            "gain": chosen.gain,
            "interval": [chosen.low, chosen.high],
            "folds": [{**one._asdict(), "times": times} for one, times in chosen.picks.items()],
        }
        output.print_json(record)
        return
    print_means(found, chosen.configuration.k, chosen.measure)
    for line in (str(chosen), *notes):
        output.console().print(output.plain(line))
    settings = " ".join(
        f"-k {value}" if name == "k" else f"--{name} {value}" for name, value in chosen.settings.items()
    )
    output.console().print(f"setwise {' '.join(command)} {settings}", style="bold")
    if out is not None:
        output.note(f"wrote {os.path.relpath(out)}; setwise --config {os.path.relpath(out)} takes it")


def print_means(found: Comparison, k: int, measure: str = "aspect recall") -> None:
    """Print a table of one size: what each configuration finds, beside top-k."""
    from rich import box
    from rich.table import Table

    from setwise.cli import output

    out = output.console()
    measures = tuple(dict.fromkeys((measure, *_LEGEND)))
    shown = measures[: max(1, (out.width - _NAMES) // _NUMBER)]  # what is cut of a number misleads
    count, groups = len(found.questions), int(found.groups.max()) + 1
    asked = f"{count} question{'s'[: count > 1]}{f' in {groups} groups' if groups < count else ''}"
    title = f"k = {k}, {asked}; * differs from top-k (95 %)"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, title=title, title_justify="left")
    table.add_column("method", min_width=9)
    for name in ("diversity", *shown, *(() if len(shown) < len(measures) else ("ms",))):
        table.add_column(name, justify="right", min_width=max(map(len, name.split())))
    for place, one in enumerate(found.configurations):
        if one.k != k:
            continue
        cells = []
        for name in shown:
            low, high = (ends[place] for ends in found.intervals[name])
            star = "*" if low > 0 or high < 0 else " "
            cells.append(f"{found.of(name)[place].mean():.3f}{star}")
        if len(shown) == len(measures):
            cells.append(f"{1000 * found.of('seconds')[place].mean():.1f}")
        table.add_row(output.plain(one.method), f"{one.diversity:g}", *cells)
    out.print(table)
    legend = " · ".join(f"{name}: {_LEGEND[name]}" for name in shown if name in _LEGEND)
    out.print(legend, style="dim")
    if groups < _FEW:
        output.note(f"intervals over {groups} questions or groups of them say little; label {_FEW} or more")
