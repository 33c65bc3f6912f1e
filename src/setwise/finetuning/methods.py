"""How a pipeline chooses rows: `match`, and the baselines that it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from setwise.finetuning import baselines
from setwise.finetuning.api import matched
from setwise.finetuning.distribution import Distribution
from setwise.finetuning.importance import Importance
from setwise.finetuning.sources import OpenSources
from setwise.finetuning.targets import Mixture, Target
from setwise.progress import StepProgress

if TYPE_CHECKING:
    from setwise.finetuning.pipeline import Pipeline


class Method(NamedTuple):
    """How rows are chosen.

    Attributes
    ----------
    choose : callable
        Gives a distribution over the candidates; of so many rows, where it counts them.
    needs : {"vectors", "texts", "rows"}
        What of the sources it looks at.
    counts : bool
        Whether it chooses a number of rows; others weigh all.
    """

    choose: Callable[[Pipeline, OpenSources, int, StepProgress], Distribution]
    needs: str = "vectors"
    counts: bool = False


def choose(pipeline: Pipeline, sources: OpenSources, tell: StepProgress) -> Distribution:
    """Return the distribution of a pipeline's method; of several targets a `Mixture`, each with its share."""
    method = METHODS[pipeline.method]
    size = pipeline.size_among(sources) if method.counts else 0
    if not sources.targets or method.needs == "texts":
        return method.choose(pipeline, sources, size, tell)

    def of(target: Target, size: int = 0) -> Any:
        return method.choose(pipeline, sources.of(target), size, tell)

    if method.counts:
        return Mixture.chosen(sources.targets, size, of)
    names, shares = zip(*((target.name, target.share) for target in sources.targets), strict=True)
    return Mixture.of(names, shares, [of(target) for target in sources.targets])


def _match(pipeline: Pipeline, sources: OpenSources, size: int, tell: StepProgress) -> Distribution:
    return matched(sources.candidates, sources.examples, pipeline.diversity, pipeline.matching(sources), tell)


def _random(pipeline: Pipeline, sources: OpenSources, size: int, tell: StepProgress) -> Distribution:
    return baselines.random(sources.m)


def _by_vectors(
    baseline: Callable[..., Distribution], **fixed: Any
) -> Callable[[Pipeline, OpenSources, int, StepProgress], Distribution]:
    """Return how a baseline chooses rows by their vectors and the examples'."""

    def chosen(pipeline: Pipeline, sources: OpenSources, size: int, tell: StepProgress) -> Distribution:
        tell("choosing", 0, 0)
        given = dict(fixed)
        if pipeline.subtask_column is not None:  # of less alone
            given["subtasks"] = sources.example_labels(pipeline.subtask_column)
        both = sources.candidates, sources.examples
        return baseline(*both, min(size, sources.m), threads=pipeline.threads, **given)

    return chosen


def _dsir(pipeline: Pipeline, sources: OpenSources, size: int, tell: StepProgress) -> Distribution:
    """Weigh by words; of several targets each has its share of what is drawn, as the package has it."""
    tell("choosing", 0, 0)
    texts, least = sources.example_texts() or [], pipeline.min_words
    if not sources.targets:
        return baselines.dsir(sources.candidate_texts, texts, min_words=least)
    names, shares = zip(*((target.name, target.share) for target in sources.targets), strict=True)
    labels = [target.name for target in sources.targets for _ in target.rows]
    share_of = dict(zip(names, shares, strict=True))
    whole = baselines.dsir(sources.candidate_texts, texts, min_words=least, targets=labels, shares=share_of)
    parts = [Importance.of(logs, rows=whole.indices, n=whole.n) for logs in whole.log_weights]
    return Mixture(whole.indices, whole.probabilities, whole.n, names, shares, tuple(parts), whole)


#: The methods by name.
METHODS = {
    "match": Method(_match),
    "random": Method(_random, needs="rows"),
    "nearest": Method(_by_vectors(baselines.nearest, metric="euclidean"), counts=True),
    "doubly-greedy": Method(_by_vectors(baselines.doubly_greedy), counts=True),
    "less": Method(_by_vectors(baselines.less), counts=True),
    "uot": Method(_by_vectors(baselines.uot), counts=True),
    "dsir": Method(_dsir, needs="texts"),
}
