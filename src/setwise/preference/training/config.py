"""The settings of preference training, on top of those of transformers' Trainer."""
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args, get_type_hints

from transformers import TrainingArguments
from transformers.integrations import get_available_reporting_integrations

from setwise import checks
from setwise.files.json_lines import parsed

SPLITS = ("auto", "given", "one-vs-k", "mean")
UNUSABLE = ("error", "drop")


def as_options(name: str, given: Any) -> dict[str, Any] | None:
    """Return a mapping of options, read from JSON where it is a text.

    Raises TypeError: it is no mapping; ValueError: it is a text, and no JSON.
    """
    if isinstance(given, str):
        try:
            given = parsed(given, name)
        except ValueError:
            raise ValueError(f"{name}: {given!r:.60} is not JSON") from None
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f"{name}: expected a mapping of names to values, got {type(given).__name__}")
    return None if given is None else dict(given)


def _field(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class PreferenceConfig(TrainingArguments):
    """How a model is trained on groups of responses.

    All of `transformers.TrainingArguments` applies; a batch counts prompts, each with all its responses.
    `HfArgumentParser(PreferenceConfig)` reads the fields from the command line, YAML or JSON. `loss` names
    one of `setwise.preference.losses.LOSSES`, and the settings that are None are its. Of sums of
    log-probabilities, as AMPO's Eq. 4 has them, one negative's is so much the largest that it has nearly all
    of the gradient; so the default takes means, as AMPO's experiments do.

    Raises
    ------
    TypeError
        A field is of another type.
    ValueError
        A number is out of the range that its field states, a name is unknown, or a setting is given that the
        loss does not take.
    """

    loss: str = _field(
        "refa",
        "'refa' (AMPO's and REFA's experiments), 'swepo' (AMPO's Equation 4 as it is written), 'mpo', "
        "'infonca', 'nca', 'listwise-dpo', 'simpo' or 'dpo'.",
    )
    beta: float | None = _field(None, "Multiplies the log-probabilities, above 0. None: by the loss.")
    gamma: float | None = _field(
        None, "Weight of the negatives' terms in refa, swepo and mpo, above 0. None: by the loss."
    )
    length_normalized: bool | None = _field(
        None, "Take the mean log-probability of a token, not the sum. None: by the loss."
    )
    alpha: float | None = _field(
        None,
        "Weight of a response's reward above its group's mean in refa, swepo and mpo; 0 leaves rewards out. "
        "None: by the loss.",
    )
    margin: float | None = _field(
        None, "How far the better of a pair is to be above the other in simpo and dpo. None: by the loss."
    )
    pairs: str | None = _field(
        None,
        "In simpo and dpo: 'best-vs-worst' (the best positive and the worst negative) or 'all' (the mean "
        "over all pairs). None: best-vs-worst.",
    )
    reward_temperature: float | None = _field(
        None, "In infonca and nca, what rewards are divided by before their softmax, above 0. None: 0.1."
    )
    reward_scale: str = _field(
        "minmax",
        "Scale of the rewards within a group, before alpha and reward_temperature: 'minmax' (to [0, 1], as "
        "the selection does), 'zscore', or 'none'.",
    )
    sft_weight: float = _field(
        0.0, "Weight of minus the mean log-probability of a token of the positives, at least 0."
    )
    eos_regularizer: float = _field(0.0, "Weight of the term on the probability of ending; see eos_term.")
    eos_term: str | None = _field(
        None,
        "'target' (REFA Eq. 7: against ending before the longest of the group, or eos_target), 'shorten' "
        "(REFA Eq. 9: for ending where responses end), 'budget' (REFA Eq. 10: against ending before "
        "eos_target, for ending after it) or 'mean' (the mean probability of ending where responses end). "
        "None: 'target' with refa, else 'mean'.",
    )
    eos_target: int | None = _field(None, "Tokens, for eos_term 'target' and 'budget'.")
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
    chat_template_kwargs: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": 'Variables of the chat template, such as {"enable_thinking": false}; a text is read as '
            "JSON."
        },
    )
    loading: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": "How a model given by name is loaded, as setwise.preference.load_model: dtype (float32), "
            "attention, quantization, adapter, trust_remote_code; a text is read as JSON."
        },
    )
    dataset_split: str | None = _field(None, "Which split of rows that come in several.")
    unusable: str = _field(
        "error",
        "What to do with a row that is sound but cannot be trained on (prompt too long, no positive or no "
        "negative after the split): 'error', or 'drop' it and say how many were dropped.",
    )
    streaming: bool = _field(
        False,
        "Tokenize rows when they are reached and hold none of them; they are taken in their order, over and "
        "over until max_steps. What is wrong with a row is then said when it is reached.",
    )
    responses_per_forward: int | None = _field(
        None,
        "Responses in memory at a time. Fewer need less memory and one more forward pass; the gradient is "
        "the same. None: all of a batch.",
    )
    share_prompt: bool = _field(
        False,
        "Run a group's prompt once, and its responses after it in one sequence (they do not see each other); "
        "for long prompts, and attention 'eager' or 'sdpa'.",
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
        self._check_types()
        super().__post_init__()
        started = int(os.environ.get("WORLD_SIZE", "1"))
        if started > 1 and "LOCAL_RANK" in os.environ and self.world_size == 1:
            raise ValueError(
                f"use_cpu: {started} processes were started, and without an accelerator each would train by "
                "itself; pass use_cpu=True"
            )
        self._settle_loss()
        self.chat_template_kwargs = as_options("chat_template_kwargs", self.chat_template_kwargs)
        self.loading = as_options("loading", self.loading)
        checks.choice("split", self.split, SPLITS)
        checks.choice("unusable", self.unusable, UNUSABLE)
        for name in ("streaming", "share_prompt", "lora"):
            checks.flag(name, getattr(self, name))
        for name in ("chat", "length_normalized"):
            if getattr(self, name) is not None:
                checks.flag(name, getattr(self, name))
        for name in (
            "per_device_train_batch_size",
            "per_device_eval_batch_size",
            "gradient_accumulation_steps",
        ):
            checks.integer(name, getattr(self, name), least=1)
        there = get_available_reporting_integrations()
        for one in self.report_to:
            if one not in there:
                raise ValueError(
                    f"report_to: {one!r} is unknown or not installed (there: {', '.join(there) or 'none'})"
                )
        checks.integer("max_steps", self.max_steps, least=-1)
        checks.integer("seed", self.seed, least=0, most=2**32 - 1)
        checks.nonnegative("learning_rate", self.learning_rate)
        if self.max_steps < 1:
            checks.positive("num_train_epochs", self.num_train_epochs)
        checks.integer("max_length", self.max_length, least=2)
        if self.max_prompt_length is not None:
            checks.integer("max_prompt_length", self.max_prompt_length, least=1, most=self.max_length - 1)
        if self.responses_per_forward is not None:
            checks.integer("responses_per_forward", self.responses_per_forward, least=1)
        if self.share_prompt and self.responses_per_forward is not None:
            raise ValueError("share_prompt: a group is run whole; leave responses_per_forward out")
        checks.integer("lora_r", self.lora_r, least=1)
        checks.integer("lora_alpha", self.lora_alpha, least=1)
        checks.finite("lora_dropout", self.lora_dropout)
        if not 0.0 <= self.lora_dropout <= 1.0:
            raise ValueError(f"lora_dropout: {self.lora_dropout} is outside [0, 1]")
        if self.label_smoothing_factor:
            raise ValueError("label_smoothing_factor: these losses have none; leave it out")
        if self.remove_unused_columns:
            raise ValueError("remove_unused_columns: must be False; groups are not the model's own arguments")

    def _check_types(self) -> None:
        """Refuse a text where a number or a switch is meant, such as "False", which would be true."""
        for name, kind in get_type_hints(PreferenceConfig).items():
            kinds = set(get_args(kind) or [kind]) - {type(None)}
            value = getattr(self, name, None)
            if isinstance(value, str) and kinds and kinds <= {bool, int, float}:
                wanted = "True or False" if kinds == {bool} else "a number (YAML's is 1.0e-6, not 1e-6)"
                raise TypeError(f"{name}: expected {wanted}, got {value!r}")

    def _settle_loss(self) -> None:
        """Fill in what the loss takes, having checked what was given."""
        from setwise.preference.losses import EOS_TERMS, LOSSES, PAIRS, REWARD_SCALES

        known = LOSSES[checks.choice("loss", self.loss, LOSSES)].settings
        for name in sorted({name for loss in LOSSES.values() for name in loss.settings}):
            if getattr(self, name) is None:
                setattr(self, name, known.get(name))
            elif name not in known:
                raise ValueError(f"{name}: loss={self.loss!r} has none; leave it out")
        for name in ("beta", "gamma", "reward_temperature"):
            if name in known:
                checks.positive(name, getattr(self, name))
        for name in ("alpha", "margin"):
            if name in known:
                checks.finite(name, getattr(self, name))
        if self.pairs is not None:
            checks.choice("pairs", self.pairs, PAIRS)
        checks.choice("reward_scale", self.reward_scale, REWARD_SCALES)
        checks.finite("eos_regularizer", self.eos_regularizer)
        if checks.finite("sft_weight", self.sft_weight) < 0:
            raise ValueError(f"sft_weight: {self.sft_weight} is below 0")
        if self.eos_term is None:
            self.eos_term = "target" if self.loss == "refa" else "mean"
        checks.choice("eos_term", self.eos_term, EOS_TERMS)
        if self.eos_target is not None:
            checks.integer("eos_target", self.eos_target, least=1)
        elif self.eos_term == "budget":
            raise ValueError("eos_target: needed by eos_term='budget'; give the tokens of the budget")

    @property
    def more_negatives(self) -> str:
        """What spreads the gradient over more of a group's negatives."""
        if self.pairs == "best-vs-worst":
            return "take pairs='all', or loss='refa'"
        return "lower beta" if self.loss == "refa" else "take loss='refa', or lower beta"

    @property
    def needs_reference(self) -> bool:
        """Whether the loss compares with a reference model."""
        from setwise.preference.losses import LOSSES

        return LOSSES[self.loss].reference

    @property
    def needs_rewards(self) -> bool:
        """Whether rows have to have rewards, whatever says which responses are positive."""
        from setwise.preference.losses import LOSSES

        return bool(self.alpha) or (LOSSES[self.loss].rewards and self.pairs != "all")
