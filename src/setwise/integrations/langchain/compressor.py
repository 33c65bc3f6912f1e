"""Diversity after a reranker: choose among documents that are already there."""
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from pydantic import model_validator

from setwise.integrations.common import falling
from setwise.integrations.fields import Rescoring
from setwise.integrations.langchain.documents import READING, described, document_id, from_metadata, label
from setwise.integrations.langchain.stores import reader_of, stored
from setwise.integrations.lookup import check_source, fill, first_of_each, look_up
from setwise.steps import Step, Work, arun, run

#: The metadata key that rerankers write their score under.
SCORE_KEY = "relevance_score"


class DiverseCompressor(BaseDocumentCompressor, Rescoring):
    """Choose k of the documents that a retriever or a reranker returned, so that they differ.

    Parameters
    ----------
    k : int
        How many; of fewer documents, all come back.
    diversity : float
        In [0, 1]: 0 = relevance alone, 1 = diversity alone.
    lambda_mult : float, optional
        LangChain's own trade-off in place of `diversity`, which is 1 - lambda_mult.
    sharpness : int, optional
        As for `setwise.diversify`.
    objective : {"max-sum", "mmr", "log-det", "max-min", "facets"}
    solver, solver_options
        As for `setwise.select`; a `partition` is a metadata key.
    score_key : str, optional
        Metadata key of a document's relevance. Default: ``relevance_score``, as rerankers write it, if any
        document has one; else the order they come in, in even steps from 1 down.
    relevance_scale : {"minmax", "none", "zscore", "rank"}
        How the scores are rescaled first.
    vectors : mapping, setwise.Index, VectorStore or callable, optional
        A vector by document id. A callable takes a list of ids and returns a vector, or None, for each.
    embedding_key : str
        Metadata key of a document's vector, where `vectors` has none.
    embeddings : Embeddings, optional
        With `reembed`: the model that embeds the texts of documents without a vector.
    reembed : bool
        Whether it may.
    missing : {"error", "warn", "append"}
        What is done with a document whose vector or score is missing or cannot be used (all zero, NaN, of
        another width): refuse (the same as "raise"); leave it out with a warning ("drop"); or place it after
        those chosen, while there are fewer than k. Where no document has both, that is refused.
    score_threshold : float, optional
        The least score, as the reranker wrote it, of a document that may be chosen. Where none has it,
        nothing comes back, with a warning.
    tokens, tokenizer, limits, shares, max_similarity, min_gain, shown_weight, why
        As for `DiverseRetriever`.
    shown : array-like of shape (h, d), optional
        The vectors of documents that were shown before: they count as members, and are not returned.
    facets : array-like of shape (m, d), optional
        What the results should cover together, for objective="facets".
    prefix : str or None
        Documents get metadata ``<prefix>_relevance``, ``_gain`` and ``_novelty``; None adds nothing.

    Raises
    ------
    pydantic.ValidationError
        A parameter is unknown or out of its range.

    Notes
    -----
    Of documents with the same id the first counts. Documents are copies.
    """

    weight = "lambda_mult"
    reading = READING

    lambda_mult: float | None = None
    score_key: str | None = None
    vectors: Any = None
    embedding_key: str = "embedding"
    embeddings: Embeddings | None = None
    reembed: bool = False

    @model_validator(mode="after")
    def _check(self) -> DiverseCompressor:
        check_source(self.vectors, VectorStore)
        if isinstance(self.vectors, VectorStore) and reader_of(self.vectors) is None:
            raise ValueError(
                f"vectors: how a {type(self.vectors).__name__} gives vectors back is not known; pass a "
                "mapping, an index or a function, or see setwise.integrations.langchain.register"
            )
        if self.reembed and self.embeddings is None:
            raise ValueError("embeddings: reembed=True needs the model that embeds the texts")
        if self.embeddings is not None and not self.reembed:
            raise ValueError("reembed: embeddings= is used only with reembed=True; set it, or pass vectors=")
        return self

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Return up to k documents in selection order.

        Raises
        ------
        ValueError
            A document's vector or score is missing or cannot be used, and `missing` is "error"; or that is
            so of all documents, and it is "warn".
        """
        return run(self._compressing(documents))

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """``compress_documents`` without blocking the event loop."""
        return await arun(self._compressing(documents))

    def _compressing(self, documents: Sequence[Document]) -> Work[list[Document]]:
        kept = [documents[place] for place in first_of_each([document_id(one) for one in documents])]
        if isinstance(self.vectors, VectorStore):
            rows = stored(self.vectors, kept)
        else:
            rows = look_up(self.vectors, [document_id(one) for one in kept])
        rows = from_metadata(kept, rows, self.embedding_key)
        texts = [one.page_content for one, row in zip(kept, rows, strict=True) if row is None]
        model = self.embeddings
        if texts and model is not None:  # given with reembed=True alone
            fill(rows, (yield Step.of(model.embed_documents, model.aembed_documents, texts)))
        scores, key = self._scores(kept)

        def lack(document: Document, has_vector: bool) -> tuple[str, str, str]:
            if has_vector:
                what, mend = f"metadata {key!r} to rank by", "pass the score_key that the reranker writes"
            else:
                what = "embedding"
                mend = (
                    "pass vectors=, an embedding_key that the metadata has, or reembed=True with embeddings="
                )
            return label(document), what, mend

        chosen = self.chosen(kept, rows, scores, "documents", lack)
        return [described(document, facts, self.prefix) for document, facts in chosen]

    def _scores(self, documents: list[Document]) -> tuple[list[Any], str]:
        """Return each document's relevance, None where it has none, and the key they were read from."""
        key = SCORE_KEY if self.score_key is None else self.score_key
        scores = [document.metadata.get(key) for document in documents]
        if self.score_key is None and all(score is None for score in scores):
            return falling(len(documents)), key
        return scores, key
