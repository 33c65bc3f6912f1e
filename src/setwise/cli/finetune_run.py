"""What ``setwise finetune`` does with a repository and examples: choose, draw, write."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise._version import __version__
from setwise.cli.finetune_input import Read
from setwise.files import check_output, write_array, write_table
from setwise.files.names import ending
from setwise.finetuning import baselines
from setwise.finetuning.distribution import Distribution

if TYPE_CHECKING:
    from setwise.finetuning.matched import Sweep
    from setwise.finetuning.rows.writing import Written

METHODS = ("match", "random", "nearest", "less", "dsir")

#: Those that choose a number of rows; the others weigh all.
_CHOOSE = ("nearest", "less")

#: Endings of a file of numbers and probabilities.
_INDICES = (".npy", ".csv", ".parquet", ".jsonl")


class Steps:
    """Tells a bar of the steps, and remembers the last."""

    def __init__(self) -> None:
        self.bar: Callable[[str, int, int], object] = lambda step, done, total: None
        self.last = ""

    def __call__(self, step: str, done: int, total: int) -> None:
        """Tell of a step, how much of it is done, and how much there is."""
        self.last = step
        self.bar(step, done, total)


@dataclass(frozen=True)
class Wish:
    """What the command line asks for.

    Attributes
    ----------
    method : str
        One of `METHODS`.
    matching : mapping
        Keyword arguments of `setwise.finetuning.match`.
    rows, fraction, tokens : int, float, int, or None
        At most one of them.
    length_column : str or None
    epochs : int
    replace : bool
    seed : int
    threads : int or None
    sweep : bool
    out, indices, drawn, plot : Path or None
    force : bool
    """

    method: str
    matching: Mapping[str, Any]
    rows: int | None
    fraction: float | None
    tokens: int | None
    length_column: str | None
    epochs: int
    replace: bool
    seed: int
    threads: int | None
    sweep: bool
    out: Path | None
    indices: Path | None
    drawn: Path | None
    plot: Path | None
    force: bool

    @property
    def has_budget(self) -> bool:
        """Whether it says how many rows an epoch has."""
        return self.rows is not None or self.fraction is not None or self.tokens is not None

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides which rows are drawn, as plain values."""
        matching = {name: value for name, value in self.matching.items() if name != "workers"}
        return {
            "method": self.method,
            **(matching if self.method == "match" else {}),
            "seed": self.seed,
            "rows": self.rows,
            "fraction": self.fraction,
            "tokens": self.tokens,
            "length_column": self.length_column,
            "epochs": self.epochs,
            "replacement": self.replace,
        }

    def check(self) -> None:
        """Refuse what no repository could make right, before any is read.

        Raises
        ------
        FileExistsError, FileNotFoundError, TypeError, ValueError
        """
        from setwise.finetuning.rows.draw import count
        from setwise.finetuning.rows.writing import check_target
        from setwise.objectives.transport import REGULARIZERS

        checks.choice("method", self.method, METHODS)
        checks.choice("regularizer", self.matching["regularizer"], REGULARIZERS)
        checks.fraction("diversity", self.matching["diversity"])
        for name in ("scale", "kernel_width"):
            if self.matching[name] != "auto":
                checks.positive(name, self.matching[name])
        checks.integer("neighbors", self.matching["neighbors"], least=2)
        checks.integer("density_neighbors", self.matching["density_neighbors"], least=1)
        checks.integer("epochs", self.epochs, least=1)
        checks.integer("seed", self.seed, least=0)
        budgets = {"rows": self.rows, "fraction": self.fraction, "tokens": self.tokens}
        named = [f"--{name}" for name, value in budgets.items() if value is not None]
        if len(named) > 1:
            raise ValueError(f"rows: {' and '.join(named)} are two budgets; leave one out")
        if self.sweep:
            self._check_sweep(named)
        elif self.plot is not None:
            raise ValueError("plot: it draws the table of --sweep; add --sweep")
        elif self.out is not None and not named:
            raise ValueError("rows: say how many to write with --rows, --fraction or --tokens")
        if self.tokens is not None:
            checks.integer("tokens", self.tokens, least=1)
        elif named:
            count(1, rows=self.rows, fraction=self.fraction)
        if self.method in _CHOOSE and (self.tokens is not None or not named):
            raise ValueError(f"rows: {self.method} chooses a number of rows; give --rows or --fraction")
        if self.out is not None:
            check_target(self.out, force=self.force)
        if self.drawn is not None and not named:
            raise ValueError("rows: say how many to draw with --rows, --fraction or --tokens")
        for name, path in (("indices", self.indices), ("drawn", self.drawn)):
            if path is not None:
                check_output(path, force=self.force, argument=name, endings=_INDICES)

    def _check_sweep(self, named: list[str]) -> None:
        if self.method != "match":
            raise ValueError(f"sweep: {self.method} has no diversity to try; leave --method out")
        given = [
            *named,
            *(f"--{name}" for name in ("out", "indices", "drawn") if getattr(self, name) is not None),
        ]
        if given:
            raise ValueError(f"sweep: it prints a table and chooses no rows; leave {given[0]} out")
        if self.plot is not None:
            if ending(self.plot) not in (".png", ".svg", ".pdf"):
                raise ValueError(f"plot: {str(self.plot)!r} ends in none of .png, .svg, .pdf")
            if self.plot.exists() and not self.force:
                raise FileExistsError(f"plot: {str(self.plot)!r} exists; add --force to replace it")


@dataclass(eq=False)
class Outcome:
    """What a run found, drew and wrote.

    Attributes
    ----------
    read : Read
    wish : Wish
    distribution : Distribution or None
        Over candidates; None for a sweep.
    sweep : Sweep or None
    draws : list of ndarray, int64
        Rows of the repository, an array an epoch.
    tokens : list of int
        Of each epoch, where the budget is one of tokens.
    written : Written or None
    notes : list of str
    seconds : dict of str to float
    """

    read: Read
    wish: Wish
    distribution: Distribution | None = None
    sweep: Sweep | None = None
    draws: list[NDArray[np.int64]] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    written: Written | None = None
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def run(read: Read, wish: Wish, steps: Steps) -> Outcome:
    """Choose, draw and write; see `Wish`."""
    if read.repository is None:
        for name in ("out", "tokens"):
            if getattr(wish, name) is not None:
                raise ValueError(
                    f"{name}: the repository is a .npy file of vectors, without rows; --drawn FILE writes "
                    "the numbers of those drawn, --indices FILE all probabilities"
                )
    outcome = Outcome(read, wish, notes=list(read.notes))
    lengths = None
    if wish.tokens is not None:
        lengths = _lengths(read, wish, steps, outcome)
    began = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        if wish.sweep:
            from setwise.finetuning.api import sweep

            settings = {name: value for name, value in wish.matching.items() if name != "diversity"}
            outcome.sweep = sweep(
                read.candidates,
                read.examples,
                **settings,
                seed=wish.seed,
                threads=wish.threads,
                progress=steps,
            )
            if wish.plot is not None:
                outcome.sweep.plot(wish.plot, force=wish.force)
        else:
            outcome.distribution = _chosen(read, wish, steps)
    outcome.seconds["choosing"] = time.perf_counter() - began
    outcome.notes += [
        str(each.message)
        for each in caught
        if each.category is UserWarning and not str(each.message).startswith("neighbors:")
    ]
    if outcome.distribution is None:
        return outcome
    if wish.has_budget:
        _draw(outcome, lengths)
    began = time.perf_counter()
    _write(outcome, steps)
    outcome.seconds["writing"] = time.perf_counter() - began
    return outcome


def _chosen(read: Read, wish: Wish, steps: Steps) -> Distribution:
    """Return the distribution over candidates that a method gives."""
    if wish.method == "match":
        from setwise.finetuning.api import match

        return match(
            read.candidates,
            read.examples,
            **wish.matching,
            seed=wish.seed,
            threads=wish.threads,
            progress=steps,
        )
    steps("choosing", 0, 0)
    if wish.method == "random":
        return baselines.random(read.m)
    if wish.method == "dsir":
        return baselines.dsir(read.candidate_texts, read.example_texts() or [])
    from setwise.finetuning.rows.draw import count

    size = count(read.n, rows=wish.rows, fraction=wish.fraction)
    if size > read.m:
        raise ValueError(f"rows: {size:,} are more than the {read.m:,} there are to choose from")
    if wish.method == "nearest":
        return baselines.nearest(
            read.candidates, read.examples, size, metric="euclidean", threads=wish.threads
        )
    return baselines.less(read.candidates, read.examples, size, threads=wish.threads)


def _lengths(read: Read, wish: Wish, steps: Steps, outcome: Outcome) -> NDArray[np.int64]:
    """Return the tokens of every row of the repository."""
    from setwise.finetuning.rows.draw import token_counts, word_counts

    assert read.repository is not None
    steps("counting", 0, 0)
    if wish.length_column is not None:
        return token_counts(read.repository, wish.length_column)
    outcome.notes.append("tokens are counted as words; --length-column names a column of token counts")
    return word_counts(read.repository)


def _draw(outcome: Outcome, lengths: NDArray[np.int64] | None) -> None:
    from setwise.finetuning.rows.draw import draw

    read, wish = outcome.read, outcome.wish
    assert outcome.distribution is not None
    outcome.draws = draw(
        outcome.distribution,
        rows=wish.rows,
        fraction=wish.fraction,
        tokens=wish.tokens,
        lengths=lengths,
        of=read.rows,
        n=read.n,
        epochs=wish.epochs,
        seed=wish.seed,
        replace=wish.replace,
    )
    if lengths is not None:
        outcome.tokens = [int(lengths[drawn].sum()) for drawn in outcome.draws]


def _write(outcome: Outcome, steps: Steps) -> None:
    """Write what is asked for: the rows' numbers and probabilities, and the rows."""
    read, wish = outcome.read, outcome.wish
    if wish.indices is not None:
        assert outcome.distribution is not None
        _write_indices(outcome.distribution, read, wish.indices, wish.force)
    if wish.drawn is not None:
        epochs = np.repeat(np.arange(1, len(outcome.draws) + 1), [len(rows) for rows in outcome.draws])
        columns = {"epoch": epochs, "row": np.concatenate(outcome.draws)}
        _write_columns(columns, wish.drawn, wish.force)
    if wish.out is None:
        return
    from setwise.finetuning.rows.writing import KINDS, write_epochs, write_file

    assert read.repository is not None
    steps("writing", 0, 0)
    if ending(wish.out) in KINDS:
        outcome.written = write_file(
            read.repository, outcome.draws, wish.out, force=wish.force, progress=steps
        )
        return
    settings = {"setwise": __version__, "encoder": read.encoder, **wish.settings}
    for name in ("scale", "kernel_width"):  # the numbers that "auto" came to
        used = getattr(outcome.distribution, name, None)
        if used is not None:
            settings[name] = None if np.isnan(used) else used
    outcome.written = write_epochs(
        read.repository, outcome.draws, wish.out, settings=settings, force=wish.force, progress=steps
    )


def _write_indices(distribution: Distribution, read: Read, path: Path, force: bool) -> None:
    """Write the rows of positive probability: .npy a structured array, else a table."""
    rows = distribution.indices if read.rows is None else read.rows[distribution.indices]
    _write_columns({"row": rows, "probability": distribution.probabilities}, path, force)


def _write_columns(columns: dict[str, NDArray[Any]], path: Path, force: bool) -> None:
    """Write columns of numbers: as .npy a structured array, else as a table."""
    if ending(path) != ".npy":
        write_table(path, {name: values.tolist() for name, values in columns.items()}, force=force)
        return
    table = np.empty(
        len(next(iter(columns.values()))), [(name, each.dtype) for name, each in columns.items()]
    )
    for name, values in columns.items():
        table[name] = values
    write_array(path, table, force=force)
