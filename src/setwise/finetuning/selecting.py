"""What a pipeline does with sources that are open: rows chosen, drawn and written."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from setwise.finetuning.methods import choose
from setwise.finetuning.outputs import write_selection
from setwise.finetuning.row_selection import RowSelection
from setwise.finetuning.rows.draw import draw
from setwise.finetuning.shares import limited
from setwise.finetuning.sources import OpenSources
from setwise.progress import StepProgress

if TYPE_CHECKING:
    from setwise.finetuning.pipeline import Pipeline

#: Part of a budget of tokens below which an epoch is told of.
_FULL = 0.9


def selected_rows(pipeline: Pipeline, sources: OpenSources, tell: StepProgress) -> RowSelection:
    """Choose, draw and write rows of sources that are open; see `Pipeline.run`."""
    repository = sources.repository
    for name in ("out", "tokens"):
        if repository is None and getattr(pipeline, name) is not None:
            raise ValueError(
                f"{name}: the repository is vectors without rows; drawn (--drawn FILE) writes the "
                "numbers of those drawn, indices (--indices FILE) all probabilities"
            )
    notes = list(sources.notes)
    lengths = None
    if pipeline.tokens is not None:
        assert repository is not None
        lengths = pipeline.lengths_in(repository)
        if pipeline.length_column is None:
            if pipeline.tokenizer == "tokens":
                notes.append(
                    "tokens are counted as words, numbers, marks and characters of scripts without "
                    "spaces; --tokenizer names the model's own"
                )
            if pipeline.text_column:
                columns = ", ".join(repository.text)
                notes.append(f"tokens are those of {columns} alone; --length-column brings others")
    began = time.perf_counter()
    distribution = choose(pipeline, sources, tell)
    if pipeline.limits:
        assert repository is not None
        rows = sources.rows_of(distribution.indices).tolist()
        labels = {name: repository.labels(name, "limits") for name in pipeline.limits}
        by_row = {name: [of[row] for row in rows] for name, of in labels.items()}
        distribution = limited(distribution, by_row, pipeline.limits)
    seconds = {"choosing": time.perf_counter() - began}
    draws = []
    if pipeline.budgets:
        draws = draw(
            distribution,
            rows=pipeline.rows,
            fraction=pipeline.fraction,
            tokens=pipeline.tokens,
            lengths=lengths,
            of=sources.rows,
            n=sources.n,
            epochs=pipeline.epochs,
            seed=pipeline.seed,
            replace=pipeline.replaces,
        )
    counts = [] if lengths is None else [int(lengths[drawn].sum()) for drawn in draws]
    if pipeline.tokens is not None and min(counts) < _FULL * pipeline.tokens:
        notes.append(
            f"an epoch ends where the next row would pass the budget, so one has {min(counts):,} of "
            f"{pipeline.tokens:,} tokens; leave out rows that long, or raise the budget"
        )
    selection = RowSelection(
        pipeline=pipeline,
        sources=replace(sources, candidates=None, examples=None),  # they may end with their context
        distribution=distribution,
        epochs=draws,
        tokens=counts,
        written=None,
        notes=notes,
        seconds=seconds,
    )
    began = time.perf_counter()
    written = write_selection(selection, tell)
    seconds["writing"] = time.perf_counter() - began
    return replace(selection, written=written)
