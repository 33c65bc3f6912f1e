"""Prefer: one positive and k informative negatives of N responses, and the loss on them (AMPO)."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    "sequence_logps": "setwise.preference.logps",
    "swepo_loss": "setwise.preference.loss",
    "train": "setwise.preference.training",
}

__all__ = [
    "HttpReward",
    "OnPolicyConfig",
    "OnPolicyResult",
    "PipelineReward",
    "PreferenceConfig",
    "PreferenceRows",
    "PreferenceTrainer",
    "ResponseSelection",
    "RewardModel",
    "Server",
    "embed",
    "generate",
    "load_model",
    "on_policy",
    "score",
    "select_responses",
    "select_responses_many",
    "sequence_logps",
    "swepo_loss",
    "train",
]

if TYPE_CHECKING:
    from setwise.encode.models import load_model
    from setwise.preference.logps import sequence_logps
    from setwise.preference.loop import OnPolicyConfig, OnPolicyResult, RewardModel, on_policy
    from setwise.preference.loss import swepo_loss
    from setwise.preference.responses import ResponseSelection, select_responses, select_responses_many
    from setwise.preference.rows import PreferenceRows
    from setwise.preference.stages import embed, generate, score
    from setwise.preference.stages.score import HttpReward, PipelineReward
    from setwise.preference.stages.server import Server
    from setwise.preference.training import PreferenceConfig, PreferenceTrainer, train
else:
    __getattr__, __dir__ = loader(__name__, _HOMES)
