"""What a trainer is made from: rows as groups, and a model with its adapters."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from setwise.extras import require
from setwise.preference.training.config import PreferenceConfig
from setwise.preference.training.groups import Group, Groups, as_groups
from setwise.preference.training.stream import StreamedGroups


def as_datasets(rows: Any, eval_rows: Any, tokenizer: Any, config: PreferenceConfig) -> tuple[Any, Any]:
    """Return the rows to train on and to evaluate on as groups, the first as a stream if asked for."""
    streamed = config.streaming and rows is not None
    groups = StreamedGroups if streamed else as_dataset
    return groups(rows, tokenizer, config, "rows"), as_dataset(eval_rows, tokenizer, config, "eval_rows")


def as_dataset(rows: Any, tokenizer: Any, config: PreferenceConfig, name: str) -> Any:
    """Return rows as groups; groups, None and mappings of names stay what they are."""
    if rows is None or isinstance(rows, Groups):
        return rows
    if isinstance(rows, Mapping):
        return {key: as_dataset(value, tokenizer, config, f"{name}[{key!r}]") for key, value in rows.items()}
    return as_groups(rows, tokenizer, config, name)


def end_of(*datasets: Any) -> int | None:
    """Return the token that ends the responses of groups, of the first that are there."""
    for groups in datasets:
        if isinstance(groups, Mapping):
            return end_of(*groups.values())
        if isinstance(groups, Groups | StreamedGroups):
            return groups.end
    return None


def longest_of(*datasets: Any) -> Group | None:
    """Return the group with the longest sequence of the first dataset there is; of a stream, its first."""
    for groups in datasets:
        if isinstance(groups, Mapping):
            return longest_of(*groups.values())
        if isinstance(groups, StreamedGroups):
            return next(iter(groups))
        if isinstance(groups, Groups):
            return max(groups, key=lambda one: len(one.prompt) + max(map(len, one.responses)))
    return None


def keeps_logits(model: Any) -> bool:
    """Return whether a model, wrapped or not, can make the logits of the last tokens alone."""
    inner = model.module if hasattr(model, "module") else model
    inner = inner.get_base_model() if hasattr(inner, "get_base_model") else inner
    return "logits_to_keep" in inspect.signature(inner.forward).parameters


def with_adapters(model: Any, config: PreferenceConfig, given: Any) -> Any:
    """Return the model with the adapters that are asked for."""
    if given is None and not config.lora:
        return model
    peft = require("peft", "train", "training adapters")
    if isinstance(model, peft.PeftModel):
        if given is not None:
            raise ValueError(
                "peft_config: the model has adapters already; merge them, or leave peft_config out"
            )
        return model
    if given is None:
        given = peft.LoraConfig(
            task_type="CAUSAL_LM",
            r=config.lora_r,
            lora_alpha=config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules=config.lora_target_modules or "all-linear",
        )
    # The same setting under the names of transformers 5 and 6.
    if any(getattr(config, f"{name}_checkpointing", False) for name in ("activation", "gradient")):
        model.enable_input_require_grads()  # else no gradient reaches the adapters through recomputed layers
    return peft.get_peft_model(model, given)
