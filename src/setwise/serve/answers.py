"""What requests are answered with."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, Field
from pydantic_core import to_json

from setwise.certificate import Certificate
from setwise.selection import Selection

#: Left-out candidates that an explanation has reasons for.
LEFT_OUT = 10


class CertificateAnswer(BaseModel):
    """What is proven about a set; see `setwise.Certificate`."""

    upper_bound: float | None
    gap: float | None
    optimal: bool
    pool_size: int
    pool_sufficient: bool
    scope: str
    words: str


class Why(BaseModel):
    """Why a candidate was chosen or left out; see `setwise.explanation.Reason`."""

    member: Any
    chosen: bool
    relevance: float | None
    nearest: Any
    similarity: float | None
    change: float | None
    place: Any
    barred: str
    words: str


class Told(BaseModel):
    """What a set is worth, how good that is proven to be, and why its members are in it."""

    selected: list[Any] = Field(description="the set, in selection order")
    value: float | None
    relevance: float | None
    diversity: float | None
    solver: str
    certificate: CertificateAnswer | None
    reasons: list[Why] | None


class OfDocuments(Told):
    """What is told of a set of documents."""

    relevances: list[float | None] = Field(description="of each document, by its place in the request")


class Usage(BaseModel):
    """How much was read."""

    total_tokens: int
    prompt_tokens: int


class Ranked(BaseModel):
    """A document and its score, as TEI has it."""

    index: int
    score: float
    text: str | None = None


class Scored(BaseModel):
    """A document and its score: as ``relevance_score``, or for Mixedbread as ``score``."""

    index: int
    relevance_score: float | None = None
    score: float | None = None
    document: dict[str, str] | str | None = None
    input: str | None = None


class Reranked(BaseModel):
    """Documents in selection order, those of the set first; under ``data`` for Voyage and Mixedbread."""

    id: str
    object: str
    model: str
    results: list[Scored] | None = None
    data: list[Scored] | None = None
    usage: Usage
    meta: dict[str, Any]
    setwise: OfDocuments | None


class Selected(Told):
    """A set of vectors, by their places."""

    gains: list[float | None]


class Hit(BaseModel):
    """A member of a set that an index was asked for."""

    id: str | int
    score: float | None
    novelty: float | None
    gain: float | None
    text: str | None = None
    columns: dict[str, Any] | None = None


class RetrievedAnswer(BaseModel):
    """A set that an index was asked for, in selection order."""

    index: str
    results: list[Hit]
    cursor: str = Field(description="pass it as `after` for the next page")
    setwise: Told


def told(selection: Selection, explain: bool, naming: Any = None) -> dict[str, Any]:
    """Return what is said of a set; ``naming`` gives what a request calls the candidates."""
    name = naming or (lambda one: one)
    reasons = None
    if explain:
        known = selection.explain(LEFT_OUT).renamed(name)
        reasons = [{**asdict(one), "words": str(one)} for one in known]
    return {
        "selected": [name(one) for one in selection.members.tolist()],
        "value": selection.value,
        "relevance": selection.relevance,
        "diversity": selection.diversity,
        "solver": selection.solver,
        "certificate": proof(selection.certificate),
        "reasons": reasons,
    }


def proof(certificate: Certificate | None) -> dict[str, Any] | None:
    """Return what is proven, in numbers and words."""
    return None if certificate is None else {**certificate.to_dict(), "words": str(certificate)}


def written(answer: Any) -> bytes:
    """Return an answer as JSON; numbers that JSON does not have are null, what it has no form for is text."""
    return to_json(answer, inf_nan_mode="null", bytes_mode="base64", fallback=str)
