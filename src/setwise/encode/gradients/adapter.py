"""A language model with a LoRA adapter in it for a while, and the gradient of one row's loss."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from setwise.encode.gradients.rows import Tokens
from setwise.encode.models import with_tokenizer
from setwise.extras import require


def load(
    model: Any, tokenizer: Any, device: Any, loading: Mapping[str, Any] | None = None
) -> tuple[Any, Any]:
    """Return a model and its tokenizer, loaded in float32 where a folder or a name is given.

    Raises
    ------
    FileNotFoundError, ImportError, TypeError, ValueError
        As `with_tokenizer`; or the model has an adapter already (ValueError).
    """
    require("peft", "train", "a gradient encoder")
    model, tokenizer = with_tokenizer(model, tokenizer, device=device, loading=loading)
    if hasattr(model, "peft_config"):
        raise ValueError("model: it has an adapter already; pass the base model (model.unload())")
    return model, tokenizer


@contextlib.contextmanager
def adapted(model: Any, wrap: Callable[[Any], Any]) -> Iterator[Any]:
    """Give the model with the adapter that ``wrap`` puts in; afterwards it is as it was."""
    training, weights = model.training, list(model.parameters())
    learns = [weight.requires_grad for weight in weights]
    try:
        yield wrap(model)
    finally:
        _take_out(model)
        for weight, learn in zip(weights, learns, strict=True):
            weight.requires_grad_(learn)
        model.train(training)


def _take_out(model: Any) -> None:
    """Put a model's own layers back, also where an adapter was put in half before it failed."""
    layers = require("peft.tuners.tuners_utils", "train", "a gradient encoder")
    for name, layer in list(model.named_modules()):
        if isinstance(layer, layers.BaseTunerLayer):
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, layer.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config


def trainable(wrapped: Any) -> dict[str, Any]:
    """Return the adapter's weights by name, in order of their names, whatever the adapter is called."""
    label = f".{wrapped.active_adapter}."
    found = ((name.replace(label, "."), weight) for name, weight in wrapped.named_parameters())
    return dict(sorted((name, weight) for name, weight in found if weight.requires_grad))


def loss(wrapped: Any, tokens: Tokens) -> Any:
    """Return the mean cross-entropy of the tokens that a row's loss is about, a scalar tensor."""
    torch = require("torch", "train", "a gradient encoder")
    ids = torch.from_numpy(tokens.ids).to(wrapped.device)
    keep = len(ids) - tokens.first + 1
    # The logits of a prompt are not needed, and logits are the largest arrays of all.
    able = "logits_to_keep" in inspect.signature(wrapped.get_base_model().forward).parameters
    logits = wrapped(
        input_ids=ids[None], use_cache=False, **({"logits_to_keep": keep} if able else {})
    ).logits
    return torch.nn.functional.cross_entropy(logits[0, -keep:-1].float(), ids[tokens.first :])


def gradient(wrapped: Any, weights: dict[str, Any], tokens: Tokens) -> Any:
    """Return the gradient of a row's loss in the adapter's weights, end to end: shape (D,), float32."""
    torch = require("torch", "train", "a gradient encoder")
    parts = torch.autograd.grad(
        loss(wrapped, tokens), list(weights.values()), allow_unused=True, materialize_grads=True
    )
    return torch.cat([part.reshape(-1).float() for part in parts])
