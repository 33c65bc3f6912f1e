"""The stages before training, each a file in and a file out that goes on where it was interrupted."""

from setwise.preference.stages.embed import embed
from setwise.preference.stages.generate import generate
from setwise.preference.stages.score import score

__all__ = ["embed", "generate", "score"]
