"""A checkpoint: a LoRA adapter, the learning rate that led to it, and the optimizer's moments there."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from setwise.encode.gradients.adapter import trainable
from setwise.extras import require
from setwise.files.checksums import digest
from setwise.files.folder import FolderFormat, FolderInfo

CONFIG, ADAPTER, MOMENTS = FILES = ("adapter_config.json", "adapter_model.safetensors", "moments.safetensors")


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo(FolderInfo):
    """What ``meta.json`` says of a checkpoint: see `Checkpoint`."""

    learning_rate: float
    step: int
    betas: Sequence[float]
    epsilon: float


FORMAT = FolderFormat(
    noun="checkpoint",
    version=2,
    info=CheckpointInfo,
    files=FILES,
    make="warm_up and save_checkpoint make one",
    again="make it again with warm_up or save_checkpoint",
)


@dataclass(frozen=True)
class Checkpoint:
    """A saved adapter, and what LESS needs to know of the training that made it.

    Attributes
    ----------
    folder : Path
        Holds the adapter as peft saves it, and the moments.
    learning_rate : float
        Above 0: the weight of this checkpoint's gradients. LESS takes the mean over the epoch.
    step : int
        Steps the optimizer had done.
    betas : tuple of two floats
        Adam's decay rates.
    epsilon : float
    has_moments : bool
        Without them there are no features of training rows.
    checksum : str
        Of the files.
    """

    folder: Path
    learning_rate: float
    step: int
    betas: tuple[float, float]
    epsilon: float
    has_moments: bool
    checksum: str

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Checkpoint:
        """Open a checkpoint that `save_checkpoint` or `warm_up` wrote, checking its files.

        Raises
        ------
        FileNotFoundError, ValueError
            There is none, or it is damaged.
        """
        path, info = FORMAT.read(folder, contents=FILES)
        if missing := [name for name in (CONFIG, ADAPTER) if name not in info.files]:
            raise FORMAT.damaged(folder, f"{missing[0]} is missing")
        return cls(
            folder=path,
            learning_rate=info.learning_rate,
            step=info.step,
            betas=(info.betas[0], info.betas[1]),
            epsilon=info.epsilon,
            has_moments=MOMENTS in info.files,
            checksum=digest(info.files),
        )

    def wrap(self, model: Any) -> Any:
        """Return a model with this adapter in it, its weights requiring gradients and dropout off.

        Raises
        ------
        ValueError
            The adapter is another model's.
        """
        peft = require("peft", "train", "a gradient encoder")
        safetensors = require("safetensors.torch", "train", "a gradient encoder")
        saved = safetensors.load_file(self.folder / ADAPTER)
        config = peft.PeftConfig.from_pretrained(str(self.folder))
        config.inference_mode = False
        try:
            wrapped = peft.get_peft_model(model, config)
            # Peft only warns of weights that are missing or too many.
            if set(saved) != set(trainable(wrapped)):
                raise ValueError("its layers are others")
            peft.set_peft_model_state_dict(wrapped, saved)
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise ValueError(
                f"checkpoints: the adapter in {str(self.folder)!r} does not fit the model ({reason})"
            ) from None
        return wrapped.eval()

    def direction(self, gradient: Any, m: Any, v: Any) -> Any:
        """Return where Adam's next step would go if ``gradient`` were its gradient, shape (D,).

        LESS, section 3.1: m̂ / (√v̂ + ε), where m̂ = (β₁ m + (1 - β₁) g) / (1 - β₁ᵗ) and v̂ likewise with g², t
        being the number of the next step.
        """
        one, two = self.betas
        first = (one * m + (1 - one) * gradient) / (1 - one ** (self.step + 1))
        second = (two * v + (1 - two) * gradient**2) / (1 - two ** (self.step + 1))
        return first / (second.sqrt() + self.epsilon)

    def check_moments(self) -> None:
        """Refuse a checkpoint that has no moments.

        Raises
        ------
        ValueError
            It has none.
        """
        if not self.has_moments:
            raise ValueError(
                f"checkpoints: {str(self.folder)!r} has no moments of an optimizer, which features of "
                "training rows need; pass the optimizer to save_checkpoint, or ask for kind='target'"
            )

    def moments(self, weights: Mapping[str, Any], device: Any) -> tuple[Any, Any]:
        """Return Adam's moments m and v in the order of ``weights``, two tensors of shape (D,), float32.

        Raises
        ------
        ValueError
            There are none, or they are of other weights.
        """
        self.check_moments()
        torch = require("torch", "train", "a gradient encoder")
        safetensors = require("safetensors.torch", "train", "a gradient encoder")
        saved = safetensors.load_file(self.folder / MOMENTS)
        if set(saved) != {f"{moment}.{name}" for moment in "mv" for name in weights}:
            raise ValueError(f"checkpoints: the moments in {str(self.folder)!r} are of other weights")
        m, v = (torch.cat([saved[f"{moment}.{name}"].reshape(-1) for name in weights]) for moment in "mv")
        return m.to(device), v.to(device)


def save_checkpoint(
    folder: str | os.PathLike[str],
    model: Any,
    optimizer: Any = None,
    *,
    learning_rate: float | None = None,
    force: bool = False,
) -> Checkpoint:
    """Save a checkpoint of your own training, for a `GradientEncoder`.

    Parameters
    ----------
    folder : path-like
        Appears whole or not at all.
    model : peft.PeftModel
        With a LoRA adapter that is being trained.
    optimizer : torch.optim.Adam or AdamW, optional
        Without it the checkpoint serves target rows only.
    learning_rate : float, optional
        Above 0; the optimizer's own, if there is one. LESS takes the mean over the epoch.
    force : bool
        Replace a checkpoint that is there.

    Raises
    ------
    FileExistsError
        The folder is there and ``force`` is not given.
    TypeError, ValueError
        The model has no adapter that is being trained, the optimizer keeps no moments or has done no step, or
        no learning rate is known.
    """
    peft = require("peft", "train", "a checkpoint")
    safetensors = require("safetensors.torch", "train", "a checkpoint")
    if not isinstance(model, peft.PeftModel):
        raise TypeError(f"model: expected a peft.PeftModel, got {type(model).__name__}")
    weights = trainable(model)
    if not weights:
        raise ValueError("model: no weight of its adapter is being trained; load it with is_trainable=True")
    if learning_rate is None:
        if optimizer is None:
            raise ValueError("learning_rate: needed where no optimizer is given")
        learning_rate = float(optimizer.param_groups[0]["lr"])
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ValueError(f"learning_rate: {learning_rate} is not above 0")
    facts: dict[str, Any] = {
        "learning_rate": learning_rate,
        "step": 0,
        "betas": [0.9, 0.999],
        "epsilon": 1e-8,
    }
    moments: dict[str, Any] = {}
    if optimizer is not None:
        moments, told = _moments(optimizer, weights)
        facts |= told
    with FORMAT.new_folder(folder, force=force, argument="folder") as part:
        model.peft_config[model.active_adapter].save_pretrained(str(part))
        adapter = {
            name: tensor.contiguous()
            for name, tensor in peft.get_peft_model_state_dict(model, save_embedding_layers=False).items()
        }
        safetensors.save_file(adapter, part / ADAPTER)
        if moments:
            safetensors.save_file(moments, part / MOMENTS)
        FORMAT.write(part, facts)
    return Checkpoint.load(folder)


def _moments(optimizer: Any, weights: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an Adam optimizer's moments by name, and its step, betas and epsilon."""
    saved, steps = {}, set()
    for name, weight in weights.items():
        state = optimizer.state.get(weight, {})
        if not {"exp_avg", "exp_avg_sq", "step"} <= set(state):
            raise ValueError(
                f"optimizer: it has no moments of {name}; it must be Adam or AdamW and have done a step"
            )
        saved[f"m.{name}"] = state["exp_avg"].detach().float().contiguous()
        saved[f"v.{name}"] = state["exp_avg_sq"].detach().float().contiguous()
        steps.add(int(state["step"]))
    group = optimizer.param_groups[0]
    told = {
        "step": max(steps),
        "betas": [float(beta) for beta in group["betas"]],
        "epsilon": float(group["eps"]),
    }
    return saved, told
