"""Rows out, in the order they were drawn: as they stand in the repository, one file or one an epoch."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.engine import at_work
from setwise.files.checksums import is_whole, measure
from setwise.files.folder import FolderFormat, FolderInfo
from setwise.files.kinds import check_parquet, json_holds
from setwise.files.locking import locked
from setwise.files.names import ending
from setwise.files.outputs import Outputs, place_of
from setwise.files.writing import check_output
from setwise.finetuning.distribution import row_numbers
from setwise.finetuning.rows.card import CARD, write_card
from setwise.finetuning.rows.file_of_rows import EPOCH, Work, stamp, write_rows_to, written_by_worker
from setwise.finetuning.rows.ordering import MEMORY
from setwise.finetuning.rows.repository import Repository, checked_repository
from setwise.finetuning.rows.row_files import InMemory
from setwise.progress import StepProgress, tell

KINDS = (".parquet", ".jsonl")


@dataclass(frozen=True, kw_only=True)
class EpochsInfo(FolderInfo):
    """What the ``.meta.json`` of a folder of epochs says.

    Of each file it also says how many ``rows`` it has, and by ``rows_digest`` of which rows of which files.

    Attributes
    ----------
    settings : mapping
        All that decides which rows are drawn.
    provenance : mapping
        The repository and the examples by name and checksum, and versions.
    epochs : int
        How many there are when all are written.
    """

    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    epochs: int


FORMAT = FolderFormat(
    "epochs",
    2,
    EpochsInfo,
    (*(f"epoch-*{kind}" for kind in KINDS), CARD),
    make="setwise finetune --epochs writes one",
    again="name another folder",
    meta=".meta.json",  # hidden: `datasets` takes all that is not for data
)


@dataclass(frozen=True)
class Written:
    """What a run wrote.

    Attributes
    ----------
    files : tuple of Path
        One an epoch, or one.
    kept : tuple of str
        Names of those that an earlier run had finished.
    """

    files: tuple[Path, ...]
    kept: tuple[str, ...] = ()

    def file_of(self, epoch: int) -> str:
        """Return the path of the file that has an epoch, counted from 0."""
        return str(self.files[epoch if len(self.files) > 1 else 0])


def check_target(path: str | os.PathLike[str], *, force: bool) -> Path:
    """Return where rows will go, refusing before any work what could not be written after it.

    Parameters
    ----------
    path : path-like
        A file that ends in one of `KINDS`, or a folder for one file an epoch.
    force : bool
        Replace a file. Of a folder, `write_epochs` looks at what it holds.

    Raises FileExistsError: a file is there and ``force`` is not given, or a folder that holds something else;
    FileNotFoundError, PermissionError: the folder that it lies in is missing or not writable;
    IsADirectoryError, NotADirectoryError: a folder has the name of a file, or a file that of a folder;
    ValueError: the ending is none of `KINDS`.
    """
    place_of(path, "out")
    end = ending(path)
    if end in KINDS:
        return check_output(path, force=force)
    if end and not Path(path).is_dir():
        raise ValueError(
            f"out: {str(path)!r} ends in none of {', '.join(KINDS)}; a folder, for one file "
            "an epoch, is named without an ending"
        )
    return FORMAT.check_growing(path)


def check_holds(repository: Repository, path: str | os.PathLike[str]) -> None:
    """Refuse rows that the format of an output has no place for, as far as the types of columns tell.

    Raises ValueError: the format cannot hold a column; the message names it.
    """
    kind = ending(path) if ending(path) in KINDS else _usual_kind(repository)
    if kind == ".parquet":
        check_parquet(repository.schema(), repository.source.name)
    elif not repository.lines:
        for field in repository.schema():
            if not json_holds(field.type):
                raise ValueError(
                    f"out: column {field.name!r} of {repository.source.name} is of type {field.type}, which "
                    "JSON does not hold; write .parquet"
                )


def write_file(
    repository: Repository,
    epochs: Sequence[NDArray[np.int64]],
    out: str | os.PathLike[str],
    *,
    force: bool = False,
    memory: float = MEMORY,
    progress: StepProgress | None = None,
    among: Outputs | None = None,
) -> Written:
    """Write the rows of all epochs to one file; where they are several, a column tells them apart.

    Parameters
    ----------
    repository : Repository
    epochs : sequence of ndarray, int64
        Rows in the order to write them, an array an epoch.
    out : path-like
        Ends in .parquet or .jsonl. Rows keep all their columns and types; lines of JSONL stay as they are,
        byte for byte, and get the column at their end where there are several epochs.
    force : bool
        Replace an existing file.
    memory : float
        Bytes of rows that are put in order at once. A larger sample is read in one pass over the repository
        and parted into blocks on disk, beside the file, so that no more than this and one batch of rows is
        held.
    progress : callable, optional
        Called with "writing", the rows done and all rows.
    among : Outputs, optional
        It appears together with these.

    Raises
    ------
    FileExistsError, FileNotFoundError, IsADirectoryError, PermissionError
        As `check_target`.
    ValueError
        As `check_target`; a value has no place in the format; or there are several epochs and the repository
        has a column "epoch" of its own.
    """
    target = check_target(out, force=force)
    epochs = _rows_of(repository, epochs)
    check_holds(repository, target)
    if len(epochs) > 1 and EPOCH in repository.columns:
        raise ValueError(
            f"out: the repository has a column {EPOCH!r} of its own; name a folder, for one file an epoch"
        )
    write_rows_to(repository, epochs, target, len(epochs) > 1, force, memory, progress, among)
    return Written((target,))


def write_epochs(
    repository: Repository,
    epochs: Sequence[NDArray[np.int64]],
    out: str | os.PathLike[str],
    *,
    kind: str | None = None,
    settings: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    force: bool = False,
    memory: float = MEMORY,
    workers: int | str | None = None,
    progress: StepProgress | None = None,
) -> Written:
    """Write one file an epoch into a folder: epoch-00001.parquet, epoch-00002.parquet, …

    A run that was interrupted is gone on with: files that are finished, as the folder's ``.meta.json`` says
    by size and checksum, are kept if they are of the same rows; others are written anew. A card makes
    ``datasets.load_dataset(folder)`` read the epochs in order, and nothing else.

    Parameters
    ----------
    repository, epochs, memory, progress
        As in `write_file`.
    out : path-like
        A folder, made if it is not there.
    kind : {".parquet", ".jsonl"}, optional
        By default .jsonl where the repository is JSONL, else .parquet.
    settings, provenance : mapping, optional
        Plain values that ``.meta.json`` keeps: seed, diversity and the like; and what the rows come from.
    force : bool
        Replace epochs of other rows.
    workers : int or str, optional
        Write several epochs at once, each in a process or on Ray; see `setwise.engine.engine_for`. The bytes
        are the same, and what a lost worker was writing is written again. All need to see the repository and
        the folder; a repository in memory is written by this process.

    Raises
    ------
    FileExistsError
        The folder has epochs of other rows and ``force`` is not given, or it holds something else.
    FileNotFoundError, NotADirectoryError, PermissionError
        As `check_target`.
    TimeoutError
        Another process is writing into it.
    ValueError
        Its ``.meta.json`` is damaged, or a value has no place in the format.
    """
    folder = check_target(out, force=force)
    epochs = _rows_of(repository, epochs)
    kind = _usual_kind(repository) if kind is None else checks.choice("kind", kind, KINDS)
    check_holds(repository, f"epoch-00001{kind}")
    names = [f"epoch-{number:05d}{kind}" for number in range(1, len(epochs) + 1)]
    marks = {name: _mark(repository, drawn) for name, drawn in zip(names, epochs, strict=True)}
    with locked(folder, "out"):
        before = _files(folder)
        others = [name for name, facts in before.items() if facts["rows_digest"] != marks.get(name)]
        if others and not force:
            raise FileExistsError(
                f"out: {str(out)!r} holds epochs of other rows ({others[0]}); name another folder, or add "
                "--force (force=True) to replace them"
            )
        fresh = not folder.exists()
        folder.mkdir(exist_ok=True)
        for name in others:
            (folder / name).unlink(missing_ok=True)
        files = {
            name: facts
            for name, facts in before.items()
            if name not in others and is_whole(folder / name, facts)
        }
        kept = tuple(name for name in names if name in files)
        about = {
            "settings": dict(settings or {}),
            "provenance": dict(provenance or {}),
            "epochs": len(epochs),
        }

        def record() -> None:
            done = {name: files[name] for name in names if name in files}
            FORMAT.write(folder, about, done)
            write_card(folder, done)

        record()
        try:
            left = {name: drawn for name, drawn in zip(names, epochs, strict=True) if name not in files}
            for name, facts in _made(repository, left, folder, memory, workers, progress):
                files[name] = {"rows": len(left[name]), "rows_digest": marks[name], **facts}
                record()
            if kind == ".jsonl":
                write_card(folder, {name: files[name] for name in names}, _columns(folder))
        except BaseException:
            if fresh and not files:  # there is nothing to go on from
                shutil.rmtree(folder, ignore_errors=True)
            raise
    return Written(tuple(folder / name for name in names), kept)


def _rows_of(repository: Repository, epochs: Sequence[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    """Return the rows of every epoch. Raises TypeError, ValueError: as `row_numbers`, or one has none."""
    repository = checked_repository(repository)
    found = [row_numbers(drawn, len(repository), f"epochs[{epoch}]") for epoch, drawn in enumerate(epochs)]
    if not all(map(len, found)):
        raise ValueError(f"epochs[{[*map(len, found)].index(0)}]: it has no rows; leave it out")
    return found


def _columns(folder: Path) -> Any:
    """Return the Arrow schema of all epochs' lines together; None where no type holds a column's values."""
    with contextlib.suppress(ValueError):
        return Repository(folder, argument="out").schema()
    return None


def _made(
    repository: Repository,
    left: Mapping[str, NDArray[np.int64]],
    folder: Path,
    memory: float,
    workers: int | str | None,
    progress: StepProgress | None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Write the epochs that are left, and yield each one's name, size and checksum when it is there."""
    if workers is None or len(left) < 2 or any(isinstance(file, InMemory) for file in repository.files):
        for name, drawn in left.items():
            told = None if progress is None else _named(progress, name)
            write_rows_to(repository, [drawn], folder / name, False, True, memory, told)
            yield name, measure(folder / name)
        return
    source, known, home = str(repository.source.absolute()), stamp(repository), folder.absolute()
    names = list(left)
    with at_work(workers) as engine:
        for start in range(0, len(names), engine.slots):
            some = names[start : start + engine.slots]
            work: list[Work] = [(source, known, left[name], str(home / name), memory) for name in some]
            yield from zip(some, engine.map(written_by_worker, work), strict=True)
            tell(progress, "writing epochs", start + len(some), len(names))


def _usual_kind(repository: Repository) -> str:
    """Return the ending of epochs where none is asked for."""
    return ".jsonl" if repository.lines else ".parquet"


def finished(out: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the names of the epochs that a folder says are finished; none where it holds no epochs."""
    return tuple(_files(Path(out)))


def _files(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return what a folder of epochs says of its files; nothing where it is none."""
    return FORMAT.read(folder, sizes=False)[1].files if FORMAT.is_ours(folder) else {}


def _mark(repository: Repository, drawn: NDArray[np.int64]) -> str:
    """Return what tells apart which rows of which files an epoch has."""
    found = hashlib.blake2b(np.ascontiguousarray(drawn, "<i8").tobytes(), digest_size=16)
    found.update(stamp(repository))
    return found.hexdigest()


def _named(progress: StepProgress, name: str) -> StepProgress:
    return lambda step, done, total: progress(f"{step} {name}", done, total)
