"""What a pipeline writes: rows, probabilities and numbers of rows, all of it or nothing."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from setwise.files import check_output, write_array, write_table
from setwise.files.names import ending
from setwise.files.outputs import Outputs, together
from setwise.finetuning.matched import Match
from setwise.finetuning.rows.sides import as_path
from setwise.finetuning.rows.writing import KINDS, Written, check_target, write_epochs, write_file
from setwise.finetuning.targets import named_examples
from setwise.progress import StepProgress

if TYPE_CHECKING:
    from setwise.finetuning.pipeline import Pipeline
    from setwise.finetuning.row_selection import RowSelection

#: Endings of a file of numbers and probabilities.
NUMBERS = (".npy", ".csv", ".parquet", ".jsonl")


def check_outputs(pipeline: Pipeline) -> None:
    """Refuse outputs that could not be written, or that are read, before any work; see `Pipeline.run`."""
    if pipeline.out is not None:
        check_target(pipeline.out, force=pipeline.force)
        importlib.import_module("setwise.extras.arrow")  # what is drawn is put in order as tables
    for name, path in (("indices", pipeline.indices), ("drawn", pipeline.drawn)):
        if path is not None:
            check_output(path, force=pipeline.force, argument=name, endings=NUMBERS)
    named: dict[Path, str] = {}
    for name, path in (("out", pipeline.out), ("indices", pipeline.indices), ("drawn", pipeline.drawn)):
        if path is not None:
            _check_apart(pipeline, name, Path(path))
            if (other := named.setdefault(Path(path).resolve(), name)) != name:
                raise ValueError(f"{name}: {str(path)!r} is {other}, too; name another file")


def _check_apart(pipeline: Pipeline, name: str, path: Path) -> None:
    """Refuse an output that is a source, or would become a part of the repository."""
    sources = [(role, getattr(pipeline, role)) for role in ("repository", "vectors", "example_vectors")]
    sources += [("examples", source) for *_, source in named_examples(pipeline.examples)]
    for role, given in sources:
        source = as_path(given)
        if source is not None and _is_same(path, source):
            raise ValueError(f"{name}: {str(path)!r} is read as {role}; name another file")
    repository = as_path(pipeline.repository)
    if repository is not None and path.suffix and path.resolve().parent == repository.resolve():
        raise ValueError(
            f"{name}: {str(path)!r} lies in the repository's folder and would be read as a part of it; "
            "name a file elsewhere"
        )


def _is_same(path: Path, source: Path) -> bool:
    """Return whether two paths are of one file, by whatever name or link."""
    return path.samefile(source) if path.exists() and source.exists() else path.resolve() == source.resolve()


def write_selection(selection: RowSelection, tell: StepProgress) -> Written | None:
    """Write what is asked for: all files of it appear, or none; finished epochs in a folder stay."""
    found, draws, pipeline = selection.distribution, selection.epochs, selection.pipeline
    with together() as outputs:
        if pipeline.indices is not None:
            rows = selection.sources.rows_of(found.indices)
            columns = {"row": rows, "probability": found.probabilities}
            _write_columns(columns, pipeline.indices, pipeline.force, outputs)
        if pipeline.drawn is not None:
            epochs = np.repeat(np.arange(1, len(draws) + 1), [len(drawn) for drawn in draws])
            columns = {"epoch": epochs, "row": np.concatenate(draws)}
            _write_columns(columns, pipeline.drawn, pipeline.force, outputs)
        return None if pipeline.out is None else _write_rows(selection, tell, outputs)


def _write_rows(selection: RowSelection, tell: StepProgress, outputs: Outputs) -> Written:
    found, draws, pipeline = selection.distribution, selection.epochs, selection.pipeline
    repository = selection.sources.repository
    assert repository is not None
    assert pipeline.out is not None
    tell("writing", 0, 0)
    if ending(pipeline.out) in KINDS:
        return write_file(repository, draws, pipeline.out, force=pipeline.force, progress=tell, among=outputs)
    settings = {"encoder": selection.sources.encoder, **pipeline.settings()}
    if isinstance(found, Match):  # the numbers that "auto" came to
        settings |= {name: found.to_dict()[name] for name in ("scale", "kernel_width")}
    return write_epochs(
        repository,
        draws,
        pipeline.out,
        settings=settings,
        provenance=selection.provenance,
        force=pipeline.force,
        workers=pipeline.workers,
        progress=tell,
    )


def _write_columns(
    columns: dict[str, NDArray[Any]], path: str | os.PathLike[str], force: bool, among: Outputs
) -> None:
    """Write columns of numbers: as .npy a structured array, else as a table."""
    if ending(path) != ".npy":
        write_table(
            path, {name: values.tolist() for name, values in columns.items()}, force=force, among=among
        )
        return
    kinds = [(name, values.dtype) for name, values in columns.items()]
    table = np.empty(len(next(iter(columns.values()))), kinds)
    for name, values in columns.items():
        table[name] = values
    write_array(path, table, force=force, among=among)
