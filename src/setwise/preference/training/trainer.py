"""transformers' Trainer on groups of responses."""
# mypy: disallow-subclassing-any=False

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from accelerate import DistributedType
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader

from setwise.encode.models import tokenizer_of, weights_fingerprint, with_tokenizer
from setwise.preference.logps import ResponseLogps, rejoined, response_logps
from setwise.preference.loss import ending, scores
from setwise.preference.losses import LOSSES, end_term
from setwise.preference.training.collate import GroupCollator, first_groups
from setwise.preference.training.config import PreferenceConfig, as_options
from setwise.preference.training.groups import Groups
from setwise.preference.training.metrics import Metrics, of_groups
from setwise.preference.training.prefix import pack, refuse_otherwise, unpack
from setwise.preference.training.reference import reference_model, with_reference
from setwise.preference.training.setup import as_datasets, end_of, keeps_logits, longest_of, with_adapters
from setwise.preference.training.stream import StreamedGroups

#: Attention that takes a mask of tokens by tokens.
SHARED = ("eager", "sdpa")


class PreferenceTrainer(transformers.Trainer):
    """transformers' Trainer on groups of responses, with one of the losses of `PreferenceConfig`.

    The loss of a step is the mean over all its prompts, so that gradient accumulation and several devices
    give what one large batch gives. What is logged beside it, and in evaluation with its prefix:

    ``rewards/margins``
        Mean implicit reward (beta · log-probability, a token's if `length_normalized`) of the positives minus
        that of the negatives.
    ``rewards/accuracies``
        Share of pairs of a positive and a negative whose implicit rewards are in the right order, ties half.
    ``logps/chosen``, ``logps/rejected``
        Mean log-probability of a positive, of a negative.
    ``negatives/effective``
        Over how many of a group's negatives the gradient is spread, see
        `setwise.preference.losses.effective_negatives`. A warning says if that stays below 2 of 3 or more.

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
    reference_model : transformers.PreTrainedModel or str, optional
        What a loss with a reference compares with. By default the model itself as it is before training,
        without its adapters if it has any. It is run once, before the training: its log-probabilities are
        kept with the groups, and in the output folder if anything is saved there.
    **options
        Further arguments of transformers.Trainer, such as callbacks.

    Raises
    ------
    TypeError
        ``args`` is no `PreferenceConfig`, or a model that is already loaded has no tokenizer beside it.
    ValueError
        ``fsdp`` is asked for on one process or on processors, where accelerate would not shard; there is no
        model of that name, none of its weights can be trained, or `peft_config` is given for one that has
        adapters.
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
        reference_model: Any = None,
        **options: Any,
    ) -> None:
        if args is None:
            args = PreferenceConfig()
        if not isinstance(args, PreferenceConfig):
            raise TypeError(f"args: expected a PreferenceConfig, got {type(args).__name__}")
        how: Any = {"argument": "processing_class", "loading": as_options("loading", args.loading)}
        # What is wrong with a row is said before a model is loaded.
        processing_class = tokenizer_of(model, processing_class, **how)
        train_dataset, eval_dataset = as_datasets(train_dataset, eval_dataset, processing_class, args)
        model, _ = with_tokenizer(model, processing_class, **how)
        transformers.set_seed(args.seed)  # adapters start from random numbers
        model = with_adapters(model, args, peft_config)
        if not any(weight.requires_grad for weight in model.parameters()):
            raise ValueError("model: none of its weights can be trained; set requires_grad, or use lora=True")
        if args.share_prompt and model.config._attn_implementation not in SHARED:
            raise ValueError(
                f"share_prompt: attention {model.config._attn_implementation!r} takes no mask of its own; "
                "load the model with attention 'sdpa' or 'eager'"
            )
        pad = processing_class.pad_token_id
        super().__init__(
            model=model,
            args=args,
            data_collator=data_collator
            or GroupCollator(processing_class.eos_token_id if pad is None else pad),
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            **options,
        )
        self.model_accepts_loss_kwargs = True
        self.metrics = Metrics(self.accelerator, args.more_negatives)
        self._end = end_of(self.train_dataset, self.eval_dataset)
        if args.share_prompt:
            self._try_sharing()
        if args.needs_reference:
            self._take_reference(reference_model)
        elif reference_model is not None:
            raise ValueError(f"reference_model: loss={args.loss!r} has no reference; leave it out")

    def create_accelerator_and_postprocess(self) -> None:
        """Take mixed precision in hand; accelerate's own widens all logits to float32."""
        super().create_accelerator_and_postprocess()
        accelerator = self.accelerator
        if self.args.fsdp and accelerator.distributed_type != DistributedType.FSDP:
            raise ValueError(
                "fsdp: accelerate shards a model over several accelerators only, and would leave it whole on "
                f"each of these {accelerator.num_processes} ({accelerator.device.type}); leave it out"
            )
        plain = accelerator.distributed_type in (
            DistributedType.NO,
            DistributedType.MULTI_CPU,
            DistributedType.MULTI_GPU,
        )
        self._casts = plain and accelerator.mixed_precision == "bf16"
        if self._casts:
            accelerator.native_amp = False

    def get_train_dataloader(self) -> Any:
        """Return the batches; of streamed groups this process makes its own share, and no other's."""
        if not isinstance(self.train_dataset, StreamedGroups):
            return super().get_train_dataloader()
        return DataLoader(
            self.train_dataset,
            batch_size=self._train_batch_size,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the groups' summed loss over the number of groups in the whole (accumulated) batch."""
        settings, mask = self.args, inputs["mask"]
        positive, negative = inputs["positive"] & mask, ~inputs["positive"] & mask
        loss_of = LOSSES[settings.loss]
        found = self.sequence_logps(model, inputs)
        logps, lengths = _as_grid(found.logps, mask), _as_grid(found.lengths, mask)
        scoring = {
            "mask": mask,
            "lengths": lengths,
            "beta": settings.beta,
            "length_normalized": settings.length_normalized,
            "reference_logps": inputs.get("reference_logps"),
        }
        rewards = inputs["rewards"]
        implied = s = scores(logps, **scoring)
        if settings.alpha:
            s = scores(logps, rewards, alpha=settings.alpha, **scoring)

        def each_loss(of: torch.Tensor) -> torch.Tensor:
            own = {name: getattr(settings, name) for name in loss_of.own}
            return loss_of.function(of, rewards.to(of.dtype), positive, negative, **own)

        each = each_loss(s) + self._regularizers(found, logps, lengths, mask, positive)
        with torch.enable_grad():
            watched = s.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(each_loss(watched).sum(), watched)
        sizes = scores(logps, **{**scoring, "reference_logps": None}).abs()
        figures = of_groups(each, logps, implied, sizes, gradient, positive, negative)
        counted = 0 if inputs.get("repeated") else len(mask)
        self.metrics.add("train" if model.training else "eval", figures[:counted])
        total = each[:counted].sum()
        loss = total / (len(mask) if num_items_in_batch is None else num_items_in_batch)
        if num_items_in_batch is not None and settings.average_tokens_across_devices:
            # Gradients are averaged over the processes, each of which has divided by the groups of all.
            loss = loss * (self.accelerator.num_processes // self.get_tp_size())
        return (loss, found) if return_outputs else loss

    def _regularizers(self, found: ResponseLogps, logps: Any, lengths: Any, mask: Any, positive: Any) -> Any:
        """Return what is added to the groups' losses, shape (B,): the terms of ending and imitating."""
        settings = self.args
        added = torch.zeros(len(mask), dtype=logps.dtype, device=logps.device)
        if settings.sft_weight:
            tokens = logps / lengths.clamp(min=1)
            added = added - settings.sft_weight * (tokens * positive).sum(dim=1) / positive.sum(dim=1)
        if settings.eos_regularizer:
            ends = ending(_as_grid(found.eos_logps, mask), mask, logps.dtype)
            each = None
            if found.ends is not None:
                each = logps.new_full((*mask.shape, found.ends.shape[1]), torch.nan)
                each = each.masked_scatter(mask[:, :, None], found.ends)
            term = end_term(settings.eos_term, ends, lengths, mask, each=each, target=settings.eos_target)
            added = added + settings.eos_regularizer * term
        return added

    def _try_sharing(self) -> None:
        """Refuse `share_prompt` where the group of the longest sequence comes out otherwise."""
        longest = longest_of(self.train_dataset, self.eval_dataset)
        if longest is None:
            return
        batch = self._prepare_inputs(GroupCollator(0)([longest]))
        with reference_model(self.model, self.model) as model:
            plain = self._forward(model, batch)
            refuse_otherwise(plain.logps, lambda: self._forward_shared(model, batch).logps, plain.lengths)

    def _take_reference(self, given: Any) -> None:
        """Give the groups a reference's log-probabilities."""
        if given is not None:
            given = with_tokenizer(given, self.processing_class, device=self.args.device)[0]
        key = weights_fingerprint(self.model if given is None else given)
        key += " without adapters" if given is None and hasattr(self.model, "disable_adapter") else ""
        folder = None if self.args.save_strategy == "no" else Path(self.args.output_dir)
        size = self.args.per_device_eval_batch_size

        with reference_model(self.model, given) as reference:

            def logps_of(groups: Groups) -> list[float]:
                found: list[float] = []
                for start in range(0, len(groups), size):
                    batch = self._prepare_inputs(GroupCollator(0)(groups[start : start + size]))
                    found += self.sequence_logps(reference, batch).logps.tolist()
                return found

            def add(groups: Any) -> Any:
                if isinstance(groups, Mapping):
                    return {name: add(one) for name, one in groups.items()}
                if groups is None:
                    return None
                return with_reference(
                    groups,
                    logps_of,
                    key=key,
                    folder=folder,
                    processes=self.accelerator.num_processes,
                    rank=self.accelerator.process_index,
                )

            for name in ("train_dataset", "eval_dataset"):
                setattr(self, name, add(getattr(self, name)))

    def sequence_logps(self, model: Any, inputs: Mapping[str, Any]) -> ResponseLogps:
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
        if self.args.share_prompt:
            return self._forward_shared(model, inputs)
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
        return rejoined(parts, order.argsort())

    def _forward_shared(self, model: Any, inputs: Mapping[str, Any]) -> ResponseLogps:
        """Run each group as one sequence of its prompt and all its responses."""
        packed = pack(inputs)
        dtype = torch.bfloat16 if self._casts else next(model.parameters()).dtype
        hidden = torch.zeros(packed.attention.shape, dtype=dtype, device=packed.attention.device)
        hidden = hidden.masked_fill(~packed.attention, torch.finfo(dtype).min)
        keep = packed.input_ids.shape[1] - int(packed.places[:, 0].min())
        logits = self._logits(model, packed.input_ids, hidden, keep, position_ids=packed.position_ids)
        return self._logps(unpack(logits, packed), packed.labels)

    def _forward(self, model: Any, batch: Mapping[str, Any]) -> ResponseLogps:
        """Run sequences through the model; logits are made from the last token of the shortest prompt on."""
        tokens, labels = batch["input_ids"], batch["labels"]
        keep = tokens.shape[1] - int(batch["prompt_lengths"].min()) + 1
        logits = self._logits(model, tokens, batch["attention_mask"], keep)
        return self._logps(logits[:, -keep:], labels[:, -keep:])

    def _logits(
        self, model: Any, tokens: torch.Tensor, attention: torch.Tensor, keep: int, **options: Any
    ) -> torch.Tensor:
        """Return the logits of the last tokens, at least `keep` of them."""
        if keeps_logits(model):
            options["logits_to_keep"] = keep
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=self._casts):
            output = model(input_ids=tokens, attention_mask=attention, use_cache=False, **options)
        return cast(torch.Tensor, output.logits)

    def _logps(self, logits: torch.Tensor, labels: torch.Tensor) -> ResponseLogps:
        """Return log-probabilities, and those of ending where the loss has a term on it."""
        end = self._end if self.args.eos_regularizer else None
        every = end is not None and self.args.eos_term == "budget"
        return response_logps(logits, labels, eos_token_id=end, every_end=every)

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
        """Add the metrics of `setwise.preference.training.metrics`; the loss is a mean over groups."""
        self.metrics.drop("eval")
        output = super().evaluation_loop(
            dataloader, description, *arguments, metric_key_prefix=metric_key_prefix, **options
        )
        for name, value in self.metrics.averages("eval", self.args.device).items():
            output.metrics[f"{metric_key_prefix}_{name}"] = value
        return output

    def log(self, logs: dict[str, float], *arguments: Any, **options: Any) -> None:
        """Add the metrics since the last log to a training step's."""
        if "loss" in logs:
            averages = self.metrics.averages("train", self.args.device)
            averages.pop("loss", None)  # the Trainer has its own, over the same groups
            logs.update(averages)
        super().log(logs, *arguments, **options)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> torch.Tensor | None:
        """Count the groups of an accumulated batch, over all processes, each once."""
        if not batch_samples:
            return None
        state = self.accelerator.gradient_state
        if state.end_of_dataloader and state.remainder > 0:
            # accelerate has filled up the last batches, in the order of the processes, by an epoch's first.
            last = batch_samples[-1]
            before = self.accelerator.process_index * len(last["mask"])
            batch_samples[-1] = first_groups(last, state.remainder - before)
        own = sum(len(batch["mask"]) for batch in batch_samples if not batch.get("repeated"))
        count = torch.tensor(own, device=device)
        if self.args.average_tokens_across_devices and self.args.world_size > 1:
            count = self.accelerator.gather(count).sum() / self.get_tp_size()
        return count.clamp(min=1)


def _as_grid(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Lay R values out over the True cells of a mask (B, G); 0 elsewhere."""
    return values.new_zeros(mask.shape).masked_scatter(mask, values)
