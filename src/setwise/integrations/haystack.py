"""Haystack: a ranker that chooses a set of documents which are relevant and differ from one another."""
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from setwise import checks
from setwise.extras import needs
from setwise.integrations.common import (
    DIVERSITY,
    Choice,
    K,
    check_common,
    first_of_each,
    pick,
    split,
    take_weight,
)

with needs("haystack", "setwise.integrations.haystack"):
    from haystack import Document, component, default_from_dict, default_to_dict

__all__ = ["SetwiseRanker"]

# Annotations here are evaluated: pipelines of Haystack 2 connect by the types themselves, not their names.


@component
class SetwiseRanker:
    """Choose `top_k` of the documents that a retriever or a reranker returned, so that they differ.

    Documents need an embedding (``return_embedding=True`` of most retrievers) and a score; with a
    `query_embedding` the cosine to it takes the score's place.

    Parameters
    ----------
    top_k : int or None
        How many; None, or more than there are, returns all, in selection order.
    diversity : float, optional
        In [0, 1]: 0 = relevance alone, 1 = diversity alone. Default 0.3.
    lambda_threshold : float, optional
        Haystack's own trade-off in place of `diversity`, which is 1 - lambda_threshold.
    sharpness : int, optional
        As for `setwise.diversify`.
    objective : {"max-sum", "mmr", "log-det"}
    relevance_scale : {"minmax", "none", "zscore", "rank"}
        How scores are rescaled first; cosines to a `query_embedding` are not.
    missing : {"warn", "error", "append"}
        What is done with a document without an embedding or a score: leave it out with a warning; refuse;
        or place it after those chosen, while there are fewer than top_k.
    prefix : str or None
        Documents get meta ``<prefix>_relevance``, ``_gain`` and ``_novelty``; None adds nothing.

    Raises
    ------
    TypeError, ValueError
        A parameter is out of its range.

    Notes
    -----
    Documents are copies with the score they came with. Of documents with the same id the one with the
    highest score counts.
    """

    def __init__(
        self,
        top_k: int | None = K,
        diversity: float | None = None,
        *,
        lambda_threshold: float | None = None,
        sharpness: int | None = None,
        objective: str = "max-sum",
        relevance_scale: str = "minmax",
        missing: str = "warn",
        prefix: str | None = "setwise",
    ) -> None:
        self.top_k = top_k
        self.diversity = _trade(diversity, lambda_threshold, DIVERSITY)
        self.sharpness = sharpness
        self.objective = objective
        self.relevance_scale = relevance_scale
        self.missing = missing
        self.prefix = prefix
        self._choice(None, None, None)
        check_common(relevance_scale=relevance_scale, missing=missing)

    def to_dict(self) -> dict[str, Any]:
        """Return the component as plain values."""
        data: dict[str, Any] = default_to_dict(
            self,
            top_k=self.top_k,
            diversity=self.diversity,
            sharpness=self.sharpness,
            objective=self.objective,
            relevance_scale=self.relevance_scale,
            missing=self.missing,
            prefix=self.prefix,
        )
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SetwiseRanker":
        """Return the component that `to_dict` described."""
        made: SetwiseRanker = default_from_dict(cls, data)
        return made

    @component.output_types(documents=list[Document])
    def run(
        self,
        documents: list[Document],
        top_k: int | None = None,
        diversity: float | None = None,
        lambda_threshold: float | None = None,
        query_embedding: list[float] | None = None,
    ) -> dict[str, list[Document]]:
        """Return up to `top_k` of the documents, in selection order.

        Parameters
        ----------
        documents : list of Document
        top_k, diversity, lambda_threshold : optional
            For this call, in place of those given at construction.
        query_embedding : list of float, optional
            The cosine to it is the relevance, in place of the documents' scores.

        Returns
        -------
        dict
            ``documents``: the chosen ones.

        Raises
        ------
        TypeError, ValueError
            A parameter is out of its range, an embedding has NaN, or a document lacks what choosing
            needs and `missing` is "error".
        """
        choice = self._choice(top_k, diversity, lambda_threshold)
        return {"documents": self._choose(documents, choice, query_embedding)}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        documents: list[Document],
        top_k: int | None = None,
        diversity: float | None = None,
        lambda_threshold: float | None = None,
        query_embedding: list[float] | None = None,
    ) -> dict[str, list[Document]]:
        """``run`` without blocking the event loop."""
        choice = self._choice(top_k, diversity, lambda_threshold)
        return {"documents": await asyncio.to_thread(self._choose, documents, choice, query_embedding)}

    def _choice(self, top_k: int | None, diversity: float | None, lambda_threshold: float | None) -> Choice:
        size = self.top_k if top_k is None else top_k
        if size is not None:
            checks.integer("top_k", size, least=1)
        trade = _trade(diversity, lambda_threshold, self.diversity)
        return Choice(size, trade, self.sharpness, self.objective)

    def _choose(self, documents: list[Document], choice: Choice, query: list[float] | None) -> list[Document]:
        each = first_of_each([one.id for one in documents], [one.score for one in documents])
        kept = [documents[place] for place in each]
        lacking = [one.embedding is None or (query is None and one.score is None) for one in kept]

        def report(count: int, first: int) -> str:
            what = "embedding" if kept[first].embedding is None else "score"
            mend = (
                "let the retriever return embeddings (return_embedding=True)"
                if what == "embedding"
                else "pass query_embedding"
            )
            return (
                f"documents: {count} of {len(kept)} lack what choosing needs (the first: id "
                f"{kept[first].id!r} has no {what}); {mend}"
            )

        present, left = split(lacking, self.missing, report)
        rows = [kept[place].embedding for place in present]
        if query is not None:
            picked = pick(rows, choice, query=np.asarray(query))
        else:
            scores: list[Any] = [kept[place].score for place in present]
            picked = pick(rows, choice, relevance=scores, relevance_scale=self.relevance_scale)
        chosen = [
            _described(kept[present[row]], picked.facts(place), self.prefix)
            for place, row in enumerate(picked.rows)
        ]
        return [*chosen, *(_described(kept[place], {}, None) for place in left)][: choice.k]


def _trade(diversity: float | None, lambda_threshold: float | None, otherwise: float) -> float:
    """Return the diversity that either parameter asks for."""
    given = take_weight({"diversity": diversity, "lambda_threshold": lambda_threshold}, "lambda_threshold")
    trade = given["diversity"]
    return otherwise if trade is None else checks.fraction("diversity", trade)


def _described(document: Document, facts: Mapping[str, float], prefix: str | None) -> Document:
    """Return a copy with facts in its meta."""
    start = f"{prefix}_" if prefix else ""
    added = {} if prefix is None else {f"{start}{name}": value for name, value in facts.items()}
    return replace(document, meta={**document.meta, **added})
