"""What requests may say: the fields that all selecting routes share, and each route's own."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, WithJsonSchema, model_validator

_NUMBERS = {"type": "array", "items": {"type": "number"}}
_ENCODED = {"type": "string", "contentEncoding": "base64", "description": "float32, little-endian"}
_ROWS = [{"type": "array", "items": items, "minItems": 1} for items in (_NUMBERS, _ENCODED)]
_BY_NAME = {"type": "object", "additionalProperties": _NUMBERS, "minProperties": 1}

#: Numbers, or float32 in base64.
Vector = Annotated[list[float] | str, WithJsonSchema({"anyOf": [_NUMBERS, _ENCODED]})]
Matrix = Annotated[list[list[float] | str], WithJsonSchema({"anyOf": _ROWS})]
Numbers = list[float | None]

#: Vectors; or by name one number a candidate.
Facets = Annotated[
    list[list[float] | str] | dict[str, list[float]], WithJsonSchema({"anyOf": [*_ROWS, _BY_NAME]})
]


#: Up to here every whole number is a float, too: the most tokens that may be asked for.
MOST = 2**53


def _as_whole(number: Any) -> Any:
    """Return a number without a fraction as an integer: to JSON 1.0 and 1 are the same."""
    whole = isinstance(number, float) and number.is_integer() and abs(number) <= MOST
    return int(number) if whole else number


Whole = Annotated[int, Strict(), BeforeValidator(_as_whole)]

Label = str | int | float | bool
Many = Whole | Annotated[list[Whole | None], Field(min_length=2, max_length=2)]


class WishFields(BaseModel):
    """What a good set is; `setwise.select` says what each field means."""

    # Neither true nor "1" is a number, nor is NaN one of JSON's.
    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    diversity: float | None = Field(None, ge=0, le=1, description="0 = relevance alone, 1 = diversity alone")
    sharpness: Whole | None = Field(
        None, ge=1, description="1, or an even number; large: near-duplicates alone"
    )
    objective: str | None = Field(
        None, description="max-sum, mmr, log-det, coverage, max-min, or facets with facets"
    )
    solver: str | None = Field(None, description="auto, greedy, frank-wolfe, swap, exact, top-k, …")
    solver_options: dict[str, Any] | None = Field(
        None,
        description="what the solver is told, by name: penalty of frank-wolfe, partition of multilevel, …",
    )
    relevance_scale: str | None = Field(None, description="none, minmax, zscore or rank")
    max_per_group: Whole | None = Field(None, ge=1, description="at most this many of each label of groups")
    limits: dict[str, Many] | None = Field(None, description="the most, or [least, most], by name of groups")
    shares: dict[str, dict[str, float]] | None = Field(None, description="parts of the set, by label")
    budget: float | None = Field(None, gt=0, description="the costs of the set sum to at most this")
    min_gain: float | None = Field(None, description="the set ends where nothing adds this much")
    max_similarity: float | None = Field(None, description="no two of the set have a larger cosine")
    shown_weight: float | None = Field(None, ge=0, description="how much each shown one counts, by default 1")
    certify: bool | Literal["full"] | None = Field(None, description="whether to prove how good the set is")
    seed: Whole | None = Field(None, ge=0)
    explain: bool = Field(False, description="say why each was chosen, and others were not")

    def options(self, *names: str) -> dict[str, Any]:
        """Return the wishes that are given, and others by name, as the library's calls take them."""
        given = {name: getattr(self, name) for name in (*_OPTIONS, *names)}
        return {name: value for name, value in given.items() if value is not None}


#: Fields that are options of the library's calls as they are.
_OPTIONS = tuple(name for name in WishFields.model_fields if name != "explain")


class OfRows(WishFields):
    """Wishes about candidates that a request brings, which are named by their place, counted from 0."""

    include: list[Whole] | None = Field(None, description="places that must be in the set")
    exclude: list[Whole] | None = Field(None, description="places that must not")
    groups: list[Label] | dict[str, list[Label]] | None = Field(None, description="a label a candidate")
    costs: list[float] | None = Field(None, description="a number above 0 a candidate")


class Document(BaseModel):
    """A document with fields; its text counts."""

    text: str


Documents = Annotated[list[str | Document], Field(min_length=1)]


class Rerank(OfRows):
    """A reranking, in the words of any of the services that clients know.

    Fields that are not known are ignored: clients send their services' own.
    """

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"anyOf": [{"required": [name]} for name in ("documents", "texts", "input")]},
    )

    query: str
    documents: Documents | None = None
    texts: Documents | None = Field(
        None, description="what TEI calls documents; on /rerank answered as TEI does"
    )
    input: Documents | None = Field(None, description="what Mixedbread calls documents")
    model: str | None = Field(None, description="given back as it is; the service has one model")
    top_n: Whole | None = Field(
        None,
        ge=0,
        description="size of the set and of the answer; null or 0 for a set of 10, and all documents scored",
    )
    top_k: Whole | None = Field(None, ge=0, description="what Voyage and Mixedbread call top_n")
    return_documents: bool | None = None
    return_text: bool | None = Field(None, description="what TEI calls return_documents")
    return_input: bool | None = Field(None, description="what Mixedbread calls return_documents")
    truncation: bool | None = Field(
        None, description="of Voyage, which is answered under data; it does nothing"
    )
    max_tokens_per_doc: Whole | None = Field(
        None, ge=1, le=MOST, description="what follows in a document is not read"
    )
    raw_scores: bool = Field(False, description="scores as they are, not from 0 to 1")
    embeddings: Matrix | None = Field(None, description="the documents' vectors, instead of encoding them")
    query_embedding: Vector | None = Field(None, description="the query's, with embeddings")
    relevance: Numbers | None = Field(None, description="the documents', instead of likeness to the query")
    max_tokens: Whole | None = Field(
        None, ge=1, le=MOST, description="the set's documents have at most so many together"
    )
    shown: list[str] | Matrix | None = Field(None, description="texts or vectors that were shown before")
    facets: list[str] | Facets | None = Field(
        None, description="what the set should cover: texts, vectors, or by name a number a document"
    )

    @model_validator(mode="after")
    def _has_documents(self) -> Self:
        if self.documents is None and self.texts is None and self.input is None:
            raise ValueError("documents: needed, a list of texts")
        return self

    @property
    def listed(self) -> list[str]:
        """The documents' texts."""
        given = self.documents or self.texts or self.input or []
        return [one.text if isinstance(one, Document) else one for one in given]

    @property
    def most(self) -> int:
        """How many are to be answered; 0 for all."""
        return self.top_n or self.top_k or 0

    @property
    def returned(self) -> bool:
        """Whether the documents are to be answered, too."""
        return bool(self.return_documents or self.return_text or self.return_input)


class Select(OfRows):
    """A selection from vectors. Where the body is .npy, .npz or Arrow, all else is in the address (?k=10)."""

    model_config = ConfigDict(extra="forbid")

    vectors: Matrix
    k: Whole | None = Field(None, ge=1, description="how many; may be left out with a budget")
    relevance: Numbers | None = None
    query: Vector | None = Field(None, description="a vector whose similarity is the relevance")
    metric: Literal["cosine", "euclidean"] = "cosine"
    shown: Matrix | None = Field(None, description="vectors that were shown before")
    facets: Facets | None = Field(
        None, description="what the set should cover: vectors, or by name (or as rows) a number a candidate"
    )


class Retrieve(WishFields):
    """A retrieval from an opened index."""

    model_config = ConfigDict(extra="forbid")

    index: str | None = Field(None, description="its name; may be left out where there is one")
    query: str | list[float] = Field(description="a text, or a vector")
    k: Whole | None = Field(None, ge=1, description="how many, by default 10; with a budget as many as fit")
    filter: str | list[str | Whole] | None = Field(
        None, description="a condition on the index's columns (year >= 2020 and lang = 'en'), or ids"
    )
    offset: Whole = Field(0, ge=0, description="pass over this many")
    after: str | None = Field(None, description="the cursor of the page before")
    include: list[str | Whole] | None = Field(None, description="ids that must be in the set")
    exclude: list[str | Whole] | None = Field(None, description="ids that must not")
    groups: str | dict[str, str] | None = Field(None, description="a column of labels; or columns, by name")
    costs: str | None = Field(None, description="a column of numbers above 0")
    max_tokens: Whole | None = Field(
        None, ge=1, le=MOST, description="the set's texts have at most so many together"
    )
    shown: list[str | Whole] | None = Field(None, description="ids that were shown before")
    facets: list[str] | Matrix | None = Field(
        None, description="what the set should cover, texts or vectors: the index is searched for each, too"
    )
    pool: Whole | None = Field(
        None, ge=1, description="candidates to look at; left out, until the rest is proven not to matter"
    )
    return_documents: bool = Field(True, description="answer with texts and columns, too")

    def where(self) -> dict[str, Any]:
        """Return what may be found, and among how many, as the library's calls take it."""
        return {"filter": self.filter, "pool": "auto" if self.pool is None else self.pool}
