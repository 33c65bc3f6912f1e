"""What the integrations share: parameters checked at the border, vectors looked up by id, one selection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from setwise import checks, solvers
from setwise.facets import are_texts
from setwise.feasible import Infeasible
from setwise.files.lengths import counter, length
from setwise.ids import as_ids
from setwise.index import Index
from setwise.index.base import Found
from setwise.integrations.lookup import as_rows
from setwise.integrations.thresholds import check_threshold, cosines_to, tell_how_many
from setwise.missing import check_missing, reasons
from setwise.request import Request
from setwise.retrieval import Retrieved, default_sharpness
from setwise.retrieval.rerank import diversified
from setwise.retrieval.search import retrieving
from setwise.retrieval.seen import TooFew, shown_of
from setwise.steps import Step, Work, run

#: How many are selected where nothing is said: as many as `setwise.retrieve` does.
K = 10

#: How many a store is asked for where `fetch_k` is not given: enough for most, and one round trip.
FETCH, FETCH_PER_K = 50, 5

Item = TypeVar("Item")

#: What a message calls a result (given it, and whether it has a vector), what that lacks, and the mend.
Lack = Callable[[Item, bool], tuple[str, str, str]]


class Reading(NamedTuple):
    """How a framework's results are read: what one is called, its text, its metadata."""

    name: Callable[[Any], Any]
    text: Callable[[Any], str]
    metadata: Callable[[Any], Mapping[str, Any]]


def request_for(
    *,
    objective: str,
    sharpness: int | None,
    index: Index | None = None,
    tokens: int | None = None,
    tokenizer: Any = "tokens",
    **fields: Any,
) -> Request:
    """Return the request of a component's parameters, checked.

    Parameters
    ----------
    objective : str
        An objective by name.
    sharpness : int or None
        None for the one that retrieval uses.
    index : Index, optional
        What is searched, whose metric counts; else cosines do.
    tokens : int, optional
        The most that the chosen texts may have together.
    tokenizer : str or callable
        What counts them; see `setwise.files.lengths.counter`.
    **fields
        Of the request.

    Raises TypeError: a parameter is of the wrong type; the message names it; ValueError: it is out of its
    range, or unknown; or the solver cannot honor another.
    """
    if not isinstance(objective, str):
        raise TypeError(f"objective: expected a name, got {type(objective).__name__}")
    metric = "cosine" if index is None else index.metric
    if sharpness is None:
        sharpness = default_sharpness(objective, metric)
    if tokens is not None:
        counts = counter(tokenizer) if isinstance(tokenizer, str) else tokenizer
        fields |= {"budget": checks.integer("tokens", tokens, least=1), "costs": counts}
        fields["said"] = {"budget": "tokens"}
    request = Request(objective=objective, sharpness=sharpness, metric=metric, **fields)
    solvers.check(request)
    return request


@dataclass(frozen=True)
class Search:
    """A request for what is yet to be found; checked when it is made.

    Attributes
    ----------
    fetch_k : int or None
        How many candidates are fetched, at least k; None leaves it to `fetched`, or to an index.
    filter : optional
        In the store's own terms.
    threshold : float or None
        The least relevance of what may be chosen.

    Raises
    ------
    TypeError
        `fetch_k` is no integer, or the threshold no number.
    ValueError
        `fetch_k` is below k, or the threshold is not finite.
    """

    request: Request
    fetch_k: int | None = None
    filter: Any = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        check_threshold(self.threshold)
        k = self.request.size
        if self.fetch_k is not None and checks.integer("fetch_k", self.fetch_k, least=1) < k:
            raise ValueError(
                f"fetch_k: {self.fetch_k} candidates cannot give k = {k}; raise it, or pass None"
            )

    @property
    def fetched(self) -> int:
        """How many candidates a store is asked for in one search."""
        return max(FETCH, FETCH_PER_K * self.request.size) if self.fetch_k is None else self.fetch_k

    def over(
        self, index: Index, query: Any, text: Callable[[Any], str] | None = None
    ) -> Work[Retrieved | None]:
        """Search an index, which knows by itself how many candidates suffice; None where nothing is found.

        Limits are on stored fields; where texts are counted, `text` finds that of an id. Where the best set
        has members below the threshold, it is chosen anew among all that reach it.

        Raises ValueError: texts are to be counted, and there is nothing that finds them.
        """
        size = index.counted(max(self.request.size, self.fetch_k or 0))
        if size == 0:
            return None
        request = replace(self.request, k=min(self.request.size, size))
        if request.costs is not None:
            count = length(request.costs)
            if text is None:
                raise ValueError("tokens: texts of an index are counted where they are passed with it")
            request = replace(request, costs=lambda name: count(text(name)))
        pool: int | str = "auto" if self.fetch_k is None else min(self.fetch_k, size)
        query = np.asarray(query, np.float64)
        try:
            found: Retrieved = yield from retrieving(request, query, index, pool=pool, filter=self.filter)
            if self.threshold is None or not len(found) or found.scores.min() >= self.threshold:
                return found
        except (Infeasible, TooFew):  # of fewer that reach the threshold fewer are wanted
            if self.threshold is None:
                raise
        best, reaching = yield from self._reaching(index, query)
        tell_how_many(len(reaching), self.request.size, self.threshold, best, "results")
        if not len(reaching):
            return None
        few = replace(request, k=min(request.size, len(reaching)))
        return diversified(few, index.as_given(reaching.ids), reaching.scores, index)

    def _reaching(self, index: Index, query: NDArray[np.float64]) -> Work[tuple[float, Found]]:
        """Return the best score, and all of an index that reaches the threshold, or of `fetch_k` candidates.

        What was shown is not among them.
        """
        probe = query / np.linalg.norm(query) if index.metric == "cosine" else query
        _, seen = shown_of(self.request, index)
        where = {"filter": self.filter, "exclude": index.as_searched(as_ids(seen)) if seen else ()}
        count = self.fetched
        while True:
            (found,) = yield Step.of(index.fetch, index.afetch, probe[None], count, **where)
            enough = found.scores >= self.threshold
            if not enough.all() or len(found) < count or self.fetch_k is not None:
                best = float(found.scores.max(initial=-np.inf))
                return best, Found(found.ids[enough], found.scores[enough], found.vectors[enough])
            count *= 4


def facts(
    found: Retrieved, why: bool = False, name: Callable[[Any], Any] | None = None
) -> list[dict[str, Any]]:
    """Return what is known of each member, by name.

    Its relevance as it was given or found (before any rescaling), the objective's score when it was
    selected, and 1 - its largest cosine to an earlier one (1 for the first); with `why` the reason in words,
    in which `name` says what members are called.
    """
    known: list[dict[str, Any]] = [
        {"relevance": float(score), "gain": float(gain), "novelty": float(novelty)}
        for score, gain, novelty in zip(found.scores, found.gains, found.novelty, strict=True)
    ]
    if why:
        told = found.explain(0)
        for one, reason in zip(known, (told.renamed(name) if name else told).chosen, strict=True):
            one["why"] = str(reason)
    return known


def prefixed(facts: Mapping[str, Any], prefix: str | None) -> dict[str, Any]:
    """Return facts under ``<prefix>_<name>``, as a result carries them; with no prefix set, none."""
    start = f"{prefix}_" if prefix else ""
    return {} if prefix is None else {f"{start}{name}": value for name, value in facts.items()}


def with_facets(search: Search, embed: Callable[[str], Step]) -> Work[Search]:
    """Return a search whose facets are vectors: where they are texts, what `embed` makes of each."""
    facets = search.request.facets
    if not are_texts(facets):
        return search
    vectors = []
    for text in facets:
        vectors.append((yield embed(text)))
    return replace(search, request=replace(search.request, facets=np.array(vectors)))


def choose(
    items: Sequence[Item],
    rows: Sequence[Any],
    request: Request,
    *,
    scores: Sequence[float | None] | None = None,
    query: Any = None,
    missing: str = "raise",
    threshold: float | None = None,
    noun: str = "results",
    lack: Lack[Item] | None = None,
    reading: Reading,
    why: bool = False,
) -> list[tuple[Item, dict[str, Any]]]:
    """Choose among results that are all at hand.

    Parameters
    ----------
    items : sequence of n results
    rows : sequence of n vectors
        None for a result that has none.
    request : Request
        A k above n chooses all n.
    scores : sequence of n numbers, optional
        Their relevance, None for a result that has none; not given, it is the cosine to `query`.
    query : array-like of shape (d,), optional
    missing : {"raise", "drop", "append"}
        What is done with a result whose vector or score is missing or cannot be used (all zero, NaN, of
        another width than most): refuse; leave it out with a warning; or place it after those chosen, in
        the order they came, while there are fewer than k.
    threshold : float, optional
        The least score, or cosine to the query, of a result that may be chosen. Where none has it, the result
        is empty; a warning says so, and where fewer than k have it.
    noun : str
        What the results are called in a message.
    lack : Lack, optional
        Needed where a result may lack a vector or a score.
    reading : Reading
    why : bool
        Whether facts say why each was chosen.

    Returns
    -------
    list of (result, facts), in selection order; no facts with those appended

    Raises
    ------
    TypeError
        A vector or a score is no number.
    ValueError
        A result lacks what choosing needs and `missing` is "raise"; or all do, and it is "drop".
    """
    policy = check_missing(missing)
    shown_of(request, None)  # which refuses ids
    if threshold is not None:
        reached = cosines_to(rows, query) if scores is None else scores
        enough = [place for place, score in enumerate(reached) if score is None or not score < threshold]
        if len(enough) < len(items):
            best = max(score for score in reached if score is not None)
            tell_how_many(len(enough), request.size, threshold, best, noun)
        if not enough:
            return []
        items, rows = [items[place] for place in enough], [rows[place] for place in enough]
        scores = None if scores is None else [scores[place] for place in enough]
    lacks = reasons(rows, d=None if query is None else np.size(query))
    present: list[int] = []
    left: list[int] = []
    for place in range(len(items)):
        known = lacks[place] is None and (scores is None or _is_score(scores[place]))
        (present if known else left).append(place)
    if left and policy != "append":
        assert lack is not None, "a component whose results all have what choosing needs"
        one, bad = items[left[0]], lacks[left[0]]
        who, what, mend = lack(one, bad is None)
        spoilt = rows[left[0]] is not None and bad is not None
        first = f"the embedding of {who} {bad}" if spoilt else f"{who} has no {what}"
        text = f"{noun}: {len(left)} of {len(items)} lack what choosing needs (the first: {first}); {mend}"
        if policy == "raise" or not present:
            raise ValueError(text)
        checks.warn(f"{text}; left out")
        left = []
    if left and request.wishes:
        raise ValueError(f"missing: those appended need not keep {request.wishes[0]}; pass 'drop'")
    chosen = []
    if present:
        matrix = as_rows([rows[place] for place in present])
        asked = replace(request, k=min(request.size, len(present)))
        some = [items[place] for place in present]
        asked = asked.mapped(partial(_of_items, some, reading), fields=True)
        if scores is None:
            found = run(retrieving(asked, np.asarray(query), Index.from_array(matrix)))
        else:
            given = np.array([scores[place] for place in present], np.float64)
            found = diversified(asked, np.arange(len(present)), given, matrix)
            found = replace(found, scores=given[found.ids])
        known_of = facts(found, why, lambda row: reading.name(some[row]))
        chosen = [(some[row], one) for row, one in zip(found.ids.tolist(), known_of, strict=True)]
    return [*chosen, *((items[place], {}) for place in left)][: request.size]


def _of_items(items: Sequence[Any], reading: Reading, name: str, given: Any) -> list[Any]:
    """Return how long the results' texts are, or a metadata key of theirs."""
    if name == "costs":
        return [max(1, int(given(reading.text(one)))) for one in items]
    found = [reading.metadata(one).get(given) for one in items]
    lacking = [one for one, label in zip(items, found, strict=True) if label is None]
    if lacking:
        raise ValueError(
            f"{name}: {len(lacking)} of {len(items)} have no {given!r} in their metadata (the first: "
            f"{reading.name(lacking[0])}); give each one"
        )
    return found


def _is_score(score: Any) -> bool:
    """Return whether a score is there: a number, and not NaN; what is no number is refused later."""
    return score is not None and not (isinstance(score, float | np.floating) and np.isnan(score))


def falling(n: int) -> list[float]:
    """Return scores for results of which only the order is known: from 1 down in even steps."""
    return [1.0 - place / n for place in range(n)]


def take_weight(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return parameters with a framework's weight on relevance turned into `diversity`, 1 - weight.

    Of parameters None counts as not given, 0 does not.

    Raises TypeError: the weight is not a number; ValueError: it is outside [0, 1], or both are given.
    """
    out = dict(values)
    weight = out.pop(name, None)
    if weight is None:
        return out
    if out.get("diversity") is not None:
        raise ValueError(f"{name}: pass diversity or {name}, not both (diversity = 1 - {name})")
    out["diversity"] = 1.0 - checks.fraction(name, weight, "1 = relevance alone, 0 = diversity alone")
    return out


def take_alias(values: Mapping[str, Any], alias: str, name: str) -> dict[str, Any]:
    """Return parameters with an alias renamed. Raises ValueError: both are given."""
    out = dict(values)
    value = out.pop(alias, None)
    if value is None:
        return out
    if out.get(name) is not None:
        raise ValueError(f"{alias}: pass {name} or {alias}, not both; they mean the same")
    out[name] = value
    return out
