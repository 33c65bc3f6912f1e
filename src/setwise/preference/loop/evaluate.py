"""What a policy's answers are worth beside those it gave before training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from setwise.extras import require
from setwise.preference.loop.stages import Row

#: Columns of `table`, and what they are called.
_COLUMNS = {
    "iteration": "round",
    "mean_reward": "reward",
    "evaluation_reward": "held out",
    "evaluation_error": "±",
    "win_rate": "wins",
    "length_controlled_win_rate": "equal length",
    "evaluation_tokens": "tokens",
    "evaluation_finished": "finished",
    "evaluation_distinct": "distinct",
    "kl_from_start": "KL",
}


def summarize(rows: Sequence[Row]) -> Row:
    """Return the figures of rows with ``responses``, ``rewards``, ``tokens`` and ``finished``.

    Means, and the standard error over prompts.
    """
    means = np.array([np.mean(row["rewards"]) for row in rows])
    return {
        "evaluation_reward": float(means.mean()),
        "evaluation_error": float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else None,
        "evaluation_tokens": float(np.mean([count for row in rows for count in row["tokens"]])),
        "evaluation_finished": float(np.mean([one for row in rows for one in row["finished"]])),
        "evaluation_distinct": float(
            np.mean([len(set(row["responses"])) / len(row["responses"]) for row in rows])
        ),
    }


def compare(rows: Sequence[Row], start: Sequence[Row]) -> Row:
    """Return how often responses are better rewarded than others to the same prompts.

    Every response to a prompt is compared with every one of the start's; equal rewards are half a win.

    Returns
    -------
    dict
        ``win_rate``, the mean over prompts; ``win_rate_error``, its standard error; and
        ``length_controlled_win_rate``, see `at_equal_length`.
    """
    wins, longer = [], []
    for row, other in zip(rows, start, strict=True):
        ours, theirs = np.array(row["rewards"])[:, None], np.array(other["rewards"])[None]
        wins.append((ours > theirs) + 0.5 * (ours == theirs))
        longer.append(np.array(row["tokens"], float)[:, None] - np.array(other["tokens"], float)[None])
    each = np.array([one.mean() for one in wins])
    return {
        "win_rate": float(each.mean()),
        "win_rate_error": float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else None,
        "length_controlled_win_rate": at_equal_length(
            np.concatenate([one.ravel() for one in wins]), np.concatenate([one.ravel() for one in longer])
        ),
    }


def at_equal_length(wins: NDArray[np.float64], longer: NDArray[np.float64], ridge: float = 1e-3) -> float:
    """Return the win rate that a logistic regression on the difference in length has at none.

    log odds = a + b · tanh(difference / its deviation), as AlpacaEval 2 controls for length
    (arXiv:2404.04475); what is returned is σ(a).

    Parameters
    ----------
    wins : ndarray of shape (n,)
        In [0, 1].
    longer : ndarray of shape (n,)
        Tokens.
    ridge : float
        Weight of (a² + b²) / 2 beside the mean log-likelihood, which keeps both finite where all is won.
    """
    deviation = float(longer.std())
    shape = np.tanh(longer / deviation) if deviation > 0 else np.zeros(len(longer))

    def cost(of: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        odds = of[0] + of[1] * shape
        away = 1.0 / (1.0 + np.exp(-odds)) - wins
        value = float(np.mean(np.logaddexp(0.0, odds) - wins * odds) + ridge * (of @ of) / 2)
        return value, np.array([away.mean(), (away * shape).mean()]) + ridge * of

    found = minimize(cost, np.zeros(2), jac=True, method="BFGS", options={"gtol": 1e-10})
    return float(1.0 / (1.0 + np.exp(-found.x[0])))


def logps_of(
    model: Any, prompts: Sequence[Sequence[int]], rows: Sequence[Row], batch_size: int
) -> list[list[float]]:
    """Return the log-probability of every response of rows with ``token_ids``, a list a prompt."""
    torch = require("torch", "train", "log-probabilities")
    from setwise.preference.logps import IGNORED, response_logps

    flat = [
        (prompt, list(tokens))
        for prompt, row in zip(prompts, rows, strict=True)
        for tokens in row["token_ids"]
    ]
    found: list[float] = []
    training = model.training
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(flat), batch_size):
            part = flat[start : start + batch_size]
            longest = max(len(prompt) + len(tokens) for prompt, tokens in part)
            ids = torch.zeros(len(part), longest, dtype=torch.long)
            labels = torch.full((len(part), longest), IGNORED)
            mask = torch.zeros_like(ids)
            for place, (prompt, tokens) in enumerate(part):
                end = len(prompt) + len(tokens)
                ids[place, :end] = torch.tensor([*prompt, *tokens])
                labels[place, len(prompt) : end] = ids[place, len(prompt) : end]
                mask[place, :end] = 1
            ids, labels, mask = (one.to(model.device) for one in (ids, labels, mask))
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            found += response_logps(logits, labels).logps.tolist()
    model.train(training)
    ends = np.cumsum([len(row["token_ids"]) for row in rows])
    return [part.tolist() for part in np.split(np.array(found), ends)[:-1]]


def _short(value: float) -> str:
    """Return a number in six characters or so."""
    return f"{value:.0e}" if 0 < abs(value) < 1e-2 else f"{value:.3g}"


def table(metrics: Sequence[Row]) -> str:
    """Return the figures of a run, a line an iteration, in 80 columns."""
    names = [name for name in _COLUMNS if any(row.get(name) is not None for row in metrics)]
    above = [_COLUMNS[name].rpartition(" ") for name in names]
    cells = [[first for first, _, _ in above], [last for *_, last in above]]
    for row in metrics:
        cells.append(["" if row.get(name) is None else _short(row[name]) for name in names])
    widths = [max(len(line[place]) for line in cells) for place in range(len(names))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )
