"""Which responses of a prompt to learn from: one positive, or a few, and k negatives that cover the rest."""

from setwise.preference.responses.choose import (
    METHODS,
    SOLVERS,
    SPLITS,
    ResponseSelection,
    select_responses,
    select_responses_many,
)

__all__ = ["METHODS", "SOLVERS", "SPLITS", "ResponseSelection", "select_responses", "select_responses_many"]
