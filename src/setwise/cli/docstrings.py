"""A corpus that every machine has: the docstrings of Python's own standard library."""

from __future__ import annotations

import ast
import os
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from setwise.files import Corpus
from setwise.progress import tell

#: Packages of the installation that are no library: tests, an editor, a converter, what others installed.
_NOT_LIBRARY = {
    "test",
    "tests",
    "idlelib",
    "lib2to3",
    "site-packages",
    "dist-packages",
    "turtledemo",
    "__pycache__",
}

#: Characters that a docstring needs to say something.
_LEAST = 40

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def standard_library(progress: Callable[[int], object] | None = None, folder: Path | None = None) -> Corpus:
    """Return the docstrings of every public module, class and function of the standard library.

    Sources are parsed, never imported.

    Parameters
    ----------
    progress : callable, optional
        Called after every file with the number of docstrings found.
    folder : Path, optional
        By default where this Python keeps its library.

    Returns
    -------
    Corpus
        Ids are dotted names; a text that another has word for word is left out.

    Raises FileNotFoundError: this Python comes without sources.
    """
    home = folder or Path(sysconfig.get_path("stdlib"))
    found: dict[str, str] = {}
    for path in _sources(home):
        parts = path.relative_to(home).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        for name, text in _docstrings(path):
            found.setdefault(text, f"{module}.{name}" if name else module)
        tell(progress, len(found))
    texts = {name: text for text, name in found.items()}
    if not texts:
        raise FileNotFoundError(
            f"corpus: no Python sources in {str(home)!r}; try setwise retrieve on your own texts"
        )
    return Corpus(None, list(texts), list(texts.values()))


def _sources(home: Path) -> Iterator[Path]:
    """Yield the library's source files in sorted order."""
    for parent, folders, names in os.walk(home):
        folders[:] = sorted(name for name in folders if name not in _NOT_LIBRARY and "config-" not in name)
        yield from (Path(parent, name) for name in sorted(names) if name.endswith(".py"))


def _docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the name inside the module and the docstring of everything public in a file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    waiting: list[tuple[str, _Documented]] = [("", tree)]
    while waiting:
        name, node = waiting.pop()
        text = ast.get_docstring(node)
        if text and len(text) >= _LEAST:
            yield name, text
        for child in reversed([] if isinstance(node, _FUNCTIONS) else node.body):
            if isinstance(child, _Documented) and not child.name.startswith("_"):
                waiting.append((f"{name}.{child.name}" if name else child.name, child))
