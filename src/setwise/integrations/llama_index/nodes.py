"""What the postprocessor and the retriever do alike: find nodes and their vectors, describe the chosen."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from llama_index.core import VectorStoreIndex
from llama_index.core.schema import BaseNode, NodeWithScore
from llama_index.core.storage.docstore.types import BaseDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from setwise.integrations.common import Reading, prefixed
from setwise.integrations.lookup import each_of, first_of_each, look_up
from setwise.steps import Step, Work

#: What a vector can be looked up in beside a mapping, an index and a function.
STORES = (BasePydanticVectorStore, VectorStoreIndex)


#: How nodes are read, with a score or without.
READING = Reading(
    lambda one: one.node_id,
    lambda one: one.get_content(),
    lambda one: one.metadata,
)


def each_once(nodes: Sequence[NodeWithScore]) -> list[NodeWithScore]:
    """Return the nodes without repeats; of the same id the one with the highest score."""
    return [
        nodes[place] for place in first_of_each([one.node_id for one in nodes], [one.score for one in nodes])
    ]


def found_in(nodes: Sequence[NodeWithScore], source: Any) -> Work[tuple[list[NodeWithScore], list[Any]]]:
    """Return the nodes that a search found and that are stored, and each one's vector or None.

    An embedded Chroma finds what another process has deleted, as an empty node.
    """
    rows = yield from stored_vectors(nodes, source)
    store = source.vector_store if isinstance(source, VectorStoreIndex) else source
    there = list(range(len(nodes)))
    if _is_chroma(store):
        there = [place for place, row in enumerate(rows) if row is not None]
    return [nodes[place] for place in there], [rows[place] for place in there]


def stored_vectors(nodes: Sequence[NodeWithScore], source: Any) -> Work[list[Any]]:
    """Return each node's vector: its own, or what the source has for its id, or None."""
    rows: list[Any] = [one.node.embedding for one in nodes]
    lacking = [one.node_id for one, row in zip(nodes, rows, strict=True) if row is None]
    if not lacking or source is None:
        return rows
    store = source.vector_store if isinstance(source, VectorStoreIndex) else source
    if _is_chroma(store):
        # Its nodes come back without what they were embedded as; its collection has that.
        read = partial(store._collection.get, ids=lacking, include=["embeddings"])
        there = yield Step(read, partial(asyncio.to_thread, read))
        found: Mapping[str, Any] = dict(zip(there["ids"], there["embeddings"], strict=True))
    elif _keeps_nodes(store):
        kept = yield Step.of(store.get_nodes, store.aget_nodes, node_ids=lacking)
        found = {one.node_id: one.embedding for one in kept}
    else:
        found = _at_hand(store, lacking)
    return [found.get(one.node_id) if row is None else row for one, row in zip(nodes, rows, strict=True)]


def _is_chroma(store: Any) -> bool:
    """Say whether a source is Chroma's vector store."""
    return isinstance(store, BasePydanticVectorStore) and store.class_name() == "ChromaVectorStore"


def _keeps_nodes(store: Any) -> bool:
    """Say whether a store gives back nodes by id, which then carry their vectors."""
    if isinstance(store, SimpleVectorStore) or not isinstance(store, BasePydanticVectorStore):
        return False
    return type(store).get_nodes is not BasePydanticVectorStore.get_nodes


def _at_hand(store: Any, ids: list[str]) -> Mapping[str, Any]:
    """Return the vectors that a source other than a database has."""
    if isinstance(store, SimpleVectorStore):
        kept: dict[str, Any] = store.data.embedding_dict
        return kept
    if isinstance(store, BasePydanticVectorStore):
        return {}
    return dict(zip(ids, look_up(store, ids), strict=True))


def nodes_of(source: Any, ids: list[Any]) -> Work[list[BaseNode]]:
    """Return the node of each id from a document store, mapping, sequence or function.

    Raises ValueError: one is not there.
    """
    if isinstance(source, BaseDocumentStore):
        names = [str(one) for one in ids]
        return _in_order((yield Step.of(source.get_nodes, source.aget_nodes, names, raise_error=False)), ids)
    return each_of(source, ids, "nodes")


def _in_order(nodes: Sequence[BaseNode], ids: list[Any]) -> list[BaseNode]:
    by_id = {one.node_id: one for one in nodes}
    absent = [one for one in ids if str(one) not in by_id]
    if absent:
        raise ValueError(f"nodes: the index has id {absent[0]!r}, which the document store lacks")
    return [by_id[str(one)] for one in ids]


def described(
    node: BaseNode, score: float | None, facts: Mapping[str, Any], prefix: str | None
) -> NodeWithScore:
    """Return a copy with a score, and with facts in its metadata that prompts and embeddings do not see."""
    if prefix is None:
        return NodeWithScore(node=node.model_copy(update={"metadata": dict(node.metadata)}), score=score)
    added = prefixed(facts, prefix)
    copy = node.model_copy(
        update={
            "metadata": {**node.metadata, **added},
            "excluded_llm_metadata_keys": list(dict.fromkeys([*node.excluded_llm_metadata_keys, *added])),
            "excluded_embed_metadata_keys": list(dict.fromkeys([*node.excluded_embed_metadata_keys, *added])),
        }
    )
    return NodeWithScore(node=copy, score=score)
