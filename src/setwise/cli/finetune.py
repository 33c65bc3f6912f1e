"""``setwise finetune``: the rows of a repository to train on, matched to a few examples of the task."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from setwise.cli import folders, options
from setwise.cli.finetune_options import (
    Densities,
    Epochs,
    ExcludeExamples,
    Fraction,
    LengthColumn,
    Quality,
    Replace,
    Rows,
    ShareLimit,
    Tokens,
    Unit,
    as_shares,
    as_targets,
)
from setwise.cli.options import keep_option, option, read_option, run_option

if TYPE_CHECKING:
    from setwise.finetuning import Pipeline

#: Declarations of options under a heading of its own.
_choose = partial(option, panel="How rows are chosen")

#: Endings of files of numbers, in words.
_NUMBERS = ".npy, .csv, .parquet or .jsonl"


def finetune(
    context: typer.Context,
    repository: Annotated[
        str,
        read_option(
            "--repository PATH",
            "Rows to choose from: a table (.parquet, .arrow, .feather, .jsonl, .json, .csv or .tsv; "
            "text also as .gz or .zst), a folder of such files of one kind, or a .npy file of vectors.",
        ),
    ],
    examples: Annotated[
        list[str] | None,
        read_option(
            "--examples PATH|NAME=PATH",
            "A few rows that show the task, in one of the same formats. Repeat the option for several "
            "targets, NAME=PATH or NAME=PATH:WEIGHT: each has its share of the draws.",
        ),
    ] = None,
    text_column: Annotated[
        list[str] | None,
        read_option(
            "--text-column COLUMN",
            "Column with a row's text; repeat the option to join the texts of several columns.",
            show_default="text, messages, instruction with input and output, or other usual names",
        ),
    ] = None,
    example_text_column: Annotated[
        list[str] | None,
        read_option(
            "--example-text-column COLUMN",
            "Column with an example's text, where it is called differently.",
            show_default="as --text-column",
        ),
    ] = None,
    roles: Annotated[
        list[str] | None,
        read_option(
            "--roles ROLE",
            "Whose turns of a conversation are encoded: system, user, assistant, tool or all; repeat "
            "the option for several. The rows written keep all turns.",
            show_default="all but system",
        ),
    ] = None,
    vectors: Annotated[
        str | None,
        read_option(
            "--vectors COLUMN|FILE.npy",
            "Use vectors of your own and encode no text: a column of the repository, or a .npy file "
            "with one vector a row.",
        ),
    ] = None,
    example_vectors: Annotated[
        str | None,
        read_option(
            "--example-vectors COLUMN|FILE.npy",
            "The examples' vectors, from the same encoder: a column of theirs, or a .npy file.",
        ),
    ] = None,
    model: options.Model = "auto",
    empty: Annotated[
        str,
        read_option(
            "--empty drop|refuse",
            "Rows without a word that the encoder knows: leave them out, or stop with an error.",
        ),
    ] = "drop",
    method: Annotated[
        str,
        _choose(
            "--method match|nearest|doubly-greedy|less|uot|dsir|random",
            "match spreads over the rows around each example. The others are there to compare with: "
            "nearest lets the examples take turns, doubly-greedy takes the rows nearest to any example, less "
            "those most similar to the examples of a subtask, uot those that get most of the examples' mass "
            "by unbalanced transport, dsir those that use their words, random any.",
        ),
    ] = "match",
    min_words: Annotated[
        int,
        _choose(
            "--min-words COUNT",
            "For dsir: rows of fewer words are left out, as its authors' package does; 0 keeps all.",
        ),
    ] = 100,
    subtask_column: Annotated[
        str | None,
        _choose(
            "--subtask COLUMN",
            "For less: column of the examples that names each one's subtask; a row counts by the "
            "subtask that it serves best.",
            show_default="all examples are one",
        ),
    ] = None,
    diversity: Annotated[
        float,
        _choose(
            "--diversity 0…1",
            "How widely each example spreads, from 0 (to its nearest row alone) to 1 (over the whole "
            "repository).",
        ),
    ] = 0.4,
    regularizer: Annotated[
        str,
        _choose(
            "--regularizer kde|uniform|tv",
            "How near-duplicates count: together as one row (kde), or each as a row of its own "
            "(uniform, tv); tv leaves nearly all probability with the row nearest to each example.",
        ),
    ] = "kde",
    scale: Annotated[
        str,
        _choose(
            "--scale auto|NUMBER",
            "Number that distances are divided by; it only shifts what a --diversity means. auto is 5 "
            "times the vectors' typical length.",
        ),
    ] = "auto",
    kernel_width: Annotated[
        str,
        _choose(
            "--kernel-width auto|NUMBER",
            "Distance below which two rows are near-duplicates, for kde; auto is a quarter of the "
            "median distance from a row to its nearest.",
        ),
    ] = "auto",
    neighbors: Annotated[
        int,
        _choose(
            "--neighbors COUNT",
            "Rows around each example that are searched, at most; the summary says where they are too few.",
        ),
    ] = 2000,
    density_neighbors: Annotated[
        int,
        _choose("--density-neighbors COUNT", "Near-duplicates of a row that are counted, at most, for kde."),
    ] = 1000,
    index: Annotated[
        str,
        _choose(
            "--index auto|exact|FACTORY|DIR",
            "How neighbors are searched: exact compares with every row; a FAISS factory string such "
            "as IVF4096,Flat builds an index; a folder is one made by setwise index build. auto is exact "
            "until that takes minutes.",
        ),
    ] = "auto",
    quality: Quality = None,
    densities: Densities = None,
    limits: ShareLimit = None,
    exclude_examples: ExcludeExamples = False,
    rows: Rows = None,
    fraction: Fraction = None,
    tokens: Tokens = None,
    tokenizer: Unit = "tokens",
    length_column: LengthColumn = None,
    epochs: Epochs = 1,
    replace: Replace = None,
    workers: Annotated[
        str | None,
        run_option(
            "--workers COUNT|ray|ADDRESS",
            "Encode with a model, search, and write epochs, in this many processes or on Ray (ray, or "
            "its address); the rows are the same.",
        ),
    ] = None,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    out: Annotated[
        str | None,
        keep_option(
            "--out FILE|DIR",
            "Write the rows drawn, in the order to train on them: to one .parquet or .jsonl file, or "
            "to a folder with one file an epoch.",
        ),
    ] = None,
    indices: Annotated[
        str | None,
        keep_option(
            "--indices FILE",
            f"Write the number and the probability of every row that can be drawn: {_NUMBERS}.",
        ),
    ] = None,
    drawn: Annotated[
        str | None,
        keep_option(
            "--drawn FILE", f"Write the numbers of the rows drawn, in order, with their epoch: {_NUMBERS}."
        ),
    ] = None,
    sweep: Annotated[
        bool,
        keep_option(
            "--sweep", "Print how far nine values of --diversity would spread; choose and write nothing."
        ),
    ] = False,
    plot: Annotated[
        str | None, keep_option("--plot FILE", "Also draw what --sweep prints: .png, .svg or .pdf.")
    ] = None,
    as_json: options.AsJson = False,
    force: options.Force = False,
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
) -> None:
    """Choose the rows of a repository to finetune on, matched to a few examples of the task.

    Without --rows, --fraction or --tokens it shows what would be drawn.
    """
    from setwise.cli import finetune_output
    from setwise.cli.output import plain
    from setwise.finetuning import Pipeline

    if cache is not None and no_cache:
        raise ValueError("cache: give --cache or --no-cache, not both")
    # Options have the names of the pipeline's parameters; these are spelled otherwise here.
    asked = {one.name: context.params[one.name] for one in fields(Pipeline) if one.name in context.params}
    asked |= {
        "examples": as_targets(examples),
        "text_column": tuple(text_column or ()),
        "example_text_column": tuple(example_text_column or ()),
        "roles": tuple(roles or ()),
        "cache": None if no_cache else cache or "auto",
        "scale": _number_or_auto("scale", scale),
        "kernel_width": _number_or_auto("kernel_width", kernel_width),
        "workers": options.as_count(workers),
        "limits": as_shares(limits),
    }
    pipeline = Pipeline(**asked)
    if sweep:
        _check_sweep(pipeline, plot)
    elif plot is not None:
        raise ValueError("plot: it draws the table of --sweep; add --sweep")
    steps = _Steps()
    with (
        options.at_most(threads),
        folders.step_bar() as steps.bar,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("default")
        try:
            if sweep:
                with pipeline.opened(progress=steps) as sources:
                    swept = pipeline.swept(sources, progress=steps)
            else:
                selection = pipeline.run(steps)
        except KeyboardInterrupt:
            kept = _what_is_kept(pipeline, steps.last)
            if kept is None:
                raise
            line = f"setwise: interrupted; {kept}, and the same command goes on from there"
            typer.echo(plain(line), err=True)
            raise SystemExit(130) from None
    # What ran out is told with what was found.
    told = [str(one.message) for one in caught if one.category is UserWarning]
    notes = [line for line in told if not line.startswith("neighbors:")]
    if not sweep:
        finetune_output.show(selection, notes, as_json=as_json)
        return
    if plot is not None:
        swept.plot(plot, force=force)
    finetune_output.show_sweep(pipeline, sources, swept, notes, plot, as_json=as_json)


class _Steps:
    """Tells a bar of the steps, and remembers the last."""

    def __init__(self) -> None:
        self.bar: Callable[[str, int, int], object] = lambda step, done, total: None
        self.last = ""

    def __call__(self, step: str, done: int, total: int) -> None:
        self.last = step
        self.bar(step, done, total)


def _number_or_auto(argument: str, value: str) -> float | str:
    """Return an option that is a number or "auto"."""
    if value == "auto":
        return value
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"{argument}: expected a number or auto, got {value!r}") from None


def _check_sweep(pipeline: Pipeline, plot: str | None) -> None:
    """Refuse what a sweep does not do."""
    if pipeline.method != "match":
        raise ValueError(f"sweep: {pipeline.method} has no diversity to try; leave --method out")
    outputs = [name for name in ("out", "indices", "drawn") if getattr(pipeline, name) is not None]
    for name in [*pipeline.budgets, *outputs]:
        raise ValueError(f"sweep: it prints a table and chooses no rows; leave --{name} out")
    if plot is not None:
        from setwise.finetuning.matched import check_plot

        check_plot(plot, force=pipeline.force)


def _what_is_kept(pipeline: Pipeline, step: str) -> str | None:
    """Return what an interrupted run leaves to go on from, if anything."""
    from setwise.finetuning.rows.writing import finished

    if step == "encoding" and pipeline.cache_folder() is not None:
        return f"the vectors made so far are kept in {pipeline.cache_folder()}"
    if step.startswith("writing") and pipeline.out is not None:
        count = len(finished(pipeline.out))
        if count:
            are = "is" if count == 1 else "are"
            return f"{count} of {pipeline.epochs} epochs {are} finished in {pipeline.out}"
    return None
