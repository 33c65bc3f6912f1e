"""The parameters that components made of pydantic models share, checked when a component is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

from setwise.index import Index
from setwise.integrations.common import (
    Item,
    K,
    Lack,
    Reading,
    choose,
    request_for,
    take_alias,
    take_weight,
)
from setwise.integrations.thresholds import check_threshold
from setwise.missing import check_missing
from setwise.request import Request
from setwise.retrieval import DIVERSITY


class Choosing(BaseModel):
    """A component that chooses a set.

    Its framework's own base comes first among the bases, so that what is set here holds.

    Attributes
    ----------
    weight : str
        The framework's own parameter for the trade-off, which is 1 - diversity.
    aliases : mapping
        The framework's own names of other parameters.
    reading : Reading
        How its results are read.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", strict=True)
    weight: ClassVar[str]
    aliases: ClassVar[Mapping[str, str]] = {}
    reading: ClassVar[Reading]

    k: int = K
    diversity: float = DIVERSITY
    sharpness: int | None = None
    objective: str = "max-sum"
    solver: str = "auto"
    solver_options: dict[str, Any] | None = None
    tokens: int | None = None
    tokenizer: Any = "tokens"
    limits: dict[str, Any] | None = None
    shares: dict[str, Any] | None = None
    max_similarity: float | None = None
    min_gain: float | None = None
    shown: Any = None
    shown_weight: float = 1.0
    facets: Any = None
    why: bool = False
    prefix: str | None = "setwise"

    @model_validator(mode="before")
    @classmethod
    def _in_our_words(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            values = take_weight(values, cls.weight)
            for alias, name in cls.aliases.items():
                values = take_alias(values, alias, name)
        return values

    def request(self, *, index: Index | None = None, **given: Any) -> Request:
        """Return what is asked for, checked; for one call other parameters may be given."""
        return request_for(**{**{name: getattr(self, name) for name in ASKED}, **given}, index=index)


#: The parameters above that are fields of a request.
ASKED = tuple(name for name in Choosing.model_fields if name not in ("prefix", "why"))


class Rescoring(Choosing):
    """A component that chooses among results that something else has scored."""

    relevance_scale: str = "minmax"
    missing: str = "error"
    score_threshold: float | None = None

    @model_validator(mode="after")
    def _check_rescoring(self) -> Rescoring:
        self.request(relevance_scale=self.relevance_scale).check_shown()
        check_missing(self.missing)
        check_threshold(self.score_threshold)
        return self

    def chosen(
        self, items: Sequence[Item], rows: Sequence[Any], scores: Sequence[Any], noun: str, lack: Lack[Item]
    ) -> list[tuple[Item, dict[str, Any]]]:
        """Return the results to keep, with what is known of each; see `choose`."""
        request = self.request(relevance_scale=self.relevance_scale)
        return choose(
            items,
            rows,
            request,
            scores=scores,
            missing=self.missing,
            threshold=self.score_threshold,
            noun=noun,
            lack=lack,
            reading=self.reading,
            why=self.why,
        )
