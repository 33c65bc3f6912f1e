"""Diversity after retrieval or reranking: choose among nodes that are already there."""
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.bridge.pydantic import Field, model_validator
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle

from setwise import checks
from setwise.integrations.common import falling
from setwise.integrations.fields import Rescoring
from setwise.integrations.llama_index.nodes import READING, STORES, described, each_once, stored_vectors
from setwise.integrations.lookup import check_source
from setwise.integrations.thresholds import check_threshold
from setwise.steps import Work, arun, run


class DiverseNodePostprocessor(BaseNodePostprocessor, Rescoring):
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
    objective : {"max-sum", "mmr", "log-det", "max-min", "facets"}
    solver, solver_options
        As for `setwise.select`; a `partition` is a metadata key.
    relevance_scale : {"minmax", "none", "zscore", "rank"}
        How the scores are rescaled first.
    vectors : optional
        Where the vector of a node without an embedding is looked up by its id: a vector store, a
        `VectorStoreIndex`, a `setwise.Index`, a mapping, or a function of a list of ids. Not serialized.
    missing : {"error", "warn", "append"}
        What is done with a node whose vector or score is missing or cannot be used (all zero, NaN, of another
        width): refuse (the same as "raise"); leave it out with a warning ("drop"); or place it after those
        chosen, while there are fewer than k. Where no node has both, that is refused.
    score_threshold : float, optional
        The least score of a node that may be chosen; LlamaIndex's own name, ``similarity_cutoff``, does as
        well. Where none has it, nothing comes back, with a warning.
    tokens, tokenizer, limits, shares, max_similarity, min_gain, shown_weight, why
        As for `DiverseRetriever`.
    shown : array-like of shape (h, d), optional
        The vectors of nodes that were shown before: they count as members, and are not returned.
    facets : array-like of shape (m, d), optional
        What the results should cover together, for objective="facets".
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

    weight = "mmr_threshold"
    reading = READING
    aliases = {"top_n": "k", "similarity_cutoff": "score_threshold"}  # noqa: RUF012

    top_n: int | None = Field(default=None, exclude=True)
    mmr_threshold: float | None = Field(default=None, exclude=True)
    similarity_cutoff: float | None = Field(default=None, exclude=True)
    vectors: Any = Field(default=None, exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _check_in_its_words(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            check_threshold(values.get("similarity_cutoff"), "similarity_cutoff")
            if values.get("top_n") is not None:
                checks.integer("top_n", values["top_n"], least=1)
        return values

    @model_validator(mode="after")
    def _check(self) -> DiverseNodePostprocessor:
        check_source(self.vectors, *STORES)
        return self

    @classmethod
    def class_name(cls) -> str:
        """Return the name that serialized components carry."""
        return "SetwiseDiverseNodePostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return run(self._choosing(nodes))

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return await arun(self._choosing(nodes))

    def _choosing(self, nodes: list[NodeWithScore]) -> Work[list[NodeWithScore]]:
        kept = each_once(nodes)
        rows = yield from stored_vectors(kept, self.vectors)
        scores: list[Any] = [one.score for one in kept]
        if all(score is None for score in scores):
            scores = falling(len(kept))

        def lack(one: NodeWithScore, has_vector: bool) -> tuple[str, str, str]:
            if has_vector:
                return f"id {one.node_id!r}", "score", "pass nodes of which all have one, or none"
            mend = "pass vectors= (a vector store, an index, a mapping by node id)"
            return f"id {one.node_id!r}", "embedding", mend

        chosen = self.chosen(kept, rows, scores, "nodes", lack)
        return [described(one.node, one.score, facts, self.prefix) for one, facts in chosen]
