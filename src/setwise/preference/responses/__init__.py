"""Which responses of a prompt to learn from: one positive, or a few, and k negatives that cover the rest."""

from setwise.preference.responses.choose import select_responses, select_responses_many
from setwise.preference.responses.request import METHODS, SOLVERS, SPLITS
from setwise.preference.responses.selection import ResponseSelection

__all__ = ["METHODS", "SOLVERS", "SPLITS", "ResponseSelection", "select_responses", "select_responses_many"]
