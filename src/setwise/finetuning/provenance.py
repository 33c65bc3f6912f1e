"""What a selection was made of: the files that were read, with their checksums, and the versions at work."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from setwise._version import __version__
from setwise.files.checksums import checksum
from setwise.finetuning.rows.repository import Repository
from setwise.finetuning.rows.row_files import InMemory
from setwise.finetuning.rows.sides import as_path, name_of

#: Packages that vectors, neighbors and files may hang on.
_PACKAGES = (
    *("numpy", "scipy", "faiss-cpu", "pyarrow", "scikit-learn", "wordllama", "sentence-transformers"),
    *("torch", "transformers"),
)


def versions() -> dict[str, str]:
    """Return the versions of setwise, Python, and the packages that are installed of those it may use."""
    found = {"setwise": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def origin(source: Any, rows: Repository | None, n: int) -> dict[str, Any] | None:
    """Return what a repository or examples are: their name, how many rows, and each file's checksum."""
    if source is None:
        return None
    path = as_path(source)
    files = [] if rows is None else [file.path for file in rows.files if not isinstance(file, InMemory)]
    if rows is None and path is not None:
        files = [path]
    return {
        "name": name_of(source),
        "rows": n,
        "files": [
            {"name": file.name, "bytes": file.stat().st_size, "blake2b": checksum(file)} for file in files
        ],
    }
