"""Questions with several right answers: what a way to select is judged on."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.files import Table, column_types, read_table
from setwise.files.names import column, existing
from setwise.metrics import read_qrels


@dataclass(frozen=True, eq=False)
class Questions:
    """Queries and, for each, the ids of the candidates that give each of its right answers.

    Attributes
    ----------
    names : tuple of str
        One a question, all different.
    answers : tuple of tuple of tuple of hashable
        For each question, for each right answer, the ids that give it: at least one each.
    texts : tuple of str, optional
        The queries in words.
    vectors : ndarray of shape (m, d), optional
        The queries as vectors.
    groups : tuple of hashable
        Questions of one group belong together (one topic, one author): they are resampled and split as one.
        By default each is its own, and questions of the same words are one.
    """

    names: tuple[str, ...]
    answers: tuple[tuple[tuple[Hashable, ...], ...], ...]
    texts: tuple[str, ...] | None = None
    vectors: NDArray[Any] | None = None
    groups: tuple[Hashable, ...] = ()

    def __post_init__(self) -> None:
        m = len(self.names)
        if m == 0:
            raise ValueError("questions: empty")
        if len(set(self.names)) < m:
            twice = next(name for place, name in enumerate(self.names) if name in self.names[:place])
            raise ValueError(f"questions: {twice!r} stands twice")
        if not self.groups:
            object.__setattr__(self, "groups", self.texts or self.names)
        for what in ("answers", "texts", "vectors", "groups"):
            given = getattr(self, what)
            if given is not None and len(given) != m:
                raise ValueError(f"questions: {m} names and {len(given)} {what}")
        for name, each in zip(self.names, self.answers, strict=True):
            if not each or not all(each):
                raise ValueError(f"questions: {name!r} has no right answer, or one that nothing gives")

    def __len__(self) -> int:
        return len(self.names)

    def located(self, ids: Iterable[Hashable], *, missing: str = "raise") -> Questions:
        """Return the questions with answers by an index's own ids; ids that look the same as text are the
        same.

        Parameters
        ----------
        ids : iterable of hashable
            Every id of the index.
        missing : {"raise", "drop"}
            What becomes of an answer's id that is none of them; "drop" leaves it out, and answers and
            questions of which nothing is left.

        Raises
        ------
        ValueError
            An answer's id is not there and `missing` is "raise"; or nothing is left of any question.

        Warns
        -----
        UserWarning
            Questions are left out, with how many.
        """
        known = {str(one): one for one in ids}
        listed = [
            (name, one)
            for name, each in zip(self.names, self.answers, strict=True)
            for a in each
            for one in a
        ]
        absent = [(name, one) for name, one in listed if str(one) not in known]
        if absent and missing != "drop":
            name, one = absent[0]
            raise ValueError(
                f"questions: {name!r} has the answer {one!r}, which is no id of the corpus ({len(absent)} of "
                f'{len(listed)} are not); missing="drop" leaves them out'
            )
        kept = []
        for place, each in enumerate(self.answers):
            own = tuple(
                found for a in each if (found := tuple(known[str(one)] for one in a if str(one) in known))
            )
            if own:
                kept.append((place, own))
        if not kept:
            raise ValueError("questions: no answer is an id of the corpus")
        _left_out(len(self) - len(kept), len(self), "an answer that is an id of the corpus")
        places = [place for place, _ in kept]
        return replace(self.some(places), answers=tuple(own for _, own in kept))

    def some(self, places: Sequence[int]) -> Questions:
        """Return the questions at these places, in this order."""
        return Questions(
            tuple(self.names[place] for place in places),
            tuple(self.answers[place] for place in places),
            None if self.texts is None else tuple(self.texts[place] for place in places),
            None if self.vectors is None else self.vectors[list(places)],
            tuple(self.groups[place] for place in places),
        )


def read_questions(
    path: str | os.PathLike[str], *, qrels: str | os.PathLike[str] | None = None, split: str = "test"
) -> Questions:
    """Read labeled questions: a table, a BEIR folder, or topics and judgments of TREC.

    Parameters
    ----------
    path : path
        A table (.jsonl, .json, .csv, .parquet, …) with columns ``query`` and ``answers``, which holds for
        each right answer the list of ids that give it, or a plain list of ids, each a right answer of its
        own; ``id`` and ``group`` where there are any. Or a folder as BEIR has it, with ``queries.jsonl`` and
        ``qrels/SPLIT.tsv``. Or, with `qrels`, a file with one topic a line: its number, a tab, its text.
    qrels : path, optional
        TREC judgments, diversity's too; or in place of a BEIR folder's own another table of judgments.
    split : str
        Of a BEIR folder.

    Raises
    ------
    FileNotFoundError
        There is no such file, or the folder lacks one.
    ValueError
        A column is missing, a line cannot be read, or a question has no right answer.

    Warns
    -----
    UserWarning
        Questions of BEIR or TREC have no judgment above 0 and are left out, with how many.
    """
    source = existing(path, "questions")
    if source.is_dir():
        judged = source / "qrels" / f"{split}.tsv"
        return _beir(source, existing(judged, "questions") if qrels is None else existing(qrels, "qrels"))
    if qrels is not None:
        return _trec(source, existing(qrels, "qrels"))
    known = column_types(source, "questions")
    for needed in ("query", "answers"):
        column(known, needed, "questions", str(source))
    table = read_table(
        source, [one for one in ("id", "query", "answers", "group") if one in known], "questions"
    )
    texts = [_text(table, row, value) for row, value in enumerate(table.values("query"))]
    answers = [_answers(table, row, value) for row, value in enumerate(table.values("answers"))]
    names = table.labels("id", "questions") if "id" in known else list(range(len(texts)))
    groups = tuple(table.labels("group", "questions")) if "group" in known else ()
    return Questions(tuple(map(str, names)), tuple(answers), tuple(texts), groups=groups)


def _text(table: Table, row: int, value: Any) -> str:
    """Return a query, checked."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"questions: {table.source}, {table.place(row)} has no query: {value!r}")
    return value


def _answers(table: Table, row: int, value: Any) -> tuple[tuple[Hashable, ...], ...]:
    """Return a row's right answers, each as the ids that give it."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ValueError(f"questions: {table.source}, {table.place(row)}: answers are no list: {value!r}")
    found: list[tuple[Hashable, ...]] = []
    for one in value:
        several = isinstance(one, list | tuple | np.ndarray)
        ids = [each.item() if isinstance(each, np.generic) else each for each in (one if several else [one])]
        for each in ids:
            if isinstance(each, bool) or not isinstance(each, str | int):
                raise ValueError(
                    f"questions: {table.source}, {table.place(row)}: {each!r} in answers is no id"
                )
        found.append(tuple(dict.fromkeys(ids)))
    if not found or not all(found):
        raise ValueError(
            f"questions: {table.source}, {table.place(row)} has no right answer, or one that nothing gives"
        )
    return tuple(found)


def _left_out(count: int, of: int, lacking: str) -> None:
    """Warn of questions that are left out, if any are."""
    if count:
        warnings.warn(f"questions: {count:,} of {of:,} are left out: they have not {lacking}", stacklevel=3)


def _beir(folder: Path, judged: Path) -> Questions:
    """Read a folder as BEIR has it: every judged document is a right answer of its own."""
    queries = existing(folder / "queries.jsonl", "questions")
    known = column_types(queries, "questions")
    asked = read_table(queries, [column(known, name, "questions", str(queries)) for name in ("_id", "text")])
    names_of = map(str, asked.labels("_id", "questions"))
    texts = dict(zip(names_of, asked.texts("text", "questions"), strict=True))
    answers: dict[str, dict[tuple[Hashable, ...], None]] = {}
    about = set()
    for number, line in enumerate(judged.read_text(encoding="utf-8-sig").split("\n"), start=1):
        parts = line.split("\t")
        judgment = re.fullmatch("-?[0-9]+", parts[-1])
        if not line or (number == 1 and not judgment):  # the columns' names
            continue
        if len(parts) != 3 or parts[0] not in texts or not judgment:
            raise ValueError(f"{judged}: line {number}: expected a query of the folder, a document, a number")
        about.add(parts[0])
        if int(parts[2]) > 0:
            answers.setdefault(parts[0], {})[(parts[1],)] = None
    _left_out(len(about) - len(answers), len(about), "a judgment above 0")
    names = tuple(name for name in texts if name in answers)
    return Questions(
        names, tuple(tuple(answers[name]) for name in names), tuple(texts[name] for name in names)
    )


def _trec(topics: Path, qrels: Path) -> Questions:
    """Read TREC's topics and judgments; without subtopics every document is a right answer of its own."""
    judged = read_qrels(qrels)
    names, texts, answers = [], [], []
    lines = topics.read_text(encoding="utf-8-sig").rstrip().split("\n")
    for number, line in enumerate(lines, start=1):
        name, tab, text = line.partition("\t")
        if not tab or not text.strip():
            raise ValueError(f"{topics}: line {number}: expected a topic's number, a tab, and its text")
        aspects = judged.get(name.strip())
        if aspects:
            names.append(name.strip())
            texts.append(text.strip())
            plain = set(aspects) == {"0"}
            answers.append(
                tuple((one,) for one in aspects["0"])
                if plain
                else tuple(tuple(ids) for ids in aspects.values())
            )
    if not names:
        raise ValueError(f"{topics}: no topic has a judgment above 0 in {qrels}")
    _left_out(len(lines) - len(names), len(lines), "a judgment above 0")
    return Questions(tuple(names), tuple(answers), tuple(texts))
