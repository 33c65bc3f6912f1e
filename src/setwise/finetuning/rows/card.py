"""The card of a folder of epochs: Hugging Face ``datasets`` loads the epochs in order, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from setwise.files.writing import write_atomic

CARD = "README.md"


def write_card(folder: Path, names: Sequence[str]) -> None:
    """Write the card of some files: all in their order as split "train", and each a split of "epochs".

    Where there are none, there is no card either.
    """
    if not names:
        (folder / CARD).unlink(missing_ok=True)
        return
    whole = "".join(f"    - {name}\n" for name in names)
    each = "".join(f"  - split: {Path(name).stem.replace('-', '_')}\n    path: {name}\n" for name in names)
    text = f"""---
configs:
- config_name: default
  data_files:
  - split: train
    path:
{whole}- config_name: epochs
  data_files:
{each}---

Rows in the order in which to train on them, an epoch a file; `meta.json` says how they were drawn.

`load_dataset(folder, split="train")` has all epochs one after the other, and
`load_dataset(folder, "epochs", split="epoch_1")` one of them. Train without shuffling.
"""
    write_atomic(folder / CARD, lambda stream: stream.write(text.encode()), force=True)
