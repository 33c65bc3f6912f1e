"""Log-probabilities of a reference model: taken once, before training, and kept beside the checkpoints."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object

from setwise.files.arrays import DAMAGED_ARCHIVE, read_archive
from setwise.files.writing import write_atomic
from setwise.preference.training.groups import Groups

#: The file that keeps them, in the folder of the run.
NAME = "reference_logps.npz"


@contextlib.contextmanager
def reference_model(model: Any, given: Any) -> Iterator[Any]:
    """Yield the model that others are compared with, in evaluation and without gradients.

    Parameters
    ----------
    model : transformers.PreTrainedModel or peft.PeftModel
        The one to train, as it is before training: it is its own reference, without its adapters if it has
        any.
    given : transformers.PreTrainedModel or None
        A reference of its own.
    """
    chosen = model if given is None else given
    off = chosen.disable_adapter() if given is None and hasattr(chosen, "disable_adapter") else None
    training = chosen.training
    chosen.eval()
    try:
        with torch.no_grad(), off or contextlib.nullcontext():
            yield chosen
    finally:
        chosen.train(training)


def with_reference(
    groups: Groups,
    logps_of: Callable[[Groups], list[float]],
    *,
    key: str,
    folder: Path | None,
    processes: int = 1,
    rank: int = 0,
) -> Groups:
    """Return groups with a reference's log-probability of each response.

    Parameters
    ----------
    logps_of : callable
        Gets groups; returns the log-probabilities of all their responses, one after the other.
    key : str
        What they depend on beside the tokens.
    folder : Path, optional
        Where they are kept, and read from where they were kept before.
    processes, rank : int
        Each process takes its share.
    """
    digest = _digest(groups, key)
    kept = _read(folder, digest) if folder is not None else None
    if kept is None:
        mine = Groups([group for place, group in enumerate(groups) if place % processes == rank])
        found = np.asarray(logps_of(mine) if len(mine) else [], np.float64)
        ends = np.cumsum([len(group.responses) for group in mine], dtype=np.int64)
        parts = [(rank + processes * place, part) for place, part in enumerate(np.split(found, ends)[:-1])]
        parts = sorted(gather_object(parts), key=lambda one: one[0])
        kept = np.concatenate([part for _, part in parts])
        if folder is not None and rank == 0:
            _write(folder, digest, kept)
    ends = np.cumsum([len(group.responses) for group in groups], dtype=np.int64)
    return groups.with_reference(np.split(kept, ends)[:-1])


def _digest(groups: Groups, key: str) -> str:
    digest = hashlib.blake2b(key.encode(), digest_size=16)
    for group in groups:
        for tokens in (group.prompt, *group.responses):
            digest.update(len(tokens).to_bytes(4, "little") + np.ascontiguousarray(tokens, "<i4").tobytes())
    return digest.hexdigest()


def _read(folder: Path, digest: str) -> np.ndarray[Any, Any] | None:
    """Return what was kept under a digest; None where nothing was, or not whole."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        kept = read_archive(path).get(digest)
        return None if kept is None else np.asarray(kept, np.float64)
    except DAMAGED_ARCHIVE:
        return None


def _write(folder: Path, digest: str, values: np.ndarray[Any, Any]) -> None:
    """Keep values beside what is kept there already."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    others: dict[str, Any] = {}
    with contextlib.suppress(*DAMAGED_ARCHIVE):
        others = read_archive(path)
    write_atomic(path, lambda stream: np.savez(stream, **{**others, digest: values}), force=True)
