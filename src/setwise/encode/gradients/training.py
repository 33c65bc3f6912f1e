"""Warm-up: a short LoRA training whose checkpoints gradients are taken at (LESS, step 1)."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from setwise import checks
from setwise.encode.gradients import adapter
from setwise.encode.gradients.checkpoint import Checkpoint, save_checkpoint
from setwise.encode.gradients.rows import Row, Tokenizer
from setwise.extras import require
from setwise.progress import Progress, tell

#: Share of the steps over which the learning rate rises; it falls to 0 over the rest.
_RISE = 0.03


def warm_up(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Row],
    *,
    out: str | os.PathLike[str],
    epochs: int = 4,
    rank: int = 128,
    alpha: float = 512.0,
    dropout: float = 0.1,
    targets: str | Sequence[str] = ("q_proj", "k_proj", "v_proj", "o_proj"),
    learning_rate: float = 2e-5,
    batch: int = 32,
    max_tokens: int = 2048,
    seed: int = 0,
    device: Any = None,
    loading: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> list[Checkpoint]:
    """Train a LoRA adapter on a small sample and save a checkpoint at the end of every epoch.

    The defaults are LESS's: AdamW without weight decay, the rate rising over the first 3 % of the steps and
    then falling in a line, batches of 32 rows (their losses averaged, a row's being the mean over its
    tokens). LESS and TSDS take a random 5 % of the repository. Runs of one seed on one machine are equal.

    Memory: the model, the activations of one row, and 16 bytes a LoRA weight.

    Parameters
    ----------
    model : path-like, str or transformers causal language model
        As for `GradientEncoder`; it is as it was afterwards.
    tokenizer : transformers tokenizer or None
        None loads the one in the model's folder.
    rows : sequence of str or of (prompt, completion)
    out : path-like
        A folder that is not there or is empty; gets ``epoch-1``, ``epoch-2`` and so on.
    epochs : int
    rank, alpha, dropout
        Of the adapter.
    targets : sequence of str, or "all-linear"
        Names of the linear layers that get one.
    learning_rate : float
        The highest, above 0.
    batch : int
        Rows a step.
    max_tokens : int
        Of a row.
    seed : int
        Of the adapter's start, the order of rows and dropout.
    device : optional
        As for `GradientEncoder`.
    loading : mapping, optional
        Further arguments of `setwise.encode.models.load_model` for a model that is loaded here.
    progress : callable, optional
        Called with the number of rows trained on, and of all: rows times epochs.

    Returns
    -------
    list of Checkpoint
        One an epoch; its learning rate is the mean over the epoch's steps.

    Raises
    ------
    FileExistsError
        ``out`` is there and not empty.
    FloatingPointError
        The loss is not finite.
    TypeError
        A row is neither a text nor a pair of texts, or a model that is loaded has no tokenizer beside it.
    ValueError
        There is no row, one has no token to predict, the model cannot be loaded or has no layer of
        ``targets``, or a setting is out of range.

    References
    ----------
    Xia et al., LESS, 2024, section 4.1 and Appendix B.
    """
    checks.integer("epochs", epochs, least=1)
    checks.integer("rank", rank, least=1)
    checks.integer("batch", batch, least=1)
    checks.integer("seed", seed, least=0, most=2**63 - 1)
    for name, value in (("alpha", alpha), ("learning_rate", learning_rate)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name}: {value} is not above 0")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: {dropout} is outside [0, 1)")
    folder = Path(os.path.realpath(out))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"out: {str(out)!r} is there and not an empty folder; name another")
    model, tokenizer = adapter.load(model, tokenizer, device, loading)
    words = Tokenizer(tokenizer, max_tokens, model)
    words.check(rows)
    torch = require("torch", "train", "a warm-up")
    used = {weight.device.index for weight in model.parameters() if weight.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(used)):
        torch.manual_seed(seed)
        with adapter.adapted(model, lambda base: _with_lora(base, rank, alpha, dropout, targets)) as wrapped:
            folder.mkdir(parents=True, exist_ok=True)
            wrapped.train()
            weights = list(adapter.trainable(wrapped).values())
            optimizer = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=0.0)
            steps = math.ceil(len(rows) / batch)
            found = []
            for epoch in range(epochs):
                order = np.random.default_rng([seed, epoch]).permutation(len(rows))
                rates = []
                for step in range(steps):
                    rate = learning_rate * _schedule(epoch * steps + step, epochs * steps)
                    optimizer.param_groups[0]["lr"] = rate
                    rates.append(rate)
                    chosen = order[step * batch : (step + 1) * batch]
                    for at, row in enumerate(chosen):
                        value = adapter.loss(wrapped, words(rows[row], int(row)))
                        if not bool(torch.isfinite(value)):
                            raise FloatingPointError(
                                f"rows: the loss of row {row} is not finite in epoch {epoch + 1}; lower "
                                "learning_rate, or load the model in float32"
                            )
                        (value / len(chosen)).backward()
                        tell(progress, epoch * len(rows) + step * batch + at + 1, epochs * len(rows))
                    optimizer.step()
                    optimizer.zero_grad()
                mean = sum(rates) / len(rates)
                found.append(
                    save_checkpoint(folder / f"epoch-{epoch + 1}", wrapped, optimizer, learning_rate=mean)
                )
    return found


def _with_lora(model: Any, rank: int, alpha: float, dropout: float, targets: str | Sequence[str]) -> Any:
    """Return a model with a fresh adapter in it. Raises ValueError: it has none of the layers."""
    peft = require("peft", "train", "a warm-up")
    names = targets if isinstance(targets, str) else list(targets)
    config = peft.LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=names, task_type="CAUSAL_LM"
    )
    try:
        return peft.get_peft_model(model, config)
    except ValueError as error:
        linear = {
            name.rpartition(".")[2]
            for name, part in model.named_modules()
            if type(part).__name__ in ("Linear", "Conv1D")
        }
        reason = " ".join(str(error).split())[:120]
        raise ValueError(
            f"targets: the model has none of them ({reason}); its linear layers are "
            f"{', '.join(sorted(linear))}"
        ) from None


def _schedule(step: int, steps: int) -> float:
    """Return the learning rate of a step as a share of the highest, above 0."""
    rise = math.ceil(_RISE * steps)
    return (step + 1) / rise if step < rise else (steps - step) / max(1, steps - rise)
