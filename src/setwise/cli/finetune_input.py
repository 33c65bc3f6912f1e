"""What ``setwise finetune`` reads: a repository and examples, as vectors of one width."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.files import read_array
from setwise.files.names import column, ending, existing
from setwise.finetuning.rows.repository import Repository

#: Called with the step, how much of it is done, and how much there is.
Tell = Callable[[str, int, int], object]


@dataclass(frozen=True)
class Sources:
    """What the command line names.

    Attributes
    ----------
    repository : str
        Rows, or a .npy file of vectors.
    examples : str or None
        Rows, or a .npy file of vectors.
    text, example_text : tuple of str
        Columns; empty = found by their names.
    vectors, example_vectors : str or None
        Columns or .npy files.
    model : str
    empty : str
    cache : Path or None
        Where vectors are kept, if anywhere.
    seed : int
    """

    repository: str
    examples: str | None
    text: tuple[str, ...] = ()
    example_text: tuple[str, ...] = ()
    vectors: str | None = None
    example_vectors: str | None = None
    model: str = "auto"
    empty: str = "drop"
    cache: Path | None = None
    seed: int = 0

    def check(self) -> None:
        """Refuse what no file could make right, before any is read."""
        from setwise import encode
        from setwise.finetuning.rows.encoding import EMPTY

        encode.parse(self.model)
        checks.choice("empty", self.empty, EMPTY)


@dataclass(frozen=True, eq=False)
class Read:
    """A repository and examples, as vectors where the method looks at these.

    Attributes
    ----------
    repository : Repository or None
        None where there are only vectors.
    n : int
        Rows of the repository.
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
    """

    repository: Repository | None
    n: int
    rows: NDArray[np.int64] | None = None
    candidates: NDArray[Any] | None = None
    examples: NDArray[Any] | None = None
    shown: Repository | None = None
    example_rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    encoder: str | None = None
    cached: bool = False
    notes: tuple[str, ...] = ()

    @property
    def m(self) -> int:
        """Candidates: rows that can be chosen."""
        return self.n if self.rows is None else len(self.rows)

    def candidate_texts(self) -> Iterator[str]:
        """Yield the text of every candidate."""
        assert self.repository is not None
        wanted = np.ones(self.n, bool)
        if self.rows is not None:
            wanted[:] = False
            wanted[self.rows] = True
        at = 0
        for texts in self.repository.texts():
            yield from (text for text, keep in zip(texts, wanted[at : at + len(texts)], strict=True) if keep)
            at += len(texts)

    def example_texts(self, places: Sequence[int] | NDArray[np.integer] | None = None) -> list[str] | None:
        """Return the texts of some examples, all by default; None where there are only vectors."""
        if self.shown is None or not self.shown.text:
            return None
        rows = self.example_rows if places is None else self.example_rows[np.asarray(places, np.int64)]
        return self.shown.texts_of(rows)

    def texts_of(self, rows: NDArray[np.integer]) -> list[str] | None:
        """Return the texts of some rows of the repository; None where there are only vectors."""
        if self.repository is None or not self.repository.text:
            return None
        return self.repository.texts_of(rows)


@contextlib.contextmanager
def opened(sources: Sources, method: str, tell: Tell) -> Iterator[Read]:
    """Read a repository and examples; vectors made for it last as long as the context where none are kept.

    Parameters
    ----------
    sources : Sources
    method : str
        random looks at no examples, and neither it nor dsir at vectors.
    tell : callable

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        Something is missing, damaged, empty, or does not fit together.
    """
    tell("reading", 0, 0)
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(_opened(sources, method, tell, stack))


@contextlib.contextmanager
def _opened(sources: Sources, method: str, tell: Tell, stack: contextlib.ExitStack) -> Iterator[Read]:
    repository, own = _side(sources.repository, sources.text, sources.vectors, "repository", "vectors", stack)
    if method == "random":
        yield _plain(repository, own, None, sources, tell)
        return
    if sources.examples is None and (sources.example_vectors is None or method == "dsir"):
        what = "--examples" if method == "dsir" else "--examples or --example-vectors"
        raise ValueError(f"examples: say what the task is like with {what}")
    shown, theirs = _examples(sources, own is None or method == "dsir", stack)
    if method == "dsir":
        if repository is None or shown is None:
            raise ValueError("method: dsir counts words, so repository and examples must be rows with texts")
        yield _plain(repository, None, shown, sources, tell)
        return
    if (own is None) != (theirs is None):
        has, lacks = ("vectors", "example-vectors") if theirs is None else ("example-vectors", "vectors")
        raise ValueError(
            f"{lacks}: --{has} brings its own, so the other side needs those of the same encoder"
        )
    if own is None or theirs is None:
        assert repository is not None
        assert shown is not None
        with _encoded(repository, shown, sources, tell) as read:
            yield read
        return
    if own.shape[1] != theirs.shape[1]:
        raise ValueError(
            f"example-vectors: they have {theirs.shape[1]} d, the repository's {own.shape[1]}; encode both "
            "with the same model"
        )
    yield Read(repository, len(own), None, own, theirs, shown, np.arange(len(theirs)))


def _examples(
    sources: Sources, encoded: bool, stack: contextlib.ExitStack
) -> tuple[Repository | None, NDArray[Any] | None]:
    """Return the examples' rows and vectors; their texts have the repository's columns if they have them."""
    if sources.examples is None:
        assert sources.example_vectors is not None
        return None, _vectors(Path(sources.example_vectors), "example-vectors")
    text = sources.example_text or (sources.text if encoded else ())
    return _side(sources.examples, text, sources.example_vectors, "examples", "example-vectors", stack)


def _plain(
    repository: Repository | None,
    own: NDArray[Any] | None,
    shown: Repository | None,
    sources: Sources,
    tell: Tell,
) -> Read:
    """Return a repository whose rows are not encoded, without those that have no text."""
    if repository is None:
        assert own is not None
        return Read(None, len(own))
    n = len(repository)
    examples = np.empty(0, np.int64) if shown is None else _with_text(shown, lambda *_: None)
    if not repository.text and shown is None:
        return Read(repository, n)
    rows = _with_text(repository, tell)
    notes = []
    for each, kept in ((repository, rows), *(((shown, examples),) if shown is not None else ())):
        missing = len(each) - len(kept)
        if not len(kept):
            raise ValueError(f"{each.argument}: every row of {each.source.name} has no text")
        if missing and sources.empty == "refuse":
            first = int(np.setdiff1d(np.arange(len(each)), kept)[0])
            raise _is_empty(each, first)
        if missing:
            notes.append(f"{each.source.name}: {missing:,} of {len(each):,} rows left out, without text")
    return Read(
        repository, n, rows if len(rows) < n else None, None, None, shown, examples, notes=tuple(notes)
    )


def _with_text(rows: Repository, tell: Tell) -> NDArray[np.int64]:
    """Return the rows whose text has a letter or digit."""
    found = []
    done = 0
    for texts in rows.texts():
        found += [done + place for place, text in enumerate(texts) if any(map(str.isalnum, text))]
        done += len(texts)
        tell("reading", done, len(rows))
    return np.asarray(found, np.int64)


@contextlib.contextmanager
def _encoded(repository: Repository, shown: Repository, sources: Sources, tell: Tell) -> Iterator[Read]:
    """Encode a repository and examples alike."""
    from setwise.encode import encoder, known_rows
    from setwise.finetuning.rows.encoding import encode_examples, encoded_rows

    repository.text_columns()
    texts = [text for block in shown.texts() for text in block]
    model = encoder(sources.model, seed=sources.seed)
    with encoded_rows(repository, model, sources.cache, empty=sources.empty, progress=tell) as made:
        vectors = encode_examples(texts, model, sources.cache, tell)
        known = known_rows(vectors)
        bare = np.flatnonzero(~known)
        if not known.any():
            where = ", ".join(shown.text)
            raise ValueError(
                f"examples: no row of {shown.source.name} has a word that the encoder knows in {where}"
            )
        if len(bare) and sources.empty == "refuse":
            raise _is_empty(shown, int(bare[0]))
        notes = [
            f"{name}: {count:,} of {total:,} rows left out, without a word that the encoder knows"
            for name, total, count in (
                (repository.source.name, made.n, made.n - len(made.rows)),
                (shown.source.name, len(known), len(bare)),
            )
            if count
        ]
        if 0 < made.learned < made.n:
            notes.append(f"the encoder has learned from {made.learned:,} of {made.n:,} rows, spread evenly")
        yield Read(
            repository,
            made.n,
            made.rows if len(made.rows) < made.n else None,
            made.vectors,
            vectors[known],
            shown,
            np.flatnonzero(known),
            model.name,
            made.found == made.n,
            tuple(notes),
        )


def _is_empty(rows: Repository, row: int) -> ValueError:
    return ValueError(
        f"empty: row {row} of {rows.source.name} has no word that is known, or no text at all; "
        "mend it or use --empty drop"
    )


def _side(
    path: str,
    text: tuple[str, ...],
    vectors: str | None,
    argument: str,
    option: str,
    stack: contextlib.ExitStack,
) -> tuple[Repository | None, NDArray[Any] | None]:
    """Return the rows of a repository or of examples, and their vectors where these are brought."""
    source = existing(path, argument)
    if ending(source) == ".npy":
        if vectors is not None:
            raise ValueError(f"{option}: {source.name} holds vectors already; leave one of the two out")
        if text and argument == "repository":
            raise ValueError(f"text-column: {source.name} is a .npy file of vectors without columns")
        return None, _vectors(source, argument)
    rows = Repository(source, text=text, argument=argument)
    if vectors is None:
        return rows, None
    if vectors in rows.columns or ending(vectors) != ".npy":
        return rows, _column(rows, vectors, option, stack)
    path_of = Path(vectors)
    home = source if source.is_dir() else source.parent
    if not path_of.exists() and (home / path_of).exists():
        path_of = home / path_of
    array = _vectors(path_of, option)
    if len(array) != len(rows):
        raise ValueError(
            f"{option}: {path_of.name} has {len(array):,} rows, {source.name} has {len(rows):,}; "
            "they must match"
        )
    return rows, array


def _column(rows: Repository, name: str, option: str, stack: contextlib.ExitStack) -> NDArray[Any]:
    """Return a column of vectors, in a memory map that lasts as long as the context."""
    column(rows.columns, name, option, rows.source.name)
    array: Any = None
    done = 0
    for block in rows.blocks([name]):
        part = block.vectors(name, option)
        if array is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="setwise-"))
            shape = (len(rows), part.shape[1])
            array = np.lib.format.open_memmap(Path(folder, "vectors.npy"), "w+", part.dtype, shape)
        if part.shape[1] != array.shape[1]:
            raise ValueError(
                f"{option}: {rows.source.name} has {part.shape[1]} numbers in {block.place(0)} of {name!r}, "
                f"{array.shape[1]} before; all need the same"
            )
        array[done : done + len(part)] = part
        done += len(part)
    vectors: NDArray[Any] = array
    return vectors


def _vectors(path: Path, argument: str) -> NDArray[Any]:
    array = read_array(path, argument)
    if array.ndim != 2 or not len(array):
        raise ValueError(
            f"{argument}: {path.name} has shape {array.shape}, expected (n, d) with n of at least 1"
        )
    return array


def number_or_auto(value: str, argument: str) -> float | str:
    """Return an option that is a number or "auto".

    Raises
    ------
    ValueError
        It is neither.
    """
    if value == "auto":
        return value
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"{argument}: expected a number or auto, got {value!r}") from None
