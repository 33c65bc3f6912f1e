"""The small language model that ships inside a package, as the reader of what was retrieved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Reader:
    """SmolLM2-135M-Instruct: answers from passages, and says which option it holds for likeliest.

    Answers are kept, so that a prompt that two methods share is read once.
    """

    def __init__(self) -> None:
        from setwise.encode.models import load_model

        self.model, self.tokenizer = load_model("smollm2", dtype="float32")
        self.model.eval()
        self._answers: dict[str, str] = {}
        self._chosen: dict[tuple[str, tuple[str, ...]], int] = {}

    def answer(self, asked: str, most: int = 64) -> str:
        """Return what the model answers to a message, greedily, in so many tokens at most."""
        import torch

        if asked not in self._answers:
            prompt = self._prompt(asked)
            with torch.inference_mode():
                tokens = self.model.generate(
                    prompt,
                    attention_mask=torch.ones_like(prompt),
                    max_new_tokens=most,
                    do_sample=False,
                    pad_token_id=self.tokenizer.eos_token_id,
                )
            said = self.tokenizer.decode(tokens[0, prompt.shape[1] :], skip_special_tokens=True)
            self._answers[asked] = said.strip()
        return self._answers[asked]

    def option(self, asked: str, options: Sequence[str]) -> int:
        """Return the place of the option with the largest mean log-likelihood a token, after a message."""
        import torch

        key = asked, tuple(options)
        if key not in self._chosen:
            prompt = self._prompt(asked)
            ends = [self.tokenizer.encode(one, add_special_tokens=False) for one in options]
            longest = max(map(len, ends))
            padded = torch.tensor([one + [0] * (longest - len(one)) for one in ends])
            with torch.inference_mode():
                read = self.model(prompt, use_cache=True)
                read.past_key_values.batch_repeat_interleave(len(ends))
                rest = self.model(padded, past_key_values=read.past_key_values).logits
            first = read.logits[:, -1:].expand(len(ends), 1, -1)
            logits = torch.cat([first, rest[:, :-1]], dim=1).log_softmax(dim=-1)
            each = logits.gather(2, padded[:, :, None])[:, :, 0]
            means = [float(each[place, : len(one)].mean()) for place, one in enumerate(ends)]
            self._chosen[key] = max(range(len(means)), key=means.__getitem__)
        return self._chosen[key]

    def _prompt(self, asked: str) -> Any:
        """Return the tokens of a message to the chat model."""
        found = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": asked}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        return found["input_ids"]
