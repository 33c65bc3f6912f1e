"""``setwise finetune``: the rows of a repository to train on, matched to a few examples of the task."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated

import typer

from setwise.cli import folders, options
from setwise.cli.finetune_options import (
    Replace,
    ShareLimit,
    as_shares,
    as_targets,
)
from setwise.cli.options import described, option

if TYPE_CHECKING:
    from setwise.finetuning import Pipeline


@described("""
    What to read
        --repository PATH  Rows to choose from: a table (.parquet, .arrow, .feather, .jsonl, .json, .csv or
            .tsv; text also as .gz or .zst), a folder of such files of one kind, or a .npy file of vectors.
        --examples PATH|NAME=PATH  A few rows that show the task, in one of the same formats. Repeat the
            option for several targets, NAME=PATH or NAME=PATH:WEIGHT: each has its share of the draws.
        --text-column COLUMN  Column with a row's text; repeat the option to join the texts of several
            columns. [default: text, messages, instruction with input and output, or other usual names]
        --example-text-column COLUMN  Column with an example's text, where it is called differently. [default:
            as --text-column]
        --roles ROLE  Whose turns of a conversation are encoded: system, user, assistant, tool or all; repeat
            the option for several. The rows written keep all turns. [default: all but system]
        --vectors COLUMN|FILE.npy  Use vectors of your own and encode no text: a column of the repository, or
            a .npy file with one vector a row.
        --example-vectors COLUMN|FILE.npy  The examples' vectors, from the same encoder: a column of theirs,
            or a .npy file.
        --empty drop|refuse  Rows without a word that the encoder knows: leave them out, or stop with an
            error.
    How rows are chosen
        --method match|nearest|doubly-greedy|less|uot|dsir|random  match spreads over the rows around each
            example. The others are there to compare with: nearest lets the examples take turns, doubly-greedy
            takes the rows nearest to any example, less those most similar to the examples of a subtask, uot
            those that get most of the examples' mass by unbalanced transport, dsir those that use their
            words, random any.
        --min-words COUNT  For dsir: rows of fewer words are left out, as its authors' package does; 0 keeps
            all.
        --diversity 0…1  How widely each example spreads, from 0 (to its nearest row alone) to 1 (over the
            whole repository).
        --regularizer kde|uniform|tv  How near-duplicates count: together as one row (kde), or each as a row
            of its own (uniform, tv); tv leaves nearly all probability with the row nearest to each example.
        --scale auto|NUMBER  Number that distances are divided by; it only shifts what a --diversity means.
            auto is 5 times the vectors' typical length.
        --kernel-width auto|NUMBER  Distance below which two rows are near-duplicates, for kde; auto is a
            quarter of the median distance from a row to its nearest.
        --neighbors COUNT  Rows around each example that are searched, at most; the summary says where they
            are too few.
        --density-neighbors COUNT  Near-duplicates of a row that are counted, at most, for kde.
        --index auto|exact|FACTORY|DIR  How neighbors are searched: exact compares with every row; a FAISS
            factory string such as IVF4096,Flat builds an index; a folder is one made by setwise index build.
            auto is exact until that takes minutes.
    What rows are worth
        --quality COLUMN  Column with a number above 0: where all else is equal, a row of twice the quality is
            twice as likely.
        --densities COLUMN  Column that says how many near-duplicates each row has, itself among them; none
            are counted then.
        --exclude-examples  Leave out rows that are examples, or nearer to one than near-duplicates are to
            each other.
    How many rows
        --rows COUNT  Draw this many rows for each epoch.
        --fraction SHARE  Draw this share of the repository's rows for each epoch, such as 0.01.
        --tokens COUNT  Draw as many rows for each epoch as have this many tokens in all, or just fewer.
        --tokenizer UNIT  What --tokens counts: tokens (words, numbers, marks, and characters of scripts
            without spaces), words, characters, tiktoken:ENCODING, or tokenizers: and a tokenizer.json or a
            model's folder.
        --length-column COLUMN  Column with the number of tokens in each row, for --tokens. [default: the
            tokens of its text are counted]
        --epochs COUNT  How many epochs to draw, each afresh; 10,000 at most.
    How to run
        --workers COUNT|ray|ADDRESS  Encode with a model, search, and write epochs, in this many processes or
            on Ray (ray, or its address); the rows are the same.
    What to print and keep
        --out FILE|DIR  Write the rows drawn, in the order to train on them: to one .parquet or .jsonl file,
            or to a folder with one file an epoch.
        --indices FILE  Write the number and the probability of every row that can be drawn: .npy, .csv,
            .parquet or .jsonl.
        --drawn FILE  Write the numbers of the rows drawn, in order, with their epoch: .npy, .csv, .parquet or
            .jsonl.
        --sweep  Print how far nine values of --diversity would spread; choose and write nothing.
        --plot FILE  Also draw what --sweep prints: .png, .svg or .pdf.
""")
def finetune(
    context: typer.Context,
    repository: str,
    examples: list[str] | None = None,
    text_column: list[str] | None = None,
    example_text_column: list[str] | None = None,
    roles: list[str] | None = None,
    vectors: str | None = None,
    example_vectors: str | None = None,
    model: str = "auto",
    empty: str = "drop",
    method: str = "match",
    min_words: int = 100,
    subtask_column: Annotated[
        str | None,
        option(
            "--subtask COLUMN",
            "For less: column of the examples that names each one's subtask; a row counts by the "
            "subtask that it serves best.",
            "How rows are chosen",
            show_default="all examples are one",
        ),
    ] = None,
    diversity: float = 0.4,
    regularizer: str = "kde",
    scale: str = "auto",
    kernel_width: str = "auto",
    neighbors: int = 2000,
    density_neighbors: int = 1000,
    index: str = "auto",
    quality: str | None = None,
    densities: str | None = None,
    limits: ShareLimit = None,
    exclude_examples: bool = False,
    rows: int | None = None,
    fraction: float | None = None,
    tokens: int | None = None,
    tokenizer: str = "tokens",
    length_column: str | None = None,
    epochs: int = 1,
    replace: Replace = None,
    workers: str | None = None,
    seed: int = 0,
    threads: int | None = None,
    out: str | None = None,
    indices: str | None = None,
    drawn: str | None = None,
    sweep: bool = False,
    plot: str | None = None,
    as_json: options.AsJson = False,
    force: bool = False,
    cache: str | None = None,
    no_cache: bool = False,
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
        "cache": None if no_cache else "auto" if cache is None else cache,
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
