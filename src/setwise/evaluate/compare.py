"""Ways to select, compared on labeled questions: methods x diversities x sizes, question by question."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from setwise import checks, metrics
from setwise.evaluate.questions import Questions
from setwise.evaluate.statistics import grouped, intervals
from setwise.files.json_lines import parsed
from setwise.files.parts import room_for
from setwise.index.base import Index
from setwise.progress import tell
from setwise.retrieval import Retrieved
from setwise.retrieval.search import retrieve

#: What is measured of each set, in this order; seconds are those of the call.
MEASURES = (
    "aspect recall",
    "alpha-nDCG",
    "recall",
    "precision",
    "all answers",
    "ILAD",
    "mean relevance",
    "seconds",
)

#: The one all others are compared with: the k most relevant.
TOP = "top-k"

#: Ways to select, as `setwise.retrieve` is told. "MMR of 5 k" looks at the 5 k most relevant alone, as many
#: vector stores do.
METHODS: dict[str, dict[str, Any]] = {
    "max-sum, sharpness 8": {"sharpness": 8},
    "max-sum": {"sharpness": 1},
    "MMR": {"objective": "mmr"},
    "MMR of 5 k": {"objective": "mmr", "pool": 5},
    "log-det": {"objective": "log-det"},
}


#: What `setwise.retrieve` is told for top-k.
_TOP: dict[str, Any] = {"solver": "top-k"}


class Configuration(NamedTuple):
    """A way to select: a method's label, its diversity (0 for top-k), the size of the set."""

    method: str
    diversity: float
    k: int


@dataclass(frozen=True, eq=False)
class Comparison:
    """What was measured.

    Attributes
    ----------
    questions : tuple of str
        Their names.
    groups : ndarray of shape (questions,), int64
        A number for each group of questions that belong together.
    configurations : tuple of Configuration
    values : ndarray of shape (configurations, questions, measures), float64
        In the order of `MEASURES`.
    """

    questions: tuple[str, ...]
    groups: NDArray[np.int64]
    configurations: tuple[Configuration, ...]
    values: NDArray[np.float64]

    def of(self, measure: str) -> NDArray[np.float64]:
        """Return a measure's values, shape (configurations, questions)."""
        return self.values[:, :, MEASURES.index(checks.choice("measure", measure, MEASURES))]

    def top(self, configuration: Configuration) -> int:
        """Return the place of the configuration's rival: top-k of the same size."""
        return self.configurations.index(Configuration(TOP, 0.0, configuration.k))

    def differences(self, measure: str) -> NDArray[np.float64]:
        """Return values less those of top-k of the same size, question by question."""
        values = self.of(measure)
        return values - values[[self.top(one) for one in self.configurations]]

    @cached_property
    def intervals(self) -> Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """The ends of the 95 % intervals of the mean differences from top-k, by measure."""
        return {name: intervals(self.differences(name), self.groups) for name in MEASURES}

    def rows(self) -> dict[str, list[Any]]:
        """Return every value as columns, ready for a table: one row a configuration and question."""
        many = len(self.questions)
        columns: dict[str, list[Any]] = {
            "method": [one.method for one in self.configurations for _ in range(many)],
            "diversity": [one.diversity for one in self.configurations for _ in range(many)],
            "k": [one.k for one in self.configurations for _ in range(many)],
            "question": list(self.questions) * len(self.configurations),
            "group": self.groups.tolist() * len(self.configurations),
        }
        return columns | {name: self.of(name).ravel().tolist() for name in MEASURES}

    def summary(self) -> dict[str, list[Any]]:
        """Return means over questions as columns, with each one's interval of the difference from top-k."""
        columns: dict[str, list[Any]] = {
            name: [getattr(one, name) for one in self.configurations] for name in Configuration._fields
        }
        for name in MEASURES:
            low, high = self.intervals[name]
            columns[name] = self.of(name).mean(axis=1).tolist()
            columns[f"{name} less top-k, from"], columns[f"{name} less top-k, to"] = (
                low.tolist(),
                high.tolist(),
            )
        return columns

    def frontier(self, k: int, measure: str = "aspect recall") -> list[Configuration]:
        """Return the configurations of a size that no other beats in both a measure and ILAD."""
        places = [place for place, one in enumerate(self.configurations) if one.k == k]
        means = np.stack([self.of(name).mean(axis=1)[places] for name in (measure, "ILAD")], axis=1)
        ahead = (means[:, None] >= means).all(axis=2) & (means[:, None] > means).any(axis=2)
        beaten = np.flatnonzero(ahead.any(axis=0)).tolist()
        return [self.configurations[place] for step, place in enumerate(places) if step not in beaten]


def configurations_of(
    k: int | Sequence[int], diversities: Sequence[float], labels: Iterable[str]
) -> tuple[Configuration, ...]:
    """Return what is compared: of each size top-k, and every other method at every diversity.

    Raises TypeError, ValueError: a size is below 1, a diversity outside [0, 1], or one stands twice.
    """
    sizes = [k] if isinstance(k, int | np.integer) else list(k)
    tried = [checks.fraction("diversities", one) for one in diversities]
    ways = [(TOP, 0.0), *((label, one) for label in labels for one in tried)]
    made = tuple(Configuration(*way, checks.integer("k", size, least=1)) for size in sizes for way in ways)
    if len(set(made)) < len(made):
        raise ValueError("k, diversities: one stands twice")
    return made


def compare(
    index: Index,
    questions: Questions,
    *,
    ids: Sequence[Any] | None = None,
    k: int | Sequence[int] = (5, 10, 20),
    diversities: Sequence[float] = (0.1, 0.2, 0.3, 0.5, 0.7),
    methods: Mapping[str, Mapping[str, Any]] | Sequence[str] | None = None,
    workers: int = 1,
    journal: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Answer every question by every method, at every diversity and size, and measure the sets.

    Parameters
    ----------
    index : Index
    questions : Questions
        With vectors. Their answers are ids of the index; where `ids` is given, of those.
    ids : sequence of shape (n,), optional
        A name for each row of an index whose own ids are row numbers.
    k : int or several
        Sizes of the sets.
    diversities : sequence of float
        In [0, 1].
    methods : mapping of str to dict, or several of `METHODS`, optional
        Labels, and what `setwise.retrieve` is told; an integer ``pool`` is a multiple of k. By default
        `METHODS`. Top-k is always there.
    workers : int
        Questions that are answered at once.
    journal : path, optional
        A file that keeps every answered question: a run that was interrupted goes on from there. It is made
        if it is not there, and refused if it belongs to another comparison.
    progress : callable, optional
        Gets how many questions are answered, and of how many.

    Raises
    ------
    TypeError, ValueError
        The questions have no vectors, or an answer that is no id; a method is unknown, or refused by
        `setwise.retrieve`; k is more than the index has; or the journal is another comparison's.
    """
    if questions.vectors is None:
        raise ValueError("questions: they have no vectors; encode their texts first")
    chosen = methods_of(methods)
    configurations = configurations_of(k, diversities, chosen)
    located = by_row(questions, ids)
    kept = _Journal(journal, None if journal is None else _identity(index, located, configurations, chosen))
    answered = dict(kept.read())
    rest = [place for place, name in enumerate(located.names) if name not in answered]

    def answer(place: int) -> list[list[float]]:
        return [_measured(index, located, place, one, chosen) for one in configurations]

    done = len(answered)
    with kept, ThreadPoolExecutor(checks.integer("workers", workers, least=1)) as pool:
        try:
            for place, values in zip(rest, pool.map(answer, rest), strict=True):
                answered[located.names[place]] = values
                kept.add(located.names[place], values)
                done += 1
                tell(progress, done, len(located))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    found = np.array([answered[name] for name in located.names]).transpose(1, 0, 2)
    return Comparison(located.names, grouped(located.groups), configurations, np.ascontiguousarray(found))


def told(one: Configuration, methods: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a configuration's call is told beside its diversity and its size."""
    options = dict(methods[one.method] if one.method != TOP else methods.get(TOP, _TOP))
    if isinstance(options.get("pool"), int):
        options["pool"] *= one.k
    return options


def selected(
    index: Index,
    questions: Questions,
    place: int,
    one: Configuration,
    methods: Mapping[str, Mapping[str, Any]],
) -> Retrieved:
    """Return a configuration's set for a question."""
    assert questions.vectors is not None
    options = told(one, methods)
    if isinstance(options.get("pool"), int):
        options["pool"] = min(options["pool"], len(index))
    found: Retrieved = retrieve(
        questions.vectors[place], index, one.k, diversity=one.diversity, certify=False, threads=1, **options
    )
    return found


def methods_of(methods: Mapping[str, Mapping[str, Any]] | Sequence[str] | None) -> dict[str, dict[str, Any]]:
    """Return the methods by label."""
    if isinstance(methods, Mapping):
        found = {label: dict(options) for label, options in methods.items()}
    else:
        found = {checks.choice("methods", one, METHODS): METHODS[one] for one in methods or METHODS}
    if TOP in found:
        raise ValueError(f"methods: {TOP!r} is always there; use another label")
    return found


def by_row(questions: Questions, ids: Sequence[Any] | None) -> Questions:
    """Return questions whose answers are row numbers, where rows have names; else as they are."""
    if ids is None:
        return questions
    rows = {str(name): row for row, name in enumerate(ids)}
    located = questions.located(rows)
    answers = tuple(tuple(tuple(rows[str(one)] for one in a) for a in each) for each in located.answers)
    return Questions(located.names, answers, located.texts, located.vectors, located.groups)


def _measured(
    index: Index, questions: Questions, place: int, one: Configuration, methods: Mapping[str, dict[str, Any]]
) -> list[float]:
    """Return the measures of one set, in the order of `MEASURES`."""
    began = time.perf_counter()
    hits = selected(index, questions, place, one, methods)
    seconds = time.perf_counter() - began
    found = hits.ids.tolist()
    spread = metrics.ilad(index.vectors(hits.ids)) if len(found) > 1 else 0.0
    return [*answered(found, questions.answers[place], one.k), spread, float(np.mean(hits.scores)), seconds]


def answered(found: Sequence[Any], answers: Sequence[Sequence[Any]], k: int) -> list[float]:
    """Return what a set's members are worth as answers: the first five of `MEASURES`."""
    right = {each for ids in answers for each in ids}
    covered = metrics.aspect_recall(found, answers, k)
    return [
        covered,
        metrics.alpha_ndcg(found, answers, k),
        metrics.recall(found, right, k),
        metrics.precision(found, right, k),
        float(covered == 1.0),
    ]


def _identity(
    index: Index, questions: Questions, configurations: Sequence[Configuration], methods: Any
) -> str:
    """Return what tells one comparison from another; of the index its size and right answers' vectors."""
    told = [questions.names, questions.answers, questions.groups, configurations, methods, len(index)]
    digest = hashlib.sha256(json.dumps(told, default=str, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(questions.vectors).tobytes())
    right = dict.fromkeys(one for each in questions.answers for a in each for one in a)
    digest.update(np.ascontiguousarray(index.vectors(list(right))).tobytes())
    return digest.hexdigest()


class _Journal:
    """The answered questions of a comparison: a line of JSON each, after one that names the comparison."""

    def __init__(self, path: str | os.PathLike[str] | None, identity: str | None) -> None:
        self.path, self.identity = None if path is None else Path(path), identity
        self._file: Any = None

    def read(self) -> Iterator[tuple[str, list[list[float]]]]:
        """Yield what an earlier run has answered; a last line that is not whole is cut off."""
        if self.path is None or not self.path.exists() or self.path.stat().st_size == 0:
            return
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        head, *lines = [parsed(line, f"journal: {self.path}") for line in whole.splitlines()] or [None]
        if head != {"comparison": self.identity}:
            raise ValueError(
                f"journal: {self.path} is another comparison's (of other questions, vectors, methods, "
                "diversities or sizes); remove it, or name another place"
            )
        if len(whole) < len(data):
            with open(self.path, "r+b") as file:
                file.truncate(len(whole))
        yield from lines

    def add(self, name: str, values: list[list[float]]) -> None:
        """Keep an answered question; the first makes the file, and its folder."""
        if self.path is None:
            return
        with room_for(self.path):
            if self._file is None:
                self.path.parent.mkdir(exist_ok=True)
                self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115
                if self._file.tell() == 0:
                    self._write({"comparison": self.identity})
            self._write([name, values])

    def _write(self, told: Any) -> None:
        """Add a line; of one that the disk has no room for, nothing stays."""
        line, before = json.dumps(told).encode() + b"\n", self._file.tell()
        if self._file.write(line) < len(line):
            self._file.truncate(before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def __enter__(self) -> _Journal:
        return self

    def __exit__(self, *details: object) -> None:
        if self._file is None:
            return
        self._file.close()
        path = self.path
        if path is not None and path.is_file() and path.stat().st_size == 0:  # there was no room for a line
            path.unlink()
