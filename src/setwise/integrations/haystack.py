"""Haystack: a ranker that chooses a set of documents which are relevant and differ from one another."""
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from setwise import checks
from setwise.extras import needs
from setwise.integrations.common import K, Reading, choose, prefixed, request_for, take_weight
from setwise.integrations.lookup import first_of_each
from setwise.integrations.thresholds import check_threshold
from setwise.missing import check_missing
from setwise.request import Request
from setwise.retrieval import DIVERSITY

with needs("haystack", "setwise.integrations.haystack"):
    from haystack import Document, component, default_from_dict, default_to_dict

#: How documents are read.
READING = Reading(lambda one: one.id, lambda one: one.content or "", lambda one: one.meta)

#: Parameters that are fields of a request as they are, and all that a pipeline writes down.
ASKED = (
    *("sharpness", "solver", "solver_options", "relevance_scale", "tokens", "tokenizer"),
    *("limits", "shares", "max_similarity", "min_gain", "shown_weight"),
)
KEPT = ("top_k", "diversity", "objective", *ASKED, "missing", "score_threshold", "why", "prefix")

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
    objective : {"max-sum", "mmr", "log-det", "max-min", "facets"}
    solver, solver_options
        As for `setwise.select`; a `partition` is a metadata key.
    relevance_scale : {"minmax", "none", "zscore", "rank"}
        How scores are rescaled first; cosines to a `query_embedding` are not.
    missing : {"warn", "error", "append"}
        What is done with a document whose embedding or score is missing or cannot be used (all zero, NaN, of
        another width): leave it out with a warning (the same as "drop"); refuse ("raise"); or place it after
        those chosen, while there are fewer than top_k. Where no document has both, that is refused.
    score_threshold : float, optional
        The least score, or cosine to a `query_embedding`, of a document that may be chosen. Where none has
        it, the list is empty, and a warning says so.
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
    shown_weight : float
        How much what was shown counts; see `run`.
    why : bool
        Whether documents get ``<prefix>_why``, in words.
    prefix : str or None
        Documents get meta ``<prefix>_relevance``, ``_gain`` and ``_novelty``; None adds nothing.

    Raises
    ------
    TypeError
        A parameter is of the wrong type.
    ValueError
        It is out of its range or unknown, or both trade-offs are given.

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
        solver: str = "auto",
        solver_options: dict[str, Any] | None = None,
        relevance_scale: str = "minmax",
        missing: str = "warn",
        score_threshold: float | None = None,
        tokens: int | None = None,
        tokenizer: str = "tokens",
        limits: dict[str, Any] | None = None,
        shares: dict[str, Any] | None = None,
        max_similarity: float | None = None,
        min_gain: float | None = None,
        shown_weight: float = 1.0,
        why: bool = False,
        prefix: str | None = "setwise",
    ) -> None:
        self.top_k = top_k
        self.diversity = _trade(diversity, lambda_threshold, DIVERSITY)
        self.sharpness = sharpness
        self.objective = objective
        self.solver = solver
        self.solver_options = solver_options
        self.relevance_scale = relevance_scale
        self.missing = missing
        self.score_threshold = score_threshold
        self.tokens = tokens
        self.tokenizer = tokenizer
        self.limits = limits
        self.shares = shares
        self.max_similarity = max_similarity
        self.min_gain = min_gain
        self.shown_weight = shown_weight
        self.why = checks.flag("why", why)
        self.prefix = prefix
        # Facets come with a run; that there are some is asked for then.
        self._request(K, None, None, None, [[1.0]] if objective == "facets" else None)
        check_missing(missing)
        check_threshold(score_threshold)

    def to_dict(self) -> dict[str, Any]:
        """Return the component as plain values."""
        data: dict[str, Any] = default_to_dict(self, **{name: getattr(self, name) for name in KEPT})
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
        facets: list[list[float]] | None = None,
        shown: list[list[float]] | None = None,
    ) -> dict[str, list[Document]]:
        """Return up to `top_k` of the documents, in selection order.

        Parameters
        ----------
        documents : list of Document
        top_k, diversity, lambda_threshold : optional
            For this call, in place of those given at construction.
        query_embedding : list of float, optional
            The cosine to it is the relevance, in place of the documents' scores.
        facets : list of list of float, optional
            Embeddings of sub-questions that the documents should answer together; the objective is then
            "facets".
        shown : list of list of float, optional
            Embeddings of what was shown before: they count as members, and are not returned.

        Returns
        -------
        dict
            ``documents``: the chosen ones.

        Raises
        ------
        TypeError
            A parameter is of the wrong type.
        ValueError
            A parameter is out of its range; a document lacks what choosing needs and `missing` is "error"; or
            all do, and it is "warn".
        """
        request = self._request(len(documents), top_k, diversity, lambda_threshold, facets, shown)
        return {"documents": self._choose(documents, request, query_embedding)}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        documents: list[Document],
        top_k: int | None = None,
        diversity: float | None = None,
        lambda_threshold: float | None = None,
        query_embedding: list[float] | None = None,
        facets: list[list[float]] | None = None,
        shown: list[list[float]] | None = None,
    ) -> dict[str, list[Document]]:
        """``run`` without blocking the event loop."""
        request = self._request(len(documents), top_k, diversity, lambda_threshold, facets, shown)
        return {"documents": await asyncio.to_thread(self._choose, documents, request, query_embedding)}

    def _request(
        self,
        count: int,
        top_k: int | None,
        diversity: float | None,
        lambda_threshold: float | None,
        facets: list[list[float]] | None = None,
        shown: list[list[float]] | None = None,
    ) -> Request:
        """Return what is asked for of so many documents."""
        size = self.top_k if top_k is None else top_k
        objective = self.objective if facets is None else "facets"
        if facets is not None and self.objective not in ("facets", "max-sum"):
            raise ValueError(f"facets: {self.objective} does not cover them; pass objective='facets'")
        return request_for(
            k=max(1, count) if size is None else checks.integer("top_k", size, least=1),
            diversity=_trade(diversity, lambda_threshold, self.diversity),
            objective=objective,
            shown=shown,
            facets=facets,
            **{name: getattr(self, name) for name in ASKED},
        )

    def _choose(
        self, documents: list[Document], request: Request, query: list[float] | None
    ) -> list[Document]:
        each = first_of_each([one.id for one in documents], [one.score for one in documents])
        kept = [documents[place] for place in each]

        def lack(document: Document, has_vector: bool) -> tuple[str, str, str]:
            if has_vector:
                return f"id {document.id!r}", "score", "pass query_embedding"
            mend = "let the retriever return embeddings (return_embedding=True)"
            return f"id {document.id!r}", "embedding", mend

        chosen = choose(
            kept,
            [one.embedding for one in kept],
            request,
            scores=None if query is not None else [one.score for one in kept],
            query=query,
            missing=self.missing,
            threshold=self.score_threshold,
            noun="documents",
            lack=lack,
            reading=READING,
            why=self.why,
        )
        return [_described(document, facts, self.prefix) for document, facts in chosen]


def _trade(diversity: float | None, lambda_threshold: float | None, otherwise: float) -> float:
    """Return the diversity that either parameter asks for."""
    given = take_weight({"diversity": diversity, "lambda_threshold": lambda_threshold}, "lambda_threshold")
    trade = given["diversity"]
    return otherwise if trade is None else checks.fraction("diversity", trade)


def _described(document: Document, facts: Mapping[str, Any], prefix: str | None) -> Document:
    """Return a copy with facts in its meta."""
    return replace(document, meta={**document.meta, **prefixed(facts, prefix)})
