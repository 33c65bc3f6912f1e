"""Evaluate: ways to select, compared on labeled questions, and the choice from it."""

from setwise.evaluate.catalogs import CATALOG_METHODS, compare_catalog
from setwise.evaluate.compare import MEASURES, METHODS, TOP, Comparison, Configuration, compare
from setwise.evaluate.maps import Mapped, mapped
from setwise.evaluate.questions import Questions, read_questions
from setwise.evaluate.report import write_report
from setwise.evaluate.statistics import intervals
from setwise.evaluate.tune import Crowding, Tuned, crowding, tune

__all__ = [
    "CATALOG_METHODS",
    "MEASURES",
    "METHODS",
    "TOP",
    "Comparison",
    "Configuration",
    "Crowding",
    "Mapped",
    "Questions",
    "Tuned",
    "compare",
    "compare_catalog",
    "crowding",
    "intervals",
    "mapped",
    "read_questions",
    "tune",
    "write_report",
]
