"""Vectors of responses: a file of prompts with responses in, the same with ``embeddings`` out."""

from __future__ import annotations

import os
from typing import Any

from setwise import encode
from setwise.encode import FittedEncoder
from setwise.preference.responses.inputs import encoded_once
from setwise.preference.rows.answers import as_answer
from setwise.preference.rows.cells import as_list
from setwise.preference.rows.columns import find_columns
from setwise.preference.stages.partial import Partial, digest_of, rows_of
from setwise.progress import Progress, tell

#: Rows that are encoded at once.
_ROWS = 64


def embed(
    responses: Any,
    out: str | os.PathLike[str],
    *,
    model: str = "auto",
    seed: int = 0,
    dataset_split: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> int:
    """Encode the responses of a file once, so that several choices can be made of them.

    Parameters
    ----------
    responses : path-like, datasets.Dataset or iterable of mappings
        Rows with a list of responses each; other columns are handed through.
    out : path-like
        A .jsonl file.
    model : str
        As in `setwise.encode.encoder`.
    seed, dataset_split, force, progress
        As in `setwise.preference.generate`.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    FileExistsError, FileNotFoundError, ImportError, PermissionError, TypeError, ValueError
        There is no such file or encoder, or the output cannot be written.
    """
    source, rows = rows_of(responses, dataset_split)
    columns = find_columns(source, scored=False)
    if columns.kind != "pool":
        raise ValueError(f"responses: a row of {source.name} is no prompt with a list of responses")
    texts = []
    for place, row in rows:
        cells = as_list(row, columns.responses, "responses", place)
        texts.append([as_answer(cell, "responses", place)[1] for cell in cells])
    encoder = encode.encoder(model, seed=seed)
    if isinstance(encoder, FittedEncoder):
        encoder.fit(list(dict.fromkeys(text for some in texts for text in some)))
    with Partial(out, {"encoder": encoder.name, "rows": digest_of(rows)}, force=force) as partial:
        missing = partial.missing(len(rows))
        for start in range(0, len(missing), _ROWS):
            tell(progress, len(partial), len(rows))
            part = missing[start : start + _ROWS]
            found = encoded_once(encoder, [texts[row] for row in part])
            for number, vectors in zip(part, found, strict=True):
                partial.add(number, {**rows[number][1], "embeddings": vectors.tolist()})
        partial.finish()
    tell(progress, len(rows), len(rows))
    return len(rows)
