"""The small language model that ships inside a package, as the reader of what was retrieved."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from benchmarks.papers.record import CACHE


class Reader:
    """SmolLM2-135M-Instruct: answers from passages, and says which option it holds for likeliest.

    What it has read is kept in a file: two methods that share a prompt share its answer, and a run that was
    stopped goes on.
    """

    def __init__(self) -> None:
        CACHE.mkdir(exist_ok=True)
        self._file = CACHE / "smollm2.jsonl"
        lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else []
        self._known: dict[str, Any] = dict(json.loads(line) for line in lines)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """The model and its tokenizer."""
        from setwise.encode.models import load_model

        model, tokenizer = load_model("smollm2", dtype="float32")
        return model.eval(), tokenizer

    def _kept(self, key: list[Any], read: Callable[[], Any]) -> Any:
        """Return what is known under a key, or read it and keep it."""
        name = json.dumps(key, ensure_ascii=False)
        if name not in self._known:
            self._known[name] = read()
            with self._file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps([name, self._known[name]], ensure_ascii=False) + "\n")
        return self._known[name]

    def answer(self, asked: str, most: int = 64) -> str:
        """Return what the model answers to a message, greedily, in so many tokens at most."""
        found: str = self._kept(["answer", asked, most], lambda: self._answer(asked, most))
        return found

    def option(self, asked: str, options: Sequence[str]) -> int:
        """Return the place of the option with the largest mean log-likelihood a token, after a message."""
        found: int = self._kept(["option", asked, list(options)], lambda: self._option(asked, options))
        return found

    def _answer(self, asked: str, most: int) -> str:
        import torch

        model, tokenizer = self._loaded
        prompt = self._prompt(asked)
        with torch.inference_mode():
            tokens = model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=most,
                do_sample=False,
                pad_token_id=tokenizer.eos_token_id,
            )
        said: str = tokenizer.decode(tokens[0, prompt.shape[1] :], skip_special_tokens=True)
        return said.strip()

    def _option(self, asked: str, options: Sequence[str]) -> int:
        import torch

        model, tokenizer = self._loaded
        prompt = self._prompt(asked)
        ends = [tokenizer.encode(one, add_special_tokens=False) for one in options]
        longest = max(map(len, ends))
        padded = torch.tensor([one + [0] * (longest - len(one)) for one in ends])
        with torch.inference_mode():
            read = model(prompt, use_cache=True)
            read.past_key_values.batch_repeat_interleave(len(ends))
            rest = model(padded, past_key_values=read.past_key_values, use_cache=True).logits
        first = read.logits[:, -1:].expand(len(ends), 1, -1)
        logits = torch.cat([first, rest[:, :-1]], dim=1).log_softmax(dim=-1)
        each = logits.gather(2, padded[:, :, None])[:, :, 0]
        means = [float(each[place, : len(one)].mean()) for place, one in enumerate(ends)]
        return max(range(len(means)), key=means.__getitem__)

    def _prompt(self, asked: str) -> Any:
        """Return the tokens of a message to the chat model."""
        found = self._loaded[1].apply_chat_template(
            [{"role": "user", "content": asked}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        return found["input_ids"]
