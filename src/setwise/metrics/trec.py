"""Runs and judgments as TREC's programs read and write them.

A run has one line a result: ``topic Q0 document rank score tag``. Judgments have ``topic iteration document
judgment``, for diversity tasks with the subtopic in the second place.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from setwise.files.writing import write_atomic


def read_run(path: str | os.PathLike[str], *, ties: str = "trec_eval") -> dict[str, list[str]]:
    """Return each topic's documents, best first.

    Parameters
    ----------
    path : path
        Fields are set apart by white space.
    ties : str
        Whose order equal scores have: "trec_eval" the id first that sorts last, "ndeval" the one that sorts
        first. What ndeval measures is equal here where its order is taken.

    Raises
    ------
    ValueError
        `ties` is neither; or a line has not six fields, its score is no number, or a topic has a document
        twice, with the line.
    """
    last = {"trec_eval": 1, "ndeval": -1}.get(ties)
    if last is None:
        raise ValueError(f"ties: {ties!r} is unknown (one of trec_eval, ndeval)")
    found: dict[str, dict[str, float]] = {}
    for number, (topic, _, document, _, score, _) in _lines(path, 6):
        each = found.setdefault(topic, {})
        if document in each:
            raise ValueError(f"{path}: line {number}: topic {topic} has document {document} twice")
        try:
            each[document] = float(score)
        except ValueError:
            raise ValueError(f"{path}: line {number}: the score {score!r} is no number") from None
        if each[document] != each[document]:
            raise ValueError(f"{path}: line {number}: the score is NaN")
    return {
        topic: sorted(sorted(each, reverse=last > 0), key=lambda one: -each[one])
        for topic, each in found.items()
    }


def read_qrels(path: str | os.PathLike[str]) -> dict[str, dict[str, list[str]]]:
    """Return each topic's documents that are judged above 0, by subtopic; what `alpha_ndcg` takes as aspects.

    Parameters
    ----------
    path : path
        Judgments of one aspect have "0" in the second place, and come back under that name.

    Raises
    ------
    ValueError
        A line has not four fields, or its judgment is no integer; with the line.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for number, (topic, subtopic, document, judgment) in _lines(path, 4):
        try:
            right = int(judgment) > 0
        except ValueError:
            raise ValueError(f"{path}: line {number}: the judgment {judgment!r} is no integer") from None
        if right:
            found.setdefault(topic, {}).setdefault(subtopic, []).append(document)
    return found


def write_run(
    path: str | os.PathLike[str],
    run: Mapping[str, Iterable[Any]],
    *,
    tag: str = "setwise",
    force: bool = False,
) -> None:
    """Write selections as a run; scores fall in selection order, from the number of members to 1.

    Parameters
    ----------
    path : path
    run : mapping of str to ids
        Each topic's documents, in selection order.
    tag : str
        The run's name.
    force : bool
        Whether a file that is there is replaced.

    Raises
    ------
    ValueError
        A topic, an id or the tag is empty or has white space in it.
    FileExistsError
        The file is there, and `force` is false.
    """
    lines = []
    for topic, ids in run.items():
        listed = [str(one) for one in ids]
        for place, one in enumerate(listed, start=1):
            line = [str(topic), "Q0", one, str(place), str(len(listed) - place + 1), tag]
            _check(line, path)
            lines.append(" ".join(line))
    _write(path, lines, force)


def write_qrels(
    path: str | os.PathLike[str], qrels: Mapping[str, Mapping[Any, Iterable[Any]]], *, force: bool = False
) -> None:
    """Write judgments by topic and subtopic, all 1.

    Parameters
    ----------
    path : path
    qrels : mapping of str to mapping of ids
        For each topic, for each subtopic the ids of the documents that give it.
    force : bool
        Whether a file that is there is replaced.

    Raises
    ------
    ValueError, FileExistsError
        As for `write_run`.
    """
    lines = []
    for topic, aspects in qrels.items():
        for subtopic, ids in aspects.items():
            for one in ids:
                line = [str(topic), str(subtopic), str(one), "1"]
                _check(line, path)
                lines.append(" ".join(line))
    _write(path, lines, force)


def _lines(path: str | os.PathLike[str], fields: int) -> Iterable[tuple[int, list[str]]]:
    """Yield each line's number and fields."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                parts = line.split()
                if len(parts) != fields:
                    raise ValueError(f"{path}: line {number}: {len(parts)} fields, expected {fields}")
                yield number, parts


def _write(path: str | os.PathLike[str], lines: list[str], force: bool) -> None:
    """Write lines, whole or not at all."""
    data = "".join(f"{line}\n" for line in lines).encode()
    write_atomic(path, lambda stream: stream.write(data), force=force)


def _check(line: list[str], path: str | os.PathLike[str]) -> None:
    """Refuse a field that would not be read back as one."""
    for field in line:
        if len(field.split()) != 1 or field.split()[0] != field:
            raise ValueError(f"{path}: {field!r} cannot be a field of the file, which white space parts")
