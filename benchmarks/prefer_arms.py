"""The arms of benchmarks/prefer_policy.py: how each chooses its rows, and what trainer learns from them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from setwise.preference import PreferenceConfig, PreferenceRows
from setwise.preference.training.trainer import PreferenceTrainer


@dataclass(frozen=True)
class Arm:
    """What is trained.

    Attributes
    ----------
    trainer : {"setwise", "trl-dpo", "trl-simpo", "trl-grpo"}
    method : str
        How the negatives are chosen; "" where the trainer draws responses of its own.
    k : int
        Negatives a prompt.
    positives : int
        Positives a prompt at most.
    """

    trainer: str
    method: str
    k: int = 3
    positives: int = 1


#: All arms. Those of setwise train with the loss "refa" and its default beta.
ARMS: dict[str, Arm] = {
    "DPO (TRL), best-vs-worst": Arm("trl-dpo", "best-vs-worst", 1),
    "SimPO (TRL), best-vs-worst": Arm("trl-simpo", "best-vs-worst", 1),
    "best-vs-worst": Arm("setwise", "best-vs-worst", 1),
    "GRPO (TRL)": Arm("trl-grpo", ""),
    "random": Arm("setwise", "random"),
    "sigma": Arm("setwise", "sigma"),
    "bottom-k": Arm("setwise", "bottom-k"),
    "coreset": Arm("setwise", "coreset"),
    "opt-select": Arm("setwise", "opt-select"),
}


@dataclass(frozen=True)
class Schedule:
    """How long and how fast every arm of a setting is trained.

    Attributes
    ----------
    tokens : int
        Of prompts and responses that gradients are computed for, a prompt counted with each of its responses;
        the update that reaches so many is the last.
    sequences : int
        Responses an update.
    learning_rate : float
        Constant.
    layers : tuple of int
        Layers that get adapters of rank 8; none: all weights are trained.
    """

    tokens: int
    sequences: int
    learning_rate: float
    layers: tuple[int, ...] = ()


class Budget(transformers.TrainerCallback):  # type: ignore[misc]
    """Ends a training once gradients have been computed for so many tokens, whatever trainer it is."""

    def __init__(self, model: Any, tokens: int) -> None:
        self.seen = self.updates = 0
        self._tokens = tokens
        self._hook = model.get_decoder().register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, _module: Any, _arguments: Any, named: Mapping[str, Any]) -> None:
        if torch.is_grad_enabled():
            self.seen += int(named["attention_mask"].sum())

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop where the tokens are used up."""
        self.updates += 1
        if self.seen >= self._tokens:
            control.should_training_stop = True
            self._hook.remove()


def rows_of(arm: Arm, pools: Sequence[Mapping[str, Any]], *, encoder: str, seed: int) -> list[dict[str, Any]]:
    """Return an arm's groups, or pairs for TRL's trainers, of pools with rewards."""
    options: dict[str, Any] = {"positives": arm.positives, "split": "mean"} if arm.positives > 1 else {}
    form = "pairs" if arm.trainer.startswith("trl") else "groups"
    chosen = PreferenceRows(
        pools, arm.k, method=arm.method, model=encoder, too_few="skip", seed=seed, format=form, **options
    )
    return list(chosen)


def fit(
    arm: Arm,
    start: Any,
    words: Any,
    rows: Sequence[Mapping[str, Any]],
    *,
    prompts: Sequence[Mapping[str, Any]],
    reward: Callable[[list[Any], list[str]], Sequence[float]] | None,
    sampling: Mapping[str, Any],
    schedule: Schedule,
    gamma: float,
    seed: int,
    folder: Path,
) -> tuple[Any, dict[str, int]]:
    """Return a copy of the start, trained, and how many tokens and updates that took.

    Parameters
    ----------
    arm, start, words
        What is trained, on what model, with what tokenizer.
    rows : sequence of mapping
        What `rows_of` returns; not looked at where the trainer draws responses of its own.
    prompts, reward, sampling
        What it then draws them for, how they are rewarded, and ``responses``, ``temperature`` and
        ``max_new_tokens``.
    schedule : Schedule
    gamma : float
        Weight of the negatives in setwise's arms.
    seed : int
    folder : Path
        For what trainers write.
    """
    model, peft = copy.deepcopy(start), None
    if schedule.layers:
        import peft as adapters

        peft = adapters.LoraConfig(
            task_type="CAUSAL_LM",
            r=8,
            lora_alpha=16,
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
            layers_to_transform=list(schedule.layers),
        )
    budget = Budget(model, schedule.tokens)
    common: dict[str, Any] = {
        "output_dir": str(folder),
        "learning_rate": schedule.learning_rate,
        "lr_scheduler_type": "constant",
        "max_steps": 10_000,  # the budget ends it
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": start.device.type == "cpu",
        "bf16": False,
        "seed": seed,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if arm.trainer == "setwise":
            groups = max(1, schedule.sequences // (1 + arm.k))
            config = PreferenceConfig(**common, per_device_train_batch_size=groups, gamma=gamma)
            trainer: Any = PreferenceTrainer(
                model,
                config,
                train_dataset=rows,
                processing_class=words,
                peft_config=peft,
                callbacks=[budget],
            )
        else:
            common["gradient_checkpointing"] = False
            trainer = _of_trl(
                arm, model, start, words, rows, prompts, reward, sampling, schedule, peft, common, budget
            )
        trainer.train()
    return trainer.model, {"trained_tokens": budget.seen, "updates": budget.updates}


def _of_trl(
    arm: Arm,
    model: Any,
    start: Any,
    words: Any,
    rows: Sequence[Mapping[str, Any]],
    prompts: Sequence[Mapping[str, Any]],
    reward: Any,
    sampling: Mapping[str, Any],
    schedule: Schedule,
    peft: Any,
    common: dict[str, Any],
    budget: Budget,
) -> Any:
    """Return one of TRL's trainers, at its own defaults but for what all arms share."""
    import datasets
    import trl

    rest = {"processing_class": words, "peft_config": peft, "callbacks": [budget]}
    if arm.trainer == "trl-grpo":
        count = sampling["responses"]
        size = min(schedule.sequences, count)
        config = trl.GRPOConfig(
            **common,
            per_device_train_batch_size=size,
            generation_batch_size=max(count, schedule.sequences),
            num_generations=count,
            temperature=sampling["temperature"],
            max_completion_length=sampling["max_new_tokens"],
        )

        def rewards(prompts: list[Any], completions: list[Any], **_: Any) -> list[float]:
            texts = [one if isinstance(one, str) else one[-1]["content"] for one in completions]
            return [float(one) for one in reward(prompts, texts)]

        asked = datasets.Dataset.from_list([{"prompt": row["prompt"]} for row in prompts])
        return trl.GRPOTrainer(model, rewards, config, train_dataset=asked, **rest)
    # TRL puts texts one after the other and tokenizes the whole: words need the space between them.
    pairs = datasets.Dataset.from_list(
        [
            {
                "prompt": row["prompt"] + " " if isinstance(row["prompt"], str) else row["prompt"],
                "chosen": row["chosen"],
                "rejected": row["rejected"],
            }
            for row in rows
        ]
    )
    common["per_device_train_batch_size"] = schedule.sequences // 2
    if arm.trainer == "trl-dpo":
        reference = None if peft is not None else copy.deepcopy(start)
        return trl.DPOTrainer(model, reference, trl.DPOConfig(**common), train_dataset=pairs, **rest)
    from trl.experimental.cpo import CPOConfig, CPOTrainer

    words = copy.deepcopy(words)
    words.pad_token = words.pad_token or words.eos_token
    if words.chat_template is None:
        words.bos_token = None  # it would be put before every prompt, and the toy has not seen it
    rest["processing_class"] = words
    config = CPOConfig(**common, loss_type="simpo", cpo_alpha=0.0, beta=2.5, simpo_gamma=1.375)
    return CPOTrainer(model=model, args=config, train_dataset=pairs, **rest)
