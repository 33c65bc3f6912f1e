"""Training on groups of responses: rows in, a trained model and its metrics out."""
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import transformers

from setwise.files.parts import room_for
from setwise.preference.training.config import PreferenceConfig
from setwise.preference.training.groups import Groups
from setwise.preference.training.trainer import PreferenceTrainer

#: Files that say a folder holds a model already.
_MODEL_FILES = ("config.json", "adapter_config.json", "model.safetensors", "adapter_model.safetensors")

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


class Steps(transformers.TrainerCallback):
    """Tells the optimizer's steps done, and all steps."""

    def __init__(self, tell: Callable[[int, int], object]) -> None:
        self._tell = tell

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Tell where the training starts."""
        self._tell(state.global_step, state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Tell a step."""
        self._tell(state.global_step, state.max_steps)


def train(
    model: Any,
    rows: str | os.PathLike[str] | Iterable[Mapping[str, Any]] | Groups,
    config: PreferenceConfig | None = None,
    *,
    tokenizer: Any = None,
    eval_rows: Any = None,
    resume: bool | str | os.PathLike[str] = False,
    peft_config: Any = None,
    reference_model: Any = None,
    progress: Callable[[int, int], object] | None = None,
) -> PreferenceTrainer:
    """Train a model on groups of responses, and save it in ``config.output_dir``.

    Parameters
    ----------
    model : transformers.PreTrainedModel, peft.PeftModel or str
        As in `PreferenceTrainer`.
    rows : path-like, iterable of mapping, or Groups
        A file, or rows, each with ``prompt`` (a text or messages) and either ``chosen`` (a response, or
        several), ``rejected`` (responses) and ``rewards`` (the chosen's, then the rejected's), or
        ``responses`` and ``rewards``. A `datasets.Dataset`, a list, or what ``setwise prefer select`` writes.
    config : PreferenceConfig, optional
    tokenizer : transformers.PreTrainedTokenizerBase, optional
        By default the one saved with the model.
    eval_rows : iterable of mapping, mapping of names to such, or Groups, optional
        Rows to evaluate on; when, `config.eval_strategy` says, and by default once, at the end.
    resume : bool or path
        Go on from the last checkpoint in ``config.output_dir``, or from that checkpoint. A resumed run ends
        as an uninterrupted one does.
    peft_config : peft.PeftConfig, optional
    reference_model : transformers.PreTrainedModel or str, optional
        As in `PreferenceTrainer`.
    progress : callable, optional
        Called with the optimizer's steps done, and all steps.

    Returns
    -------
    PreferenceTrainer
        With the trained ``.model``, and all that was logged in ``.state.log_history``.

    Raises
    ------
    TypeError, ValueError
        `PreferenceTrainer` refuses the model or the rows.
    NotADirectoryError, ValueError
        The output folder is a file, or holds a model or a checkpoint already; or, with `resume`, there is no
        checkpoint.
    """
    config = PreferenceConfig() if config is None else config
    if not isinstance(config, PreferenceConfig):
        raise TypeError(f"config: expected a PreferenceConfig, got {type(config).__name__}")
    start = _checkpoint(config, resume)
    if tokenizer is None and not isinstance(model, str | os.PathLike):
        tokenizer = _saved_tokenizer(model)
    place = Path(config.output_dir or "trainer_output")  # transformers' own name for it
    with nothing_half(place):
        trainer = PreferenceTrainer(
            model,
            config,
            train_dataset=rows,
            eval_dataset=eval_rows,
            processing_class=tokenizer,
            peft_config=peft_config,
            reference_model=reference_model,
            callbacks=[] if progress is None else [Steps(progress)],
        )
        trainer.train(resume_from_checkpoint=start)
        if eval_rows is not None and config.eval_strategy == "no":
            trainer.evaluate()
        if config.save_strategy != "no":
            with nothing_half(place, files=True):
                trainer.save_model()
                trainer.save_state()
    return trainer


def _checkpoint(config: PreferenceConfig, resume: bool | str | os.PathLike[str]) -> str | None:
    """Return the checkpoint to go on from, having checked that nothing is overwritten."""
    folder = Path(config.output_dir)
    if folder.is_file():
        raise NotADirectoryError(f"output_dir: {str(folder)!r} is a file; name a folder")
    found = last_checkpoint(folder)
    if resume is False:
        held = found or next((folder / name for name in _MODEL_FILES if (folder / name).exists()), None)
        if held is not None:
            raise ValueError(
                f"output_dir: {str(folder)!r} holds {held.name} already; add --resume (resume=True), or "
                "name another folder"
            )
        return None
    if resume is True:
        if found is None:
            raise ValueError(f"resume: no checkpoint in {str(folder)!r}; leave resume out to start anew")
        return str(found)
    if not Path(resume).is_dir():
        raise ValueError(f"resume: no checkpoint {os.fspath(resume)!r}")
    return os.fspath(resume)


@contextlib.contextmanager
def nothing_half(folder: Path, *, files: bool = False) -> Iterator[None]:
    """Remove what training has half written into a folder where it ends in an error.

    That are checkpoints that are not whole, with ``files`` also files that were not there before, and the
    folder if it was not there and nothing is left in it.

    Raises NoRoom: the disk is full.
    """
    fresh = not folder.exists()
    before = set() if fresh else set(folder.iterdir())
    try:
        with room_for(folder):
            yield
    except BaseException:
        for one in [] if not folder.is_dir() else list(folder.iterdir()):
            if _CHECKPOINT.fullmatch(one.name):
                if not _is_whole(one):
                    shutil.rmtree(one, ignore_errors=True)
            elif files and one.is_file() and one not in before:
                one.unlink(missing_ok=True)
        if fresh:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def last_checkpoint(folder: Path) -> Path | None:
    """Return the last checkpoint that is whole; a run may have been killed that wrote another."""
    found = {int(name[1]): one for one in folder.glob("*") if (name := _CHECKPOINT.fullmatch(one.name))}
    return next((found[number] for number in sorted(found, reverse=True) if _is_whole(found[number])), None)


def _is_whole(checkpoint: Path) -> bool:
    """Return whether a checkpoint has its state, which is written last."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_bytes())
    except (OSError, ValueError):
        return False
    return True


def _saved_tokenizer(model: Any) -> Any:
    """Return the tokenizer of the folder or name that a model was loaded from."""
    name = getattr(getattr(model, "config", None), "_name_or_path", "")
    if not name:
        raise ValueError("tokenizer: the model was not loaded from a folder or a name; pass its tokenizer")
    return transformers.AutoTokenizer.from_pretrained(name)
