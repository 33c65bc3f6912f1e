"""Groups of responses into one padded batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from setwise.preference.logps import IGNORED
from setwise.preference.training.groups import Group


@dataclass(frozen=True)
class GroupCollator:
    """Make a batch of B groups with R responses in all, G in the largest.

    Sequences are padded on the right: a causal model's outputs then do not depend on the padding, nor on
    position numbers made for it. Ragged groups cost no forward passes over nothing: the R sequences are those
    that exist, in the order of `mask`'s True cells.

    Parameters
    ----------
    pad_token_id : int
        What stands in the padding; it is masked everywhere.

    Returns
    -------
    dict, on calling it with a list of `Group`
        ``mask`` (B, G) bool, where there is a response; ``positive`` (B, G) bool; ``rewards`` (B, G) float32,
        above the group's least (losses see differences alone), 0 where there are none; ``input_ids``,
        ``attention_mask`` and ``labels`` (R, T) int64, the labels -100 on prompts and padding;
        ``prompt_lengths`` (R,) int64; and, if the groups have a reference, ``reference_logps`` (B, G)
        float64, 0 where there is no response.
    """

    pad_token_id: int

    def __call__(self, groups: Sequence[Group]) -> dict[str, torch.Tensor]:
        """Pad and stack the groups."""
        most = max(len(group.responses) for group in groups)
        mask = torch.zeros(len(groups), most, dtype=torch.bool)
        positive = torch.zeros_like(mask)
        rewards = torch.zeros(len(groups), most, dtype=torch.float32)
        total = sum(len(group.responses) for group in groups)
        longest = max(len(group.prompt) + max(map(len, group.responses)) for group in groups)
        tokens = torch.full((total, longest), self.pad_token_id, dtype=torch.int64)
        labels = torch.full((total, longest), IGNORED, dtype=torch.int64)
        attention = torch.zeros(total, longest, dtype=torch.int64)
        prompts = torch.empty(total, dtype=torch.int64)
        place = 0
        for row, group in enumerate(groups):
            count = len(group.responses)
            mask[row, :count] = True
            positive[row, :count] = torch.from_numpy(group.positive)
            if group.rewards is not None:
                rewards[row, :count] = torch.from_numpy(group.rewards - group.rewards.min())
            begin = len(group.prompt)
            for response in group.responses:
                end = begin + len(response)
                tokens[place, :begin] = torch.from_numpy(group.prompt)
                tokens[place, begin:end] = torch.from_numpy(response)
                labels[place, begin:end] = tokens[place, begin:end]
                attention[place, :end] = 1
                prompts[place] = begin
                place += 1
        # mask comes first: the Trainer takes the first tensor's length for the number of rows in a batch.
        batch = {
            "mask": mask,
            "positive": positive,
            "rewards": rewards,
            "input_ids": tokens,
            "attention_mask": attention,
            "labels": labels,
            "prompt_lengths": prompts,
        }
        if groups[0].reference is not None:
            reference = torch.zeros(len(groups), most, dtype=torch.float64)
            for row, group in enumerate(groups):
                reference[row, : len(group.responses)] = torch.from_numpy(group.reference)
            batch["reference_logps"] = reference
        return batch


def first_groups(batch: dict[str, Any], count: int) -> dict[str, Any]:
    """Return the first groups of a batch; where that is none, the first one, marked ``repeated``.

    A process has to run something in every step, since the others wait for its gradient.
    """
    kept = max(count, 1)
    responses = int(batch["mask"][:kept].sum())
    by_group = ("mask", "positive", "rewards", "reference_logps")
    made = {name: cells[: kept if name in by_group else responses] for name, cells in batch.items()}
    return made if count > 0 else {**made, "repeated": True}
