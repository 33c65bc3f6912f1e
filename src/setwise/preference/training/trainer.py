"""transformers' Trainer on groups of responses, with the swepo loss."""
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Mapping
from typing import Any

import torch
import transformers
from accelerate import DistributedType
from torch.utils.checkpoint import checkpoint

from setwise import checks
from setwise.encode.models import with_tokenizer
from setwise.extras import require
from setwise.preference.logps import SequenceLogps, sequence_logps
from setwise.preference.loss import effective_negatives, scores, swepo_loss
from setwise.preference.training.collate import GroupCollator
from setwise.preference.training.config import PreferenceConfig
from setwise.preference.training.groups import Groups, as_groups

__all__ = ["PreferenceTrainer"]

#: What is logged, each a mean over groups; the first four under the names that TRL's trainers use.
#: What is summed up besides comes last: how many negatives there are.
METRICS = ("rewards/margins", "rewards/accuracies", "logps/chosen", "logps/rejected", "negatives/effective")

#: Over so many groups the gradient is to reach this many negatives on average, where there are more.
WATCHED, ENOUGH = 32, 2.0


class PreferenceTrainer(transformers.Trainer):
    """transformers' Trainer on groups of responses, with the swepo loss (AMPO Eq. 4).

    The loss of a step is the mean over all its prompts, so that gradient accumulation and several devices
    give what one large batch gives. What is logged beside it, and in evaluation with its prefix:

    ``rewards/margins``
        Mean implicit reward (beta · log-probability, a token's if `length_normalized`) of the positives minus
        that of the negatives.
    ``rewards/accuracies``
        Share of pairs of a positive and a negative whose implicit rewards are in the right order.
    ``logps/chosen``, ``logps/rejected``
        Mean log-probability of a positive, of a negative.
    ``negatives/effective``
        Over how many of a group's negatives the gradient is spread, see
        `setwise.preference.loss.effective_negatives`. A warning says if that stays below 2 of 3 or more.

    Parameters
    ----------
    model : transformers.PreTrainedModel, peft.PeftModel or str
        A causal language model. A name is what `setwise.preference.load_model` takes, and is loaded in
        float32: steps of usual sizes are lost in the rounding of narrower weights. ``bf16=True`` computes in
        bfloat16 all the same.
    args : PreferenceConfig, optional
    data_collator : callable, optional
        By default a `GroupCollator`.
    train_dataset, eval_dataset : rows, or Groups, optional
        Rows as `train` takes them; `eval_dataset` may also be a mapping of names to rows.
    processing_class : transformers.PreTrainedTokenizerBase, optional
        The tokenizer; needed unless the model is given by name.
    peft_config : peft.PeftConfig, optional
        Adapters to train; comes before the ``lora`` settings. Under ``lora=True`` a model that has adapters
        already trains those on.
    **options
        Further arguments of transformers.Trainer, such as callbacks.

    Raises
    ------
    TypeError
        ``args`` is no `PreferenceConfig`, or a model that is already loaded has no tokenizer beside it.
    ValueError
        There is no model of that name, none of its weights can be trained, or `peft_config` is given for one
        that has adapters.
    TypeError, ValueError
        `as_groups` refuses the rows.
    """

    # The loss is divided by the groups of the whole accumulated batch; the Trainer must not divide it again.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: Any,
        args: PreferenceConfig | None = None,
        data_collator: Any = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        peft_config: Any = None,
        **options: Any,
    ) -> None:
        if args is None:
            args = PreferenceConfig()
        if not isinstance(args, PreferenceConfig):
            raise TypeError(f"args: expected a PreferenceConfig, got {type(args).__name__}")
        model, processing_class = with_tokenizer(model, processing_class, argument="processing_class")
        transformers.set_seed(args.seed)  # adapters start from random numbers
        model = _with_adapters(model, args, peft_config)
        if not any(weight.requires_grad for weight in model.parameters()):
            raise ValueError("model: none of its weights can be trained; set requires_grad, or use lora=True")
        pad = processing_class.pad_token_id
        super().__init__(
            model=model,
            args=args,
            data_collator=data_collator
            or GroupCollator(processing_class.eos_token_id if pad is None else pad),
            train_dataset=_as_dataset(train_dataset, processing_class, args, "rows"),
            eval_dataset=_as_dataset(eval_dataset, processing_class, args, "eval_rows"),
            processing_class=processing_class,
            **options,
        )
        self.model_accepts_loss_kwargs = True
        self._sums: dict[str, torch.Tensor] = {}
        self._watched, self._warned = torch.zeros(len(METRICS) + 3, dtype=torch.float64), False
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._keeps_logits = "logits_to_keep" in inspect.signature(inner.forward).parameters

    def create_accelerator_and_postprocess(self) -> None:
        """Take mixed precision in hand; accelerate's own widens all logits to float32."""
        super().create_accelerator_and_postprocess()
        accelerator = self.accelerator
        plain = accelerator.distributed_type in (
            DistributedType.NO,
            DistributedType.MULTI_CPU,
            DistributedType.MULTI_GPU,
        )
        self._casts = plain and accelerator.mixed_precision == "bf16"
        if self._casts:
            accelerator.native_amp = False

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the groups' summed loss over the number of groups in the whole (accumulated) batch."""
        settings, mask, positive = self.args, inputs["mask"], inputs["positive"]
        found = self.sequence_logps(model, inputs)
        logps = _as_grid(found.logps, mask)
        lengths = _as_grid(found.lengths, mask)
        scoring = {
            "mask": mask,
            "lengths": lengths,
            "beta": settings.beta,
            "length_normalized": settings.length_normalized,
        }
        rewarding = {"alpha": settings.alpha, "rewards": inputs["rewards"] if settings.alpha else None}
        total = swepo_loss(
            logps,
            positive_mask=positive,
            gamma=settings.gamma,
            eos_regularizer=settings.eos_regularizer,
            eos_logps=None if found.eos_logps is None else _as_grid(found.eos_logps, mask),
            reduction="sum",
            **scoring,
            **rewarding,
        )
        with torch.no_grad():
            implied = scores(logps, **scoring)
            s = scores(logps, **scoring, **rewarding) if settings.alpha else implied
        mode = "train" if model.training else "eval"
        self._add_up(mode, total.detach(), logps.detach(), implied, s, positive & mask, ~positive & mask)
        loss = total / (len(mask) if num_items_in_batch is None else num_items_in_batch)
        if num_items_in_batch is not None and settings.average_tokens_across_devices:
            # Gradients are averaged over the processes, each of which has divided by the groups of all.
            loss = loss * (self.accelerator.num_processes // self.get_tp_size())
        return (loss, found) if return_outputs else loss

    def sequence_logps(self, model: Any, inputs: Mapping[str, Any]) -> SequenceLogps:
        """Return the log-probabilities of a batch's R responses, in its order.

        With `responses_per_forward`, all parts but the last are run without keeping their activations, and
        are run again, one after the other, when their gradient is asked for (that is activation checkpointing
        with a part as the segment, so random numbers such as dropout's repeat themselves).

        Parameters
        ----------
        model : the model as the Trainer has wrapped it
        inputs : mapping
            What `GroupCollator` returns.
        """
        count = len(inputs["input_ids"])
        size = self.args.responses_per_forward or count
        if size >= count:
            return self._forward(model, inputs)
        # By length, so that a part is padded to its own longest, and the longest part is not run twice.
        lengths = inputs["attention_mask"].sum(dim=1)
        order = lengths.argsort(stable=True)
        *earlier, last = order.split(size)
        # A wrapper for data parallelism waits for one forward pass a step: the part that is run just once.
        parallel = isinstance(model, torch.nn.parallel.DistributedDataParallel)
        inner = model.module if parallel else model
        parts = []
        for rows in [*earlier, last]:
            end = int(lengths[rows].max())
            part = {name: inputs[name][rows, :end] for name in ("input_ids", "attention_mask", "labels")}
            part["prompt_lengths"] = inputs["prompt_lengths"][rows]
            if rows is last or not torch.is_grad_enabled():
                parts.append(self._forward(model if rows is last else inner, part))
            else:
                parts.append(checkpoint(self._forward, inner, part, use_reentrant=False))
        back = order.argsort()
        columns = (
            None if column[0] is None else torch.cat(column)[back] for column in zip(*parts, strict=True)
        )
        return SequenceLogps(*columns)

    def _forward(self, model: Any, batch: Mapping[str, Any]) -> SequenceLogps:
        """Run sequences through the model; logits are made from the last token of the shortest prompt on."""
        tokens, labels = batch["input_ids"], batch["labels"]
        keep = tokens.shape[1] - int(batch["prompt_lengths"].min()) + 1
        options = {"logits_to_keep": keep} if self._keeps_logits else {}
        device = tokens.device.type
        with torch.autocast(device, torch.bfloat16) if self._casts else contextlib.nullcontext():
            output = model(
                input_ids=tokens, attention_mask=batch["attention_mask"], use_cache=False, **options
            )
        end = self.processing_class.eos_token_id if self.args.eos_regularizer else None
        return sequence_logps(output.logits[:, -keep:], labels[:, -keep:], eos_token_id=end)

    def prediction_step(
        self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[torch.Tensor, None, None]:
        """Return the loss of a batch; there are no predictions to gather."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            return self.compute_loss(model, inputs).detach(), None, None

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        *arguments: Any,
        metric_key_prefix: str = "eval",
        **options: Any,
    ) -> Any:
        """Add the metrics of `METRICS`, and take the loss as a mean over groups."""
        self._sums.pop("eval", None)
        output = super().evaluation_loop(
            dataloader, description, *arguments, metric_key_prefix=metric_key_prefix, **options
        )
        for name, value in self._averages("eval").items():
            output.metrics[f"{metric_key_prefix}_{name}"] = value
        return output

    def log(self, logs: dict[str, float], *arguments: Any, **options: Any) -> None:
        """Add the metrics since the last log to a training step's."""
        if "loss" in logs:
            averages = self._averages("train")
            averages.pop("loss", None)  # the Trainer has its own, over the same groups
            logs.update(averages)
        super().log(logs, *arguments, **options)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> torch.Tensor | None:
        """Count the groups of an accumulated batch, over all processes."""
        if not batch_samples:
            return None
        count = torch.tensor(sum(len(batch["mask"]) for batch in batch_samples), device=device)
        if self.args.average_tokens_across_devices and self.args.world_size > 1:
            count = self.accelerator.gather(count).sum() / self.get_tp_size()
        return count

    def _add_up(
        self, mode: str, loss: Any, logps: Any, implied: Any, s: Any, positive: Any, negative: Any
    ) -> None:
        """Add a batch's groups to the sums that `METRICS` are made from, and to those that are watched."""
        ranked = (implied[:, :, None] > implied[:, None, :]) & positive[:, :, None] & negative[:, None, :]
        pairs = positive.sum(dim=1) * negative.sum(dim=1)

        def average(values: Any, members: Any) -> Any:
            return (values * members).sum(dim=1) / members.sum(dim=1)

        sums = torch.stack(
            [
                torch.full_like(loss, len(positive)),
                loss,
                (average(implied, positive) - average(implied, negative)).sum(),
                (ranked.sum(dim=(1, 2)) / pairs).sum(),
                average(logps, positive).sum(),
                average(logps, negative).sum(),
                effective_negatives(s, negative).sum(),
                negative.sum(),
            ]
        ).to("cpu", torch.float64)
        self._sums[mode] = self._sums[mode] + sums if mode in self._sums else sums
        if mode == "train" and not self._warned:
            self._watch(sums)

    def _watch(self, sums: Any) -> None:
        """Warn, once, where the gradient has left all but one of many groups' negatives alone."""
        self._watched = self._watched + sums
        groups, *_, spread, held = self._watched.tolist()
        if groups < WATCHED:
            return
        self._watched = torch.zeros_like(self._watched)
        if spread / groups < ENOUGH < held / groups and self.is_world_process_zero():
            self._warned = True
            checks.warn(
                f"loss: of {held / groups:.1f} negatives a group, the gradient reaches {spread / groups:.2f} "
                f"(mean over {groups:.0f} groups); take the defaults of loss='refa', or lower beta"
            )

    def _averages(self, mode: str) -> dict[str, float]:
        """Return the means over the groups of all processes since the last call."""
        sums = self._sums.pop(mode, None)
        if sums is None:
            return {}
        if self.accelerator.num_processes > 1:
            sums = self.accelerator.reduce(sums.to(self.args.device), reduction="sum")
        count, *totals, _ = sums.tolist()
        return {name: total / count for name, total in zip(("loss", *METRICS), totals, strict=True)}


def _as_dataset(rows: Any, tokenizer: Any, config: PreferenceConfig, name: str) -> Any:
    """Return rows as groups; groups, None and mappings of names stay what they are."""
    if rows is None or isinstance(rows, Groups):
        return rows
    if isinstance(rows, Mapping):
        return {key: _as_dataset(value, tokenizer, config, f"{name}[{key!r}]") for key, value in rows.items()}
    return as_groups(rows, tokenizer, config, name)


def _as_grid(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Lay R values out over the True cells of a mask (B, G); 0 elsewhere."""
    return values.new_zeros(mask.shape).masked_scatter(mask, values)


def _with_adapters(model: Any, config: PreferenceConfig, given: Any) -> Any:
    """Return the model with the adapters that are asked for."""
    if given is None and not config.lora:
        return model
    peft = require("peft", "train", "training adapters")
    if isinstance(model, peft.PeftModel):
        if given is not None:
            raise ValueError(
                "peft_config: the model has adapters already; merge them, or leave peft_config out"
            )
        return model
    if given is None:
        given = peft.LoraConfig(
            task_type="CAUSAL_LM",
            r=config.lora_r,
            lora_alpha=config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules=config.lora_target_modules or "all-linear",
        )
    # The same setting under the names of transformers 5 and 6.
    if any(getattr(config, f"{name}_checkpointing", False) for name in ("activation", "gradient")):
        model.enable_input_require_grads()  # else no gradient reaches the adapters through recomputed layers
    return peft.get_peft_model(model, given)
