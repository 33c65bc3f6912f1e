"""Retrieval: k passages for a query, relevant and diverse. A thin recipe over `setwise.select`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.encode import Encoder, encoder
from setwise.files.corpus import Corpus, duplicates
from setwise.progress import Progress
from setwise.request import Options, takes
from setwise.retrieval.defaults import DIVERSITY
from setwise.retrieval.passages import Passages
from setwise.retrieval.prepared import PreparedCorpus, _request_of


def prepare(
    corpus: Corpus,
    model: str | Encoder = "auto",
    *,
    cache: Path | None = None,
    drop_duplicates: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> PreparedCorpus:
    """Make a corpus ready to select from.

    Parameters
    ----------
    corpus : Corpus
        With vectors of its own, or texts to encode.
    model : str or Encoder
        See `setwise.encode.encoder`. Where the corpus brings vectors, the model that made them, for queries;
        "auto" then means none.
    cache : Path, optional
        Folder to keep the vectors in; see `setwise.encode.cache`.
    drop_duplicates : bool
        Leave out texts that an earlier row has already; by default they stay and are only reported.
    seed : int
        For an encoder that draws at random while it learns.
    progress : callable, optional
        Called with the number of texts done and the number of texts.

    Raises
    ------
    ValueError
        No text has a word that the encoder knows.
    """
    repeats = {} if corpus.texts is None else duplicates(corpus.texts)
    keep = np.ones(len(corpus), np.bool_)
    if checks.flag("drop_duplicates", drop_duplicates):
        keep[list(repeats)] = False
    if corpus.vectors is not None:
        rows = np.flatnonzero(keep)
        vectors = corpus.vectors if keep.all() else corpus.vectors[rows]
        if model == "lsa":
            raise ValueError(
                "model: lsa learns from texts and cannot encode queries for vectors that you bring"
            )
        named = None if model == "auto" else encoder(model) if isinstance(model, str) else model
        return PreparedCorpus(corpus, rows, vectors, named, repeats=repeats, dropped=drop_duplicates)
    if corpus.texts is None:
        raise ValueError("corpus: it has neither texts nor vectors")
    from setwise.encode.cache import encode_texts

    used = encoder(model, seed=seed) if isinstance(model, str) else model
    encoded = encode_texts(corpus.texts, used, cache, progress)
    if not len(encoded.rows):
        raise ValueError(f"corpus: {used.name} knows no word of any text")
    kept = keep[encoded.rows]
    return PreparedCorpus(
        corpus=corpus,
        rows=encoded.rows[kept],
        vectors=encoded.vectors if kept.all() else encoded.vectors[kept],
        encoder=encoded.encoder,
        cached=encoded.cached,
        unknown=[corpus.ids[row] for row in encoded.unknown.tolist()],
        repeats=repeats,
        dropped=drop_duplicates,
    )


@takes(diversity=DIVERSITY)
def retrieve_texts(
    corpus: Corpus,
    query: str | NDArray[Any] | None,
    k: int | None = None,
    *,
    model: str | Encoder = "auto",
    cache: Path | None = None,
    drop_duplicates: bool = False,
    relevance_scale: str = "none",
    sharpness: int | None = None,
    metric: str = "cosine",
    **options: Unpack[Options],
) -> Passages:
    """Select k passages of a corpus for a query.

    Parameters
    ----------
    corpus : Corpus
        See `setwise.files.read_corpus`.
    query : str, ndarray of shape (d,), or None
        A text, a vector, or None where the corpus has relevance of its own.
    k : int
    model, cache, drop_duplicates
        As for `prepare`.
    seed : int
        For the encoder, and for the selection.
    relevance_scale, sharpness, metric, diversity, objective, solver, solver_options, certify, time_limit,
    threads
        As for `PreparedCorpus.select`, as are include, exclude, groups, max_per_group, limits, shares,
        costs, budget, min_gain, max_similarity, shown, shown_weight and facets.

    Returns
    -------
    Passages

    Examples
    --------
    >>> from setwise.files import Corpus
    >>> corpus = Corpus(None, ["a", "b", "c"], ["red apple", "red apple pie", "green pear"])
    >>> retrieve_texts(corpus, "apple", 2, model="lsa").ids
    ['a', 'b']
    """
    request = _request_of(
        retrieve_texts,
        corpus,
        options,
        k=k,
        relevance_scale=relevance_scale,
        sharpness=sharpness,
        metric=metric,
    )
    ready = prepare(corpus, model, cache=cache, drop_duplicates=drop_duplicates, seed=request.seed)
    return ready.selected(request, query)
