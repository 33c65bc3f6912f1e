"""`select_responses`: one positive and the k negatives that stand for the rest (AMPO)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.ids import in_rows_of
from setwise.preference.responses import batches
from setwise.preference.responses.inputs import Inputs
from setwise.preference.responses.request import ResponseOptions, ResponseRequest
from setwise.preference.responses.selection import ResponseSelection
from setwise.request import taken, takes
from setwise.threads import one_blas_thread, run_ranges, thread_count

#: What becomes of a prompt with too few responses.
TOO_FEW = ("refuse", "skip")


@takes(ResponseOptions, ResponseRequest)
def select_responses(
    embeddings: Any,
    rewards: Any,
    k: int,
    *,
    texts: Sequence[str] | None = None,
    model: str = "auto",
    **options: Unpack[ResponseOptions],
) -> ResponseSelection:
    """Choose which of a prompt's responses to train on: the best, and k negatives that cover the rest.

    The best response is the positive and leaves; of the others, k are chosen as negatives. "opt-select" takes
    those that stand for the rest at the least weighted distance, low rewards counting more (AMPO Eq. 8, on
    the scales of its Appendix E). What is optimized and bounded is that coverage cost, not a policy's
    expected reward.

    Parameters
    ----------
    embeddings : array-like of shape (N, d), or None
        One vector a response, of any float or integer dtype. None: `texts` are encoded.
    rewards : array-like of shape (N,)
        Higher is better; any scale.
    k : int
        Negatives, 1 to N - positives.
    method : {"opt-select", "coreset", "bottom-k", "sigma", "best-vs-worst", "random"}
        "coreset": the lowest reward of each of k k-means clusters; "bottom-k": the k lowest rewards, among
        equals the least similar to those taken; "sigma": the k rewards nearest to the mean minus two
        deviations of all [2]_; "best-vs-worst": the lowest reward alone (k = 1); "random": k drawn from the
        seed.
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
    time_limit : float
        Seconds for each prompt that solver="exact" and certify="full" may take for a proof; then the best so
        far is returned, with the bound that is proven by then.
    seed : int
        For "coreset" and "random".
    reward_weight : float, default 1 (AMPO's)
        Weights are ``exp(reward_weight · (mean - reward))``, rewards in [0, 1]. With 3, half as many good
        answers are rejected at a few percent more distance; 0 weighs all responses alike.
    formulation : {"appendix-e", "equation-8"}
        The cost of AMPO's own code, or of its main text, where the positives are to be covered too, the mean
        reward is over them as well, and distances are not scaled.

    Returns
    -------
    ResponseSelection

    Raises
    ------
    TypeError
        An argument is of another type, or what it holds is.
    ValueError
        Lengths differ, an entry is NaN, Inf or beyond 1e140, k is more than N - positives, ``solver="exact"``
        has over 1,024 responses, or a name is unknown.

    References
    ----------
    .. [1] Gupta et al., "AMPO: Active Multi-Preference Optimization for Self-play Preference Selection",
       Equations 6 to 8, Algorithms 2 to 4, Appendix E.
    .. [2] Xiao et al., "Finding the sweet spot: Preference data construction for scaling preference
       optimization", arXiv:2502.16825.

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
    request = ResponseRequest(**taken(select_responses, options, k=k))
    given = None if embeddings is None else [embeddings]
    said = None if texts is None else [texts]
    rewards = in_rows_of(rewards, embeddings, "rewards")
    with one_blas_thread():
        return _choose(
            Inputs(given, [rewards], texts=said, model=model, seed=request.seed, one=True), request
        )[0]


@takes(ResponseOptions, ResponseRequest)
def select_responses_many(
    embeddings: Any,
    rewards: Any,
    k: int,
    *,
    texts: Sequence[Sequence[str]] | None = None,
    model: str = "auto",
    too_few: str = "refuse",
    threads: int | None = None,
    **options: Unpack[ResponseOptions],
) -> list[ResponseSelection | Any]:
    """Choose responses for many prompts: the same as `select_responses` for each, in batches.

    Parameters
    ----------
    embeddings : array-like of shape (B, N, d), sequence of (N_i, d) arrays, or None
    rewards : array-like of shape (B, N), or sequence of (N_i,)
    k, method, solver, positives, split, model, certify, time_limit, seed, reward_weight, formulation
        As in `select_responses`. "random" draws for one prompt after another; all else does not depend on
        which prompts are beside it.
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
        Where `select_responses` raises it for one of the prompts, which the message names.
    """
    request = ResponseRequest(**taken(select_responses_many, options, k=k))
    checks.choice("too_few", too_few, TOO_FEW)
    workers = thread_count(threads)
    with one_blas_thread():
        inputs = Inputs(embeddings, rewards, texts=texts, model=model, seed=request.seed, one=False)
        return _choose(inputs, request, too_few, workers)


def _choose(
    inputs: Inputs, request: ResponseRequest, too_few: str = "refuse", workers: int = 1
) -> list[ResponseSelection | Any]:
    """Choose for every prompt with enough responses, batches of similar size beside each other."""
    sizes, texts = inputs.sizes, inputs.texts
    enough = sizes >= request.needed
    if too_few == "refuse" and not enough.all():
        raise ValueError(_refusal(inputs, request, int(enough.argmin())))
    found: list[ResponseSelection | None] = [None] * len(sizes)
    parts = _batches(sizes, np.flatnonzero(enough))
    draws: NDArray[np.float64] | None = None
    if request.method == "random":
        draws = np.random.default_rng(request.seed).random(int(sizes.sum()))
    ends = np.cumsum(sizes)

    def some(start: int, stop: int) -> None:
        for part in parts[start:stop]:
            vectors, rewards = inputs.padded(part)
            own = np.zeros(rewards.shape)
            if draws is not None:
                for place, prompt in enumerate(part.tolist()):
                    size = int(sizes[prompt])
                    own[place, :size] = draws[ends[prompt] - size : ends[prompt]]
            try:
                chosen = batches.choose_batch(vectors, rewards, sizes[part], request, own)
            except FloatingPointError:
                raise ValueError(inputs.bad_embedding(part)) from None
            for prompt, selection in zip(part.tolist(), chosen, strict=True):
                found[prompt] = selection if texts is None else replace(selection, texts=texts[prompt])

    run_ranges(some, len(parts), workers)
    return found


def _batches(sizes: NDArray[np.int64], prompts: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return prompts in batches of similar size, each of at most `batches.BATCH` distances."""
    order = prompts[np.argsort(sizes[prompts], kind="stable")]
    cut, start = [], 0
    for stop, size in enumerate(sizes[order].tolist()):
        if (stop - start + 1) * size * size > batches.BATCH and stop > start:
            cut.append(stop)
            start = stop
    return [part for part in np.split(order, cut) if len(part)]


def _refusal(inputs: Inputs, request: ResponseRequest, prompt: int) -> str:
    """Return why a prompt has too few responses, and what to do."""
    size, taken = int(inputs.sizes[prompt]), request.positives
    where = "" if inputs.one else f" of prompt {prompt}"
    best = "positive" if taken == 1 else "positives"
    mend = f"ask for at most {size - taken}" if size > taken else "sample more responses"
    skip = "" if inputs.one else ", or pass too_few='skip'"
    return (
        f"k: {request.k} negatives and {taken} {best} are more than the {size} responses{where}; {mend}{skip}"
    )
