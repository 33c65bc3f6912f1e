"""What a pipeline has chosen: the distribution, the rows drawn from it, and what is worth a look."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from setwise._version import __version__
from setwise.finetuning.distribution import Distribution
from setwise.finetuning.matched import Match
from setwise.finetuning.provenance import origin, versions
from setwise.finetuning.rows.sides import name_of
from setwise.finetuning.rows.writing import Written
from setwise.finetuning.sources import OpenSources
from setwise.finetuning.targets import Mixture, named_examples

if TYPE_CHECKING:
    from setwise.finetuning.pipeline import Pipeline

#: Rows and examples that a selection shows.
_SHOWN = 3


@dataclass(frozen=True, eq=False, repr=False)
class RowSelection:
    """The rows that a `Pipeline` has chosen, drawn and written.

    Attributes
    ----------
    pipeline : Pipeline
    sources : OpenSources
        What was read, without the vectors.
    distribution : Distribution
        Over candidates, a `Match` for the method "match"; ``sources.rows_of`` maps them to rows.
    epochs : list of ndarray, int64
        Rows of the repository in the order to train on them, an array an epoch; none where no number of
        rows was asked for.
    tokens : list of int
        Of each epoch, where the budget is one of tokens.
    written : Written or None
        The files of rows.
    notes : list of str
        What was left out, and the like.
    seconds : dict of str to float
        Of choosing and of writing.
    """

    pipeline: Pipeline
    sources: OpenSources
    distribution: Distribution
    epochs: list[NDArray[np.int64]]
    tokens: list[int]
    written: Written | None
    notes: list[str]
    seconds: dict[str, float]

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """What it was made of: the files that were read, with checksums, and the versions at work."""
        pipeline, sources = self.pipeline, self.sources
        examples: Any = {
            name: origin(source, target.shown, len(target.rows))
            for (name, _, source), target in zip(
                named_examples(pipeline.examples), sources.targets, strict=False
            )
        }
        if not examples:
            shown = sources.shown
            count = len(sources.example_rows) if shown is None else len(shown)
            examples = origin(pipeline.task, shown, count)
        return {
            "repository": origin(pipeline.repository, sources.repository, sources.n),
            "examples": examples,
            "versions": versions(),
        }

    @property
    def distinct(self) -> NDArray[np.int64]:
        """The rows drawn over all epochs, each once, ascending."""
        return np.unique(np.concatenate(self.epochs)) if self.epochs else np.empty(0, np.int64)

    def least_covered(self, most: int = _SHOWN) -> list[dict[str, Any]]:
        """Return the examples that are farthest from the repository, farthest first; of a match alone."""
        found, sources = self.distribution, self.sources
        if isinstance(found, Mixture):
            each = zip(sources.targets, found.parts, strict=True)
            rows = [
                {"target": target.name, **row}
                for target, part in each
                for row in _least_covered(sources.of(target), part, most)
            ]
            return sorted(rows, key=lambda row: -row["distance"])[:most]
        return _least_covered(sources, found, most)

    def targets(self) -> list[dict[str, Any]]:
        """Return each target's share, examples, distribution, and overlap with the others; of several."""
        found = self.distribution
        if not isinstance(found, Mixture):
            return []
        overlap = found.overlap.tolist()
        return [
            {
                "name": target.name,
                "share": target.share,
                "examples": len(target.examples),
                "overlap": {name: overlap[place][at] for at, name in enumerate(found.names) if at != place},
                "distribution": _facts_of(found.parts[place]),
            }
            for place, target in enumerate(self.sources.targets)
        ]

    def most_drawn(self, most: int = _SHOWN) -> list[dict[str, Any]]:
        """Return the rows drawn most often over all epochs; the first drawn where none comes twice.

        Where no row is drawn, they are the likeliest.
        """
        found = self.distribution
        known = self.sources.rows_of(found.indices)  # ascending, as a distribution's are

        def likely(rows: NDArray[np.int64]) -> NDArray[np.float64]:
            return found.probabilities[np.searchsorted(known, rows)]

        times: list[int | None] = [None] * most
        if self.epochs:
            rows, counts = np.unique(np.concatenate(self.epochs), return_counts=True)
            first = np.lexsort((rows, -likely(rows), -counts))[:most]
            top = rows[first] if counts.max() > 1 else self.epochs[0][:most]
            times = counts[np.searchsorted(rows, top)].tolist()
        else:
            top = known[np.argsort(-found.probabilities, kind="stable")[:most]]
        texts = self.sources.texts_of(top)
        return [
            {
                "row": row,
                "times": times[number],
                "probability": float(likely(top)[number]),
                "text": None if texts is None else texts[number],
            }
            for number, row in enumerate(top.tolist())
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return everything found as plain values; see the page on finetuning for the entries."""
        return {
            **head(self.pipeline, self.sources),
            "sweep": None,
            "distribution": _facts_of(self.distribution),
            "targets": self.targets(),
            "epochs": [
                {
                    "rows": len(drawn),
                    "distinct": len(np.unique(drawn)),
                    "tokens": self.tokens[number] if self.tokens else None,
                    "file": None if self.written is None else self.written.file_of(number),
                }
                for number, drawn in enumerate(self.epochs)
            ],
            "distinct": len(self.distinct),
            "leaked": None if self.sources.leaked is None else self._leaks(),
            "least_covered": self.least_covered(),
            "most_drawn": self.most_drawn(),
            "notes": self.notes,
            "provenance": self.provenance,
            "seconds": self.seconds,
        }

    def _leaks(self) -> dict[str, Any]:
        """Return how many rows are examples, or nearly."""
        found = self.sources.leaked
        assert found is not None
        excluded = self.pipeline.exclude_examples
        counts = {"exact": len(found.exact), "near": len(found.near)}
        return {**counts, "width": found.width, "excluded": excluded}

    def __repr__(self) -> str:
        drawn = "none drawn"
        if self.epochs:
            sizes = sorted({len(rows) for rows in self.epochs})
            each = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
            drawn = f"{len(self.epochs)} of {each} rows, {len(self.distinct):,} distinct"
        return f"{type(self).__name__}({self.distribution!r}; epochs: {drawn})"


def _least_covered(sources: OpenSources, found: Distribution, most: int) -> list[dict[str, Any]]:
    """Return the examples of one target that are farthest from the repository, farthest first."""
    if not isinstance(found, Match):
        return []
    places = np.argsort(-found.nearest, kind="stable")[:most]
    texts = sources.example_texts(places)
    return [
        {
            "row": int(sources.example_rows[place]),
            "distance": float(found.nearest[place]),
            "text": None if texts is None else texts[number],
        }
        for number, place in enumerate(places.tolist())
    ]


def _facts_of(found: Distribution) -> dict[str, Any]:
    """Return a distribution's numbers as plain values."""
    return {
        "rows": found.n,
        "chosen": len(found),
        "effective": found.effective,
        "top_row": float(found.probabilities.max()),
        **(found.to_dict() if isinstance(found, Match) else {}),
    }


def head(pipeline: Pipeline, sources: OpenSources) -> dict[str, Any]:
    """Return what every record of a run starts with."""
    return {
        "setwise": __version__,
        "repository": name_of(pipeline.repository),
        "examples": name_of(pipeline.task),
        "encoder": sources.encoder,
        "candidates": sources.m,
        "left_out": sources.n - sources.m,
        "settings": pipeline.settings(),
    }
