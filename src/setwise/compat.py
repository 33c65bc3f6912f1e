"""Calls of other libraries, answered by setwise: pyversity's ``diversify``, and LangChain's MMR.

Change the import and keep the call. Where the mathematics is the same, so are the picks; `diversify` says
where it is not.
"""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from setwise import checks
from setwise.api import select
from setwise.containers import as_matrix, to_numpy
from setwise.relevance import as_relevance
from setwise.selection import Selection

#: pyversity's strategies that are an objective of setwise's.
STRATEGIES = ("dpp", "mmr", "msd")


@dataclass(frozen=True, eq=False)
class DiversificationResult:
    """What pyversity's call returns, and the selection that it came from.

    Attributes
    ----------
    indices : ndarray of shape (k,), int64
        Rows in the order they were selected.
    selection_scores : ndarray of shape (k,), float64
        What pyversity's rule gives each of them, those before it being selected.
    parameters : dict
    selection : Selection
        With its value, terms and certificate; None where nothing was asked for.
    """

    indices: NDArray[np.int64]
    selection_scores: NDArray[np.float64]
    strategy: str
    diversity: float
    parameters: dict[str, float] = field(default_factory=dict)
    selection: Selection | None = None


def diversify(
    embeddings: ArrayLike,
    scores: ArrayLike,
    k: int,
    strategy: str = "dpp",
    diversity: float = 0.5,
    *,
    scale: float = 1.0,
) -> DiversificationResult:
    """Select k of the candidates as pyversity's ``diversify`` does.

    Parameters
    ----------
    embeddings : array-like of shape (n, d)
    scores : array-like of shape (n,)
        Relevance, higher is better.
    k : int
        As with pyversity, all candidates are selected where it is more than there are, and none where it is
        below 1.
    strategy : {"dpp", "mmr", "msd"}
    diversity : float
        In [0, 1]; 0 = relevance alone.
    scale : float
        Of "dpp": multiplies the weight of relevance.

    Raises
    ------
    TypeError, ValueError
        The strategy is another (pyversity's "cover" and "ssd" are no objectives of setwise's); a row is zero
        or not finite; scores are not as many as embeddings; ``diversity`` is outside [0, 1].

    Notes
    -----
    *mmr* picks the same rows in the same order where no cosine is negative; pyversity counts those as 0.
    *dpp* does, too: pyversity's kernel of weights exp(β z), with z the standardized scores and
    β = scale (1 - diversity), is log-det with relevance z and the trade-off 1 / (1 + 2β); but where the
    vectors' rank is reached, setwise stops, and pyversity goes on by rounding.
    *msd* is max-sum with the trade-off a / (1 + a), a = (k - 1) t / (2 (1 - t)), which orders sets alike.
    pyversity adds one by one; setwise's set scores as much or more, and its certificate says how far
    from the best possible one it is.

    Examples
    --------
    >>> from setwise.compat import diversify
    >>> diversify([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]], [0.9, 0.8, 0.5], 2, strategy="mmr").indices.tolist()
    [0, 2]
    """
    checks.choice("strategy", getattr(strategy, "value", strategy), STRATEGIES)
    strategy = str(getattr(strategy, "value", strategy))
    t = checks.fraction("diversity", diversity)
    vectors = as_matrix(embeddings, "embeddings")
    relevance = as_relevance(scores, len(vectors), "scores")
    parameters = {"scale": checks.positive("scale", scale)} if strategy == "dpp" else {}
    count = _count(k, len(vectors))
    if count < 1:
        return DiversificationResult(np.empty(0, np.int64), np.empty(0), strategy, t, parameters)
    if t == 0:
        found = select(vectors, count, relevance=relevance, solver="top-k", diversity=0)
        gains = relevance[found.indices]
    elif strategy == "mmr":
        found = select(vectors, count, relevance=relevance, objective="mmr", diversity=t)
        gains = found.gains
    elif strategy == "dpp":
        weight = 2 * (1 - t) * parameters["scale"]
        standard = (relevance - relevance.mean()) / (relevance.std() + np.finfo(np.float32).eps)
        narrow = 2.0 ** max(0, int(np.frexp(np.ptp(standard))[1]) - 1)  # relevance is to span less than 2
        standard, trade = standard / narrow, 1 / (1 + narrow * weight)
        found = select(vectors, count, relevance=standard, objective="log-det", diversity=trade)
        gains = np.exp(found.gains / trade)
    else:
        odds = np.inf if t == 1 else (count - 1) * t / (2 * (1 - t))
        trade = 1.0 if t == 1 else odds / (1 + odds)
        found = select(vectors, count, relevance=relevance, diversity=trade)
        gains = _summed(np.asarray(vectors[found.indices], np.float64), relevance[found.indices], t)
    return DiversificationResult(found.indices, gains, strategy, t, parameters, found)


def maximal_marginal_relevance(
    query_embedding: ArrayLike, embedding_list: ArrayLike, lambda_mult: float = 0.5, k: int = 4
) -> list[int]:
    """Return the rows that LangChain's function of this name returns, in the same order.

    Parameters
    ----------
    query_embedding : array-like of shape (d,) or (1, d)
    embedding_list : array-like of shape (n, d)
    lambda_mult : float
        1 minus the diversity.
    k : int
        As with LangChain, all rows are returned where it is more than there are, none where it is below 1.

    Raises TypeError, ValueError: a row is zero (LangChain takes it for unlike everything) or not finite, or
    of another width than the query; ``lambda_mult`` is outside [0, 1].

    Examples
    --------
    >>> from setwise.compat import maximal_marginal_relevance
    >>> maximal_marginal_relevance([1.0, 0.0], [[1.0, 0.1], [1.0, 0.11], [0.5, -1.0]], lambda_mult=0.3, k=2)
    [0, 2]
    """
    t = 1 - checks.fraction("lambda_mult", lambda_mult, "0 = diversity alone, 1 = relevance alone")
    empty = isinstance(embedding_list, Sized) and not len(embedding_list)
    vectors = np.empty((0, 1)) if empty else as_matrix(embedding_list, "embedding_list")
    count = _count(k, len(vectors))
    if count < 1:
        return []
    query = to_numpy(query_embedding, "query_embedding", flat=True)
    with checks.renamed(query="query_embedding", vectors="embedding_list"):
        found = select(vectors, count, query=query.reshape(-1), objective="mmr", diversity=t)
    return [int(row) for row in found.indices]


def _count(k: int, n: int) -> int:
    """Return how many of n are asked for, 0 where k is below. Raises TypeError: it is no integer."""
    return max(0, min(checks.integer("k", k, least=-(2**63)), n))


def _summed(rows: NDArray[np.float64], relevance: NDArray[np.float64], t: float) -> NDArray[np.float64]:
    """Return what each row adds to (1 - t) Σ r + t Σ (1 - cos) over pairs, those before it being there."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    distances = np.tril(1 - np.clip(unit @ unit.T, -1, 1), -1)
    return np.asarray((1 - t) * relevance + t * distances.sum(axis=1))
