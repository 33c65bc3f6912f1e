"""Which files a repository is: one, a folder's, or those of a dataset's training split."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from setwise.files import TABLES
from setwise.files.corpus import why_not
from setwise.files.names import ending
from setwise.files.reading import JSON, KNOWN

#: What datasets call their splits, anywhere in a file's name where no letter is beside it (as `datasets`
#: reads names); the training split is the repository, where it is called so.
_SPLITS = re.compile(
    r"(?<![a-z])(train|training|test|testing|validation|valid|val|dev|eval|evaluation)(?![a-z])",
    re.IGNORECASE,
)
_TRAIN = ("train", "training")

#: How the hub names the files of a split: what stands before is all of its name, as in "train_sft".
_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}(-[0-9a-f]+)?")

#: JSON files that describe a dataset and hold none of its rows.
_ABOUT = ("dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json", "meta.json")


def files_of(source: Path, argument: str) -> tuple[list[Path], str]:
    """Return the files of a repository, in name order, and what was left out of its folder, in words.

    Of a folder without tables its one folder inside counts, or "data", or "train" (a dataset as
    downloaded from the Hugging Face hub, or as saved by ``save_to_disk``); of splits the training split.
    Links are followed to files within the folder (of the hub's cache: within the dataset) alone.

    Raises ValueError: a file is no table; a folder holds none, tables of two kinds, or several folders of
    them.
    """
    if not source.is_dir():
        if ending(source) not in TABLES:
            raise ValueError(f"{argument}: {source.name!r} ends in none of {KNOWN}, and is no folder")
        return [source], ""
    named, passed = source, _passed(source)
    files, within, told = _tables(source), source, ""
    while not files:
        inside = {path.name: path for path in sorted(source.iterdir()) if _is_folder(path)}
        held = {name: path for name, path in inside.items() if any(map(_tables, _folders(path)))}
        within = next((held[name] for name in ("data", *_TRAIN) if name in held), within)
        if within == source and len(held) == 1:
            within = next(iter(held.values()))
        if within == source:
            if held:
                several = ", ".join(held)
                raise ValueError(
                    f"{argument}: folder {str(source)!r} holds several folders of rows ({several}); name one"
                )
            links = f" ({'; '.join(passed)})" if passed else ""
            raise ValueError(f"{argument}: folder {str(source)!r} holds no {KNOWN} file{links}")
        if others := [name for name in held if within.name in _TRAIN and name != within.name]:
            told = _told(within.name, others)
        files, source = _tables(within), within
    kept = [path for path in files if _split(path) in _TRAIN]
    others = sorted({found for path in files if (found := _split(path)) and found not in _TRAIN})
    if kept and others:
        files, told = kept, _told(_split(kept[0]), others)
    trains = sorted({shard[1] for path in kept if (shard := _SHARD.fullmatch(path.stem))})
    if len(trains) > 1:
        raise ValueError(
            f"{argument}: folder {str(source)!r} holds the splits {', '.join(trains)}; put the files of one "
            "into a folder of their own, or pass that split of datasets.load_dataset"
        )
    first = _kind(files[0])
    for path in files:
        if _kind(path) != first:
            raise ValueError(
                f"{argument}: {files[0].name} and {path.name} are of two kinds; name one file, or "
                "a folder with files of one kind"
            )
    if source != named:
        passed = _passed(source)
    return files, "; ".join(filter(None, [told, *passed]))


def _told(split: str, others: Sequence[str]) -> str:
    return f"rows of split {split!r}, not of {', '.join(others)}"


def _tables(folder: Path) -> list[Path]:
    """Return the tables of a folder; a .json file beside others is mostly a description of them."""
    files = sorted(
        path for path in folder.iterdir() if _is_called_table(path) and not why_not(path, _home(folder))
    )
    beside = [path for path in files if ending(path) not in (".json", ".json.gz", ".json.zst")]
    return beside or files


def _folders(folder: Path) -> list[Path]:
    """Return a folder and those inside it, all the way down."""
    inside = [path for path in sorted(folder.iterdir()) if _is_folder(path)]
    return [folder, *(one for path in inside for one in _folders(path))]


def _passed(folder: Path) -> list[str]:
    """Return why links of a folder that are called as tables are were passed over, with their names."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.iterdir()):
        if _is_called_table(path) and path.is_symlink() and (why := why_not(path, _home(folder))):
            found.setdefault(why, []).append(path.name)
    return [f"{why}: {', '.join(names[:5])}{' …' * (len(names) > 5)}" for why, names in found.items()]


def _home(folder: Path) -> Path:
    """Return within what links are followed: a folder, or a dataset in the hub's cache."""
    found = folder.resolve()
    cache = next((one for one in found.parents if one.name == "snapshots"), None)
    return found if cache is None else cache.parent


def _is_called_table(path: Path) -> bool:
    return ending(path) in TABLES and not path.name.startswith(".") and path.name not in _ABOUT


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not path.name.startswith(".")


def _split(path: Path) -> str:
    """Return the split that a file is of by its name, in lower case: training where it says so among others,
    as `datasets` reads names; nothing where it says none."""
    found = [one.lower() for one in _SPLITS.findall(path.name)]
    return next((one for one in found if one in _TRAIN), found[0] if found else "")


def _kind(path: Path) -> str:
    return "JSON" if ending(path) in JSON else ending(path)
