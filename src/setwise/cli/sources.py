"""What ``setwise retrieve`` selects from: a corpus that is read and encoded, or a saved index."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.cli import output, records, set_output
from setwise.cli.asked import Asked
from setwise.cli.streams import INPUT
from setwise.ids import check_apart
from setwise.limits import is_missing
from setwise.retrieval import Passages, PreparedCorpus, default_sharpness, prepare, retrieve
from setwise.retrieval.passages import unit_of

if TYPE_CHECKING:
    from setwise.files import Corpus
    from setwise.index.saved import SavedIndex

#: Queries that an index is searched for together.
_TOGETHER = 16


class Source(Protocol):
    """What sets are selected from.

    Attributes
    ----------
    n : int
        Candidates.
    pool : "auto", int or None
        How many of an index's are looked at.
    encoding : float
        Seconds spent on encoding.
    """

    n: int
    pool: int | str | None
    encoding: float

    def probes(self, asked: Sequence[Asked]) -> list[Any]:
        """Return the vector of each query, or None where the corpus says what is relevant."""
        ...

    def select(self, probes: list[Any], solver: str, certify: Any) -> Iterator[Passages]:
        """Yield a set for each."""
        ...

    def record(self, hits: Passages, compared: Passages | None, query: str | None) -> dict[str, Any]:
        """Return a set as plain values."""
        ...

    def print_origin(self, hits: Passages) -> None:
        """Print what the set is from."""
        ...


class CorpusSource:
    """A corpus whose texts are encoded.

    Parameters
    ----------
    k : int, optional
        None, with a budget, for as many as fit.
    wishes : dict
        What `PreparedCorpus.select` takes besides.
    settings : dict
        What a record says of the run.
    """

    pool: int | str | None = None

    def __init__(
        self,
        candidates: PreparedCorpus,
        k: int | None,
        wishes: dict[str, Any],
        settings: dict[str, Any],
        encoding: float,
    ) -> None:
        self.candidates, self.n, self.encoding = candidates, len(candidates), encoding
        self._k, self._wishes, self._settings = k, wishes, settings

    def probes(self, asked: Sequence[Asked]) -> list[Any]:
        began = time.perf_counter()
        texts = [one.text for one in asked if one.text is not None]
        if texts:
            found: list[Any] = list(self.candidates.encode(texts))
        else:
            found = [self._checked(one) for one in asked]
        self.encoding += time.perf_counter() - began
        return found

    def _checked(self, one: Asked) -> Any:
        vectors = self.candidates.corpus.vectors
        if one.vector is None:
            return None
        if vectors is None:
            raise ValueError("query-vector: it needs --vectors; a corpus of texts is searched with --query")
        return _of_width(one, vectors.shape[1])

    def select(self, probes: list[Any], solver: str, certify: Any) -> Iterator[Passages]:
        options = _for(solver, self._settings, self._wishes)
        for probe in probes:
            yield self.candidates.select(probe, self._k, certify=certify, **options)

    def record(self, hits: Passages, compared: Passages | None, query: str | None) -> dict[str, Any]:
        return records.as_record(self.candidates, hits, compared, query, self._settings)

    def note_how_it_was_read(self) -> None:
        """Say what a person should know of the corpus."""
        for line in self.candidates.corpus.notes:
            output.note(line)
        output.note_what_was_left_out(self.candidates)

    def print_origin(self, hits: Passages) -> None:
        set_output.print_origin(self.candidates, hits, self.encoding)


class IndexSource:
    """A saved index.

    Parameters
    ----------
    name : str
        As it was typed.
    k : int, optional
        None, with a budget, for as many as fit.
    wishes : dict
        The other options, as typed: ``include`` and ``exclude`` are ids as strings.
    settings : dict
        What a record says of the run.
    """

    def __init__(
        self, saved: SavedIndex, name: str, k: int | None, wishes: dict[str, Any], settings: dict[str, Any]
    ) -> None:
        if _is_too_many(k, len(saved), wishes):
            raise ValueError(
                f"k: {k} is more than the {len(saved):,} of the index; ask for at most {len(saved):,}"
            )
        self.n, self.encoding = len(saved), 0.0
        self.pool: int | str | None = _pool(wishes["pool"])
        self._saved, self._name, self._k = saved, name, k
        self._wishes = _in_rows(saved, {**wishes, "pool": self.pool})
        sharpness = wishes["sharpness"]
        if sharpness is None:
            sharpness = default_sharpness(wishes["objective"], saved.info.metric)
        self._settings = {**settings, "sharpness": sharpness, "pool": self.pool}

    def probes(self, asked: Sequence[Asked]) -> list[Any]:
        began = time.perf_counter()
        texts = [one.text for one in asked if one.text is not None]
        if texts:
            found: list[Any] = list(self._saved.encode(texts))
        else:
            found = [_of_width(one, self._saved.info.d) for one in asked]
        self.encoding += time.perf_counter() - began
        return found

    def select(self, probes: list[Any], solver: str, certify: Any) -> Iterator[Passages]:
        options = {**_for(solver, self._settings, self._wishes), "certify": certify}
        step = 1 if certify == "full" or solver == "exact" else _TOGETHER  # the time limit is a call's
        for start in range(0, len(probes), step):
            together = np.asarray(probes[start : start + step])
            if len(together) == 1:  # which may go on from a page before
                yield self._passages(retrieve(together[0], self._saved.index, self._k, **options))
                continue
            for found in retrieve(together, self._saved.index, self._k, **options):
                yield self._passages(found)

    def _passages(self, found: Any) -> Passages:
        """Return a set with what a person wants to see of it."""
        saved, rows = self._saved, np.asarray(found.ids, np.int64)
        chosen = np.asarray(saved.index.vectors(rows), np.float64)
        unit = unit_of(chosen)
        return Passages(
            selection=found,
            rows=rows,
            ids=saved.ids.take(rows),
            texts=None if saved.texts is None else saved.texts.take(rows),
            columns={name: column.take(rows) for name, column in saved.columns.items()},
            relevances=found.scores,
            cosines=unit @ unit.T,
            named=lambda row: saved.ids.take([row])[0],
        )

    def record(self, hits: Passages, compared: Passages | None, query: str | None) -> dict[str, Any]:
        return records.as_index_record(self._saved, self._name, hits, compared, query, self._settings)

    def print_origin(self, hits: Passages) -> None:
        set_output.print_index_origin(self._saved, hits, self.encoding)


def opened(path: str, k: int | None, wishes: dict[str, Any], settings: dict[str, Any]) -> IndexSource:
    """Return a saved index, opened; the parameters are those of `IndexSource`."""
    from setwise.index.saved import open_index

    with output.Status() as status:
        status.tell("opening")
        return IndexSource(open_index(path, threads=wishes["threads"]), path, k, wishes, settings)


def encoded(
    path: str,
    k: int | None,
    reading: dict[str, Any],
    kept: dict[str, Any],
    wishes: dict[str, Any],
    settings: dict[str, Any],
) -> CorpusSource:
    """Return a corpus, read and encoded.

    Parameters
    ----------
    k : int, optional
        None, with a budget, for as many as fit.
    reading : dict
        What `setwise.files.read_corpus` takes.
    kept : dict
        The options ``cache``, ``no_cache``, ``model`` and ``drop_duplicates``.
    wishes, settings : dict
        As for `CorpusSource`; ``where`` is among the wishes.
    """
    from setwise.files import read_corpus

    with output.Status() as status:
        status.tell("reading")
        read = read_corpus(path, **reading)
        if wishes["max_per_group"] is not None and read.groups is None:
            raise ValueError(
                "group: the corpus has no labels, and is no documents; name their column with --group"
            )
        _check_k(k, len(read), wishes)
        began = time.perf_counter()
        candidates = prepared(read, kept, wishes["seed"], status)
        if wishes["where"] is not None:
            candidates = candidates.only(wishes["where"])
            _check_k(k, len(candidates), wishes)
        others = {name: value for name, value in wishes.items() if name != "where"}
        return CorpusSource(candidates, k, others, settings, time.perf_counter() - began)


def prepared(corpus: Corpus, kept: dict[str, Any], seed: int, status: output.Status) -> PreparedCorpus:
    """Return a corpus encoded; ``kept`` are the options named there of `encoded`."""
    return prepare(
        corpus,
        kept["model"],
        cache=cache_folder(corpus, kept["cache"], kept["no_cache"]),
        drop_duplicates=kept["drop_duplicates"],
        seed=seed,
        progress=status.encoding,
    )


def _for(solver: str, settings: dict[str, Any], wishes: dict[str, Any]) -> dict[str, Any]:
    """Return options for a solver: what the one that was asked for is told is not for another beside it."""
    told = wishes["solver_options"] if solver == settings["solver"] else None
    return {**wishes, "solver": solver, "solver_options": told}


def _is_too_many(k: int | None, n: int, wishes: dict[str, Any]) -> bool:
    """Return whether k is more than there are, and not the most of a set of any size."""
    return k is not None and k > n and wishes["budget"] is None and wishes["min_gain"] is None


def _check_k(k: int | None, n: int, wishes: dict[str, Any]) -> None:
    """Refuse to select more than there are."""
    if _is_too_many(k, n, wishes):
        raise ValueError(f"k: {k} is more than the {n:,} candidates; ask for at most {n:,}")


def cache_folder(corpus: Corpus, cache: str | None, no_cache: bool) -> Path | None:
    """Return where encoded texts are kept, if anywhere."""
    from setwise.encode.places import folder_for

    if cache is not None and no_cache:
        raise ValueError("cache: give --cache or --no-cache, not both")
    if no_cache or corpus.vectors is not None:
        return None
    read = corpus.source
    return folder_for(None if read is not None and read.stem.startswith(INPUT) else read, cache)


def _of_width(one: Asked, d: int) -> NDArray[Any]:
    """Return a query's vector, if it is as wide as the others."""
    assert one.vector is not None
    if one.vector.shape != (d,):
        raise ValueError(f"query-vector: {one.heading} has shape {one.vector.shape}, the vectors have {d} d")
    return one.vector


def _pool(typed: str) -> int | str:
    """Return how many candidates to fetch."""
    if typed == "auto":
        return typed
    try:
        return int(typed)
    except ValueError:
        raise ValueError(f"pool: {typed!r} is neither auto nor a number") from None


def _in_rows(saved: SavedIndex, wishes: dict[str, Any]) -> dict[str, Any]:
    """Return options as `setwise.retrieve` takes them: rows for ids, groups where they are needed."""
    from setwise.index.saved import GROUP

    options = {**wishes, "after": wishes["after"] or ()}
    where = options.pop("where")
    if where is not None:
        options["filter"] = saved.mask(where, "where")
        if not options["filter"].any():
            raise ValueError(f"where: nothing of the {len(saved):,} of the index fulfils {where!r}")
    for argument in ("include", "exclude"):
        names = options[argument]
        twice = [name for place, name in enumerate(names) if name in names[:place]]
        if twice:
            raise ValueError(f"{argument}: {twice[0]!r} is named twice")
        options[argument] = saved.rows_of(names, argument)
    if options["facets"] is not None:
        with checks.renamed(query="facets"):
            options["facets"] = saved.encode(options["facets"])
    if options["shown"] is not None:
        options["shown"] = saved.rows_of(options["shown"], "shown")
    if options["limits"]:
        options["groups"] = {name: _column(saved, name, "limit") for name in options["limits"]}
    told = options["solver_options"] or {}
    if isinstance(told.get("partition"), str):
        finds = _column(saved, told["partition"], "solver-option")
        options["solver_options"] = {**told, "partition": finds}
    if options["costs"] in saved.columns:
        options["costs"] = _column(saved, options["costs"], "tokenizer")
    elif options["costs"] is not None:
        from setwise.files.lengths import length

        texts, count = saved.texts, length(options["costs"])
        if texts is None:
            raise ValueError("tokens: the index has no texts to count; name a column with --tokenizer")
        options["costs"] = lambda row: count(texts.take([row])[0])
    check_apart(wishes["include"], wishes["exclude"], wishes["shown"] or ())
    if options["max_per_group"] is not None:
        if saved.groups is None:
            raise ValueError("max_per_group: the index has no groups; build it with --group COLUMN")
        options["groups"] = GROUP
    return options


def _column(saved: SavedIndex, name: str, argument: str) -> Callable[[int], Any]:
    """Return what finds a row's value in a column of the index."""
    from setwise.files.names import nearest

    if name not in saved.columns:
        raise ValueError(f"{argument}: the index has no column {name!r}{nearest(name, saved.columns)}")
    column = saved.columns[name]

    def find(row: int) -> Any:
        found = column.take([row])[0]
        if is_missing(found):
            its = saved.ids.take([row])[0]
            raise ValueError(f"{argument}: id {its!r} has nothing in {name!r}; fill it, or leave that out")
        return found

    return find
