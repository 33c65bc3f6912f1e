"""What the page asks for."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from setwise.serve.schemas import Whole

#: Objectives that a search of an index serves, and what each weighs against relevance.
OBJECTIVES = {
    "max-sum": "the mean distance between two members",
    "mmr": "the distance to the nearest earlier member",
    "log-det": "the volume that the members span",
}

#: Fields that are texts, whatever is in them.
TEXTS = ("query", "like", "objective")


class Wish(BaseModel):
    """What a picture is asked of.

    Attributes
    ----------
    query : str
        In words.
    like : str
        Instead of a query: the id of a passage.
    tokens : int, optional
        A budget in place of k.
    diversity, objective, sharpness
        As for `setwise.retrieve`.
    thorough : bool
        Whether more candidates are looked at until the rest is proven not to matter.
    """

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    query: str = Field(default="", max_length=4000)
    like: str = Field(default="", max_length=1000)
    k: Whole = Field(default=10, ge=1, le=100)
    tokens: Whole | None = Field(default=None, ge=1, le=100_000)
    diversity: float = Field(default=0.3, ge=0, le=1)
    objective: Literal["max-sum", "mmr", "log-det"] = "max-sum"
    sharpness: Whole | None = Field(default=None, ge=1, le=64)
    thorough: bool = False
