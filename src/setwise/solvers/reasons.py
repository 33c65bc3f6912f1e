"""Why each candidate was chosen or left out, in words and as pictures show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import solvers
from setwise.explanation import Explanation, Reason
from setwise.objectives.base import Terms, euclidean
from setwise.pictures import MAPPED, MAPPED_TIMES, Floats, Frontier, Likeness, Map
from setwise.solvers.held import ROUNDING, barred
from setwise.solvers.problem import Problem
from setwise.top import top_k

Rows = NDArray[np.int64]

#: Exchanges are tried with so many of the others, those most relevant, and in larger sets with so many
#: places.
TRIED = 32


@dataclass(frozen=True)
class Reasoner:
    """Explains a set.

    Attributes
    ----------
    pose : callable
        Returns the problem.
    chosen : ndarray of shape (k,), int64
        Rows, in selection order.
    names : ndarray of shape (n,), optional
        What candidates are called; by default their rows.
    """

    pose: Callable[[], Problem]
    chosen: Rows
    names: NDArray[Any] | None = None

    @classmethod
    def knowing(cls, problem: Problem, chosen: Rows, names: NDArray[Any] | None = None) -> Reasoner:
        """Return what explains a set, where its problem is posed already."""
        return cls(lambda: problem, chosen, names)

    @cached_property
    def problem(self) -> Problem:
        """What was solved."""
        return self.pose()

    def named(self, names: NDArray[Any]) -> Reasoner:
        """Return this with names of the rows that the problem was posed with."""
        return replace(self, names=names)

    def explain(self, most: int, members: NDArray[Any]) -> Explanation:
        """Return the reasons for some members, and for the most relevant that were left out."""
        values = self._open()
        values[self.chosen] = -np.inf
        others = top_k(values, min(self.problem.n, max(most, TRIED)))
        others = others[values[others] > -np.inf]
        shown = set(members.tolist())
        kept = [row for row in self.chosen.tolist() if self._name(row) in shown]
        return Explanation(
            [self._of_chosen(row, others) for row in kept],
            [self._of_other(row) for row in others[:most].tolist()],
        )

    def map(self) -> Map:
        """Return the most relevant candidates in two dimensions, with the set among them."""
        values, k = self._open(), len(self.chosen)
        leaders = top_k(values, min(self.problem.n, max(MAPPED, MAPPED_TIMES * k)))
        leaders = leaders[values[leaders] > -np.inf]
        shown = np.union1d(leaders, self.chosen)
        chosen, ranked = np.searchsorted(shown, self.chosen), np.searchsorted(shown, leaders[:k])
        names = [self._name(row) for row in self.chosen.tolist()]
        return Map.of(self._rows(shown), chosen, ranked, names, self._alike_as)

    def similarity(self) -> Likeness:
        """Return how alike the most relevant are, and how alike the set's members are."""
        values = self._open()
        ranked = top_k(values, len(self.chosen))
        before, after = self._rows(ranked), self._rows(self.chosen)
        metric = self.problem.vectors.metric
        return Likeness(self._alike_as(before, before), self._alike_as(after, after), metric)

    def frontier(self, diversities: Sequence[float]) -> Frontier:
        """Return what the sets of other diversities, found by the same solver, are worth."""
        problem = self.problem
        asked = problem.request
        if not isinstance(asked.objective, str):
            raise ValueError(
                "plot: an objective of your own has its diversity itself; draw the sets of several"
            )
        found = []
        for diversity in diversities:
            other = replace(asked, diversity=diversity, certify=False)
            posed = Problem(problem.vectors, problem.relevance, other, problem.constraints)
            found.append(
                Reasoner.knowing(posed, self.chosen, self.names)._terms(
                    solvers.find(posed, asked.solver).chosen
                )
            )
        here = self._terms(self.chosen)
        return Frontier(
            np.array(diversities, np.float64),
            np.array([terms.relevance for terms in found]),
            np.array([terms.spread for terms in found]),
            (asked.diversity, here.relevance, here.spread),
            asked.objective,
        )

    def _open(self) -> NDArray[np.float64]:
        """Return the relevance of all candidates, -inf of those that were shown; to be written to."""
        values = self.problem.relevance.values.copy()
        values[barred(self.problem)] = -np.inf
        return values

    def _rows(self, ids: Rows) -> Floats:
        """Return the rows of some candidates, float64, of unit length under cosine."""
        return np.asarray(self.problem.vectors.rows(ids, np.float64), np.float64)

    def _alike_as(self, rows: Floats, others: Floats) -> Floats:
        """Return the similarity of some rows to others: cosines, or minus distances."""
        near = -euclidean(rows, others) if self.problem.vectors.metric == "euclidean" else rows @ others.T
        return np.asarray(near, np.float64)

    def _name(self, row: int) -> Any:
        """Return what a candidate is called."""
        place = int(self.problem.vectors.places(np.array([row]))[0])
        if self.names is None:
            return place
        name = self.names[place]
        return name.item() if isinstance(name, np.generic) else name

    def _nearest(self, row: int, among: Rows) -> tuple[Any, float | None]:
        """Return the most similar of some candidates, and the similarity."""
        if not len(among):
            return None, None
        near = self._alike_as(self._rows(among), self._rows(np.array([row])))[:, 0]
        place = int(near.argmax())
        return self._name(int(among[place])), float(near[place])

    def _of_chosen(self, row: int, others: Rows) -> Reason:
        """Return why one was chosen."""
        problem = self.problem
        rest = self.chosen[self.chosen != row]
        nearest, similarity = self._nearest(row, rest)
        trials: list[tuple[Rows, int | None]] = [(rest, None)] if not problem.constraints.sized else []
        if problem.constraints.sized and row not in problem.constraints.include:
            trials = [(np.append(rest, one), one) for one in others[:TRIED].tolist()]
        change, place = self._best(trials)
        return Reason(self._name(row), True, self._relevance(row), nearest, similarity, change, place)

    def _of_other(self, row: int) -> Reason:
        """Return why one was left out."""
        problem, chosen = self.problem, self.chosen
        nearest, similarity = self._nearest(row, chosen)
        goes = chosen[~np.isin(chosen, problem.constraints.include)]
        if len(goes) > TRIED:  # the places that are most like it, and those of the least relevant
            rows = problem.vectors.rows(goes, np.float64)
            near = rows @ problem.vectors.rows(np.array([row]), np.float64)[0]
            least = top_k(-problem.relevance.at(goes), TRIED // 2)
            goes = goes[np.union1d(top_k(near, TRIED // 2), least)]
        trials: list[tuple[Rows, int | None]] = [
            (np.append(chosen[chosen != one], row), one) for one in goes.tolist()
        ]
        if not problem.constraints.sized:
            trials.append((np.append(chosen, row), None))
        change, place = self._best(trials)
        return Reason(
            self._name(row), False, self._relevance(row), nearest, similarity, change, place, self._bar(row)
        )

    def _relevance(self, row: int) -> float:
        return float(self.problem.relevance.given(np.array([row]))[0])

    def _best(self, trials: list[tuple[Rows, int | None]]) -> tuple[float | None, Any]:
        """Return the largest change of value that a feasible set among some makes, and whom it comes with."""
        best, place = None, None
        here = self._value(self.chosen)
        for rows, one in trials:
            if self._keeps(rows):
                change = self._value(rows) - here
                if best is None or change > best:
                    best, place = change, one
        return best, None if place is None else self._name(place)

    def _value(self, rows: Rows) -> float:
        """Return the value of a set in selection order."""
        return float(self._terms(rows).value) if len(rows) else 0.0

    def _terms(self, rows: Rows) -> Terms:
        """Return what a set in selection order is worth."""
        problem = self.problem
        include = problem.constraints.include
        rows = np.concatenate([include, rows[~np.isin(rows, include)]])
        own = problem.vectors.rows(rows, np.float64)
        relevance = problem.told(rows, own, given=True)
        if problem.objective.ordered:
            order = problem.objective.arrange(own, relevance, rows, len(include))
            own, relevance = own[order], relevance[order]
        return problem.objective.evaluate(own, relevance)[1]

    def _keeps(self, rows: Rows) -> bool:
        """Return whether a set is feasible."""
        problem = self.problem
        if not problem.request.wishes:
            return problem.constraints.feasible(rows)
        if not np.isin(problem.constraints.include, rows).all():
            return False
        return problem.constraints.among(rows, self._alike(rows)).keeps(np.arange(len(rows)))

    def _alike(self, rows: Rows) -> NDArray[np.bool_] | None:
        """Return which of some candidates are more similar than they may be; None where all may be."""
        most = self.problem.request.max_similarity
        if most is None:
            return None
        own = self.problem.vectors.rows(rows, np.float64)
        alike: NDArray[np.bool_] = own @ own.T > most + ROUNDING
        np.fill_diagonal(alike, False)
        return alike

    def _bar(self, row: int) -> str:
        """Return the wish that bars a candidate beside the chosen ones."""
        problem, chosen = self.problem, self.chosen
        constraints = problem.constraints
        alike = self._alike(np.append(chosen, row))
        if alike is not None and alike[-1].any():
            return f"max_similarity {problem.request.max_similarity:g}"
        for one in constraints.limits:
            held = int((one.codes[chosen] == one.codes[row]).sum())
            if held >= one.most[one.codes[row]]:
                return f"the limit of {held} with {one.name} {one.labels[one.codes[row]]}"
        if constraints.codes is not None and constraints.blocked(chosen, np.array([row]))[0]:
            return f"{constraints.cap}, {constraints.quota}"
        if constraints.costs is not None:
            left = constraints.budget - float(constraints.costs[chosen].sum())
            if constraints.costs[row] > left:
                return f"the budget, of which {left:g} is left and it costs {constraints.costs[row]:g}"
        return ""
