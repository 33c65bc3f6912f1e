"""What the swepo loss costs beside the model's own forward and backward pass, in time and in memory.

    python benchmarks/swepo.py                                  # 8 prompts × 8 responses × 512 tokens
    python benchmarks/swepo.py --hidden 1024 --layers 2 --tokens 256

A random Llama runs one prompt's responses forward and backward (a batch of several prompts is that many times
the work). *Model alone* is given a constant gradient of its logits. The others turn logits into each
response's log-probability: by torch's cross-entropy over float32 logits, by a log-softmax and a gather, and
by `sequence_logps`; they are timed forward and backward on logits that are there. The group-contrastive loss
itself is timed on all prompts' log-probabilities. Times are processor seconds, which other programs on the
machine disturb least (on CUDA, elapsed ones); of some repeats, the fastest. Memory is the peak of a process
that does the step once, beside that of the model alone; on CUDA, the allocator's peak.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# A neighbor bears the name of a standard module: this folder must not be where modules are looked for.
sys.path[:] = [str(HERE.parent), *[entry for entry in sys.path if Path(entry or ".").resolve() != HERE]]

import argparse
import resource
import subprocess
import time

import torch
from benchmarks.reporting import heading, table
from torch.nn.functional import cross_entropy

from setwise.preference import sequence_logps, swepo_loss

VARIANTS = ("model alone", "cross-entropy", "log-softmax and gather", "sequence_logps")


def model_of(hidden, layers, vocabulary, dtype, device):
    """Return a random Llama."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=int(2.75 * hidden),
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 64,
    )
    return LlamaForCausalLM(config).to(device=device, dtype=dtype)


def logps_by(variant, logits, labels):
    """Return the responses' summed log-probabilities."""
    if variant == "sequence_logps":
        return sequence_logps(logits, labels).logps
    logits, labels = logits[:, :-1].float(), labels[:, 1:]
    if variant == "cross-entropy":
        each = cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="none")
        return -each.view(labels.shape).sum(dim=1)
    each = logits.log_softmax(dim=-1).gather(2, labels.clamp(min=0)[:, :, None]).squeeze(2)
    return (each * (labels != -100)).sum(dim=1)


class Step:
    """One prompt's responses, forward and backward."""

    def __init__(self, options):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = getattr(torch, options.dtype)
        self.model = model_of(options.hidden, options.layers, options.vocabulary, dtype, self.device)
        shape = (options.responses, options.tokens)
        self.tokens = torch.randint(0, options.vocabulary, shape, device=self.device)
        self.labels = self.tokens.clone()
        self.labels[:, : options.tokens // 8] = -100

    def __call__(self, variant):
        """Run it, the logits' gradient constant or from log-probabilities."""
        self.model.zero_grad(set_to_none=True)
        logits = self.model(input_ids=self.tokens, use_cache=False).logits
        if variant == "model alone":
            logits.backward(torch.full_like(logits, 1e-6))
        else:
            logps_by(variant, logits, self.labels).sum().backward()
        self.wait()

    def seconds(self, call):
        """Return how long a call takes: processor seconds, or elapsed ones on a GPU."""
        clock = time.process_time if self.device == "cpu" else time.perf_counter
        began = clock()
        call()
        self.wait()
        return clock() - began

    def alone(self, variant):
        """Return how long log-probabilities take, forward and backward to the logits."""
        with torch.no_grad():
            logits = self.model(input_ids=self.tokens, use_cache=False).logits
        logits.requires_grad_()
        self.wait()
        return self.seconds(lambda: logps_by(variant, logits, self.labels).sum().backward())

    def wait(self):
        """Wait for the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def resident_peak():
    """Return the most memory this process has had, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what the parent had when this process was made
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def peak(variant, arguments):
    """Return the peak memory in MB of a process that does one step."""
    command = [sys.executable, str(Path(__file__).resolve()), *arguments, "--peak", variant]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def contrast(prompts, responses, device):
    """Forward and backward of the loss on log-probabilities that are there."""
    logps = (torch.randn(prompts, responses, device=device) * 5 - 300).requires_grad_()
    rewards = torch.rand(prompts, responses, device=device)
    positive = torch.zeros(prompts, responses, dtype=torch.bool, device=device)
    positive[:, 0] = True

    def run():
        swepo_loss(logps, rewards, positive, alpha=1.0).backward()

    return run


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--responses", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peak", choices=VARIANTS, help="print one variant's peak memory in MB")
    options = parser.parse_args()
    step = Step(options)
    if options.peak:
        step(options.peak)
        print(torch.cuda.max_memory_allocated() / 1e6 if step.device == "cuda" else resident_peak())
        return

    heading()
    print(f"torch {torch.__version__} on {step.device}, {torch.get_num_threads()} thread(s)")
    step("model alone")
    # One of each in turn, so that a machine which is busy for a while is busy for all.
    rounds = [
        [step.seconds(lambda: step("model alone")), *map(step.alone, VARIANTS[1:])]
        for _ in range(options.repeats)
    ]
    seconds = dict(zip(VARIANTS, map(min, zip(*rounds, strict=True)), strict=True))
    shared = [argument for argument in sys.argv[1:] if argument != "--peak"]
    memory = {variant: peak(variant, shared) for variant in VARIANTS}
    whole = options.prompts * seconds["model alone"]
    run = contrast(options.prompts, options.responses, step.device)
    run()
    loss = min(step.seconds(run) for _ in range(20))
    logits = (
        options.responses * options.tokens * options.vocabulary * getattr(torch, options.dtype).itemsize / 1e6
    )
    table(
        f"{options.prompts} prompts × {options.responses} responses × {options.tokens} tokens, vocabulary "
        f"{options.vocabulary:,}, hidden size {options.hidden}, {options.layers} layers, {options.dtype}",
        ["part", "processor seconds" if step.device == "cpu" else "seconds", "of the model's own"],
        [
            ["model alone, forward and backward", f"{whole:.2f}", ""],
            *[
                [
                    f"log-probabilities: {variant}",
                    f"{options.prompts * seconds[variant]:.2f}",
                    f"{seconds[variant] / seconds['model alone']:.1%}",
                ]
                for variant in VARIANTS[1:]
            ],
            ["swepo_loss on them", f"{loss:.5f}", f"{loss / whole:.4%}"],
        ],
    )
    table(
        f"peak memory of one prompt's {options.responses} responses (their logits: {logits:,.0f} MB)",
        ["step", "MB", "above the model alone"],
        [
            [variant, f"{memory[variant]:,.0f}", f"{memory[variant] - memory['model alone']:+,.0f}"]
            for variant in VARIANTS
        ],
    )


if __name__ == "__main__":
    main()
