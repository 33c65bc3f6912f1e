"""A language model with a LoRA adapter in it for a while, and the gradient of one row's loss."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from setwise.encode.gradients.rows import Tokens
from setwise.encode.models import with_tokenizer
from setwise.extras import require


def load(
    model: Any, tokenizer: Any, device: Any, loading: Mapping[str, Any] | None = None
) -> tuple[Any, Any]:
    """Return a model and its tokenizer, loaded in float32 where a folder or a name is given.

    Raises FileNotFoundError, ImportError, TypeError, ValueError: as `with_tokenizer`; or the model has an
    adapter already (ValueError).
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
    logits = _logits(wrapped, keep, input_ids=ids[None])
    return torch.nn.functional.cross_entropy(logits[0, -keep:-1].float(), ids[tokens.first :])


def gradient(wrapped: Any, weights: dict[str, Any], tokens: Tokens) -> Any:
    """Return the gradient of a row's loss in the adapter's weights, end to end: shape (D,), float32."""
    torch = require("torch", "train", "a gradient encoder")
    parts = torch.autograd.grad(
        loss(wrapped, tokens), list(weights.values()), allow_unused=True, materialize_grads=True
    )
    return torch.cat([part.reshape(-1).float() for part in parts])


def gradients(wrapped: Any, weights: dict[str, Any], rows: Sequence[Tokens]) -> Any:
    """Return the gradient of each of some rows that are read together, shape (b, D), float32.

    A row's gradient in a linear layer's weight is the sum over its tokens of what comes back to the layer's
    output times its input. Padding stands after a row, where none of its tokens looks, and nothing comes back
    to it. Where a weight is no linear layer's, or a layer's input does not say of which row each token is
    (OPT's, and what routes tokens), rows are read one by one.
    """
    torch = require("torch", "train", "a gradient encoder")
    layers = _linear_layers(wrapped, weights)
    if len(rows) == 1 or layers is None:
        return torch.stack([gradient(wrapped, weights, row) for row in rows])
    found = {name: torch.zeros((len(rows), *weights[name].shape), device=wrapped.device) for name in weights}

    flat: list[str] = []

    def watch(name: str) -> Callable[[Any, Any, Any], None]:
        def called(_layer: Any, given: Any, out: Any) -> None:
            if given[0].ndim != 3:
                flat.append(name)
                return

            def came_back(back: Any) -> None:
                found[name] += torch.einsum("bto,bti->boi", back.float(), given[0].detach().float())

            out.register_hook(came_back)

        return called

    with contextlib.ExitStack() as stack:
        for name, layer in layers.items():
            stack.callback(layer.register_forward_hook(watch(name)).remove)
        torch.autograd.grad(
            _summed_loss(wrapped, rows), list(weights.values()), allow_unused=True, materialize_grads=True
        )
    if flat:
        return torch.stack([gradient(wrapped, weights, row) for row in rows])
    return torch.cat([part.reshape(len(rows), -1) for part in found.values()], dim=1)


def _linear_layers(wrapped: Any, weights: dict[str, Any]) -> dict[str, Any] | None:
    """Return the linear layer that each weight is of; None where one is of no plain linear layer."""
    torch = require("torch", "train", "a gradient encoder")
    names = {id(weight): name for name, weight in weights.items()}
    found = {
        names[id(layer.weight)]: layer
        for layer in wrapped.modules()
        if type(layer) is torch.nn.Linear and id(layer.weight) in names
    }
    return {name: found[name] for name in weights} if len(found) == len(weights) else None


def _summed_loss(wrapped: Any, rows: Sequence[Tokens]) -> Any:
    """Return the sum of the rows' losses, each as of `loss`."""
    torch = require("torch", "train", "a gradient encoder")
    longest, device = max(len(row.ids) for row in rows), wrapped.device
    ids = torch.zeros((len(rows), longest), dtype=torch.long, device=device)
    mask, weight = torch.zeros_like(ids), torch.zeros((len(rows), longest), device=device)
    for place, row in enumerate(rows):
        ids[place, : len(row.ids)] = torch.from_numpy(row.ids)
        mask[place, : len(row.ids)] = 1
        weight[place, row.first : len(row.ids)] = 1.0 / (len(row.ids) - row.first)
    keep = longest - min(row.first for row in rows) + 1
    logits = _logits(wrapped, keep, input_ids=ids, attention_mask=mask)[:, -keep:-1]
    # A token a row: a softmax along another dimension is summed less exactly, and padding needs none.
    ids, weight = ids[:, 1 - keep :], weight[:, 1 - keep :]
    counted = weight > 0
    each = torch.nn.functional.cross_entropy(logits[counted].float(), ids[counted], reduction="none")
    return (each * weight[counted]).sum()


def _logits(wrapped: Any, keep: int, **given: Any) -> Any:
    """Return a model's logits, of the last tokens alone where it can leave the others out.

    The logits of a prompt are not needed, and logits are the largest arrays of all.
    """
    able = "logits_to_keep" in inspect.signature(wrapped.get_base_model().forward).parameters
    return wrapped(**given, use_cache=False, **({"logits_to_keep": keep} if able else {})).logits
