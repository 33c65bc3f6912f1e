"""A retriever that returns a set: relevant nodes that differ from one another."""
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from llama_index.core import Settings, VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle
from llama_index.core.storage.docstore.types import BaseDocumentStore

from setwise.index import Index
from setwise.integrations.common import K, Search, choose, facts, request_for, take_weight, with_facets
from setwise.integrations.llama_index.nodes import (
    READING,
    STORES,
    described,
    each_once,
    found_in,
    nodes_of,
)
from setwise.integrations.lookup import check_source, each_of
from setwise.integrations.thresholds import check_threshold
from setwise.retrieval import DIVERSITY
from setwise.steps import Step, Work, arun, run


class DiverseRetriever(BaseRetriever):
    """Retrieve k nodes that are relevant and differ from one another.

    Parameters
    ----------
    index : VectorStoreIndex or setwise.Index
        What is searched. A `setwise.Index` is searched until its pool is proven sufficient.
    nodes : mapping, sequence, document store or callable, optional
        With a `setwise.Index`: the node of an id.
    embed_model : BaseEmbedding, optional
        For the query. By default the index's own, or that of ``Settings``.
    k : int
        How many nodes; where fewer are found, all of them come back.
    diversity : float, optional
        In [0, 1]: 0 = relevance alone, 1 = diversity alone. Default 0.3.
    mmr_threshold : float, optional
        In place of `diversity`, which is 1 - mmr_threshold.
    sharpness : int, optional
        As for `setwise.retrieve`.
    objective : {"max-sum", "mmr", "log-det", "max-min", "facets"}
    solver, solver_options
        As for `setwise.select`; a `partition` is a metadata key.
    fetch_k : int, optional
        How many candidates are fetched, at least k. Default: from a `setwise.Index` as many as are proven
        to suffice, else the larger of 50 and 5 k.
    filters : MetadataFilters, optional
        Passed to the search; for a `setwise.Index`, in the index's own terms.
    similarity_cutoff : float, optional
        The least relevance of a node that may be chosen, called as in LlamaIndex's own postprocessor; where
        fewer than k have it, fewer come back, or none, with a warning.
    vectors : optional
        As for `DiverseNodePostprocessor`, where neither nodes nor the vector store bring any.
    search_kwargs : mapping, optional
        Further keywords for ``VectorStoreIndex.as_retriever``.
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
        The vectors of nodes that were shown before, or with a `setwise.Index` their ids: they count as
        members, and are not returned.
    shown_weight : float
        How much each of them counts.
    facets : list of str, or array-like of shape (m, d), optional
        Sub-questions that the nodes should answer together, for objective="facets"; texts are embedded.
    why : bool
        Whether nodes get ``<prefix>_why``, in words.
    prefix : str or None
        As for `DiverseNodePostprocessor`.
    callback_manager, object_map, verbose
        As for every LlamaIndex retriever.

    Raises
    ------
    TypeError
        A parameter is of the wrong type.
    ValueError
        It is out of its range or unknown, has no effect over this kind of index, or is the retriever's own
        among `search_kwargs`; or the nodes of a `setwise.Index` are missing.

    Notes
    -----
    A node's relevance and score are the cosine of the query with its vector.
    """

    def __init__(
        self,
        index: VectorStoreIndex | Index,
        *,
        nodes: Mapping[Any, BaseNode]
        | Sequence[BaseNode]
        | BaseDocumentStore
        | Callable[[Any], BaseNode]
        | None = None,
        embed_model: BaseEmbedding | None = None,
        k: int = K,
        diversity: float | None = None,
        mmr_threshold: float | None = None,
        sharpness: int | None = None,
        objective: str = "max-sum",
        solver: str = "auto",
        solver_options: Mapping[str, Any] | None = None,
        fetch_k: int | None = None,
        filters: Any = None,
        similarity_cutoff: float | None = None,
        vectors: Any = None,
        search_kwargs: Mapping[str, Any] | None = None,
        tokens: int | None = None,
        tokenizer: Any = "tokens",
        limits: Mapping[str, Any] | None = None,
        shares: Mapping[str, Any] | None = None,
        max_similarity: float | None = None,
        min_gain: float | None = None,
        shown: Any = None,
        shown_weight: float = 1.0,
        facets: Any = None,
        why: bool = False,
        prefix: str | None = "setwise",
        callback_manager: CallbackManager | None = None,
        object_map: dict[str, Any] | None = None,
        verbose: bool = False,
    ) -> None:
        given = take_weight({"diversity": diversity, "mmr_threshold": mmr_threshold}, "mmr_threshold")
        request = request_for(
            k=k,
            diversity=DIVERSITY if given["diversity"] is None else given["diversity"],
            sharpness=sharpness,
            objective=objective,
            solver=solver,
            solver_options=solver_options,
            tokens=tokens,
            tokenizer=tokenizer,
            limits=limits,
            shares=shares,
            max_similarity=max_similarity,
            min_gain=min_gain,
            shown=shown,
            shown_weight=shown_weight,
            facets=facets,
            index=index if isinstance(index, Index) else None,
        )
        check_threshold(similarity_cutoff, "similarity_cutoff")
        self._search = Search(request, fetch_k, filters, similarity_cutoff)
        check_source(vectors, *STORES)
        if not isinstance(index, VectorStoreIndex | Index):
            raise TypeError(
                f"index: expected a VectorStoreIndex or a setwise.Index, got {type(index).__name__}"
            )
        if isinstance(index, Index) and nodes is None:
            raise ValueError("nodes: with a setwise.Index, pass the node of each id")
        idle = {"nodes": nodes} if isinstance(index, VectorStoreIndex) else {"vectors": vectors}
        if isinstance(index, Index):
            idle["search_kwargs"] = search_kwargs
        for name, value in idle.items():
            if value is not None:
                raise ValueError(f"{name}: it has no effect over a {type(index).__name__}; leave it out")
        self._index = index
        self._nodes = nodes
        self._embed_model = embed_model
        self._vectors = vectors
        self._search_kwargs = dict(search_kwargs or {})
        self._prefix = prefix
        self._why = why
        for name in ("similarity_top_k", "filters", "embed_model"):
            if name in self._search_kwargs:
                instead = "fetch_k" if name == "similarity_top_k" else name
                raise ValueError(f"search_kwargs: {name} is set by the retriever; pass {instead}= instead")
        if object_map is None and isinstance(index, VectorStoreIndex):
            object_map = index._object_map
        super().__init__(callback_manager=callback_manager, object_map=object_map, verbose=verbose)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return run(self._retrieving(query_bundle))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await arun(self._retrieving(query_bundle))

    def _retrieving(self, query: QueryBundle) -> Work[list[NodeWithScore]]:
        embedding, index = query.embedding, self._index
        if embedding is None:
            embedding = yield self._embed(query.embedding_strs)
        search = yield from with_facets(self._search, lambda text: self._embed([text]))
        if isinstance(index, Index):
            known = self._nodes
            text = None if isinstance(known, BaseDocumentStore) else partial(_text_of, known)
            found = yield from search.over(index, embedding, text)
            if found is None:
                return []
            nodes = yield from nodes_of(self._nodes, found.ids.tolist())
            chosen = list(zip(nodes, facts(found, self._why), strict=True))
        else:
            # The caller's own query is left as it is.
            embedded = QueryBundle(query.query_str, query.image_path, query.custom_embedding_strs, embedding)
            plain = self._plain(index)
            try:
                found_nodes = yield Step.of(plain._retrieve, plain._aretrieve, embedded)
            except NotImplementedError:
                raise ValueError(
                    f"index: a {type(index.vector_store).__name__} cannot be searched by vector; pass a "
                    "setwise.Index over the same data, or put a DiverseNodePostprocessor after its retriever"
                ) from None
            known_by = index if self._vectors is None else self._vectors
            kept, rows = yield from found_in(each_once(found_nodes), known_by)
            self._refuse_missing(kept, rows)
            chosen = choose(
                [one.node for one in kept],
                rows,
                search.request,
                query=embedding,
                missing="drop",
                threshold=self._search.threshold,
                noun="nodes",
                lack=lambda node, _: (f"id {node.node_id!r}", "embedding", "embed its text anew"),
                reading=READING,
                why=self._why,
            )
        return [described(node, known["relevance"], known, self._prefix) for node, known in chosen]

    def _embed(self, texts: list[str]) -> Step:
        model = self._model()
        return Step.of(model.get_agg_embedding_from_queries, model.aget_agg_embedding_from_queries, texts)

    def _model(self) -> BaseEmbedding:
        """Return the model that embeds the query."""
        if self._embed_model is not None:
            return self._embed_model
        own = None if isinstance(self._index, Index) else self._index._embed_model
        return Settings.embed_model if own is None else own

    def _plain(self, index: VectorStoreIndex) -> BaseRetriever:
        """Return the index's own retriever; made anew, since it lists the nodes there are when it is made."""
        return index.as_retriever(
            similarity_top_k=self._search.fetched,
            filters=self._search.filter,
            embed_model=self._model(),
            **self._search_kwargs,
        )

    def _refuse_missing(self, nodes: list[NodeWithScore], rows: list[Any]) -> None:
        """Refuse nodes without a vector."""
        lacking = [one for one, row in zip(nodes, rows, strict=True) if row is None]
        if lacking:
            raise ValueError(
                f"index: no vector for {len(lacking)} of {len(rows)} nodes (the first: id "
                f"{lacking[0].node_id!r}), since its vector store gives none back; pass vectors= (a "
                "setwise.Index over the same store, a mapping or a function of node ids)"
            )


def _text_of(nodes: Any, name: Any) -> str:
    """Return the text of an id's node."""
    text: str = each_of(nodes, [name], "nodes")[0].get_content()
    return text
