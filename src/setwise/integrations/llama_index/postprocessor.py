"""Diversity after retrieval or reranking: choose among nodes that are already there."""
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from llama_index.core.bridge.pydantic import ConfigDict, Field, model_validator
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle

from setwise.integrations.common import (
    DIVERSITY,
    Choice,
    K,
    check_common,
    check_source,
    pick,
    split,
    take_alias,
    take_weight,
)
from setwise.integrations.llama_index.nodes import (
    STORES,
    astored_vectors,
    described,
    each_once,
    stored_vectors,
)


class DiverseNodePostprocessor(BaseNodePostprocessor):
    """Choose k of the nodes that a retriever or a reranker returned, so that they differ.

    A node's score is its relevance; where no node has one, the order they come in counts.

    Parameters
    ----------
    k : int
        How many (`top_n` means the same); of fewer nodes, all come back.
    diversity : float
        In [0, 1]: 0 = relevance alone, 1 = diversity alone.
    mmr_threshold : float, optional
        LlamaIndex's own trade-off in place of `diversity`, which is 1 - mmr_threshold.
    sharpness : int, optional
        As for `setwise.diversify`.
    objective : {"max-sum", "mmr", "log-det"}
    relevance_scale : {"minmax", "none", "zscore", "rank"}
        How the scores are rescaled first.
    vectors : optional
        Where the vector of a node without an embedding is looked up by its id: a vector store, a
        `VectorStoreIndex`, a `setwise.Index`, a mapping, or a function of a list of ids. Not serialised.
    missing : {"error", "warn", "append"}
        What is done with a node without a vector or a score: refuse; leave it out with a warning; or place
        it after those chosen, while there are fewer than k.
    prefix : str or None
        Nodes get metadata ``<prefix>_relevance``, ``_gain`` and ``_novelty``, kept from prompts and
        embeddings; None adds nothing.

    Raises
    ------
    pydantic.ValidationError
        A parameter is unknown or out of its range.

    Notes
    -----
    Each node is weighed against every node chosen before it. Of nodes with the same id the one with the
    highest score counts. Nodes are copies with the score they came with.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", strict=True)

    k: int = K
    top_n: int | None = Field(default=None, exclude=True)
    diversity: float = DIVERSITY
    mmr_threshold: float | None = Field(default=None, exclude=True)
    sharpness: int | None = None
    objective: str = "max-sum"
    relevance_scale: str = "minmax"
    vectors: Any = Field(default=None, exclude=True)
    missing: str = "error"
    prefix: str | None = "setwise"

    @model_validator(mode="before")
    @classmethod
    def _at_the_border(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return take_alias(take_weight(values, "mmr_threshold"), "top_n", "k")

    @model_validator(mode="after")
    def _check(self) -> DiverseNodePostprocessor:
        self._choice()
        check_common(relevance_scale=self.relevance_scale, missing=self.missing)
        check_source(self.vectors, *STORES)
        return self

    @classmethod
    def class_name(cls) -> str:
        """Return the name that serialised components carry."""
        return "SetwiseDiverseNodePostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        kept = each_once(nodes)
        return self._choose(kept, stored_vectors(kept, self.vectors))

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        kept = each_once(nodes)
        rows = await astored_vectors(kept, self.vectors)
        return await asyncio.to_thread(self._choose, kept, rows)

    def _choice(self) -> Choice:
        return Choice(self.k, self.diversity, self.sharpness, self.objective)

    def _choose(self, nodes: list[NodeWithScore], rows: list[Any]) -> list[NodeWithScore]:
        scores: list[Any] = [node.score for node in nodes]
        if all(score is None for score in scores):
            scores = [1.0 - place / len(nodes) for place in range(len(nodes))]
        lacking = [row is None or score is None for row, score in zip(rows, scores, strict=True)]

        def report(count: int, first: int) -> str:
            what = "embedding" if rows[first] is None else "score"
            mend = (
                "; pass vectors= (a vector store, an index, a mapping by node id)"
                if what == "embedding"
                else ""
            )
            return (
                f"nodes: {count} of {len(nodes)} lack what choosing needs (the first: id "
                f"{nodes[first].node_id!r} has no {what}){mend}"
            )

        present, left = split(lacking, self.missing, report)
        picked = pick(
            [rows[place] for place in present],
            self._choice(),
            relevance=[scores[place] for place in present],
            relevance_scale=self.relevance_scale,
        )
        chosen = [
            described(nodes[present[row]].node, nodes[present[row]].score, picked.facts(place), self.prefix)
            for place, row in enumerate(picked.rows)
        ]
        return [*chosen, *(described(nodes[place].node, nodes[place].score, {}, None) for place in left)][
            : self.k
        ]
