"""`select_responses`: one positive and the k negatives that stand for the rest (AMPO)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.preference.responses import batches
from setwise.preference.responses.batches import Settings
from setwise.preference.responses.inputs import Inputs
from setwise.preference.responses.selection import ResponseSelection
from setwise.request import Certify, check_certify
from setwise.threads import one_blas_thread, run_ranges, thread_count

__all__ = ["METHODS", "SOLVERS", "SPLITS", "ResponseSelection", "select_responses", "select_responses_many"]

METHODS = ("opt-select", "coreset", "bottom-k", "random")
SOLVERS = ("swap", "exact", "greedy")
SPLITS = ("one-vs-k", "mean")
TOO_FEW = ("refuse", "skip")


def select_responses(
    embeddings: Any,
    rewards: Any,
    k: int,
    *,
    method: str = "opt-select",
    solver: str = "swap",
    positives: int = 1,
    split: str = "one-vs-k",
    texts: Sequence[str] | None = None,
    model: str = "auto",
    certify: Certify = True,
    seed: int = 0,
) -> ResponseSelection:
    """Choose which of a prompt's responses to train on: the best, and k negatives that cover the rest.

    The best response is the positive and leaves; of the others, k are chosen as negatives. "opt-select" takes
    those that stand for the rest at the least weighted distance, low rewards counting more (AMPO Eq. 8, on
    the scales of its Appendix E). What is optimised and bounded is that coverage cost, not a policy's
    expected reward.

    Parameters
    ----------
    embeddings : array-like of shape (N, d), or None
        One vector a response, of any float or integer dtype. None: `texts` are encoded.
    rewards : array-like of shape (N,)
        Higher is better; any scale.
    k : int
        Negatives, 1 to N - positives.
    method : {"opt-select", "coreset", "bottom-k", "random"}
        "coreset": the lowest reward of each of k k-means clusters; "bottom-k": the k lowest rewards, among
        equals the least similar to those taken; "random": k drawn from the seed.
    solver : {"swap", "exact", "greedy"}
        For opt-select: greedy, then best exchanges until none helps; the proven best; greedy alone.
    positives : int
        How many of the best are taken out as positives (AMPO, Appendix B, remark).
    split : {"one-vs-k", "mean"}
        Whether those are the positives, or all taken whose reward is above the mean of all taken (AMPO,
        section 2). Where all rewards are equal, the first positive alone is one.
    texts : sequence of str, optional
        The responses. Beside `embeddings` they are only shown. An empty text, or one without a known word,
        is a zero vector: such responses stand for each other.
    model : str
        The encoder of the texts, as in `setwise.encode.encoder`; one that learns does so from these texts.
    certify : bool or "full"
        Whether to bound the cost from below: by some steps of dual ascent, or until the least cost is known.
        With solver="swap", a better set found on the way is returned.
    seed : int
        For "coreset" and "random".

    Returns
    -------
    ResponseSelection

    Raises
    ------
    TypeError, ValueError
        Bad input, with the argument, the row and the mend: lengths that differ, NaN, Inf or numbers beyond
        1e140, k above N - positives.

    Notes
    -----
    Ties: equal rewards give the positive with the lowest row; constant rewards weigh every response alike.
    Identical responses are at distance 0: the cost is then 0, and k distinct rows are chosen all the same.

    Examples
    --------
    >>> import numpy as np
    >>> from setwise.preference import select_responses
    >>> rng = np.random.default_rng(0)
    >>> chosen = select_responses(rng.standard_normal((32, 64)), rng.random(32), 7)
    >>> len(chosen.negatives), chosen.gap < 0.05
    (7, True)
    """
    given = None if embeddings is None else [embeddings]
    with one_blas_thread():
        inputs = Inputs(
            given, [rewards], texts=None if texts is None else [texts], model=model, seed=seed, one=True
        )
        result = _Call(inputs, k, seed, (method, solver, positives, split, certify)).run("refuse", 1)[0]
    assert result is not None
    return result


@overload
def select_responses_many(
    embeddings: Any,
    rewards: Any,
    k: int,
    *,
    method: str = "opt-select",
    solver: str = "swap",
    positives: int = 1,
    split: str = "one-vs-k",
    texts: Sequence[Sequence[str]] | None = None,
    model: str = "auto",
    certify: Certify = True,
    seed: int = 0,
    too_few: Literal["refuse"] = "refuse",
    threads: int | None = None,
) -> list[ResponseSelection]: ...


@overload
def select_responses_many(
    embeddings: Any,
    rewards: Any,
    k: int,
    *,
    method: str = "opt-select",
    solver: str = "swap",
    positives: int = 1,
    split: str = "one-vs-k",
    texts: Sequence[Sequence[str]] | None = None,
    model: str = "auto",
    certify: Certify = True,
    seed: int = 0,
    too_few: str,
    threads: int | None = None,
) -> list[ResponseSelection | None]: ...


def select_responses_many(
    embeddings: Any,
    rewards: Any,
    k: int,
    *,
    method: str = "opt-select",
    solver: str = "swap",
    positives: int = 1,
    split: str = "one-vs-k",
    texts: Sequence[Sequence[str]] | None = None,
    model: str = "auto",
    certify: Certify = True,
    seed: int = 0,
    too_few: str = "refuse",
    threads: int | None = None,
) -> list[ResponseSelection | None] | list[ResponseSelection]:
    """Choose responses for many prompts: the same as `select_responses` for each, in batches.

    Parameters
    ----------
    embeddings : array-like of shape (B, N, d), sequence of (N_i, d) arrays, or None
    rewards : array-like of shape (B, N), or sequence of (N_i,)
    k, method, solver, positives, split, model, certify, seed
        As in `select_responses`. "random" draws for one prompt after another; all else does not depend on
        which prompts are beside it (of sets that cost the same but for rounding, either may be found).
    texts : sequence of sequences of str, optional
        A prompt's responses each; one encoder is used for all.
    too_few : {"refuse", "skip"}
        What becomes of a prompt with fewer than k + positives responses: an error, or None in its place.
    threads : int, optional
        Batches run beside each other. Default: what BLAS is set to.

    Returns
    -------
    list of ResponseSelection, one a prompt, in order
        With ``too_few="skip"``, None for a prompt that was skipped: ``found.count(None)`` were.

    Raises
    ------
    TypeError, ValueError
        As `select_responses`; the prompt is named.
    """
    choice = checks.choice("too_few", too_few, TOO_FEW)
    workers = thread_count(threads)
    with one_blas_thread():
        inputs = Inputs(embeddings, rewards, texts=texts, model=model, seed=seed, one=False)
        call = _Call(inputs, k, seed, (method, solver, positives, split, certify))
        return call.run(choice, workers)


class _Call:
    """One call's checked arguments."""

    def __init__(self, inputs: Inputs, k: int, seed: int, options: tuple[str, str, int, str, Any]) -> None:
        method, solver, positives, split, certify = options
        check_certify(certify)
        self.inputs = inputs
        self.sizes = inputs.sizes
        self.settings = Settings(
            checks.integer("k", k, least=1),
            checks.choice("method", method, METHODS),
            checks.choice("solver", solver, SOLVERS),
            checks.integer("positives", positives, least=1),
            checks.choice("split", split, SPLITS),
            "full" if isinstance(certify, str) else bool(certify),
            checks.integer("seed", seed, least=0),
        )

    def run(self, too_few: str, workers: int) -> list[ResponseSelection | None]:
        """Choose for every prompt with enough responses, batches of similar size beside each other."""
        settings = self.settings
        enough = self.sizes >= settings.k + settings.positives
        if too_few == "refuse" and not enough.all():
            raise ValueError(self._refusal(int(enough.argmin())))
        found: list[ResponseSelection | None] = [None] * len(self.sizes)
        parts = self._batches(np.flatnonzero(enough))
        texts = self.inputs.texts
        draws: NDArray[np.float64] | None = None
        if settings.method == "random":
            draws = np.random.default_rng(settings.seed).random(int(self.sizes.sum()))
        ends = np.cumsum(self.sizes)

        def some(start: int, stop: int) -> None:
            for part in parts[start:stop]:
                vectors, rewards = self.inputs.padded(part)
                own = np.zeros(rewards.shape)
                if draws is not None:
                    for place, prompt in enumerate(part.tolist()):
                        size = int(self.sizes[prompt])
                        own[place, :size] = draws[ends[prompt] - size : ends[prompt]]
                try:
                    chosen = batches.solve(vectors, rewards, self.sizes[part], settings, own)
                except FloatingPointError:
                    raise ValueError(self.inputs.bad_embedding(part)) from None
                for prompt, selection in zip(part.tolist(), chosen, strict=True):
                    found[prompt] = selection if texts is None else replace(selection, texts=texts[prompt])

        run_ranges(some, len(parts), workers)
        return found

    def _batches(self, prompts: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Return prompts in batches of similar size, each of at most `batches.BATCH` distances."""
        order = prompts[np.argsort(self.sizes[prompts], kind="stable")]
        sizes = self.sizes[order].tolist()
        cut, start = [], 0
        for stop, size in enumerate(sizes):
            if (stop - start + 1) * size * size > batches.BATCH and stop > start:
                cut.append(stop)
                start = stop
        return [part for part in np.split(order, cut) if len(part)]

    def _refusal(self, prompt: int) -> str:
        """Return why a prompt has too few responses, and what to do."""
        size, taken, k = int(self.sizes[prompt]), self.settings.positives, self.settings.k
        where = "" if self.inputs.one else f" of prompt {prompt}"
        best = "positive" if taken == 1 else "positives"
        mend = f"ask for at most {size - taken}" if size > taken else "sample more responses"
        skip = "" if self.inputs.one else ", or pass too_few='skip'"
        return f"k: {k} negatives and {taken} {best} are more than the {size} responses{where}; {mend}{skip}"
