"""What rows are chosen from and for: a repository and examples, as vectors of one width."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks, encode
from setwise.encode.base import checked_encoder
from setwise.encode.places import folder_for
from setwise.files.names import ending, named
from setwise.finetuning.leakage import Leaked
from setwise.finetuning.rows.conversations import checked_roles
from setwise.finetuning.rows.encoding import EMPTY, encode_examples, encoded_rows
from setwise.finetuning.rows.repository import Repository
from setwise.finetuning.rows.sides import (
    Source,
    as_path,
    check_path,
    is_empty,
    opened_side,
    vectors_of,
    with_text,
)
from setwise.finetuning.targets import Target, named_examples
from setwise.progress import StepProgress, check_progress

#: What may be looked at of sources.
NEEDS = ("vectors", "texts", "rows")


@dataclass(frozen=True, eq=False)
class OpenSources:
    """A repository and examples, as vectors where these are asked for.

    Attributes
    ----------
    n : int
        Rows of the repository.
    repository : Repository or None
        None where there are only vectors.
    rows : ndarray of shape (m,), int64, or None
        The repository's row of each candidate; None = candidates are the rows.
    candidates : ndarray of shape (m, d), or None
    examples : ndarray of shape (M, d), or None
    shown : Repository or None
        The examples' rows, for their texts.
    example_rows : ndarray of shape (M,), int64
        The row of each example in its file.
    encoder : str or None
        How it is printed; None where nothing was encoded.
    cached : bool
        Whether all vectors were there from an earlier run.
    notes : tuple of str
        What was left out, and what an encoder has learned from.
    leaked : Leaked or None
        Candidates that are examples, by their numbers before any were left out.
    targets : tuple of Target
        Where there are several.
    """

    n: int
    repository: Repository | None = None
    rows: NDArray[np.int64] | None = None
    candidates: NDArray[Any] | None = None
    examples: NDArray[Any] | None = None
    shown: Repository | None = None
    example_rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    encoder: str | None = None
    cached: bool = False
    notes: tuple[str, ...] = ()
    leaked: Leaked | None = None
    targets: tuple[Target, ...] = ()

    def for_targets(self, targets: Sequence[Target]) -> OpenSources:
        """Return these with examples: of one target its own, of several all of theirs together."""
        if len(targets) == 1:
            one = targets[0]
            return replace(self, examples=one.examples, shown=one.shown, example_rows=one.rows)
        pooled = np.concatenate([one.examples for one in targets])
        return replace(self, examples=pooled, targets=tuple(targets))

    def of(self, target: Target) -> OpenSources:
        """Return these with the examples of one of several targets alone."""
        return replace(self, targets=()).for_targets([target])

    @property
    def m(self) -> int:
        """Candidates: rows that can be chosen."""
        return self.n if self.rows is None else len(self.rows)

    def rows_of(self, candidates: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return candidates as rows of the repository."""
        return candidates if self.rows is None else self.rows[candidates]

    def candidate_texts(self) -> Iterator[str]:
        """Yield the text of every candidate, where the repository has texts."""
        assert self.repository is not None
        wanted = np.zeros(self.n, bool)
        wanted[self.rows_of(np.arange(self.m))] = True
        at = 0
        for texts in self.repository.texts():
            yield from (text for text, keep in zip(texts, wanted[at : at + len(texts)], strict=True) if keep)
            at += len(texts)

    def example_texts(self, places: Sequence[int] | NDArray[np.integer] | None = None) -> list[str] | None:
        """Return the texts of some examples, all by default; None where there are only vectors.

        Of several targets they are those of all, one target after the other.
        """
        if self.targets and places is None:
            each = [self.of(target).example_texts() for target in self.targets]
            return [text for texts in each if texts is not None for text in texts]
        chosen = self.example_rows if places is None else self.example_rows[np.asarray(places, np.int64)]
        return _texts_of(self.shown, chosen)

    def example_labels(self, name: str) -> list[str | int]:
        """Return a column of the examples, a label for each.

        Raises TypeError: a row has neither a string nor a whole number; ValueError: the examples are vectors
        alone, or have no such column.
        """
        if self.shown is None:
            raise ValueError("subtask_column: the examples are vectors without rows, so they have no columns")
        labels = self.shown.labels(name, "subtask_column")
        return [labels[row] for row in self.example_rows.tolist()]

    def texts_of(self, rows: NDArray[np.integer]) -> list[str] | None:
        """Return the texts of some rows of the repository; None where there are only vectors."""
        return _texts_of(self.repository, rows)


@dataclass(frozen=True, eq=False)
class Sources:
    """A repository to choose rows from, and examples of the task to choose them for.

    Parameters
    ----------
    repository : path-like, frame or array-like of shape (N, d)
        A table (.parquet, .jsonl, .json, .csv, .arrow, .feather), a folder of such files of one kind, a frame
        of pandas, polars, Arrow or a Hugging Face dataset, or vectors: an array or a .npy file.
    examples : path-like or array-like of shape (M, d), or a mapping of str to such, optional
        The same of the task; or of several, by name, each alone or with its weight as (source, weight): each
        has its share of the draws.
    text_column, example_text_column : str or sequence of str, optional
        What a row's text is made of; see `Repository`. Examples have the repository's columns by default.
    roles : str or sequence of str
        Whose turns of a conversation are its text; see `Repository`. By default all but the system's.
    vectors, example_vectors : str, path-like or array-like, optional
        Your own vectors, one a row, of the repository and of the examples: a column, a .npy file or an
        array. Nothing is encoded then.
    model : str or Encoder
        What encodes texts; see `setwise.encode.encoder`.
    empty : {"drop", "refuse"}
        What becomes of rows without a word that the encoder knows.
    cache : path-like, "auto" or None
        Where encoded texts are kept: by default beside the repository; None keeps nothing.
    seed : int
        For an encoder that draws at random while it learns.

    Raises
    ------
    ValueError
        The model or ``empty`` is unknown, a path is empty, or the seed is below 0.
    TypeError
        One of them is of another type.
    """

    repository: Source
    examples: Source | Mapping[str, Any] | None = None
    _: KW_ONLY
    text_column: str | Sequence[str] = ()
    example_text_column: str | Sequence[str] = ()
    roles: str | Sequence[str] = ()
    vectors: Source | None = None
    example_vectors: Source | None = None
    model: str | encode.Encoder = "auto"
    empty: str = "drop"
    cache: str | os.PathLike[str] | None = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.model, str):
            encode.parse(self.model)
        else:
            checked_encoder(self.model, "model")
        checks.choice("empty", self.empty, EMPTY)
        checked_roles(self.roles)
        for name in ("text_column", "example_text_column"):
            checks.names(name, getattr(self, name))
        for name in ("repository", "vectors", "example_vectors"):
            check_path(getattr(self, name), name)
        for *_, source in named_examples(self.examples):
            check_path(source, "examples")
        if self.cache is not None:
            named(self.cache, "cache", "folder")
        checks.integer("seed", self.seed, least=0)

    @property
    def task(self) -> Source | Mapping[str, Any] | None:
        """What the examples are known by: their rows, else their vectors."""
        return self.example_vectors if self.examples is None else self.examples

    def cache_folder(self) -> Path | None:
        """Return where encoded texts are kept, if anywhere.

        Raises
        ------
        PermissionError
            The folder that was named cannot be written.
        """
        path = as_path(self.repository)
        if self.cache is None or self.vectors is not None or path is None:
            return None
        if not path.exists() or ending(path) == ".npy":
            return None
        return folder_for(path, None if self.cache == "auto" else self.cache)

    def encoding(self) -> contextlib.AbstractContextManager[encode.Encoder]:
        """Return a context of what encodes texts; here it is this process."""
        made = encode.encoder(self.model, seed=self.seed) if isinstance(self.model, str) else self.model
        return contextlib.nullcontext(made)

    def check_rows(self, repository: Repository | None) -> None:
        """Refuse, before any work, rows that could not be written after it; here nothing is written."""

    @contextlib.contextmanager
    def opened(self, needs: str = "vectors", progress: StepProgress | None = None) -> Iterator[OpenSources]:
        """Read the repository and the examples; vectors that are kept nowhere last as long as the context.

        Parameters
        ----------
        needs : {"vectors", "texts", "rows"}
            What is looked at: vectors of both; the texts of both; or the repository's rows alone.
        progress : callable, optional
            Called with the step, how much of it is done, and how much there is.

        Raises
        ------
        FileNotFoundError
            A file is missing.
        TypeError
            A cell holds something else than a text or a vector.
        ValueError
            A file is damaged or empty; a column is not there or not known; rows, vectors and examples do not
            fit together; or a text has no word, under "refuse".
        """
        checks.choice("needs", needs, NEEDS)
        check_progress(progress)
        tell = progress or (lambda step, done, total: None)
        tell("reading", 0, 0)
        with contextlib.ExitStack() as stack:
            repository, own = opened_side(
                self.repository, self.text_column, self.vectors, "repository", stack, self.roles
            )
            self.check_rows(repository)
            if needs == "rows":
                yield self._plain(repository, own, (), tell)[0]
                return
            targets = named_examples(self.examples)
            worded = own is None or needs == "texts"
            sides = [self._examples(source, worded, needs, stack) for *_, source in targets]
            if needs != "texts":
                for _, theirs in sides:
                    _check_both(own, theirs)
            if needs == "texts":
                with_rows = [shown for shown, _ in sides if shown is not None]
                if repository is None or len(with_rows) < len(sides):
                    raise ValueError(
                        "method: it counts words, so repository and examples must be rows with texts"
                    )
                found, kept = self._plain(repository, None, with_rows, tell)
                probes = [(np.empty((len(rows), 0), np.float32), rows) for rows in kept]
            elif own is None:
                assert repository is not None
                found, probes = self._encoded(repository, [shown for shown, _ in sides], stack, tell)
            else:
                found = OpenSources(len(own), repository, None, own)
                probes = [(theirs, np.arange(len(theirs))) for _, theirs in sides if theirs is not None]
            each = zip(targets, sides, probes, strict=True)
            yield found.for_targets(
                [
                    Target(name, share, vectors, shown, rows)
                    for (name, share, _), (shown, _), (vectors, rows) in each
                ]
            )

    def _examples(
        self, source: Source | None, encoded: bool, needs: str, stack: contextlib.ExitStack
    ) -> tuple[Repository | None, NDArray[Any] | None]:
        """Return the examples' rows and vectors; their texts are in the repository's columns by default."""
        if source is None:
            if self.example_vectors is None or needs == "texts":
                what = "" if needs == "texts" else " or example_vectors (--example-vectors)"
                raise ValueError(f"examples: say what the task is like with examples (--examples){what}")
            return None, vectors_of(self.example_vectors, "example_vectors")
        text = self.example_text_column or (self.text_column if encoded else ())
        return opened_side(source, text, self.example_vectors, "examples", stack, self.roles)

    def _plain(
        self,
        repository: Repository | None,
        own: NDArray[Any] | None,
        sides: Sequence[Repository],
        tell: StepProgress,
    ) -> tuple[OpenSources, list[NDArray[np.int64]]]:
        """Return a repository that is not encoded, and each side's rows; without those without text."""
        if repository is None:
            assert own is not None
            return OpenSources(len(own)), []
        n = len(repository)
        if not repository.text and not sides:
            return OpenSources(n, repository), []
        rows, notes = with_text(repository, tell), _told(repository, *sides)
        examples = [with_text(side, lambda *_: None) for side in sides]
        for each, kept in ((repository, rows), *zip(sides, examples, strict=True)):
            missing, where = len(each) - len(kept), each.where
            if not len(kept):
                raise ValueError(f"{each.argument}: no row of {each.source.name} has text in {where}")
            if missing and self.empty == "refuse":
                raise is_empty(each, int(np.setdiff1d(np.arange(len(each)), kept)[0]))
            if missing:
                lost = f"{missing:,} of {len(each):,} rows left out, without text in {where}"
                notes.append(f"{each.source.name}: {lost}")
        return OpenSources(n, repository, rows if len(rows) < n else None, notes=tuple(notes)), examples

    def _encoded(
        self,
        repository: Repository,
        sides: Sequence[Repository | None],
        stack: contextlib.ExitStack,
        tell: StepProgress,
    ) -> tuple[OpenSources, list[tuple[NDArray[Any], NDArray[np.int64]]]]:
        """Encode a repository and examples alike; return it, and the vectors and rows of each side."""
        repository.text_columns()
        shown = [side for side in sides if side is not None]
        texts = [[text for block in side.texts() for text in block] for side in shown]
        folder = self.cache_folder()
        with self.encoding() as model:
            made = stack.enter_context(
                encoded_rows(repository, model, folder, empty=self.empty, progress=tell)
            )
            found = [encode_examples(own, model, folder, tell) for own in texts]
        notes, encoded = _told(repository, *shown), [(repository, made), *zip(shown, found, strict=True)]
        for side, theirs in encoded[1:]:
            if not len(theirs.rows):
                where = side.where
                raise ValueError(
                    f"examples: no row of {side.source.name} has a word that the encoder knows in {where}"
                )
            if len(theirs.unknown) and self.empty == "refuse":
                raise is_empty(side, int(theirs.unknown[0]))
        notes += [
            f"{each.source.name}: {own.n - len(own.rows):,} of {own.n:,} rows left out, without a word "
            f"that the encoder knows in {each.where}"
            for each, own in encoded
            if len(own.rows) < own.n
        ]
        if 0 < made.learned < made.n:
            notes.append(f"the encoder has learned from {made.learned:,} of {made.n:,} rows, spread evenly")
        kept = made.rows if len(made.rows) < made.n else None
        opened = OpenSources(
            made.n,
            repository,
            kept,
            made.vectors,
            encoder=model.name,
            cached=made.cached,
            notes=tuple(notes),
        )
        return opened, [(theirs.vectors, theirs.rows) for theirs in found]


def _check_both(own: NDArray[Any] | None, theirs: NDArray[Any] | None) -> None:
    """Refuse vectors of one side alone, or of two widths."""
    if (own is None) != (theirs is None):
        names = ("vectors", "example_vectors")
        has, lacks = names if theirs is None else names[::-1]
        raise ValueError(f"{lacks}: {has} brings its own, so the other side needs those of the same encoder")
    if own is not None and theirs is not None and own.shape[1] != theirs.shape[1]:
        raise ValueError(
            f"example_vectors: they have {theirs.shape[1]} d, the repository's {own.shape[1]}; "
            "encode both with the same model"
        )


def _told(*sides: Repository | None) -> list[str]:
    """Return which columns texts are read from, where that was not asked for."""
    return [f"{one.source.name}: {one.told}" for one in sides if one is not None and one.told]


def _texts_of(rows: Repository | None, places: NDArray[np.integer]) -> list[str] | None:
    return None if rows is None or not rows.text else rows.texts_of(places)
