"""A repository's vectors, and those of examples: encoded alike, and kept for the next run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from setwise import checks
from setwise.encode.base import Encoder, FittedEncoder, checked_encoder
from setwise.encode.cache import CHUNK, Encoded, encode_alike, encode_blocks, encode_texts
from setwise.files.parts import scratch
from setwise.finetuning.rows.repository import Repository, checked_repository
from setwise.progress import StepProgress, check_progress, tell

EMPTY = ("drop", "refuse")

#: Texts that an encoder learns from, at most.
_LEARN = 100_000


@contextlib.contextmanager
def encoded_rows(
    repository: Repository,
    encoder: Encoder,
    folder: Path | None = None,
    *,
    empty: str = "drop",
    progress: StepProgress | None = None,
) -> Iterator[Encoded]:
    """Encode a repository's texts, or read their vectors where an earlier run has kept them.

    Texts are read and encoded in chunks and the vectors written to a memory map, so neither has to fit
    into memory. A run that was interrupted or killed is gone on with, and one that another process is at is
    waited for. What is kept is used while texts, encoder and the version of setwise are what they were.

    Parameters
    ----------
    repository : Repository
    encoder : Encoder
        A `FittedEncoder` learns from up to 100,000 texts spread over the repository first.
    folder : Path, optional
        Where vectors are kept, such as `setwise.encode.places.folder_for` names; by default they are kept
        in a temporary folder, as long as the context lasts.
    empty : {"drop", "refuse"}
        What becomes of rows without a word that the encoder knows, an empty text among them: they have no
        vector, or are an error.
    progress : callable, optional
        Called with "reading", "encoding" or "waiting for another run", the rows done and all rows.

    Yields
    ------
    Encoded
        Its ``rows`` are the repository's.

    Raises
    ------
    OSError
        The folder cannot be written, or the disk is full.
    TypeError
        A row holds something else than text.
    ValueError
        No column is known to hold texts, a text is empty under "refuse", all are, or a file has changed
        while it was read.
    """
    checks.choice("empty", empty, EMPTY)
    checked_encoder(encoder)
    n, name = len(checked_repository(repository)), repository.source.name

    def blocks() -> Iterator[list[str]]:
        # Full ones, however the rows lie in files: what is read together decides how fast a model is.
        size, done, held = max(CHUNK, getattr(encoder, "chunk", 0)), 0, list[str]()
        for texts in repository.texts(size):
            done += len(texts)
            held += texts
            while len(held) >= size:
                yield held[:size]
                del held[:size]
        if held:
            yield held
        if done != n:
            raise ValueError(f"{repository.argument}: {name} has changed while it was read")

    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = stack.enter_context(scratch())
        try:
            made = encode_blocks(blocks, n, encoder, folder, learn=_LEARN, progress=progress)
        except ValueError as error:  # an encoder calls what it learns from a corpus
            if not str(error).startswith("corpus: "):
                raise
            raise ValueError(f"{repository.argument}: {str(error).removeprefix('corpus: ')}") from None
        what = "no word that the encoder knows, or no text at all"
        if not len(made.rows):
            where = f"{name} has {what}, in {repository.where}"
            raise ValueError(f"{repository.argument}: every row of {where}")
        bare = made.unknown
        if len(bare) and empty == "refuse":
            rows, have = ("rows", "have") if len(bare) > 1 else ("row", "has")
            raise ValueError(
                f"empty: {len(bare):,} {rows} of {name}, the first row {bare[0]}, {have} {what}; mend them, "
                "or leave them out with empty 'drop'"
            )
        yield made


def encode_examples(
    texts: Sequence[str], encoder: Encoder, folder: Path | None = None, progress: StepProgress | None = None
) -> Encoded:
    """Encode examples as a repository was, or read their vectors where an earlier run has kept them.

    Parameters
    ----------
    texts : sequence of str
    encoder : Encoder
        That of the repository's `Encoded`.
    folder, progress
        As in `encoded_rows`.

    Returns
    -------
    Encoded
        Its ``rows`` are the examples that have a word which the encoder knows.
    """
    check_progress(progress)
    told = partial(tell, progress, "examples")
    if isinstance(encoder, FittedEncoder):
        return encode_alike(texts, encoder, told)
    return encode_texts(texts, encoder, folder, told)
