"""Training on groups of responses by the swepo loss, on transformers' trainer."""

from setwise.extras import needs

with needs("train", "training on preferences"):
    from setwise.preference.training.config import PreferenceConfig
    from setwise.preference.training.run import train
    from setwise.preference.training.trainer import PreferenceTrainer

__all__ = ["PreferenceConfig", "PreferenceTrainer", "train"]
