"""Prefer: one positive and k informative negatives of N responses, and the loss on them (AMPO)."""

from __future__ import annotations

from setwise.lazy import loader

_HOMES = {
    "OnPolicyConfig": "setwise.preference.loop",
    "OnPolicyResult": "setwise.preference.loop",
    "PreferenceConfig": "setwise.preference.training",
    "PreferenceRows": "setwise.preference.rows",
    "PreferenceTrainer": "setwise.preference.training",
    "ResponseSelection": "setwise.preference.responses",
    "RewardModel": "setwise.preference.loop",
    "load_model": "setwise.encode.models",
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

__getattr__, __dir__ = loader(__name__, _HOMES)
