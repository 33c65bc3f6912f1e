"""Optional packages: what is missing is said in one line, with the ``pip install`` that brings it."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from types import ModuleType

__all__ = ["needs", "require"]


@contextlib.contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
    """Context for imports of optional packages.

    Parameters
    ----------
    extra : str
        The extra of setwise that brings them.
    what : str
        What they are needed for; the message's first words.

    Raises
    ------
    ImportError
        A package imported in the context is not installed, or does not load.
    """
    try:
        yield
    except ImportError as error:
        package = (error.name or extra).partition(".")[0]
        if package == "setwise":
            raise
        absent = isinstance(error, ModuleNotFoundError)
        reason = "" if absent else f" ({error})"
        kind = ModuleNotFoundError if absent else ImportError
        message = f"{what} needs {package}: pip install 'setwise[{extra}]'{reason}"
        raise kind(message, name=error.name) from error


def require(module: str, extra: str, what: str) -> ModuleType:
    """Import a module of an optional package.

    Parameters
    ----------
    module : str
        Its full name.
    extra, what : str
        As in `needs`.

    Raises
    ------
    ImportError
        The package is not installed, or does not load.
    """
    with needs(extra, what):
        return importlib.import_module(module)
