"""``setwise doctor``: what is installed here, what computes, what is kept, and what commands would lack."""

from __future__ import annotations

import re
from typing import Any

from setwise._version import __version__
from setwise.cli import folders
from setwise.cli.options import AsJson, described

#: What each command uses, the most needed first; what is said of an extra it can do without.
COMMANDS: dict[str, dict[str, str]] = {
    "retrieve": {"text": "", "arrow": "tables of Parquet and Arrow", "documents": "PDF and DOCX"},
    "encode": {"text": "", "arrow": "tables of Parquet and Arrow", "documents": "PDF and DOCX"},
    "index": {"text": "", "arrow": "", "faiss": "--kind faiss", "documents": "PDF and DOCX"},
    "catalog": {"arrow": "", "catalog": "", "text": "--text", "ray": "--workers ray"},
    "finetune": {"text": "", "arrow": "", "faiss": "large repositories", "train": "gradients"},
    "prefer": {
        "text": "",
        "arrow": "",
        "train": "generate, score and train with models",
        "server": "generate from a server",
    },
    "compare": {"text": "", "arrow": "tables of Parquet and Arrow", "plot": "reports with pictures"},
    "tune": {"text": "", "arrow": "tables of Parquet and Arrow", "plot": "reports with pictures"},
    "explore": {"text": "", "serve": "", "arrow": "saved indexes and Parquet"},
    "serve": {"text": "", "serve": "", "arrow": "saved indexes and Parquet"},
    "mcp": {"text": "", "serve": "", "arrow": "saved indexes and Parquet"},
    "demo": {"text": ""},
    "cache": {"text": ""},
    "doctor": {},
}

#: A requirement as a package's metadata spells it: name, versions, and the extra that brings it.
_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*(?:>=\s*(?P<least>[0-9.]+))?[^;]*"
    r";\s*extra\s*==\s*['\"](?P<extra>[^'\"]+)['\"]"
)


@described()
def doctor(as_json: AsJson = False) -> None:
    """Say what is installed here, what computes, what is kept, and what each command would lack."""
    from setwise.cli import output

    record = examined()
    if as_json:
        output.print_json(record)
        return
    extras = {name: _of_extra(name, one) for name, one in record["extras"].items()}
    of = (("", _lines(record)), ("extra ", extras), ("command ", record["commands"]))
    output.print_lines({f"{label}{name}": told for label, lines in of for name, told in lines.items()})


def examined() -> dict[str, Any]:
    """Return what there is here, as plain values.

    Returns
    -------
    dict
        ``setwise``, ``python``, ``platform``; ``base`` (versions of what is always there); ``kernels``
        (``installed``, ``instructions``, the ``reason`` why NumPy computes), ``threads``, ``blas``;
        ``caches`` (of each folder the ``entries`` and ``bytes``); ``extras`` (of each the ``packages`` with
        their versions, and what it ``lacks``; none
        where setwise is run from its source alone); ``commands`` (of each, in words, what it would lack).
    """
    import platform

    from threadpoolctl import threadpool_info

    from setwise import kernels
    from setwise.encode.entries import entries
    from setwise.encode.places import folders_of
    from setwise.threads import thread_count

    extras = _extras()
    return {
        "setwise": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "base": {name: _version(name) for name in ("numpy", "scipy", "threadpoolctl")},
        "kernels": {
            "installed": kernels.installed(),
            "instructions": kernels.instructions(),
            "reason": kernels.reason(),
        },
        "threads": thread_count(),
        "blas": [
            f"{one['internal_api']} {one['version']}, {many} thread{'s'[: many > 1]}"
            for one in threadpool_info()
            for many in [one["num_threads"]]
        ],
        "caches": {
            str(folder): {"entries": len(found), "bytes": sum(one.bytes for one in found)}
            for folder in folders_of()
            for found in [entries(folder)]
        },
        "extras": extras,
        "commands": {name: _of_command(uses, extras) for name, uses in COMMANDS.items()},
    }


def _lines(record: dict[str, Any]) -> dict[str, str]:
    """Return the facts about what computes and what is kept, one a line."""
    base = ", ".join(f"{name} {version}" for name, version in record["base"].items())
    known = record["kernels"]
    why, compiled = known["reason"], f"compiled, {known['instructions']}"
    kept = {
        f"cache {folder}": f"{one['entries']:,} kept, {folders.size_of(one['bytes'])}"
        for folder, one in record["caches"].items()
    }
    return {
        "setwise": record["setwise"],
        "python": f"{record['python']}, {record['platform']}",
        "base": base,
        "kernels": f"NumPy computes: {why}" if why else compiled,
        "threads": f"{record['threads']:,}; {'; '.join(record['blas']) or 'no BLAS is known'}",
        **kept,
    }


def _extras() -> dict[str, dict[str, Any]]:
    """Return each extra's packages with their versions (None for what is absent), and what it lacks."""
    from importlib import metadata

    found: dict[str, dict[str, Any]] = {}
    try:
        requirements = metadata.requires("setwise") or []
    except metadata.PackageNotFoundError:  # run from its source alone
        return found
    for requirement in requirements:
        parts = _REQUIREMENT.fullmatch(requirement.strip())
        if parts is None or parts["name"] == "setwise" or parts["extra"] == "all":
            continue
        name, version = parts["name"], _version(parts["name"])
        one = found.setdefault(parts["extra"], {"packages": {}, "lacks": []})
        one["packages"][name] = version
        if version is None:
            one["lacks"].append(name)
        elif parts["least"] and _numbers(version) < _numbers(parts["least"]):
            one["lacks"].append(f"{name}>={parts['least']}")
    return dict(sorted(found.items()))


def _version(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> list[int]:
    """Return the numbers that a version begins with."""
    return [int(part) for part in re.match(r"\d*(?:\.\d+)*", version)[0].split(".") if part]  # type: ignore[index]


def _of_extra(name: str, one: dict[str, Any]) -> str:
    """Return what is there of an extra, in words."""
    there = ", ".join(f"{package} {version}" for package, version in one["packages"].items() if version)
    if not one["lacks"]:
        return there
    lacks = f"lacks {', '.join(one['lacks'])}: pip install 'setwise[{name}]'"
    return f"{there}; {lacks}" if there else lacks


def _of_command(uses: dict[str, str], extras: dict[str, dict[str, Any]]) -> str:
    """Return what a command would lack, in words."""
    if not extras:
        return "not known: setwise is run from its source, without the list of its extras"
    lacking = [name for name in uses if extras.get(name, {}).get("lacks")]
    needed = [name for name in lacking if not uses[name]]
    if needed:
        return f"cannot run: pip install 'setwise[{','.join(needed)}]'"
    if lacking:
        return f"runs, but for {', '.join(f'{uses[one]} (setwise[{one}])' for one in lacking)}"
    return "runs"
