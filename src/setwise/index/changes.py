"""Rows added to a saved index, taken out, or brought up to date; a text that is there is not encoded again.

The folder's content is replaced in one step, by one process at a time; whoever searches the old one goes on
with it. What the encoder has learned stays as it is: new texts are encoded as the old ones were.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.encode import Encoder, known_rows
from setwise.files import versions
from setwise.files.corpus import Corpus
from setwise.files.reading import read_array
from setwise.files.where import as_arrow
from setwise.index.folder import ENCODER, FAISS, FORMAT, VECTORS, IndexInfo
from setwise.index.saved import SavedIndex, open_index
from setwise.index.saving import BLOCK, Content, write_content
from setwise.progress import StepProgress

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """What became of an index.

    Attributes
    ----------
    info : IndexInfo
        Of the index as it is now.
    added, changed, removed, unchanged : int
        Rows; those that were there and have another text, group or column now are changed.
    encoded : int
        Texts that were encoded: those whose content was not there under any id.
    unknown : tuple of str or int
        Ids left out, since the encoder knows no word of their text.
    """

    info: IndexInfo
    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    encoded: int = 0
    unknown: tuple[str | int, ...] = ()


def add(
    path: str | os.PathLike[str],
    corpus: Corpus,
    *,
    encoder: Encoder | None = None,
    threads: int | None = None,
    progress: StepProgress | None = None,
) -> Change:
    """Add the rows of a corpus to a saved index.

    Parameters
    ----------
    path : path-like
    corpus : Corpus
        With texts to encode, or vectors of its own; see `setwise.files.read_corpus`.
    encoder : Encoder, optional
        Encodes texts instead of the one saved.
    threads : int, optional
    progress : callable, optional
        Called with the step, how much of it is done, and how much there is.

    Raises FileNotFoundError, ValueError: there is no such index; it has an id of the corpus already; it has
    texts, groups or an encoder, which the corpus or the machine lacks; vectors are of another width;
    TimeoutError: another process still changes it after ten minutes.
    """
    with FORMAT.changing(path):
        saved = open_index(path, encoder=encoder, threads=threads)
        rows = {str(name): row for row, name in enumerate(saved.ids)}
        there = [name for name in corpus.ids if str(name) in rows]
        if there:
            more = f" (and {len(there) - 1:,} more)" if len(there) > 1 else ""
            raise ValueError(
                f"ids: the index has {there[0]!r} already{more}; setwise index update replaces what is there"
            )
        pairs = [*((None, row) for row in range(len(saved))), *((row, None) for row in range(len(corpus)))]
        return _changed(_Plan(saved, corpus, pairs), threads, progress)


def update(
    path: str | os.PathLike[str],
    corpus: Corpus,
    *,
    keep: bool = False,
    encoder: Encoder | None = None,
    threads: int | None = None,
    progress: StepProgress | None = None,
) -> Change:
    """Let a saved index hold what a corpus holds: new ids are added, others replaced where they differ.

    A text that the index has under any id keeps its vector.

    Parameters
    ----------
    path : path-like
    keep : bool
        Keep the ids that the corpus lacks; by default they are removed.
    encoder, threads, progress
        As for `add`.

    Raises FileNotFoundError, TimeoutError, ValueError: as for `add`, but for ids that are there.
    """
    with FORMAT.changing(path):
        saved = open_index(path, encoder=encoder, threads=threads)
        of_id = {str(name): row for row, name in enumerate(corpus.ids)}
        pairs: list[tuple[int | None, int | None]] = []
        for old, name in enumerate(saved.ids):
            fresh = of_id.pop(str(name), None)
            if fresh is not None or keep:
                pairs.append((fresh, old))
        pairs += [(fresh, None) for fresh in of_id.values()]
        return _changed(_Plan(saved, corpus, pairs), threads, progress)


def remove(
    path: str | os.PathLike[str],
    ids: Iterable[str | int] = (),
    *,
    where: Any = None,
    threads: int | None = None,
    progress: StepProgress | None = None,
) -> Change:
    """Take rows out of a saved index.

    Parameters
    ----------
    path : path-like
    ids : iterable of str or int
    where : str or pyarrow.compute.Expression, optional
        A condition on the columns: ``"file = 'old.md'"``; see `setwise.files.where`.
    threads, progress
        As for `add`.

    Raises FileNotFoundError, TimeoutError, ValueError: there is no such index; an id is not in it; the
    condition cannot be understood; no row would be left.
    """
    with FORMAT.changing(path):
        saved = open_index(path, threads=threads)
        gone = np.zeros(len(saved), np.bool_)
        gone[saved.rows_of(ids)] = True
        found = saved.mask(where, "where")
        if found is not None:
            gone |= found
        pairs = [(None, row) for row in np.flatnonzero(~gone).tolist()]
        return _changed(_Plan(saved, None, pairs), threads, progress)


@dataclass(frozen=True, eq=False)
class _Plan:
    """The rows that an index will have.

    Attributes
    ----------
    corpus : Corpus, optional
    pairs : sequence of (int or None, int or None)
        Of each, the row of the corpus that says what it is, and the row of the index that it has been.
    """

    saved: SavedIndex
    corpus: Corpus | None
    pairs: Sequence[tuple[int | None, int | None]]

    def __len__(self) -> int:
        return len(self.pairs)

    def merged(self, ours: Any, theirs: Any) -> list[Any]:
        """Return a column: the corpus's value where it says what a row is, else the index's, or None."""
        sides = [(theirs, old) if fresh is None else (ours, fresh) for fresh, old in self.pairs]
        return [None if column is None or row is None else column[row] for column, row in sides]

    def named(self, name: str) -> Any:
        """Return the ids, texts or groups; None where the index has none."""
        theirs = getattr(self.saved, name)
        return None if theirs is None else self.merged(getattr(self.corpus, name, None), theirs)

    def columns(self) -> dict[str, list[Any]]:
        """Return the further columns."""
        ours, theirs = self._own(), self.saved.columns
        names = dict.fromkeys([*theirs, *ours])
        return {name: self.merged(ours.get(name), theirs.get(name)) for name in names}

    def differences(self) -> int:
        """Return how many rows of both have another text, group or column in the corpus than in the index."""
        if self.corpus is None:
            return 0
        both = [(fresh, old) for fresh, old in self.pairs if fresh is not None and old is not None]
        if self.corpus.vectors is not None or self.saved.texts is None:
            return len(both)
        columns, ours = self.saved.columns, self._own()
        pairs: list[tuple[Any, Any]] = [(self.corpus.texts, self.saved.texts)]
        pairs += [(ours.get(name), columns.get(name)) for name in dict.fromkeys([*columns, *ours])]
        if self.saved.groups is not None:
            pairs.append((self.corpus.groups, self.saved.groups))
        found = np.zeros(len(both), np.bool_)
        for new, there in pairs:
            for place, (fresh, old) in enumerate(both):
                found[place] |= (new and new[fresh]) != (there and there[old])
        return int(found.sum())

    def _own(self) -> dict[str, list[Any]]:
        """Return the corpus's columns as an index gives them back."""
        given = {} if self.corpus is None else self.corpus.columns
        return {name: as_arrow(values, name).to_pylist() for name, values in given.items()}


def _changed(plan: _Plan, threads: int | None, progress: StepProgress | None) -> Change:
    """Write the rows of a plan."""
    saved, info, home = plan.saved, plan.saved.info, versions.home(plan.saved.path)
    if plan.corpus is not None:
        _check_fitting(info, plan.corpus)
    vectors = _Vectors.of(plan, progress)
    names = plan.named("ids")
    unknown = tuple(names[place] for place in np.flatnonzero(~vectors.known).tolist())
    kept = np.flatnonzero(vectors.known)
    plan = replace(plan, pairs=[plan.pairs[place] for place in kept.tolist()])
    if not len(plan):
        raise ValueError("index: no row would be left; delete its folder instead")
    sources = vectors.sources[kept]
    added = sum(old is None for _, old in plan.pairs)
    removed = info.n - (len(plan) - added)
    changed = plan.differences()
    change = Change(
        info, added, changed, removed, len(plan) - added - changed, encoded=vectors.encoded, unknown=unknown
    )
    if not (added or changed or removed):
        return change
    appended = len(plan) >= info.n and np.array_equal(sources[: info.n], np.arange(info.n))
    facts = info.faiss or {}
    content = Content(
        n=len(plan),
        d=info.d,
        blocks=vectors.blocks(home / VECTORS, sources),
        storage=info.dtype,
        metric=info.metric,
        ids=plan.named("ids"),
        texts=plan.named("texts"),
        groups=plan.named("groups"),
        columns=plan.columns(),
        encoder=info.encoder,
        learned=home / ENCODER if ENCODER in info.files else None,
        kind=info.kind,
        factory=facts.get("factory"),
        nprobe=facts.get("nprobe"),
        ef=facts.get("ef"),
        grown=(home / FAISS, facts) if info.faiss is not None and appended else None,
        source=info.source,
        reading=info.reading,
    )
    _log.info("%s: %d added, %d changed, %d removed", saved.path, added, changed, removed)
    after = write_content(saved.path, content, force=True, threads=threads, progress=progress)
    return replace(change, info=after)


def _check_fitting(info: IndexInfo, corpus: Corpus) -> None:
    """Refuse a corpus that lacks what the index has of every row."""
    if info.groups and corpus.groups is None:
        raise ValueError("group: the index has groups; name the column with theirs")
    if info.texts and corpus.texts is None:
        raise ValueError("text: the index has texts; name the column with theirs")
    if corpus.vectors is None:
        if info.encoder is None:
            raise ValueError("vectors: the index was built from vectors alone; bring those of the new rows")
        if corpus.texts is None:
            raise ValueError("corpus: it has neither texts nor vectors")
    elif corpus.vectors.shape[1] != info.d:
        raise ValueError(f"vectors: they have {corpus.vectors.shape[1]} d, the index has {info.d}")


@dataclass(frozen=True, eq=False)
class _Vectors:
    """Where the vectors of a plan's rows come from.

    Attributes
    ----------
    sources : ndarray of shape (n,), int64
        A row of the index; or -1 - i, row i of ``fresh``.
    fresh : ndarray of shape (m, d)
    known : ndarray of shape (n,), bool
        False where the encoder knows no word of the text.
    """

    sources: NDArray[np.int64]
    fresh: NDArray[Any]
    known: NDArray[np.bool_]
    encoded: int = 0

    @classmethod
    def of(cls, plan: _Plan, progress: StepProgress | None) -> _Vectors:
        """Take vectors that are there, and encode the texts that are new."""
        saved, corpus = plan.saved, plan.corpus
        sources = np.array([-1 if old is None else old for _, old in plan.pairs], np.int64)
        known = np.ones(len(plan), np.bool_)
        fresh = {place: row for place, (row, _) in enumerate(plan.pairs) if row is not None}
        if corpus is None or not fresh:
            return cls(sources, np.empty((0, saved.dim), np.float32), known)
        if corpus.vectors is not None:
            sources[list(fresh)] = -1 - np.arange(len(fresh))
            return cls(sources, np.asarray(corpus.vectors[list(fresh.values())]), known)
        assert corpus.texts is not None
        held: dict[bytes, int] = {}
        for row, text in enumerate(saved.texts or ()):
            held.setdefault(_digest(text), row)
        texts: list[str] = []
        for place, row in fresh.items():
            text = corpus.texts[row]
            digest = _digest(text)
            if digest not in held:
                texts.append(text)
                held[digest] = -len(texts)
            sources[place] = held[digest]
        if not texts:
            return cls(sources, np.empty((0, saved.dim), np.float32), known)
        encoded = _encoded(saved, texts, progress)
        known[sources < 0] = known_rows(encoded)[-1 - sources[sources < 0]]
        return cls(sources, encoded, known, len(texts))

    def blocks(self, file: Path, sources: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
        """Yield the vectors of some sources, in parts."""
        stored = read_array(file, "index")
        for start in range(0, len(sources), BLOCK):
            part = sources[start : start + BLOCK]
            block = np.empty((len(part), stored.shape[1]), np.float32)
            block[part >= 0] = stored[part[part >= 0]]
            block[part < 0] = self.fresh[-1 - part[part < 0]]
            yield block


def _encoded(saved: SavedIndex, texts: Sequence[str], progress: StepProgress | None) -> NDArray[np.float32]:
    """Encode texts as those of the index were."""
    told, used = saved.info.encoder, saved.encoder()
    if told is not None and told["model"] not in (None, "lsa") and used.key != told["key"]:
        raise ValueError(
            f"model: the index was built with {told['name']}, here it is {used.name}; their vectors do not "
            "compare: build the index again"
        )
    vectors = used.encode(
        texts, None if progress is None else lambda done, total: progress("encoding", done, total)
    )
    if vectors.shape[1] != saved.dim:
        raise ValueError(
            f"model: {used.name} makes vectors of {vectors.shape[1]} d, the index has {saved.dim}"
        )
    return vectors


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
