"""The on-policy loop: generate, score, select, train, and again; every stage kept on disk."""

from setwise.preference.loop.config import OnPolicyConfig
from setwise.preference.loop.run import OnPolicyResult, on_policy
from setwise.preference.loop.score import RewardModel

__all__ = ["OnPolicyConfig", "OnPolicyResult", "RewardModel", "on_policy"]
