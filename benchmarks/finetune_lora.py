"""The downstream test with a pretrained language model: LoRA on each selection, held-out perplexity."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from benchmarks import finetune_data as data
from benchmarks import finetune_methods as methods
from benchmarks.reporting import table

from setwise.encode.ngrams import counts

#: The model that ships inside a package, tokens of a text that are read, texts a step, passes over a sample.
MODEL, TOKENS, BATCH, EPOCHS, RATE = "smollm2", 256, 16, 2, 2e-4

METHODS = ("random", "LESS-style", "DSIR", "nearest", "KNN-Uniform", "KNN-KDE", "KNN-KDE, no row twice")
TARGETS = ("GSM8K", "StrategyQA", "BBH common sense", "task 0")


def lora(problem: data.Problem, *, share: float, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Finetune on each method's choice, print the table and return every single result.

    Without a GPU it says so and returns nothing.
    """
    try:
        import torch
    except ImportError:
        print("\nLoRA: skipped, PyTorch is not installed")
        return []
    if not torch.cuda.is_available():
        print("\nLoRA: skipped, there is no CUDA GPU")
        return []
    from setwise.preference import load_model

    counted = counts(problem.texts)
    began = time.perf_counter()
    results = []
    model, tokenizer = load_model(MODEL, dtype="float32", device="cuda")
    for target in problem.targets:
        if target.name not in TARGETS:
            continue
        pool = methods.pool_without(problem, counted, target.own)
        budget = round(share * pool.lengths.sum())
        before = perplexity(model, tokenizer, target.held)
        for seed in seeds:
            drawn = methods.draw(problem, target, seed)
            for name in METHODS:
                chosen = methods.fill(methods.METHODS[name](pool, drawn, 2000), pool, budget, seed)
                texts = [problem.texts[row] for row in pool.origin[chosen].tolist()]
                after = tuned_perplexity(model, tokenizer, texts, target.held, seed=seed)
                results.append(
                    {
                        "part": "lora",
                        "method": name,
                        "target": target.name,
                        "seed": seed,
                        "before": before,
                        "perplexity": after,
                    }
                )
    report(results)
    print(f"\n{time.perf_counter() - began:.0f} s on {torch.cuda.get_device_name()}")
    return results


def report(results: list[dict[str, Any]]) -> None:
    """Print a target a column."""
    targets = list(dict.fromkeys(one["target"] for one in results))

    def cell(name: str, target: str) -> str:
        mine = np.array(
            [one["perplexity"] for one in results if (one["method"], one["target"]) == (name, target)]
        )
        error = mine.std(ddof=1) / np.sqrt(len(mine)) if len(mine) > 1 else float("nan")
        return f"{mine.mean():.3f} ± {error:.3f}"

    before = {one["target"]: one["before"] for one in results}
    table(
        f"LoRA on {MODEL}, {EPOCHS} epochs: perplexity a token of held-out texts (lower is better)",
        ["method", *targets],
        [
            ["as it is", *(f"{before[target]:.3f}" for target in targets)],
            *([name, *(cell(name, target) for target in targets)] for name in METHODS),
        ],
    )


def tuned_perplexity(
    model: Any, tokenizer: Any, texts: Sequence[str], held: Sequence[str], *, seed: int
) -> float:
    """Return the perplexity of held-out texts after LoRA on some texts; the model is left as it was."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    modules = ["q_proj", "k_proj", "v_proj", "o_proj"]
    tuned = get_peft_model(
        model, LoraConfig(r=16, lora_alpha=32, target_modules=modules, task_type="CAUSAL_LM")
    )
    try:
        tuned.train()
        weights = [weight for weight in tuned.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=RATE)
        order = np.random.default_rng(seed)
        steps = EPOCHS * -(-len(texts) // BATCH)
        decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=steps)
        for _ in range(EPOCHS):
            shuffled = order.permutation(len(texts)).tolist()
            for batch in _batches([texts[row] for row in shuffled], tokenizer, model.device):
                loss, tokens = _loss(tuned, batch)
                (loss / tokens).backward()
                optimizer.step()
                optimizer.zero_grad()
                decay.step()
        return perplexity(tuned, tokenizer, held)
    finally:
        tuned.unload()


def perplexity(model: Any, tokenizer: Any, texts: Sequence[str]) -> float:
    """Return the perplexity a token."""
    import torch

    model.eval()
    total = count = 0.0
    with torch.no_grad():
        for batch in _batches(texts, tokenizer, next(model.parameters()).device):
            loss, tokens = _loss(model, batch)
            total, count = total + float(loss), count + tokens
    return float(np.exp(total / count))


def _batches(texts: Sequence[str], tokenizer: Any, device: Any) -> Iterable[Any]:
    """Yield batches of padded tokens and masks, each text ended."""
    import torch

    for start in range(0, len(texts), BATCH):
        rows = [
            [*tokenizer(text, truncation=True, max_length=TOKENS - 1)["input_ids"], tokenizer.eos_token_id]
            for text in texts[start : start + BATCH]
        ]
        width = max(map(len, rows))
        ids = torch.tensor([[*row, *[tokenizer.eos_token_id] * (width - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        yield ids.to(device), mask.to(device)


def _loss(model: Any, batch: Any) -> tuple[Any, int]:
    """Return the summed negative log-likelihood of a batch, and of how many tokens."""
    import torch

    ids, mask = batch
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
    truth = ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
    loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), truth, reduction="sum")
    return loss, int((truth != -100).sum())
