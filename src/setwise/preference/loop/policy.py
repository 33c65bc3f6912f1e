"""The model that a run trains: where it stands, and how it is kept and brought back."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from setwise.encode import models
from setwise.extras import require
from setwise.preference.loop.stages import Iteration, Row


class Policy:
    """A causal language model, or an adapter on one, and how many trainings it has behind it.

    Parameters
    ----------
    model : str, path-like, transformers.PreTrainedModel or peft.PeftModel
    tokenizer : transformers.PreTrainedTokenizerBase, optional
        Needed where ``model`` is not a name.
    dtype : str
        As in `setwise.preference.load_model`, of a model given by name.
    loading : mapping, optional
        Further arguments of `setwise.preference.load_model`.

    Raises
    ------
    FileNotFoundError, ImportError, TypeError, ValueError
        `setwise.encode.models.with_tokenizer` refuses the model.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        *,
        dtype: str = "float32",
        loading: Mapping[str, Any] | None = None,
    ) -> None:
        self._name = os.fspath(model) if isinstance(model, str | os.PathLike) else None
        self.model, self.tokenizer = models.with_tokenizer(model, tokenizer, dtype=dtype, loading=loading)
        self._device = self.model.device
        self._trained = 0
        #: A hash of the parameters as they are before the first training.
        self.weights = models.weights_fingerprint(self.model)
        self._expected = self.weights

    @property
    def architecture(self) -> str:
        """What kind of model it is, and how large; of one with adapters, with them."""
        count = sum(parameter.numel() for parameter in self.model.parameters())
        return f"{type(self.model).__name__}, {count:,} parameters"

    def settle(self, device: Any) -> None:
        """Move a model that is not on an accelerator yet to where it will be trained.

        Otherwise the trainer would do so after the first responses, and a run that goes on, whose model is
        read before any training, would draw the next ones on another device than the run that it continues.
        """
        if self._device.type == "cpu" and device.type != "cpu":
            self.model.to(device)
            self._device = self.model.device

    def expect(self, weights: str) -> None:
        """Remember what the parameters were when the run was started."""
        self._expected = weights

    def at(self, trainings: int, checkpoint: Path | None) -> Any:
        """Return the model as it is after so many trainings, read from a checkpoint where it is not so now.

        Raises ValueError: the parameters are not those that the run started from.
        """
        started = self._trained > 0 or self.weights == self._expected
        if trainings == self._trained and started:
            return self.model
        if checkpoint is None or (_is_adapter(checkpoint) and not started):
            raise ValueError(
                "model: its weights are not those that the run in `out` started from; load the model anew, "
                "or take another folder for `out`"
            )
        if _is_adapter(checkpoint):
            self._read_adapter(checkpoint)
        else:
            self._read_model(checkpoint)
        self._trained = trainings
        return self.model

    def train(self, rows: Sequence[Row], settings: Any, tell: Callable[[int, int], object]) -> Row:
        """Train on groups, from the last checkpoint in the settings' folder if one was left there.

        Parameters
        ----------
        rows : sequence of dict
            As `setwise.preference.train` takes them.
        settings : PreferenceConfig
        tell : callable
            Called with the optimizer's steps done and all steps.

        Returns
        -------
        dict
            ``loss`` (mean over the training) and ``steps``.
        """
        from transformers import PrinterCallback

        from setwise.preference.training import PreferenceTrainer
        from setwise.preference.training.run import Steps, last_checkpoint, nothing_half

        trainer = PreferenceTrainer(
            self.model, settings, train_dataset=rows, processing_class=self.tokenizer, callbacks=[Steps(tell)]
        )
        trainer.remove_callback(PrinterCallback)
        begun = last_checkpoint(Path(settings.output_dir))
        with nothing_half(Path(settings.output_dir)):
            output = trainer.train(resume_from_checkpoint=None if begun is None else str(begun))
        # What mixed precision wrapped around the model's forward pass comes off again.
        self.model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
        self._device = self.model.device
        self._trained += 1
        return {"loss": float(output.training_loss), "steps": int(output.global_step)}

    def save(self, folder: Path) -> None:
        """Write the model, or its adapter, and the tokenizer."""
        with models.quietly():
            self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def on_disk(self, checkpoint: Path | None, first: Iteration) -> tuple[str, Path | None]:
        """Return where an engine of its own reads the model from, and its adapter, if it has one.

        ``checkpoint`` is that of the last training, None before it; ``first`` keeps a model without a name.
        """
        if checkpoint is not None and not _is_adapter(checkpoint):
            return str(checkpoint), None
        if self._name is not None:
            return models.locate(self._name), checkpoint
        if _is_adapted(self.model):
            raise ValueError(
                "model: engine='vllm' reads it from disk, so name it, or pass it without an adapter"
            )
        if not (first.folder / "base").exists():
            first.write_folder("base", self.save)
        return str(first.folder / "base"), checkpoint

    def on_gpu(self) -> bool:
        """Return whether there is a GPU that training would use."""
        return bool(require("torch", "train", "training").cuda.is_available())

    def leave_gpu(self) -> None:
        """Make room for an engine of its own; `return_to_gpu` brings the model back."""
        self.model.to("cpu")

    def return_to_gpu(self) -> None:
        """Put the model where it was at the start."""
        self.model.to(self._device)

    def _read_adapter(self, folder: Path) -> None:
        peft = require("peft", "train", "reading an adapter")
        if _is_adapted(self.model):
            weights = peft.utils.load_peft_weights(str(folder), device="cpu")
            peft.utils.set_peft_model_state_dict(self.model, weights)
        else:
            self.model = peft.PeftModel.from_pretrained(self.model, str(folder), is_trainable=True)

    def _read_model(self, folder: Path) -> None:
        with models.quietly():
            kept = type(self.model).from_pretrained(str(folder), dtype=self.model.dtype)
        self.model.load_state_dict(kept.state_dict())


def _is_adapted(model: Any) -> bool:
    return hasattr(model, "peft_config")


def _is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").is_file()
