"""A corpus made ready to select from, and what is selected of it for a query."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.api import selected
from setwise.encode import Encoder, known_rows
from setwise.facets import are_texts, parts_of
from setwise.files.corpus import Corpus
from setwise.ids import check_apart, named_rows
from setwise.limits import OwnIfMissing, check_label, plain_label
from setwise.request import Options, Request, Rows, takes
from setwise.retrieval.defaults import DIVERSITY, request_of
from setwise.retrieval.passages import Passages, unit_of
from setwise.selection import Selection


@dataclass(frozen=True, eq=False)
class PreparedCorpus:
    """A corpus made ready to select from: vectors, and what had to be left out.

    Attributes
    ----------
    corpus : Corpus
    rows : ndarray of shape (m,), int64
        The rows of the corpus that may be selected.
    vectors : ndarray of shape (m, d)
        Theirs.
    encoder : Encoder or None
        What encodes queries, and has encoded the texts where the corpus brings no vectors.
    cached : bool
        Whether the vectors came from the cache.
    unknown : list of str or int
        Ids left out since the encoder knows no word of their text.
    repeats : mapping of int to int
        Rows whose text an earlier row has already, each with that row.
    dropped : bool
        Whether repeats were left out.
    where : str
        The condition that the candidates were left by, if any.
    """

    corpus: Corpus
    rows: NDArray[np.int64]
    vectors: NDArray[Any]
    encoder: Encoder | None = None
    cached: bool = False
    unknown: Sequence[str | int] = ()
    repeats: Mapping[int, int] = field(default_factory=dict)
    dropped: bool = False
    where: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        """The corpus row of every id, ids as strings."""
        return {str(name): row for row, name in enumerate(self.corpus.ids)}

    def only(self, where: Any) -> PreparedCorpus:
        """Return the candidates for which a condition on their columns is true.

        Parameters
        ----------
        where : str or pyarrow.compute.Expression
            See `setwise.files.where`; beside the corpus's columns there are ``id`` and ``text``.

        Raises
        ------
        TypeError, ValueError
            The condition cannot be understood, or nothing fulfils it.
        """
        from setwise.extras.arrow import arrow
        from setwise.files.where import as_arrow, mask

        corpus = self.corpus
        ours: dict[str, Any] = {"id": corpus.ids, "text": corpus.texts}
        columns = {name: values for name, values in {**ours, **corpus.columns}.items() if values is not None}
        table = arrow.table({name: as_arrow(values, name) for name, values in columns.items()})
        keep = mask(table, where)[self.rows]
        if not keep.any():
            raise ValueError(f"where: nothing of the {len(self):,} candidates fulfils {str(where)!r}")
        return replace(self, rows=self.rows[keep], vectors=self.vectors[keep], where=str(where))

    def encode(self, query: str | Sequence[str]) -> NDArray[np.float32]:
        """Return the vector of a query, shape (d,), or of several, shape (m, d).

        Raises
        ------
        TypeError
            It is no string, nor a sequence of strings.
        ValueError
            The encoder knows no word of a query, or there is no encoder.
        """
        texts = [query] if isinstance(query, str) else query
        if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
            raise TypeError(f"query: expected a string, got {type(query).__name__}")
        used = self.encoder
        if used is None:
            raise ValueError(
                "query: a text cannot be compared with vectors that you bring; pass the query's own vector, "
                "relevance, or the model that made the vectors"
            )
        vectors = used.encode(texts)
        known = known_rows(vectors)
        if not known.all():
            raise ValueError(
                f"query: {used.name} knows no word of {texts[int(known.argmin())]!r}; use other words, or "
                "another model"
            )
        if vectors.shape[1] != self.vectors.shape[1]:
            d = self.vectors.shape[1]
            raise ValueError(
                f"model: {used.name} does not fit vectors of {d} d; name the model that made them"
            )
        return vectors[0] if isinstance(query, str) else vectors

    @takes(diversity=DIVERSITY)
    def select(
        self,
        query: str | NDArray[Any] | None,
        k: int | None = None,
        *,
        relevance_scale: str = "none",
        sharpness: int | None = None,
        metric: str = "cosine",
        progress: Any = False,
        **options: Unpack[Options],
    ) -> Passages:
        """Select k candidates for a query.

        Parameters
        ----------
        query : str, ndarray of shape (d,), or None
            A text to encode or a vector; None where the corpus has relevance of its own.
        k : int
        sharpness : int, optional
            By default `default_sharpness`.
        include, exclude : sequence of str or int
            Ids that must be in the set, and that must not.
        groups : sequence, optional
            A label for each row of the corpus, by default its own.
        max_per_group : int, optional
            At most this many of each group.
        limits, shares : mapping, optional
            By name: a mapping `groups` has a label for each row of the corpus by that name.
            One that it lacks is a column of the corpus.
        costs : sequence, str or callable, optional
            One number for each row of the corpus, a column of it, a unit that texts are counted in (see
            `setwise.files.lengths.counter`), or what counts one. The set's sum to at most `budget`.
        budget, min_gain, max_similarity, shown, shown_weight, facets
            As for `setwise.select`; what was shown also by ids, facets also as texts.
        relevance_scale, metric, progress, diversity, objective, solver, solver_options, certify, time_limit,
        seed, threads
            As for `setwise.select`.

        Raises
        ------
        TypeError
            An argument is of the wrong type.
        ValueError
            Both or neither of the query and the corpus's relevance are given; the encoder knows no word of
            the query; an id is not in the corpus, or was left out of the candidates; there are no groups;
            or as `setwise.select`.
        """
        request = _request_of(
            PreparedCorpus.select,
            self.corpus,
            options,
            k=k,
            relevance_scale=relevance_scale,
            sharpness=sharpness,
            metric=metric,
        )
        return self.selected(request, query, progress=progress)

    def selected(
        self, request: Request, query: str | NDArray[Any] | None, *, progress: Any = False
    ) -> Passages:
        """Return what `select` does, for a request in terms of the corpus: its ids, a label for each row."""
        began = time.perf_counter()
        if (query is None) == (self.corpus.relevance is None):
            both = "pass a query or a corpus with relevance, not both" if query is not None else "pass one"
            raise ValueError(f"query: {both}")
        vector = self.encode(query) if isinstance(query, str) else query
        given = None if self.corpus.relevance is None else self.corpus.relevance[self.rows]

        def of_candidates(name: str, given: Any) -> list[Any]:
            if isinstance(given, OwnIfMissing):
                return of_candidates(name, given.filled(self._labels(name, given.groups), self.corpus.ids))
            what, values = "numbers" if name == "costs" else "labels", self._labels(name, given)
            if len(values) != len(self.corpus):
                raise ValueError(
                    f"{name}: expected {len(self.corpus)} {what}, one a row of the corpus, got {len(values)}"
                )
            listed = [plain_label(values[row]) for row in self.rows]
            for row, label in zip(self.rows, listed, strict=True):
                check_label(label, f"id {self.corpus.ids[row]!r}", name)
            return listed if name == "costs" else [str(label) for label in listed]

        shown, before = request.shown, []
        if shown is not None and np.ndim(shown) == 1:  # ids
            before = self._positions("shown", shown)
            shown = np.asarray(self.vectors[before], np.float64)
        include, barred = (self._positions(name, getattr(request, name)) for name in ("include", "exclude"))
        check_apart(include, barred, before, request.include)
        facets = request.facets
        if are_texts(facets):
            with checks.renamed(query="facets"):
                facets = np.stack([self.encode(one) for one in facets])
        elif facets is not None:
            part = parts_of(facets, self.vectors.shape[1], len(self.corpus), "the corpus")
            facets = facets if part is None else part(self.rows)
        local = replace(
            request.mapped(of_candidates, fields=True),
            facets=facets,
            include=include,
            exclude=[*barred, *(one for one in before if one not in barred)],
            shown=shown,
        )
        with named_rows(self.corpus.ids, self.rows):
            selection = selected(
                local, self.vectors, relevance=given, query=vector, progress=progress, began=began
            )
        return self._passages(selection, vector, given, request.goal.metric)

    def _labels(self, argument: str, given: Any) -> Any:
        """Return what is given for each row; a column of the corpus by name; of costs also how long its texts
        are."""
        if not isinstance(given, str) and not callable(given):
            return given
        corpus = self.corpus
        if isinstance(given, str) and given in corpus.columns:
            return corpus.columns[given]
        if argument == "costs" and corpus.texts is not None:
            from setwise.files.lengths import lengths

            return lengths(corpus.texts, given)
        if given == "group" and corpus.groups is not None:
            return corpus.groups
        known = ", ".join(map(repr, corpus.columns)) or "none"
        raise ValueError(f"{argument}: the corpus has no column {given!r} (it has {known})")

    def _positions(self, argument: str, ids: Rows) -> list[int]:
        """Return where among the candidates the given ids stand."""
        positions = []
        for name in ids:
            row = self.row_of.get(str(name))
            if row is None:
                from setwise.files.names import nearest

                raise ValueError(
                    f"{argument}: the corpus has no id {name!r}{nearest(str(name), self.row_of)}"
                )
            position = int(np.searchsorted(self.rows, row))
            if position == len(self.rows) or self.rows[position] != row:
                why = "no word of its text is known"
                if self.dropped and row in self.repeats:
                    why = "its text repeats an earlier one"
                elif self.where and name not in self.unknown:
                    why = f"it does not fulfil {self.where!r}"
                raise ValueError(f"{argument}: {name!r} was left out of the candidates: {why}")
            positions.append(position)
        return positions

    def _passages(
        self, selection: Selection, vector: NDArray[Any] | None, given: NDArray[Any] | None, metric: str
    ) -> Passages:
        """Return a selection together with what a person wants to see of it."""
        chosen = np.asarray(self.vectors[selection.indices], np.float64)
        rows = self.rows[selection.indices]
        unit = unit_of(chosen)
        if given is not None:
            relevances = given[selection.indices]
        elif metric == "cosine":
            probe = np.asarray(vector, np.float64).ravel()
            relevances = unit @ (probe / np.linalg.norm(probe))
        else:
            relevances = -np.linalg.norm(chosen - np.asarray(vector, np.float64).ravel(), axis=1)
        texts = self.corpus.texts
        return Passages(
            selection=selection,
            rows=rows,
            ids=[self.corpus.ids[row] for row in rows],
            texts=None if texts is None else [texts[row] for row in rows],
            columns={name: [values[row] for row in rows] for name, values in self.corpus.columns.items()},
            relevances=relevances,
            cosines=unit @ unit.T,
            named=lambda position: self.corpus.ids[int(self.rows[position])],
        )


def _request_of(
    call: Callable[..., Any],
    corpus: Corpus,
    options: Options,
    *,
    sharpness: int | None,
    metric: str,
    **more: Any,
) -> Request:
    """Return the request of a call that selects from a corpus; its own groups count where none are given."""
    if options.get("max_per_group") is not None and options.get("groups") is None:
        if corpus.groups is None:
            raise ValueError("max_per_group: the corpus has no groups; name their column")
        options = options | {"groups": corpus.groups}
    return request_of(call, options, sharpness=sharpness, metric=metric, **more)
