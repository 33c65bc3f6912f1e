"""Settings from the current folder: ``setwise.toml``, or ``[tool.setwise]`` of ``pyproject.toml``.

A table is a command's, and its keys are the command's options without their dashes::

    [retrieve]
    diversity = 0.4
    per-document = 1

    [index.build]
    model = "lsa"

What is written on the command line comes before them. ``setwise --config FILE`` names another file.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: The environment variable that names another file, or is "none" for no settings at all.
VARIABLE = "SETWISE_CONFIG"

#: The option that does, before the command.
OPTION = "--config"

_OWN, _SHARED = "setwise.toml", "pyproject.toml"


def settings(command: Any, folder: Path | None = None, *, file: str | None = None) -> dict[str, Any]:
    """Return what a file says, as the parser's defaults.

    Parameters
    ----------
    command : click.Group
        All commands.
    folder : Path, optional
        Where to look; by default the current one.
    file : str, optional
        The file, or "none"; by default what the environment names, or what is in the folder.

    Raises ValueError: the file is no TOML, or names a command or option that there is not; FileNotFoundError:
    the file that is named is not there.
    """
    source, found = _read(folder or Path(), file)
    return {} if source is None else _defaults(command, found, source.name, ())


def named(words: Sequence[str]) -> str | None:
    """Return the file that ``--config`` before the command names, if any does."""
    for place, word in enumerate(words):
        if not word.startswith("-"):
            break
        option, equals, value = word.partition("=")
        if option == OPTION:
            return value if equals else next(iter(words[place + 1 :]), None)
    return None


def _read(folder: Path, file: str | None) -> tuple[Path | None, Mapping[str, Any]]:
    """Return the file that has settings, and the settings."""
    told, by = (os.environ.get(VARIABLE), VARIABLE) if file is None else (file, OPTION.lstrip("-"))
    if told == "none":
        return None, {}
    if told:
        if not Path(told).is_file():
            raise FileNotFoundError(f"{by}: no file {told!r}; name another, or none")
        return Path(told), _table(Path(told))
    if (folder / _OWN).is_file():
        return folder / _OWN, _table(folder / _OWN)
    shared = folder / _SHARED
    if shared.is_file() and b"tool.setwise" in shared.read_bytes():
        found = _table(shared)
        return shared, found
    return None, {}


def _table(file: Path) -> Mapping[str, Any]:
    """Return a file's settings."""
    try:
        found: Mapping[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"config: {file.name} is no TOML ({error})") from None
    if file.name == _SHARED:
        found = found.get("tool", {}).get("setwise", {})
    if not isinstance(found, Mapping):
        raise ValueError(f"config: {file.name}: tool.setwise is no table")
    return found


def _defaults(command: Any, found: Mapping[str, Any], file: str, path: tuple[str, ...]) -> dict[str, Any]:
    """Return a table's settings by the names of parameters, its commands' within."""
    where = f"in [{'.'.join(path)}]" if path else "at the top"
    commands = getattr(command, "commands", {})
    options = {} if commands else _options(command)
    defaults: dict[str, Any] = {}
    for key, value in found.items():
        known = key if key in commands else key.replace("_", "-")
        if known in commands:
            if not isinstance(value, Mapping):
                raise ValueError(f"config: {file}: {key!r} is a command; write its options under [{key}]")
            defaults[known] = _defaults(commands[known], value, file, (*path, known))
        elif known in options:
            if isinstance(value, Mapping):
                raise ValueError(f"config: {file}: {key!r} {where} is an option, not a table")
            defaults[options[known]] = value
        else:
            from setwise.files.names import nearest

            what = f"no {'command' if commands else 'option'}{nearest(known, [*commands, *options])}"
            raise ValueError(f"config: {file} has {key!r} {where}, which is {what}")
    return defaults


def _options(command: Any) -> dict[str, str]:
    """Return the names of a command's parameters by those of its options, without dashes."""
    return {
        name.lstrip("-"): parameter.name
        for parameter in command.params
        if parameter.param_type_name == "option"
        for name in (*parameter.opts, *parameter.secondary_opts)
        if parameter.name != "help"
    }


def written(command: Sequence[str], values: Mapping[str, Any], notes: Sequence[str] = ()) -> str:
    """Return a file's text with a command's settings, after notes as comments.

    Parameters
    ----------
    command : sequence of str
        Its words: ("catalog", "select").
    values : mapping
        Options without their dashes, and their values.
    notes : sequence of str
        A line each.
    """
    lines = [f"# {' '.join(one.split())}" for one in notes]
    # A string, number, list or truth value of JSON is one of TOML.
    options = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    return "\n".join([*lines, f"[{'.'.join(command)}]", *options, ""])
