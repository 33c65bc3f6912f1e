"""Responses sampled from a policy: the same for a prompt, whatever is beside it in a batch."""

from __future__ import annotations

import contextlib
import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from setwise.extras import require
from setwise.progress import Progress, tell

ENGINES = ("transformers", "vllm")

#: Ranks of adapters that vLLM can make room for.
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)

#: A row of integers a prompt: its tokens, or what seeds its random numbers.
Rows = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Sampling:
    """How responses are drawn.

    Attributes
    ----------
    responses : int
        Responses a prompt, N.
    temperature : float
        At least 0; at 0 the likeliest token is taken, so all responses to a prompt are the same.
    top_p : float
        Above 0, at most 1: the smallest set of tokens of at least this probability is drawn from.
    max_new_tokens : int
        A response that has not ended by then is cut.
    batch_size : int
        Sequences that are generated at once. It does not change what is drawn, rounding apart.
    """

    responses: int
    temperature: float
    top_p: float
    max_new_tokens: int
    batch_size: int


@dataclass(frozen=True)
class Sampled:
    """What was drawn for one prompt.

    Attributes
    ----------
    texts : list of str
        N responses, without special tokens.
    tokens : list of int
        How many tokens each has, the one that ends it included.
    finished : list of bool
        Whether each ended by itself.
    token_ids : list of list of int, or None
        The tokens themselves; None where the engine does not tell them.
    """

    texts: list[str]
    tokens: list[int]
    finished: list[bool]
    token_ids: list[list[int]] | None = None


class TextGenerator(Protocol):
    """Something that continues texts."""

    def generate(self, prompts: Rows, keys: Rows, progress: Progress | None = None) -> list[Sampled]:
        """Return N responses a prompt (its tokens); a prompt's key (integers) decides its random numbers."""
        ...


class TransformersEngine:
    """Generation by ``transformers``, in batches with padding on the left.

    Every response draws its tokens by inverting the distribution function at uniform numbers of its own,
    seeded by the prompt's key and the response's number. So a prompt's responses do not depend on which other
    prompts are beside it, on the batch size, or on the device's generator.

    Parameters
    ----------
    model : transformers.PreTrainedModel or peft.PeftModel
    tokenizer : transformers.PreTrainedTokenizerBase
    end : int, optional
        A token that ends a response beside the model's own and the tokenizer's.
    """

    def __init__(self, model: Any, tokenizer: Any, sampling: Sampling, end: int | None = None) -> None:
        self._transformers = require("transformers", "train", "generating responses")
        self._torch = require("torch", "train", "generating responses")
        self._model, self._tokenizer, self._sampling = model, tokenizer, sampling
        self._ends = end_tokens(model, tokenizer, end)
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self._ends[0]

    def generate(self, prompts: Rows, keys: Rows, progress: Progress | None = None) -> list[Sampled]:
        """Return N responses a prompt.

        Parameters
        ----------
        prompts : sequence of sequence of int
            Tokens.
        keys : sequence of sequence of int
            What a prompt's random numbers are seeded by, each of at least 0.
        progress : callable, optional
            Called with the responses done and all responses.
        """
        count, size = self._sampling.responses, self._sampling.batch_size
        drawn: list[tuple[str, list[int], bool]] = []
        with self._generating():
            for start in range(0, len(prompts) * count, size):
                places = range(start, min(start + size, len(prompts) * count))
                uniforms = [
                    uniform_numbers([*keys[place // count], place % count], self._sampling.max_new_tokens)
                    for place in places
                ]
                drawn += self._batch([prompts[place // count] for place in places], np.stack(uniforms))
                tell(progress, len(drawn), len(prompts) * count)
        found = []
        for row in range(len(prompts)):
            texts, tokens, finished = zip(*drawn[row * count : (row + 1) * count], strict=True)
            found.append(Sampled(list(texts), list(map(len, tokens)), list(finished), list(tokens)))
        return found

    def _batch(
        self, prompts: Sequence[Sequence[int]], uniforms: NDArray[np.float32]
    ) -> list[tuple[str, list[int], bool]]:
        """Continue one batch; returns each response's text, its tokens and whether it ended."""
        torch = self._torch
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), self._pad, dtype=torch.long)
        mask = torch.zeros((len(prompts), width), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(list(prompt))
            mask[row, width - len(prompt) :] = 1
        device = self._model.device
        draw = self._sampler(torch.from_numpy(uniforms).to(device), width)
        output = self._model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            logits_processor=self._transformers.LogitsProcessorList([draw]),
        )
        found = []
        for row in output[:, width:].tolist():
            end = next((place for place, token in enumerate(row) if token in self._ends), None)
            tokens = row if end is None else row[: end + 1]
            text = self._tokenizer.decode(tokens, skip_special_tokens=True)
            found.append((text, tokens, end is not None))
        return found

    def _sampler(self, uniforms: Any, width: int) -> Any:
        """Return what puts all probability on the token drawn; searching then just takes it."""
        torch, temperature = self._torch, self._sampling.temperature
        top_p = (
            self._transformers.TopPLogitsWarper(self._sampling.top_p) if self._sampling.top_p < 1 else None
        )

        class Draw(self._transformers.LogitsProcessor):  # type: ignore[name-defined, misc]
            """Inversion of the distribution function, in double precision."""

            def __call__(self, input_ids: Any, scores: Any) -> Any:
                if temperature == 0:
                    likeliest = scores.argmax(dim=-1, keepdim=True)
                    return torch.full_like(scores, -torch.inf).scatter_(1, likeliest, 0.0)
                scores = scores / temperature
                if top_p is not None:
                    scores = top_p(input_ids, scores)
                total = torch.softmax(scores.double(), dim=-1).cumsum(dim=-1)
                # Uniform numbers are multiples of 2^-24 below 1, so the product stays below the last sum.
                wanted = uniforms[:, input_ids.shape[1] - width].double()[:, None] * total[:, -1:]
                token = torch.searchsorted(total, wanted, right=True)
                return torch.full_like(scores, -torch.inf).scatter_(1, token, 0.0)

        return Draw()

    @contextlib.contextmanager
    def _generating(self) -> Iterator[None]:
        """Put the model into evaluation, under these settings alone (those it was saved with step aside)."""
        core = self._model.get_base_model() if hasattr(self._model, "get_base_model") else self._model
        before, training = core.generation_config, self._model.training
        core.generation_config = self._transformers.GenerationConfig(
            do_sample=False,
            max_new_tokens=self._sampling.max_new_tokens,
            eos_token_id=self._ends,
            pad_token_id=self._pad,
        )
        self._model.eval()
        try:
            with self._torch.inference_mode():
                yield
        finally:
            core.generation_config = before
            self._model.train(training)


class VLLMEngine:
    """Generation by vLLM, which reads the policy from a folder (or a name) and an adapter from another.

    Parameters
    ----------
    place : str
        The model, with its tokenizer.
    adapter : Path, optional
        A LoRA adapter's folder.
    options : mapping
        Arguments of ``vllm.LLM``, such as ``gpu_memory_utilization`` and ``tensor_parallel_size``.
    end : int, optional
        A token that ends a response beside the model's own.

    Raises ImportError: vLLM is not installed.
    """

    def __init__(
        self,
        place: str,
        sampling: Sampling,
        *,
        adapter: Path | None = None,
        options: Mapping[str, Any] | None = None,
        end: int | None = None,
    ) -> None:
        self._vllm = import_vllm()
        self._sampling, self._ends = sampling, [] if end is None else [end]
        settings: dict[str, Any] = {"model": place, **(options or {})}
        self._lora = None
        if adapter is not None:
            rank = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"]
            settings.setdefault("enable_lora", True)
            settings.setdefault("max_lora_rank", next(one for one in _RANKS if one >= rank))
            requests = require("vllm.lora.request", "vllm", "engine='vllm'")
            self._lora = requests.LoRARequest("policy", 1, str(adapter))
        self._engine: Any = self._vllm.LLM(**settings)

    def generate(self, prompts: Rows, keys: Rows, progress: Progress | None = None) -> list[Sampled]:
        """Return N responses a prompt; vLLM draws with a seed a prompt."""
        sampling = self._sampling
        tokens = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        settings = [
            self._vllm.SamplingParams(
                n=sampling.responses,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_new_tokens,
                stop_token_ids=self._ends,
                seed=int(np.random.SeedSequence(list(key)).generate_state(1)[0] >> 1),
            )
            for key in keys
        ]
        outputs = self._engine.generate(tokens, settings, lora_request=self._lora, use_tqdm=False)
        tell(progress, len(prompts) * sampling.responses, len(prompts) * sampling.responses)
        return [
            Sampled(
                [one.text for one in output.outputs],
                [len(one.token_ids) for one in output.outputs],
                [one.finish_reason == "stop" for one in output.outputs],
                [list(one.token_ids) for one in output.outputs],
            )
            for output in outputs
        ]

    def close(self) -> None:
        """Give the GPU's memory back."""
        torch = require("torch", "train", "engine='vllm'")
        shutdown = getattr(getattr(self._engine.llm_engine, "engine_core", None), "shutdown", None)
        if shutdown is not None:
            shutdown()
        del self._engine
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def import_vllm() -> Any:
    """Import vLLM, or say how to install it. Raises ImportError: it is not installed."""
    return require("vllm", "vllm", "engine='vllm' (on a GPU; else pass engine='transformers')")


def uniform_numbers(key: Sequence[int], count: int) -> NDArray[np.float32]:
    """Return uniform numbers in [0, 1), multiples of 2^-24, seeded by a key of integers."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(list(key)))).random(count, np.float32)


def end_tokens(model: Any, tokenizer: Any, end: int | None = None) -> list[int]:
    """Return the tokens that end a response: the model's own, the tokenizer's and one more.

    Raises ValueError: there is none, so that no response would ever end.
    """
    known = getattr(model, "generation_config", None)
    own = getattr(known, "eos_token_id", None)
    ends = own if isinstance(own, list) else [own]
    found = sorted({int(token) for token in [*ends, tokenizer.eos_token_id, end] if token is not None})
    if not found:
        raise ValueError("tokenizer: it has no end-of-sequence token; set tokenizer.eos_token")
    return found
