"""From files to rows to train on: read, encode, choose, draw and write, as ``setwise finetune`` does."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, Field, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks, encode
from setwise.files.lengths import counter
from setwise.finetuning.api import DIVERSITIES, checked_diversities, swept
from setwise.finetuning.importance import MIN_WORDS
from setwise.finetuning.leakage import examined
from setwise.finetuning.matched import Sweep
from setwise.finetuning.methods import METHODS
from setwise.finetuning.outputs import check_outputs
from setwise.finetuning.parameters import MatchParameters, weights_of
from setwise.finetuning.row_selection import RowSelection
from setwise.finetuning.rows.draw import MOST_EPOCHS, check_draws, count, text_lengths, token_counts
from setwise.finetuning.rows.repository import Repository
from setwise.finetuning.rows.sides import as_path, name_of
from setwise.finetuning.rows.writing import (
    check_holds,
)
from setwise.finetuning.search import check_index
from setwise.finetuning.selecting import selected_rows
from setwise.finetuning.shares import check_sum, checked_limits
from setwise.finetuning.sources import OpenSources, Sources
from setwise.progress import StepProgress

#: The parameters that only the method "match" looks at.
_OF_MATCH = (
    "diversity",
    *(one.name for one in fields(MatchParameters) if one.name not in ("seed", "threads", "workers")),
)

#: Parameters that only one other method looks at, and which.
_OF_ONE = {"min_words": "dsir", "subtask_column": "less"}


@dataclass(frozen=True, eq=False)
class Pipeline(Sources, MatchParameters):
    """The rows of a repository to finetune on, matched to a few examples of the task: from files to files.

    Everything that ``setwise finetune`` takes, under the same names and with the same defaults, checked when
    it is made. `run` does the work:

    >>> Pipeline("rows.jsonl", "task.jsonl", rows=10_000, out="train.jsonl").run()  # doctest: +SKIP

    Parameters
    ----------
    repository, examples, text_column, example_text_column, vectors, example_vectors, model, empty, cache
        What to read; see `Sources`.
    method : {"match", "random", "nearest", "doubly-greedy", "less", "uot", "dsir"}
        How rows are chosen: `match`, or a baseline of `setwise.finetuning.baselines`.
    diversity : float
        In [0, 1]; see `match`.
    regularizer, scale, kernel_width, neighbors, density_neighbors, index, threads
        Of the method "match"; see `match`.
    workers : int or str, optional
        Local processes, "ray", or a Ray address: they encode, where a model does, and write the epochs of a
        folder; of the method "match" they search, too. The other methods' choice is one process's: a pass or
        a few over the vectors.
    quality, densities : str or array-like of shape (N,), optional
        Of the method "match"; see `match`. A column of the repository, or a number for each of its rows.
    min_words : int
        Of the method "dsir": rows of fewer words are left out; 100 as released. 0 keeps all.
    subtask_column : str, optional
        Of the method "less": the column of the examples that names each one's subtask. A row's score is its
        greatest influence on any of them; by default all examples are one.
    seed : int
        Of what is random: the encoder, the sample that "auto" looks at, the rows drawn.
    rows : int, optional
        Rows an epoch. Of rows, fraction and tokens at most one is given; where none is, no rows are drawn.
    fraction : float, optional
        In (0, 1]: rows an epoch, as a share of the repository's.
    tokens : int, optional
        Tokens an epoch: as many rows as fit.
    tokenizer : str
        What counts tokens; see `setwise.files.lengths.counter`. All roles of a conversation count.
    length_column : str, optional
        The column of each row's tokens, in place of counting.
    epochs : int
        1 to 10,000; each is drawn afresh.
    replace : bool, optional
        Whether a row may be drawn again within an epoch; by default for "match" alone.
    limits : mapping of str to float or (float, float), optional
        By column the most, or the least and the most, of the draws that rows of one label are, as shares of
        1; see `setwise.finetuning.shares.limited`. In expectation: an epoch is drawn at random.
    exclude_examples : bool
        Leave out rows that are examples, or nearly; see `setwise.finetuning.leakage.leaked`.
    out : path-like, optional
        Where rows are written: a .parquet or .jsonl file, or a folder with one file an epoch.
    indices : path-like, optional
        Where every row of positive probability is written with it: .npy, .csv, .parquet or .jsonl.
    drawn : path-like, optional
        Where the numbers of the rows drawn are written, in order, with their epoch: as ``indices``.
    force : bool
        Replace existing files of these names.

    Raises
    ------
    TypeError
        A parameter is of another type.
    ValueError
        A parameter is outside its range, unknown, or of no use beside the others.
    """

    _: KW_ONLY
    method: str = "match"
    diversity: float = 0.4
    min_words: int = MIN_WORDS
    subtask_column: str | None = None
    rows: int | None = None
    fraction: float | None = None
    tokens: int | None = None
    tokenizer: str = "tokens"
    length_column: str | None = None
    epochs: int = 1
    replace: bool | None = None
    limits: Mapping[str, Any] | None = None
    exclude_examples: bool = False
    out: str | os.PathLike[str] | None = None
    indices: str | os.PathLike[str] | None = None
    drawn: str | os.PathLike[str] | None = None
    force: bool = False

    def __post_init__(self) -> None:
        Sources.__post_init__(self)
        MatchParameters.__post_init__(self)
        checks.choice("method", self.method, METHODS)
        checks.fraction("diversity", self.diversity)
        checks.integer("min_words", self.min_words, least=0)
        for name, of in _OF_ONE.items():
            if self.method != of and getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise ValueError(f"{name}: it goes with the method {of}; {self.method} does not look at it")
        checks.integer("epochs", self.epochs, least=1, most=MOST_EPOCHS)
        checks.flag("exclude_examples", self.exclude_examples)
        if self.replace is not None:
            checks.flag("replace", self.replace)
        if len(self.budgets) > 1:
            raise ValueError(f"rows: {' and '.join(self.budgets)} are two budgets; leave one out")
        if self.tokens is not None:
            checks.integer("tokens", self.tokens, least=1)
        elif self.budgets:
            check_draws("rows", count(1, rows=self.rows, fraction=self.fraction), self.epochs)
        elif self.out is not None:
            raise ValueError("rows: say how many to write, by rows, fraction or tokens")
        elif self.drawn is not None:
            raise ValueError("rows: say how many to draw, by rows, fraction or tokens")
        if METHODS[self.method].counts and (self.tokens is not None or not self.budgets):
            raise ValueError(f"rows: {self.method} chooses a number of rows; give rows or fraction")
        counter(self.tokenizer)
        if self.tokenizer != "tokens" and (self.tokens is None or self.length_column is not None):
            raise ValueError("tokenizer: it counts for tokens, where length_column does not")
        if self.length_column is not None and self.tokens is None:
            raise ValueError("length_column: it goes with tokens")
        if not self.budgets and (self.epochs > 1 or self.replace is not None):
            name = "epochs" if self.epochs > 1 else "replace"
            raise ValueError(f"{name}: it goes with a number of rows; give rows, fraction or tokens")
        if checked_limits(self.limits) and (METHODS[self.method].counts or self.method == "dsir"):
            raise ValueError(f"limits: {self.method} chooses distinct rows, whatever their labels")
        if self.exclude_examples and METHODS[self.method].needs == "rows":
            raise ValueError(f"exclude_examples: {self.method} does not look at examples")
        for one in fields(self):
            if self.method != "match" and one.name in _OF_MATCH and _is_set(self, one):
                raise ValueError(
                    f"{one.name}: it goes with the method match; {self.method} does not look at it"
                )

    @property
    def budgets(self) -> list[str]:
        """Names of the parameters that say how many rows an epoch has: none or one."""
        return [name for name in ("rows", "fraction", "tokens") if getattr(self, name) is not None]

    @property
    def replaces(self) -> bool:
        """Whether a row may be drawn again within an epoch."""
        return self.method == "match" if self.replace is None else self.replace

    def settings(self) -> dict[str, Any]:
        """Return all that decides which rows are drawn, as plain values."""
        matching = {name: getattr(self, name) for name in _OF_MATCH}
        matching["index"] = name_of(as_path(self.index)) or type(self.index).__name__
        for name in ("quality", "densities"):
            matching[name] = name_of(matching[name])
        return {
            "method": self.method,
            **(matching if self.method == "match" else {}),
            **{name: getattr(self, name) for name, of in _OF_ONE.items() if self.method == of},
            "seed": self.seed,
            "rows": self.rows,
            "fraction": self.fraction,
            "tokens": self.tokens,
            "tokenizer": self.tokenizer,
            "length_column": self.length_column,
            "epochs": self.epochs,
            "replace": self.replaces,
            "limits": {name: list(ends) for name, ends in checked_limits(self.limits).items()},
            "exclude_examples": self.exclude_examples,
        }

    def run(self, progress: StepProgress | None = None) -> RowSelection:
        """Read, choose, draw and write.

        Parameters
        ----------
        progress : callable, optional
            Called with the step, how much of it is done, and how much there is.

        Returns
        -------
        RowSelection

        Raises
        ------
        FileExistsError
            An output is there and ``force`` is not given.
        FileNotFoundError
            A source or the folder of an output is missing.
        IsADirectoryError, NotADirectoryError, PermissionError
            An output cannot be written where it is named.
        TimeoutError
            Another process is writing epochs into the same folder.
        TypeError
            A cell holds something else than a text, a number or a vector.
        ValueError
            Sources are damaged, empty or do not fit together; vectors have NaN; fewer rows than asked for can
            be drawn; or an output is one of the sources.

        Warns
        -----
        UserWarning
            The neighbors ran out before the optimum; see `match`.
        """
        self.check_outputs()
        with self.opened(METHODS[self.method].needs, progress) as sources:
            return selected_rows(self, sources, progress or (lambda step, done, total: None))

    def sweep(
        self, diversities: Iterable[float] = DIVERSITIES, *, progress: StepProgress | None = None
    ) -> Sweep:
        """Match with several diversities, without drawing or writing rows; the neighbors are searched once.

        Raises
        ------
        FileNotFoundError, TypeError
            As for `Sources.opened`.
        ValueError
            As for `Sources.opened`, or no diversity is given, or one is outside [0, 1].
        """
        diversities = checked_diversities(diversities)
        with self.opened(progress=progress) as sources:
            return self.swept(sources, diversities, progress=progress)

    def swept(
        self,
        sources: OpenSources,
        diversities: Iterable[float] = DIVERSITIES,
        *,
        progress: StepProgress | None = None,
    ) -> Sweep:
        """Match sources that are open with several diversities; see `sweep`.

        Raises
        ------
        ValueError
            There are several targets.
        """
        if sources.targets:
            raise ValueError("examples: a sweep is of one target; leave the others out")
        return swept(sources.candidates, sources.examples, diversities, self.matching(sources), progress)

    def encoding(self) -> contextlib.AbstractContextManager[encode.Encoder]:
        """Return a context of what encodes texts: ``workers`` that hold the model, where it is one's name."""
        if self.workers is None or not isinstance(self.model, str):
            return super().encoding()
        if encode.parse(self.model)[0] not in encode.OF_MODELS:
            return super().encoding()
        from setwise.encode.spread import spread

        return spread(self.model, self.seed, self.workers)

    def check_outputs(self) -> None:
        """Refuse outputs that could not be written, or that are read, before any work; see `run`."""
        check_outputs(self)

    def check_rows(self, repository: Repository | None) -> None:
        """Refuse, before any work, columns that are not there, and rows that the output has no place for.

        Raises
        ------
        TypeError
            A column of numbers or labels holds something else.
        ValueError
            A column is missing, has a number that is out of range, or holds what the output's format does
            not; there are fewer rows than are to be different; or the index is no index.
        """
        for name in ("quality", "densities", "limits"):
            asked = getattr(self, name)
            if repository is None and (isinstance(asked, str) or (name == "limits" and asked)):
                raise ValueError(f"{name}: the repository is vectors without rows, so it has no columns")
        if repository is None:
            return
        if self.out is not None:
            check_holds(repository, self.out)
        weights_of(self._matching(repository), len(repository))
        for name, (_, most) in checked_limits(self.limits).items():
            check_sum(name, len(set(repository.labels(name, "limits"))), 0.0, most)
        if self.tokens is not None and int((lengths := self.lengths_in(repository)).min()) > self.tokens:
            raise ValueError(
                f"tokens: {self.tokens:,} hold no row; the shortest has {lengths.min():,}. Raise the budget"
            )
        if self.rows is not None and not self.replaces and self.rows > len(repository):
            raise ValueError(
                f"rows: {self.rows:,} are more than the {len(repository):,} there are to choose from"
            )

    def lengths_in(self, repository: Repository) -> NDArray[np.int64]:
        """Return the tokens of every row, shape (n,): of a column, or counted once."""
        if self.length_column is not None:
            return token_counts(repository, self.length_column)
        return text_lengths(repository, self.tokenizer)

    def _examples(self, *given: Any) -> tuple[Repository | None, NDArray[Any] | None]:
        shown, vectors = super()._examples(*given)
        if self.subtask_column is not None and shown is not None:
            shown.labels(self.subtask_column, "subtask_column")
        return shown, vectors

    def matching(self, sources: OpenSources) -> MatchParameters:
        """Return the parameters of `match` over sources that are open, with a number for each candidate."""
        found = self._matching(sources.repository)
        weights_of(found, sources.n)
        rows = sources.rows_of(np.arange(sources.m))
        quality, densities = (
            None if values is None else np.asarray(values)[rows]
            for values in (found.quality, found.densities)
        )
        return replace(found, quality=quality, densities=densities)

    def _matching(self, repository: Repository | None) -> MatchParameters:
        """Return the parameters of `match`, with numbers in place of the names of columns."""
        found = {one.name: getattr(self, one.name) for one in fields(MatchParameters)}
        for name in ("quality", "densities"):
            if isinstance(found[name], str):
                assert repository is not None
                found[name] = repository.numbers(found[name], name)
        return MatchParameters(**found)

    @contextlib.contextmanager
    def opened(self, needs: str = "vectors", progress: StepProgress | None = None) -> Iterator[OpenSources]:
        """Read the repository and the examples, and look for examples among the rows; see `Sources.opened`.

        Raises
        ------
        FileNotFoundError, TypeError, ValueError
            As for `Sources.opened`; or no row is left where examples are excluded.
        """
        if self.method == "match":
            check_index(self.index)
        with self.at_work(), super().opened(needs, progress) as sources:
            if needs == "rows":
                yield sources
                return
            with examined(self, sources, progress) as found:
                yield found

    def size_among(self, sources: OpenSources) -> int:
        """Return how many rows a method that counts them is to choose.

        Raises
        ------
        ValueError
            They are more than there are.
        """
        size = count(sources.n, rows=self.rows, fraction=self.fraction)
        if size > sources.m:
            raise ValueError(f"rows: {size:,} are more than the {sources.m:,} there are to choose from")
        return size


def _is_set(pipeline: Pipeline, one: Field[Any]) -> bool:
    """Return whether a parameter is not what it is by default."""
    value = getattr(pipeline, one.name)
    return value is not None if one.default is None else bool(value != one.default)
