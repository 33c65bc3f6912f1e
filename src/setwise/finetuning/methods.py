"""How a pipeline chooses rows: `match`, and the baselines that it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from setwise.files.checksums import Progress
from setwise.finetuning import baselines
from setwise.finetuning.api import matched
from setwise.finetuning.distribution import Distribution
from setwise.finetuning.sources import OpenSources
from setwise.finetuning.targets import Mixture

if TYPE_CHECKING:
    from setwise.finetuning.pipeline import Pipeline


class Method(NamedTuple):
    """How rows are chosen.

    Attributes
    ----------
    choose : callable
        Gives a distribution over the candidates.
    needs : {"vectors", "texts", "rows"}
        What of the sources it looks at.
    counts : bool
        Whether it chooses a number of rows; others weigh all.
    """

    choose: Callable[[Pipeline, OpenSources, Progress], Distribution]
    needs: str = "vectors"
    counts: bool = False


def _match(pipeline: Pipeline, sources: OpenSources, tell: Progress) -> Distribution:
    if sources.targets:
        parts = [_match(pipeline, sources.of(target), tell) for target in sources.targets]
        names, shares = zip(*((target.name, target.share) for target in sources.targets), strict=True)
        return Mixture.of(names, shares, parts)
    return matched(sources.candidates, sources.examples, pipeline.diversity, pipeline.matching(sources), tell)


def _random(pipeline: Pipeline, sources: OpenSources, tell: Progress) -> Distribution:
    return baselines.random(sources.m)


def _nearest(pipeline: Pipeline, sources: OpenSources, tell: Progress) -> Distribution:
    tell("choosing", 0, 0)
    size, threads = pipeline.size_among(sources), pipeline.threads
    return baselines.nearest(sources.candidates, sources.examples, size, metric="euclidean", threads=threads)


def _less(pipeline: Pipeline, sources: OpenSources, tell: Progress) -> Distribution:
    tell("choosing", 0, 0)
    size, threads = pipeline.size_among(sources), pipeline.threads
    subtasks = None if pipeline.subtask_column is None else sources.example_labels(pipeline.subtask_column)
    return baselines.less(sources.candidates, sources.examples, size, subtasks=subtasks, threads=threads)


def _doubly_greedy(pipeline: Pipeline, sources: OpenSources, tell: Progress) -> Distribution:
    tell("choosing", 0, 0)
    size, threads = pipeline.size_among(sources), pipeline.threads
    return baselines.doubly_greedy(sources.candidates, sources.examples, size, threads=threads)


def _uot(pipeline: Pipeline, sources: OpenSources, tell: Progress) -> Distribution:
    tell("choosing", 0, 0)
    size, threads = pipeline.size_among(sources), pipeline.threads
    return baselines.uot(sources.candidates, sources.examples, size, threads=threads)


def _dsir(pipeline: Pipeline, sources: OpenSources, tell: Progress) -> Distribution:
    tell("choosing", 0, 0)
    examples = sources.example_texts() or []
    return baselines.dsir(sources.candidate_texts, examples, min_words=pipeline.min_words)


#: The methods by name.
METHODS = {
    "match": Method(_match),
    "random": Method(_random, needs="rows"),
    "nearest": Method(_nearest, counts=True),
    "doubly-greedy": Method(_doubly_greedy, counts=True),
    "less": Method(_less, counts=True),
    "uot": Method(_uot, counts=True),
    "dsir": Method(_dsir, needs="texts"),
}
