"""One rival on the leaderboard's arrays, in the environment that it is installed in.

    python -P leaderboard_worker.py RIVAL IN.npz OUT.json

IN has vectors (queries, n, d), queries (queries, d), relevance (queries, n) and k. OUT gets each query's
rows, the seconds of each call (the first one, which compiles and imports, is made twice), and the process's
peak memory over what it was with the arrays read.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def setwise_select(vectors, query, relevance, k):
    """setwise.select as it is called without options."""
    import setwise

    return setwise.select(vectors, k, query=query).indices


def setwise_uncertified(vectors, query, relevance, k):
    """setwise.select without its certificate."""
    import setwise

    return setwise.select(vectors, k, query=query, certify=False).indices


def setwise_retrieve(vectors, query, relevance, k):
    """setwise.retrieve as it is called without options."""
    import setwise

    return setwise.retrieve(query, setwise.Index.from_array(vectors), k).positions


def setwise_coverage(vectors, query, relevance, k):
    """setwise's k-medoids."""
    import setwise

    return setwise.select(vectors, k, objective="coverage", certify=False).indices


def pyversity(vectors, query, relevance, k, strategy=None):
    """pyversity's diversify, its default strategy or another."""
    from pyversity import diversify

    options = {} if strategy is None else {"strategy": strategy}
    return diversify(vectors, relevance, k, **options).indices


def langchain(vectors, query, relevance, k):
    """LangChain's maximal_marginal_relevance, lambda_mult 0.5."""
    from langchain_core.vectorstores.utils import maximal_marginal_relevance

    return maximal_marginal_relevance(query, list(vectors), k=k)


def langchain_fetched(vectors, query, relevance, k):
    """LangChain's, of the 20 most relevant: what its vector stores fetch."""
    fetched = np.argsort(-relevance, kind="stable")[:20]
    return fetched[langchain(vectors[fetched], query, relevance, k)]


def llama_index(vectors, query, relevance, k):
    """LlamaIndex's get_top_k_mmr_embeddings, threshold 0.5."""
    from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings

    return get_top_k_mmr_embeddings(query.tolist(), vectors.tolist(), similarity_top_k=k)[1]


class Table:
    """Vectors by the number that a text is, in place of Haystack's sentence model."""

    def __init__(self, vectors: Any, query: Any) -> None:
        self.rows = np.vstack([vectors, query])

    def encode(self, texts, convert_to_tensor=True):
        """Return the rows that the texts number."""
        import torch

        return torch.from_numpy(self.rows[[int(text) for text in texts]])


def haystack(vectors, query, relevance, k, **options):
    """Haystack's diversity ranker, its default strategy (greedy diversity order) or another."""
    from haystack import Document
    from haystack_integrations.components.rankers.sentence_transformers import (
        SentenceTransformersDiversityRanker,
    )

    ranker = SentenceTransformersDiversityRanker(top_k=k, similarity="cosine", **options)
    ranker.model = Table(vectors, query)
    given = [Document(content=str(row)) for row in range(len(vectors))]
    return [int(one.content) for one in ranker.run(query=str(len(vectors)), documents=given)["documents"]]


def divsel(vectors, query, relevance, k):
    """divsel's GIST: max-min distance and the sum of relevance."""
    import divsel as package

    return package.gist_select(vectors, np.ascontiguousarray(relevance, np.float64), k=k)


def apricot(vectors, query, relevance, k):
    """apricot's facility location, which knows no query."""
    from apricot import FacilityLocationSelection

    return FacilityLocationSelection(k).fit(vectors.astype(np.float64)).ranking


def kmedoids(vectors, query, relevance, k):
    """kmedoids' FasterPAM, which knows no query."""
    import kmedoids as package

    wide = vectors.astype(np.float64)
    distances = np.maximum(1 - wide @ wide.T, 0)
    np.fill_diagonal(distances, 0)
    return package.fasterpam(distances, k, random_state=0).medoids


def dppy(vectors, query, relevance, k):
    """DPPy's exact k-DPP with the kernel of relevance and similarity."""
    from dppy.finite_dpps import FiniteDPP

    wide = vectors.astype(np.float64) * np.exp(relevance.astype(np.float64))[:, None]
    return FiniteDPP("likelihood", L_gram_factor=wide.T).sample_exact_k_dpp(size=k, random_state=0)


RIVALS = {
    "setwise.select": setwise_select,
    "setwise.select, certify=False": setwise_uncertified,
    "setwise.retrieve": setwise_retrieve,
    "setwise coverage": setwise_coverage,
    "pyversity (DPP)": pyversity,
    "pyversity MMR": lambda *given: pyversity(*given, strategy="mmr"),
    "pyversity MSD": lambda *given: pyversity(*given, strategy="msd"),
    "LangChain MMR": langchain,
    "LangChain MMR of 20": langchain_fetched,
    "LlamaIndex MMR": llama_index,
    "Haystack diversity order": haystack,
    "Haystack MMR": lambda *given: haystack(*given, strategy="maximum_margin_relevance"),
    "divsel GIST": divsel,
    "apricot facility location": apricot,
    "kmedoids FasterPAM": kmedoids,
    "DPPy k-DPP": dppy,
}


def peak() -> int:
    """Return this process's peak memory in KiB; Linux counts a parent's into what getrusage tells."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = (line.split() for line in status.read_text().splitlines())
        return next((int(words[1]) for words in lines if words[:1] == ["VmHWM:"]), 0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(rival: str, given: str, out: str) -> None:
    """Run a rival on every query."""
    with np.load(given) as arrays:
        vectors, queries, relevance, k = (arrays[name] for name in ("vectors", "queries", "relevance", "k"))
    before = peak()
    select = RIVALS[rival]
    rows, seconds = [], []
    for place in (0, *range(len(vectors))):
        began = time.perf_counter()
        chosen = select(vectors[place], queries[place], relevance[place], int(k))
        seconds.append(time.perf_counter() - began)
        rows.append([int(row) for row in chosen])
    found = {"rows": rows[1:], "seconds": seconds[1:], "megabytes": (peak() - before) / 1024}
    with open(out, "w", encoding="utf-8") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
