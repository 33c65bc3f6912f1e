"""Prefer: one positive and k informative negatives of N responses, and the loss on them (AMPO)."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "OnPolicyConfig": "setwise.preference.loop",
    "OnPolicyResult": "setwise.preference.loop",
    "PreferenceConfig": "setwise.preference.training",
    "PreferenceRows": "setwise.preference.rows",
    "PreferenceTrainer": "setwise.preference.training",
    "ResponseSelection": "setwise.preference.responses",
    "RewardModel": "setwise.preference.loop",
    "load_model": "setwise.preference.models",
    "on_policy": "setwise.preference.loop",
    "select_responses": "setwise.preference.responses",
    "select_responses_many": "setwise.preference.responses",
    "sequence_logps": "setwise.preference.loss",
    "swepo_loss": "setwise.preference.loss",
    "train": "setwise.preference.training",
}

__all__ = [
    "OnPolicyConfig",
    "OnPolicyResult",
    "PreferenceConfig",
    "PreferenceRows",
    "PreferenceTrainer",
    "ResponseSelection",
    "RewardModel",
    "load_model",
    "on_policy",
    "select_responses",
    "select_responses_many",
    "sequence_logps",
    "swepo_loss",
    "train",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'setwise.preference' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
