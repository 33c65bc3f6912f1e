"""What a text would teach a causal language model, as a vector: its gradient, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.encode.base import unit_rows
from setwise.encode.batches import alike_long, tokens_together
from setwise.encode.gradients import adapter
from setwise.encode.gradients.projection import projector
from setwise.encode.gradients.rows import Tokenizer, Tokens
from setwise.encode.models import check_tokens, load_model, quietly, weights_fingerprint, width_of_states
from setwise.encode.words import checked_texts, has_word
from setwise.extras import require
from setwise.progress import Progress, tell

#: The layers of a fresh adapter (LESS's); of a model that has none of them all linear ones.
_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj")

#: Tokens that the model reads at once on an accelerator, and bytes of gradients that are held.
_TOKENS, _HELD = 2_048, 1 << 28


class Gradients:
    """The gradient of a text's loss in a model's linear layers, projected, at length 1.

    A folder that holds an adapter (a checkpoint of `warm_up` is one) gives the gradients in its weights.
    Any other model is given a fresh LoRA adapter, A drawn and B = 0, which changes nothing that it says: the
    gradient in B is G Aᵀ for a layer's gradient G, and keeps G's inner products in expectation. Inner
    products of two texts are how much a step of gradient descent on one lowers the loss of the other, up to
    the lengths: LESS's influence at one checkpoint without Adam's scaling, which `GradientEncoder` has.
    Texts of about the same length are read together, which changes a vector by rounding alone.

    Parameters
    ----------
    model : str
        A folder, a name or a ``.gguf`` file; see `setwise.encode.models.load_model`.
    dimensions : int
        Of the vectors: a random projection; LESS uses 8192.
    rank : int
        Of a fresh adapter.
    max_tokens : int
        Of a text; what is beyond is not read, nor what a model has no places for.
    dtype : str
        As for `load_model`.
    device : str, optional
        By default a GPU where there is one.
    seed : int
        Of the fresh adapter and the projection.

    Raises
    ------
    ImportError
        torch, transformers or peft is not installed.
    FileNotFoundError, ValueError
        There is no such model, or a setting is out of range.

    References
    ----------
    Xia et al., LESS: Selecting influential data for targeted instruction tuning, 2024, section 3.
    """

    #: Texts between two savings: a text costs a pass forth and one back.
    chunk = 128

    def __init__(
        self,
        model: str,
        *,
        dimensions: int = 8_192,
        rank: int = 8,
        max_tokens: int = 2_048,
        dtype: str = "float32",
        device: str | None = None,
        seed: int = 0,
    ) -> None:
        self.dimensions = checks.integer("dimensions", dimensions, least=1, most=2**30)
        checks.integer("max_tokens", max_tokens, least=2)
        checks.integer("rank", rank, least=1)
        self._seed = checks.integer("seed", seed, least=0, most=2**63 - 1)
        require("peft", "train", "gradients")
        whole, words = load_model(model, dtype=dtype, device=device)
        width_of_states(whole, model)  # refuses what looks ahead
        if not hasattr(whole, "peft_config"):
            whole = _with_fresh_adapter(whole, rank, self._seed)
        self._model = whole.eval()
        self._weights = adapter.trainable(self._model)
        self._tokenizer = Tokenizer(words, max_tokens, whole)
        self.max_tokens = self._tokenizer.max_tokens
        length = sum(weight.numel() for weight in self._weights.values())
        self._mapped = projector(
            "count-sketch", length, self.dimensions, seed=self._seed, stream=0, device=self._model.device
        )
        self._words = f"{type(words).__name__} {len(words)}"
        self._label = Path(model).name if Path(model).exists() else model
        self._fingerprint = weights_fingerprint(self._model)

    @property
    def name(self) -> str:
        return f"gradients ({self._label}, {self.dimensions} d, reads the first {self.max_tokens} tokens)"

    @property
    def key(self) -> str:
        version = require("transformers", "train", "gradients").__version__
        settings = f"{self.max_tokens} {self.dimensions} {self._seed} {self._model.dtype}"
        return f"gradients 1 {self._fingerprint} {self._words} {settings} transformers {version}"

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """Return one unit vector a text, zeros for one without a letter or digit, or a token to predict.

        Raises FloatingPointError: a gradient is not finite.
        """
        torch = require("torch", "train", "gradients")
        texts = list(checked_texts(texts))
        rows, tokens = self._tokens(texts)
        check_tokens(self._model, [one.ids for one in tokens])
        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        together = tokens_together(self._model.device, _TOKENS)
        most, done = max(1, _HELD // (4 * self._mapped.length)), 0
        for places in alike_long([len(one.ids) for one in tokens], together, most):
            found = adapter.gradients(self._model, self._weights, [tokens[place] for place in places])
            if not bool(torch.isfinite(found).all()):
                row = rows[places[int((~torch.isfinite(found).all(dim=1)).nonzero()[0, 0])]]
                raise FloatingPointError(
                    f"model: the gradient of text {row} is not finite; drop it, or load the model in float32"
                )
            # Lengths differ by orders of magnitude; a text that teaches nothing has no direction.
            lengths = found.double().norm(dim=1, keepdim=True)
            unit = torch.where(lengths > 0, found / lengths.clamp_min(1e-300), 0).float()
            vectors[[rows[place] for place in places]] = unit_rows(self._mapped.project(unit).cpu().numpy())
            done += len(places)
            tell(progress, done, len(rows))
        return vectors

    def _tokens(self, texts: Sequence[str]) -> tuple[list[int], list[Tokens]]:
        """Return which texts have a token to predict, and the tokens of these."""
        rows, found = [], []
        for row, text in enumerate(texts):
            if has_word(text) and (own := self._tokenizer.usable(text, row)) is not None:
                rows.append(row)
                found.append(own)
        return rows, found


def _with_fresh_adapter(model: Any, rank: int, seed: int) -> Any:
    """Return a model with LoRA layers that change nothing, B = 0 alone to be learned.

    A has entries of variance 1/rank from NumPy's generator, so that it is the same on every machine.
    """
    peft, torch = require("peft", "train", "gradients"), require("torch", "train", "gradients")
    has = any(name.rpartition(".")[2] in _LAYERS for name, _ in model.named_modules())
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=rank,
        lora_dropout=0.0,
        target_modules=list(_LAYERS) if has else "all-linear",
        task_type="CAUSAL_LM",
    )
    try:
        with quietly():
            wrapped = peft.get_peft_model(model, config)
    except ValueError as error:  # Mamba's layers take none
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"model: peft has no adapter for {type(model).__name__} ({reason})") from None
    random = np.random.default_rng(seed)
    for name, weight in adapter.trainable(wrapped).items():
        if ".lora_A." not in name and "lora_embedding_A" not in name:
            continue
        drawn = random.standard_normal(tuple(weight.shape)) / rank**0.5
        with torch.no_grad():
            weight.copy_(torch.from_numpy(drawn).to(weight.device, weight.dtype))
        weight.requires_grad_(False)
    return wrapped
