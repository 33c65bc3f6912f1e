"""A retriever that returns a set: relevant documents that differ from one another."""
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from pydantic import Field, model_validator

from setwise.index import Index
from setwise.integrations.common import Search, choose, facts, take_weight, with_facets
from setwise.integrations.fields import ASKED, Choosing
from setwise.integrations.langchain.documents import (
    READING,
    described,
    document_id,
    from_metadata,
    in_order,
    label,
)
from setwise.integrations.langchain.stores import StoreReader, reader_of, searches_by_vector, stored
from setwise.integrations.lookup import each_of, fill, first_of_each
from setwise.steps import Step, Work, arun, run

#: Parameters of the retriever that a call may override.
_PER_CALL = (*ASKED, "lambda_mult", "fetch_k", "filter", "score_threshold", "search_kwargs")

#: Of these, what no store has: a store may swallow such a name, mistyped too, without a word.
_OURS = tuple(name for name in _PER_CALL if name not in ("k", "filter", "search_kwargs"))


class DiverseRetriever(BaseRetriever, Choosing):
    """Retrieve k documents that are relevant and differ from one another.

    The vectors come from `index`; else from the store itself (in-memory, FAISS and Qdrant stores, and
    those made known by `register`); else from each document's metadata. Texts are embedded again only
    where none of these has a vector and `reembed` is set.

    Parameters
    ----------
    vectorstore : VectorStore, optional
        What is searched, or where documents are looked up where `index` is searched.
    index : setwise.Index, optional
        Searched in place of the store: its pool grows until it is proven sufficient.
    documents : mapping, sequence or callable, optional
        With `index`: the document of an id. By default ``vectorstore.get_by_ids`` is asked.
    embeddings : Embeddings, optional
        For the query, and for texts where `reembed` is set. By default the store's own.
    k : int
        How many documents; where fewer are found, all of them come back.
    diversity : float
        In [0, 1]: 0 = relevance alone, 1 = diversity alone.
    lambda_mult : float, optional
        LangChain's own trade-off in place of `diversity`, which is 1 - lambda_mult.
    sharpness : int, optional
        As for `setwise.retrieve`.
    objective : {"max-sum", "mmr", "log-det", "max-min", "facets"}
    solver, solver_options
        As for `setwise.select`; a `partition` is a metadata key.
    fetch_k : int, optional
        How many candidates are fetched, at least k. Default: with `index` as many as are proven to
        suffice, else the larger of 50 and 5 k.
    filter : optional
        Passed to the search of the store, or of the index, in its own terms.
    score_threshold : float, optional
        The least relevance of a document that may be chosen; where fewer than k have it, fewer come back, or
        none, with a warning.
    search_kwargs : dict
        Further keywords for the store's ``similarity_search_by_vector``.
    embedding_key : str
        Metadata key of a document's vector, for stores that give none back.
    reembed : bool
        Whether to embed texts again where no vector is stored.
    tokens : int, optional
        The most that the chosen texts may have together; `k` is then the most there may be.
    tokenizer : str or callable
        What counts them: "tokens", "words", "characters", "tiktoken:ENCODING", "tokenizers:FILE.json", or a
        function of a text.
    limits : mapping, optional
        By metadata key how many there may be of each label: the most, or (least, most).
    shares : mapping, optional
        As for `setwise.select`, by metadata key.
    max_similarity, min_gain : float, optional
        As for `setwise.select`.
    shown : array-like of shape (h, d), or sequence of ids, optional
        The vectors of documents that were shown before, or with a `setwise.Index` their ids: they count as
        members, and are not returned.
    shown_weight : float
        How much each of them counts.
    facets : list of str, or array-like of shape (m, d), optional
        Sub-questions that the documents should answer together, for objective="facets"; texts are embedded.
    why : bool
        Whether documents get ``<prefix>_why``, in words.
    prefix : str or None
        Documents get metadata ``<prefix>_relevance``, ``_gain`` and ``_novelty``; None adds nothing.

    Raises
    ------
    pydantic.ValidationError
        A parameter is unknown or out of its range.

    Notes
    -----
    All but `vectorstore`, `index`, `documents`, `embeddings`, `embedding_key`, `reembed`, `why` and `prefix`
    can also be passed to ``invoke`` and ``ainvoke``.

    Relevance is the cosine of the query with the stored vector, whatever score the store has. Documents are
    copies: what the store keeps is not touched.
    """

    weight = "lambda_mult"
    reading = READING

    vectorstore: VectorStore | None = None
    index: Index | None = None
    documents: Any = None
    embeddings: Embeddings | None = None
    lambda_mult: float | None = None
    fetch_k: int | None = None
    filter: Any = None
    score_threshold: float | None = None
    search_kwargs: dict[str, Any] = Field(default_factory=dict)
    embedding_key: str = "embedding"
    reembed: bool = False

    @model_validator(mode="after")
    def _check(self) -> DiverseRetriever:
        self._call({})
        if self.vectorstore is None and self.index is None:
            raise ValueError("vectorstore: pass a vector store, an index=, or both")
        if self.index is not None and self.documents is None and self.vectorstore is None:
            raise ValueError("documents: with an index alone, pass the document of each id")
        self._check_used()
        if self.index is None and not searches_by_vector(self.vectorstore):
            raise ValueError(_not_by_vector(self.vectorstore))
        if self._embedder() is None:
            raise ValueError(
                "embeddings: the store has none of its own; pass the model that embeds the query"
            )
        return self

    def _check_used(self) -> None:
        """Refuse parameters that would have no effect."""
        if self.index is None and self.documents is not None:
            raise ValueError(
                "documents: they are looked up by an index's ids; pass index= too, or leave them out"
            )
        if self.index is not None and (self.search_kwargs or self.reembed):
            name = "search_kwargs" if self.search_kwargs else "reembed"
            raise ValueError(f"{name}: it is for the vector store's search, and index= is searched instead")

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **overrides: Any
    ) -> list[Document]:
        return run(self._retrieving(query, overrides))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **overrides: Any
    ) -> list[Document]:
        return await arun(self._retrieving(query, overrides))

    def _retrieving(self, query: str, overrides: Mapping[str, Any]) -> Work[list[Document]]:
        search, options = self._call(overrides)
        model = self._model
        vector = yield Step.of(model.embed_query, model.aembed_query, query)
        search = yield from with_facets(search, partial(Step.of, model.embed_query, model.aembed_query))
        if self.index is not None:
            known = self.documents
            text = None if known is None else lambda name: each_of(known, [name], "documents")[0].page_content
            found = yield from search.over(self.index, vector, text)
            if found is None:
                return []
            documents = yield from self._documents_of(found.ids.tolist())
            chosen = list(zip(documents, facts(found, self.why), strict=True))
        else:
            store = self._store
            try:
                documents = yield Step.of(
                    store.similarity_search_by_vector,
                    store.asimilarity_search_by_vector,
                    np.asarray(vector, np.float64).tolist(),
                    **self._options(search, options),
                )
            except NotImplementedError:
                raise ValueError(_not_by_vector(store)) from None
            rows = from_metadata(documents, stored(store, documents), self.embedding_key)
            texts = self._to_embed(documents, rows)
            if texts:
                fill(rows, (yield Step.of(model.embed_documents, model.aembed_documents, texts)))
            once = first_of_each([document_id(document) for document in documents])
            kept, vectors = [documents[place] for place in once], [rows[place] for place in once]
            chosen = choose(
                kept,
                vectors,
                search.request,
                query=vector,
                missing="drop",
                threshold=search.threshold,
                noun="documents",
                lack=lambda document, _: (label(document), "embedding", "embed its text anew"),
                reading=self.reading,
                why=self.why,
            )
        return [described(document, known, self.prefix) for document, known in chosen]

    # ------------------------------------------------------------------ over a store

    def _options(self, search: Search, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keywords of the store's own search; the filter is applied there and nowhere else."""
        reader = reader_of(self.vectorstore)
        needed = {} if reader is None else reader.search_options(self.vectorstore, search.filter)
        filtered = {} if search.filter is None else {"filter": search.filter}
        return {"k": search.fetched, **needed, **filtered, **given}

    def _to_embed(self, documents: list[Document], rows: list[Any]) -> list[str]:
        """Return the texts that have no vector, which is an error unless they may be embedded again."""
        lacking = [place for place, row in enumerate(rows) if row is None]
        if lacking and not self.reembed:
            raise ValueError(
                f"vectorstore: a {type(self.vectorstore).__name__} gives no vector for {len(lacking)} of "
                f"{len(rows)} documents (the first: {label(documents[lacking[0]])}), and their metadata has "
                f"no {self.embedding_key!r}; pass index=, an embedding_key that the metadata has, or "
                "reembed=True to embed their texts again"
            )
        return [documents[place].page_content for place in lacking]

    # ------------------------------------------------------------------ over an index

    def _documents_of(self, ids: list[Any]) -> Work[list[Document]]:
        if self.documents is not None or not ids:
            return each_of(self.documents, ids, "documents")
        reader = reader_of(self.vectorstore) or StoreReader()
        names = reader.ids(self.vectorstore, ids)
        return in_order((yield Step.of(self._store.get_by_ids, self._store.aget_by_ids, names)), names)

    # ------------------------------------------------------------------ both

    def _call(self, overrides: Mapping[str, Any]) -> tuple[Search, Mapping[str, Any]]:
        """Return the parameters of one call: the retriever's own, and what the call overrides."""
        unknown = [name for name in overrides if name not in _PER_CALL]
        if unknown:
            raise TypeError(f"{unknown[0]}: a call takes no such parameter (it takes {', '.join(_PER_CALL)})")
        given = take_weight(overrides, "lambda_mult")
        values = {name: given.get(name, getattr(self, name)) for name in _PER_CALL}
        for name in values["search_kwargs"]:
            own = [name] if name in _PER_CALL else difflib.get_close_matches(name, _OURS, n=1, cutoff=0.8)
            if own:
                raise ValueError(
                    f"search_kwargs: {name}: {own[0]} is a parameter of the retriever itself; pass it there"
                )
        request = self.request(index=self.index, **{name: values[name] for name in ASKED})
        search = Search(request, values["fetch_k"], values["filter"], values["score_threshold"])
        return search, values["search_kwargs"]

    def _embedder(self) -> Embeddings | None:
        if self.embeddings is not None or self.vectorstore is None:
            return self.embeddings
        return self.vectorstore.embeddings

    @property
    def _model(self) -> Embeddings:
        model = self._embedder()
        assert model is not None, "checked at construction"
        return model

    @property
    def _store(self) -> VectorStore:
        assert self.vectorstore is not None, "checked at construction"
        return self.vectorstore


def _not_by_vector(store: VectorStore | None) -> str:
    """Say that a store cannot do what is asked of it, and the mend."""
    return (
        f"vectorstore: a {type(store).__name__} cannot be searched by vector (it has no "
        "similarity_search_by_vector); pass index= over the same data, or put a DiverseCompressor after its "
        "own retriever"
    )
