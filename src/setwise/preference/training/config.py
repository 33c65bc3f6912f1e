"""The settings of preference training, on top of those of transformers' Trainer."""
# mypy: disallow-subclassing-any=False

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments

from setwise import checks

__all__ = ["PreferenceConfig"]

#: The settings of the loss by name: what AMPO's experiments use (beta 5 to 10, gamma 2 to 4, on the mean
#: log-probability of a token, as REFA has it), and its Equation 4 as it is written.
LOSSES: dict[str, dict[str, Any]] = {
    "refa": {"beta": 8.0, "gamma": 2.0, "length_normalized": True},
    "swepo": {"beta": 1.0, "gamma": 1.0, "length_normalized": False},
}

SPLITS = ("auto", "given", "one-vs-k", "mean")
UNUSABLE = ("error", "drop")


def _field(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class PreferenceConfig(TrainingArguments):
    """How a model is trained on groups of responses with the swepo loss (AMPO Eq. 4).

    All of `transformers.TrainingArguments` applies; a batch counts prompts, each with all its responses.
    `HfArgumentParser(PreferenceConfig)` reads the fields from the command line, YAML or JSON. `loss` names
    settings of `setwise.preference.swepo_loss`, whose parameters the five fields after it are. Of sums of
    log-probabilities, as AMPO's Eq. 4 has them, one negative's is so much the largest that it has nearly all
    of the gradient; so the default takes means, as AMPO's experiments do.

    Raises
    ------
    TypeError
        A field is of another type.
    ValueError
        A number is out of the range that its field states, or a name is unknown.
    """

    loss: str = _field(
        "refa",
        "What beta, gamma and length_normalized are where they are not given: 'refa' (8, 2, True: AMPO's "
        "experiments) or 'swepo' (1, 1, False: its Equation 4 as it is written).",
    )
    beta: float | None = _field(None, "Multiplies the log-probabilities, above 0. None: by the loss.")
    gamma: float | None = _field(
        None, "Weight of the negatives' terms in the loss, above 0. None: by the loss."
    )
    length_normalized: bool | None = _field(
        None, "Take the mean log-probability of a token, not the sum. None: by the loss."
    )
    alpha: float = _field(0.0, "Weight of a response's reward above its group's mean; 0 leaves rewards out.")
    eos_regularizer: float = _field(
        0.0, "Weight of the probability of ending where responses end: above 0 answers grow, below 0 shrink."
    )
    split: str = _field(
        "auto",
        "Which responses are positive: 'given' (the chosen of a row with chosen and rejected), 'one-vs-k' "
        "(the best by reward), 'mean' (those above the mean reward), or 'auto': 'given' where a row has "
        "chosen and rejected, 'one-vs-k' where it has responses.",
    )
    max_length: int = _field(2048, "Tokens of a prompt and a response together; what is longer is cut off.")
    max_prompt_length: int | None = _field(
        None, "Tokens of a prompt at most. None: as many as leave room for one token of a response."
    )
    chat: bool | None = _field(
        None,
        "Put prompts that are texts into the tokenizer's chat template. None: if it has one. Prompts that "
        "are lists of messages always are.",
    )
    unusable: str = _field(
        "error",
        "What to do with a row that is sound but cannot be trained on (prompt too long, no positive or no "
        "negative after the split): 'error', or 'drop' it and say how many were dropped.",
    )
    responses_per_forward: int | None = _field(
        None,
        "Responses in memory at a time. Fewer need less memory and one more forward pass; the gradient is "
        "the same. None: all of a batch.",
    )
    lora: bool = _field(False, "Train low-rank adapters (peft) in place of all weights.")
    lora_r: int = _field(16, "Rank of the adapters.")
    lora_alpha: int = _field(32, "Scale of the adapters.")
    lora_dropout: float = _field(0.0, "Dropout of the adapters, in [0, 1].")
    lora_target_modules: list[str] | None = field(
        default=None,
        metadata={"help": "Names of the layers that get adapters. None: all linear layers but the last."},
    )

    # Other defaults than TrainingArguments has: a batch entry here is a whole group of sequences.
    per_device_train_batch_size: int = _field(1, "Prompts a device, each with all its responses.")
    per_device_eval_batch_size: int = _field(1, "Prompts a device in evaluation.")
    learning_rate: float = _field(1e-6, "Initial learning rate of the optimizer.")
    logging_steps: float = _field(10, "Log every so many steps; below 1, as a share of all steps.")
    remove_unused_columns: bool = _field(False, "Must stay off: groups are not the model's own arguments.")

    def __post_init__(self) -> None:
        """Check the fields that are not TrainingArguments'."""
        from setwise.preference.loss import finite  # after transformers: what is lacking is named whole

        super().__post_init__()
        checks.choice("loss", self.loss, LOSSES)
        for name, value in LOSSES[self.loss].items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        checks.choice("split", self.split, SPLITS)
        checks.choice("unusable", self.unusable, UNUSABLE)
        checks.integer("max_length", self.max_length, least=2)
        if self.max_prompt_length is not None:
            checks.integer("max_prompt_length", self.max_prompt_length, least=1, most=self.max_length - 1)
        if self.responses_per_forward is not None:
            checks.integer("responses_per_forward", self.responses_per_forward, least=1)
        checks.integer("lora_r", self.lora_r, least=1)
        checks.integer("lora_alpha", self.lora_alpha, least=1)
        checks.positive("beta", self.beta)
        checks.positive("gamma", self.gamma)
        finite("alpha", self.alpha)
        finite("eos_regularizer", self.eos_regularizer)
        finite("lora_dropout", self.lora_dropout)
        if not 0.0 <= self.lora_dropout <= 1.0:
            raise ValueError(f"lora_dropout: {self.lora_dropout} is outside [0, 1]")
        if self.remove_unused_columns:
            raise ValueError("remove_unused_columns: must be False; groups are not the model's own arguments")
