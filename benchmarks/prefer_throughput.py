"""How many response tokens a second are trained on: prompts run once, batches without padding, plainly.

    OMP_NUM_THREADS=1 python -m benchmarks.prefer_throughput
    OMP_NUM_THREADS=1 python -m benchmarks.prefer_throughput --hidden 576 --layers 30 --vocabulary 49152

Groups of eight responses of 16 to 128 tokens to prompts of several lengths, a random Llama, forward and
backward in float32; seconds are the processor's, so other work on the machine counts little. All ways give
the same loss and gradient (tests/preference/test_training.py).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import transformers
from benchmarks.reporting import heading, table

from setwise.preference import PreferenceConfig
from setwise.preference.training.groups import Group, Groups
from setwise.preference.training.trainer import PreferenceTrainer

#: Name, prompts a batch, options of `PreferenceConfig`.
WAYS: list[tuple[str, int, dict[str, Any]]] = [
    ("plain, 4 prompts a batch", 4, {}),
    ("plain, 1 prompt a batch", 1, {}),
    ("plain, 4 prompts, 8 responses a forward", 4, {"responses_per_forward": 8}),
    ("prompt once, 4 prompts a batch", 4, {"share_prompt": True}),
    ("prompt once, 1 prompt a batch (no padding)", 1, {"share_prompt": True}),
]


def groups(count: int, prompt: int, vocabulary: int, seed: int) -> Groups:
    """Return groups of one positive and seven negatives, their prompts of about so many tokens."""
    rng = np.random.default_rng(seed)

    def tokens(length: int) -> Any:
        return rng.integers(3, vocabulary, length, dtype=np.int32)

    positive = np.arange(8) == 0
    return Groups(
        [
            Group(
                tokens(int(rng.integers(prompt // 2, prompt * 3 // 2))),
                tuple(tokens(int(length)) for length in rng.integers(16, 129, 8)),
                positive,
                np.linspace(1.0, 0.0, 8),
            )
            for _ in range(count)
        ],
        end=2,
    )


def main(words: Sequence[str] | None = None) -> list[list[Any]]:
    """Measure and print the table; returns its rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, default=8_000)
    parser.add_argument("--prompts", type=int, nargs="+", default=[32, 256], help="tokens")
    parser.add_argument("--groups", type=int, default=4, help="a multiple of 4")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(words)
    transformers.set_seed(0)
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=given.vocabulary,
            hidden_size=given.hidden,
            intermediate_size=given.hidden * 8 // 3,
            num_hidden_layers=given.layers,
            num_attention_heads=max(1, given.hidden // 64),
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    ).to(given.device)
    heading()
    found = []
    for name, size, options in WAYS:
        cells: list[Any] = [name]
        for prompt in given.prompts:
            cells.append(
                _speed(model, groups(given.groups, prompt, given.vocabulary, 0), size, options, given)
            )
        found.append(cells)
    table(
        f"response tokens a second; hidden size {given.hidden}, {given.layers} layers, "
        f"{given.vocabulary:,} words",
        ["", *(f"prompts of {prompt}" for prompt in given.prompts)],
        [[cells[0], *(f"{value:.0f}" for value in cells[1:])] for cells in found],
    )
    return found


def _speed(model: Any, rows: Groups, size: int, options: dict[str, Any], given: argparse.Namespace) -> float:
    """Return how many tokens of responses a second get their gradient."""
    with tempfile.TemporaryDirectory() as folder:
        config = PreferenceConfig(
            output_dir=folder, report_to="none", bf16=False, use_cpu=given.device == "cpu", **options
        )
        words = transformers.PreTrainedTokenizerFast(tokenizer_object=_no_words(), eos_token="</s>")
        trainer = PreferenceTrainer(model, config, train_dataset=rows, processing_class=words)
        batches = [
            trainer._prepare_inputs(trainer.data_collator(rows[start : start + size]))
            for start in range(0, len(rows), size)
        ]
        model.train()
        for batch in batches[:1]:  # the first call allocates
            trainer.compute_loss(model, batch).backward()
        clock = time.process_time if given.device == "cpu" else time.perf_counter
        began = clock()
        for batch in batches:
            trainer.compute_loss(model, batch).backward()
            model.zero_grad()
        if given.device != "cpu":
            torch.cuda.synchronize()
        seconds = clock() - began
    return sum(len(one) for group in rows for one in group.responses) / seconds


def _no_words() -> Any:
    from tokenizers import Tokenizer, models

    return Tokenizer(models.WordLevel({"</s>": 2}, unk_token="</s>"))


if __name__ == "__main__":
    main()
