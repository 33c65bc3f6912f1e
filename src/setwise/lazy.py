"""What is fetched when it is needed: public names, so that imports stay fast; docstrings that are dropped."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

Shown = TypeVar("Shown", bound=Callable[..., Any])


def loader(
    package: str, homes: Mapping[str, str], rooms: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return a package's ``__getattr__`` and ``__dir__``.

    Parameters
    ----------
    package : str
        Its name.
    homes : mapping of str to str
        The module of each public name.
    rooms : sequence of str
        Its modules and packages that are reached as attributes without an import of their own.
    """

    def find(name: str) -> Any:
        if name in homes:
            value = getattr(importlib.import_module(homes[name]), name)
            setattr(sys.modules[package], name, value)
            return value
        if name in rooms:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted([*vars(sys.modules[package]), *homes, *rooms])

    return find, names


def documented(shown: Shown) -> Shown:
    """Return a function or class whose docstring people read: ``python -OO`` drops it, its source has it."""
    if sys.flags.optimize > 1 and not shown.__doc__:
        import ast
        import contextlib
        import inspect
        import textwrap

        with contextlib.suppress(OSError):  # installed without sources
            tree = ast.parse(textwrap.dedent(inspect.getsource(shown)))
            shown.__doc__ = ast.get_docstring(tree.body[0])  # type: ignore[arg-type]
    return shown
