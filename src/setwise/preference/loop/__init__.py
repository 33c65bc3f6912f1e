"""The on-policy loop: generate, score, select, train, and again; every stage kept on disk."""

from setwise.preference.loop.run import OnPolicyConfig, OnPolicyResult, RewardModel, on_policy

__all__ = ["OnPolicyConfig", "OnPolicyResult", "RewardModel", "on_policy"]
