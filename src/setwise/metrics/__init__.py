"""What users measure of a selected set: right answers found, their variety, the spread of the members."""

from setwise.metrics.answers import (
    all_support,
    alpha_ndcg,
    aspect_precision,
    aspect_recall,
    err_ia,
    precision,
    recall,
)
from setwise.metrics.spread import (
    balance,
    catalog_coverage,
    coverage,
    dc_score,
    entropy,
    ilad,
    ilmd,
    sliced_wasserstein,
    vendi_score,
    wasserstein,
)
from setwise.metrics.text import answer_recall, exact_match, list_scores, normalized, token_f1
from setwise.metrics.trec import read_qrels, read_run, write_qrels, write_run

__all__ = [
    "all_support",
    "alpha_ndcg",
    "answer_recall",
    "aspect_precision",
    "aspect_recall",
    "balance",
    "catalog_coverage",
    "coverage",
    "dc_score",
    "entropy",
    "err_ia",
    "exact_match",
    "ilad",
    "ilmd",
    "list_scores",
    "normalized",
    "precision",
    "read_qrels",
    "read_run",
    "recall",
    "sliced_wasserstein",
    "token_f1",
    "vendi_score",
    "wasserstein",
    "write_qrels",
    "write_run",
]
