"""Diversity after a reranker: choose among documents that are already there."""
# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor
from langchain_core.vectorstores import VectorStore
from pydantic import ConfigDict, model_validator

from setwise.integrations.common import (
    DIVERSITY,
    Choice,
    K,
    check_common,
    check_source,
    fill,
    first_of_each,
    look_up,
    pick,
    split,
    take_weight,
)
from setwise.integrations.langchain.documents import described, document_id, label
from setwise.integrations.langchain.stores import reader_of

#: The metadata key that rerankers write their score under.
SCORE_KEY = "relevance_score"


class DiverseCompressor(BaseDocumentCompressor):
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
    objective : {"max-sum", "mmr", "log-det"}
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
        What is done with a document without a vector or a score: refuse; leave it out with a warning; or
        place it after those chosen, while there are fewer than k.
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

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", strict=True)

    k: int = K
    diversity: float = DIVERSITY
    lambda_mult: float | None = None
    sharpness: int | None = None
    objective: str = "max-sum"
    score_key: str | None = None
    relevance_scale: str = "minmax"
    vectors: Any = None
    embedding_key: str = "embedding"
    embeddings: Embeddings | None = None
    reembed: bool = False
    missing: str = "error"
    prefix: str | None = "setwise"

    @model_validator(mode="before")
    @classmethod
    def _at_the_border(cls, values: Any) -> Any:
        return take_weight(values, "lambda_mult") if isinstance(values, Mapping) else values

    @model_validator(mode="after")
    def _check(self) -> DiverseCompressor:
        self._choice()
        check_common(relevance_scale=self.relevance_scale, missing=self.missing)
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
            A document has no vector or no score, and `missing` is "error"; or a vector has NaN.
        """
        kept, rows, texts = self._at_hand(documents)
        if texts and self.embeddings is not None:
            fill(rows, self.embeddings.embed_documents(texts))
        return self._choose(kept, rows)

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """``compress_documents`` without blocking the event loop."""
        kept, rows, texts = await run_in_executor(None, self._at_hand, documents)
        if texts and self.embeddings is not None:
            fill(rows, await self.embeddings.aembed_documents(texts))
        chosen: list[Document] = await run_in_executor(None, self._choose, kept, rows)
        return chosen

    def _choice(self) -> Choice:
        return Choice(self.k, self.diversity, self.sharpness, self.objective)

    def _at_hand(self, documents: Sequence[Document]) -> tuple[list[Document], list[Any], list[str]]:
        """Return the documents, each once, their vectors (or None), and the texts to embed again."""
        kept = [documents[place] for place in first_of_each([document_id(one) for one in documents])]
        if isinstance(self.vectors, VectorStore):
            reader = reader_of(self.vectors)
            rows = [None] * len(kept) if reader is None else list(reader.vectors(self.vectors, kept))
        else:
            rows = look_up(self.vectors, [document_id(one) for one in kept])
        rows = [
            one.metadata.get(self.embedding_key) if row is None else row
            for one, row in zip(kept, rows, strict=True)
        ]
        texts = [one.page_content for one, row in zip(kept, rows, strict=True) if row is None]
        return kept, rows, texts if self.reembed else []

    def _choose(self, documents: list[Document], rows: list[Any]) -> list[Document]:
        scores, key = self._scores(documents)
        lacking = [row is None or score is None for row, score in zip(rows, scores, strict=True)]

        def report(count: int, first: int) -> str:
            what = "embedding" if rows[first] is None else f"metadata {key!r} to rank by"
            mend = (
                "pass vectors=, an embedding_key that the metadata has, or reembed=True with embeddings="
                if rows[first] is None
                else "pass the score_key that the reranker writes"
            )
            return (
                f"documents: {count} of {len(documents)} lack what choosing needs (the first: "
                f"{label(documents[first])} has no {what}); {mend}"
            )

        present, left = split(lacking, self.missing, report)
        picked = pick(
            [rows[place] for place in present],
            self._choice(),
            relevance=[scores[place] for place in present],
            relevance_scale=self.relevance_scale,
        )
        chosen = [
            described(documents[present[row]], picked.facts(place), self.prefix)
            for place, row in enumerate(picked.rows)
        ]
        return [*chosen, *(described(documents[place], {}, None) for place in left)][: self.k]

    def _scores(self, documents: list[Document]) -> tuple[list[Any], str]:
        """Return each document's relevance, None where it has none, and the key they were read from."""
        key = SCORE_KEY if self.score_key is None else self.score_key
        scores = [document.metadata.get(key) for document in documents]
        if self.score_key is None and all(score is None for score in scores):
            return [1.0 - place / len(documents) for place in range(len(documents))], key
        return scores, key
