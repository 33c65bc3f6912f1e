"""The shapes that rerank answers have: one function a service whose clients come here."""

from __future__ import annotations

from typing import Any

from setwise.serve.schemas import Rerank
from setwise.serve.service import Posted

#: Shapes, by what a route says; "rerank" tells Voyage's and TEI's by the fields that theirs alone have.
COHERE, MIXEDBREAD, RERANK = "cohere", "mixedbread", "rerank"

#: What a request is answered as where it names no model.
MODEL = "setwise"


def answer(
    posted: Posted,
    body: Rerank,
    texts: list[str],
    order: list[int],
    scores: list[float],
    tokens: int,
    found: dict[str, Any] | None,
) -> Any:
    """Return an answer.

    Parameters
    ----------
    texts : list of str
    order : list of int
        Places of the documents, in which they are answered.
    scores : list of float
        Of each of those.
    tokens : int
        How many were read.
    found : dict or None
        What is said of the set.
    """
    pairs = list(zip(order, scores, strict=True))
    back = body.returned
    if posted.shape == RERANK and body.texts is not None:
        return [
            {"index": row, "score": score, **({"text": texts[row]} if back else {})} for row, score in pairs
        ]
    usage = {"total_tokens": tokens, "prompt_tokens": tokens}
    whole = {
        "id": posted.request,
        "object": "list",
        "model": body.model or MODEL,
        "usage": usage,
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {"search_units": 1},
            "tokens": {"input_tokens": tokens, "output_tokens": 0},
        },
        "setwise": found,
    }
    if posted.shape == MIXEDBREAD:
        data = [
            {"index": row, "score": score, "object": "rank_result", **({"input": texts[row]} if back else {})}
            for row, score in pairs
        ]
        return {**whole, "data": data, "top_k": len(data), "return_input": back}
    if {"top_k", "truncation"} & body.model_fields_set:
        data = [
            {"index": row, "relevance_score": score, **({"document": texts[row]} if back else {})}
            for row, score in pairs
        ]
        return {**whole, "data": data}
    results = [
        {"index": row, "relevance_score": score, **({"document": {"text": texts[row]}} if back else {})}
        for row, score in pairs
    ]
    return {**whole, "results": results}
