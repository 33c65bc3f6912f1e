"""Prefer: one positive and k informative negatives of N responses, and the loss on them (AMPO)."""

from __future__ import annotations

from setwise.lazy import loader

_HOMES = {
    "HttpReward": "setwise.preference.stages.score",
    "OnPolicyConfig": "setwise.preference.loop",
    "OnPolicyResult": "setwise.preference.loop",
    "PipelineReward": "setwise.preference.stages.score",
    "PreferenceConfig": "setwise.preference.training",
    "PreferenceRows": "setwise.preference.rows",
    "PreferenceTrainer": "setwise.preference.training",
    "ResponseSelection": "setwise.preference.responses",
    "RewardModel": "setwise.preference.loop",
    "Server": "setwise.preference.stages.server",
    "embed": "setwise.preference.stages",
    "generate": "setwise.preference.stages",
    "load_model": "setwise.encode.models",
    "on_policy": "setwise.preference.loop",
    "score": "setwise.preference.stages",
    "select_responses": "setwise.preference.responses",
    "select_responses_many": "setwise.preference.responses",
    "sequence_logps": "setwise.preference.loss",
    "swepo_loss": "setwise.preference.loss",
    "train": "setwise.preference.training",
}

__all__ = [*_HOMES]

__getattr__, __dir__ = loader(__name__, _HOMES)
