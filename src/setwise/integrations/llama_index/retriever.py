"""A retriever that returns a set: relevant nodes that differ from one another."""
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from llama_index.core import Settings, VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle
from llama_index.core.storage.docstore.types import BaseDocumentStore

import setwise
from setwise.index import Index
from setwise.integrations.common import DIVERSITY, Choice, K, Picked, Search, check_source, pick, take_weight
from setwise.integrations.llama_index.nodes import (
    STORES,
    anodes_of,
    astored_vectors,
    described,
    each_once,
    nodes_of,
    stored_vectors,
)


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
    objective : {"max-sum", "mmr", "log-det"}
    fetch_k : int, optional
        How many candidates are fetched, at least k. Default: from a `setwise.Index` as many as are proven
        to suffice, else the larger of 50 and 5 k.
    filters : MetadataFilters, optional
        Passed to the search; for a `setwise.Index`, in the index's own terms.
    vectors : optional
        As for `DiverseNodePostprocessor`, where neither nodes nor the vector store bring any.
    search_kwargs : mapping, optional
        Further keywords for ``VectorStoreIndex.as_retriever``.
    prefix : str or None
        As for `DiverseNodePostprocessor`.
    callback_manager, object_map, verbose
        As for every LlamaIndex retriever.

    Raises
    ------
    TypeError, ValueError
        A parameter is unknown or out of its range.

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
        fetch_k: int | None = None,
        filters: Any = None,
        vectors: Any = None,
        search_kwargs: Mapping[str, Any] | None = None,
        prefix: str | None = "setwise",
        callback_manager: CallbackManager | None = None,
        object_map: dict[str, Any] | None = None,
        verbose: bool = False,
    ) -> None:
        trade = take_weight({"diversity": diversity, "mmr_threshold": mmr_threshold}, "mmr_threshold")[
            "diversity"
        ]
        if k is None:
            raise TypeError("k: expected an integer, got None")
        choice = Choice(k, DIVERSITY if trade is None else trade, sharpness, objective)
        self._search = Search(choice, fetch_k, filters)
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
        for name in ("similarity_top_k", "filters", "embed_model"):
            if name in self._search_kwargs:
                instead = "fetch_k" if name == "similarity_top_k" else name
                raise ValueError(f"search_kwargs: {name} is set by the retriever; pass {instead}= instead")
        if object_map is None and isinstance(index, VectorStoreIndex):
            object_map = index._object_map
        super().__init__(callback_manager=callback_manager, object_map=object_map, verbose=verbose)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        embedding = query_bundle.embedding
        if embedding is None:
            embedding = self._model().get_agg_embedding_from_queries(query_bundle.embedding_strs)
        index = self._index
        if isinstance(index, Index):
            if index.size == 0:
                return []
            found = setwise.retrieve(np.asarray(embedding), index, **self._search.of_index(index))
            return self._scored(nodes_of(self._nodes, found.ids.tolist()), Picked.of(found))
        bundle = _with_embedding(query_bundle, embedding)
        nodes = each_once(self._plain(index)._retrieve(bundle))
        return self._choose(
            nodes, self._complete(nodes, stored_vectors(nodes, self._source(index))), embedding
        )

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        embedding = query_bundle.embedding
        if embedding is None:
            embedding = await self._model().aget_agg_embedding_from_queries(query_bundle.embedding_strs)
        index = self._index
        if isinstance(index, Index):
            if index.size == 0:
                return []
            found = await setwise.aretrieve(np.asarray(embedding), index, **self._search.of_index(index))
            return self._scored(await anodes_of(self._nodes, found.ids.tolist()), Picked.of(found))
        bundle = _with_embedding(query_bundle, embedding)
        nodes = each_once(await self._plain(index)._aretrieve(bundle))
        rows = self._complete(nodes, await astored_vectors(nodes, self._source(index)))
        return await asyncio.to_thread(self._choose, nodes, rows, embedding)

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

    def _source(self, index: VectorStoreIndex) -> Any:
        return index if self._vectors is None else self._vectors

    def _complete(self, nodes: list[NodeWithScore], rows: list[Any]) -> list[Any]:
        """Return the vectors, none of them missing."""
        lacking = [place for place, row in enumerate(rows) if row is None]
        if lacking:
            raise ValueError(
                f"index: no vector for {len(lacking)} of {len(rows)} nodes (the first: id "
                f"{nodes[lacking[0]].node_id!r}), since its vector store gives none back; pass vectors= (a "
                "setwise.Index over the same store, a mapping or a function of node ids)"
            )
        return rows

    def _choose(
        self, nodes: list[NodeWithScore], rows: list[Any], embedding: list[float]
    ) -> list[NodeWithScore]:
        picked = pick(rows, self._search.choice, query=np.asarray(embedding))
        return self._scored([nodes[row].node for row in picked.rows], picked)

    def _scored(self, nodes: list[BaseNode], picked: Picked) -> list[NodeWithScore]:
        return [
            described(node, picked.relevance[place], picked.facts(place), self._prefix)
            for place, node in enumerate(nodes)
        ]


def _with_embedding(bundle: QueryBundle, embedding: list[float]) -> QueryBundle:
    """Return the query with its embedding; the caller's own is left as it is."""
    return QueryBundle(bundle.query_str, bundle.image_path, bundle.custom_embedding_strs, embedding)
