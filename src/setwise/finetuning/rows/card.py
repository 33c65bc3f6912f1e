"""The card of a folder of epochs: Hugging Face ``datasets`` loads the epochs in order, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from setwise.files.checksums import digest
from setwise.files.writing import write_atomic

CARD = "README.md"


def write_card(folder: Path, names: Mapping[str, Mapping[str, Any]], schema: Any = None) -> None:
    """Write the card of measured files: all in their order as split "train", and each a split of "epochs".

    Where there are none, there is no card either. With an Arrow schema it says what all files' columns are:
    ``datasets`` takes those of lines of JSON from the first, and ends at an entry that only others have. It
    keeps what it has read by the folder's name and the card alone: a description tells other rows apart.
    """
    if not names:
        (folder / CARD).unlink(missing_ok=True)
        return
    whole = "".join(f"    - {name}\n" for name in names)
    numbers = [int(Path(name).stem.removeprefix("epoch-")) for name in names]
    splits = zip(numbers, names, strict=True)
    each = "".join(f"  - split: epoch_{number}\n    path: {name}\n" for number, name in splits)
    rows = digest({name: facts["blake2b"] for name, facts in names.items()})
    info = "" if schema is None else _info(schema)
    text = f"""---
configs:
- config_name: default
  description: "{rows}"
  data_files:
  - split: train
    path:
{whole}- config_name: epochs
  description: "{rows}"
  data_files:
{each}{info}---

Rows in the order in which to train on them, an epoch a file; `.meta.json` says how they were drawn.

`load_dataset(folder, split="train")` has all epochs one after the other, and
`load_dataset(folder, "epochs", split="epoch_1")` one of them. Train without shuffling.
"""
    write_atomic(folder / CARD, lambda stream: stream.write(text.encode()), force=True)


def _info(schema: Any) -> str:
    """Return what the columns of both configurations are, as `datasets` spells it; of other types nothing."""
    try:
        columns = [{"name": one.name, **_feature(one.type)} for one in schema]
    except KeyError:
        return ""
    features = json.dumps(columns, ensure_ascii=False)
    lines = (f"- config_name: {name}\n  features: {features}\n" for name in ("default", "epochs"))
    return "dataset_info:\n" + "".join(lines)


#: Types of values in JSON, and their names in `datasets`.
_NAMES = {one: one for one in ("int64", "string", "bool", "null")} | {"double": "float64"}


def _feature(kind: Any) -> dict[str, Any]:
    """Return a type as `datasets` spells it, a mapping of one entry.

    Raises KeyError: JSON has no such values.
    """
    if hasattr(kind, "value_type"):
        (inner, of), *_ = _feature(kind.value_type).items()
        return {"list": of if inner in ("dtype", "struct") else {inner: of}}
    if hasattr(kind, "fields"):
        return {"struct": [{"name": one.name, **_feature(one.type)} for one in kind.fields]}
    return {"dtype": _NAMES[str(kind)]}
