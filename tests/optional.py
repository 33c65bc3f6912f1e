"""Optional packages in tests: what needs one is skipped where it is missing, and none is imported early."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import pytest

#: What pytest asks of every name in a module that it collects.
COLLECTING = ("__bases__", "__test__", "__wrapped__", "_mock_name", "_pytestfixturefunction")


def installed(*packages: str) -> bool:
    """Return whether packages can be imported, without importing them."""
    try:
        return all(importlib.util.find_spec(name) is not None for name in packages)
    except ModuleNotFoundError:  # the package around one
        return False


def needs(*packages: str) -> pytest.MarkDecorator:
    """Return the mark of a test, or of a module's (``pytestmark``), that needs packages."""
    missing = [name for name in packages if not installed(name)]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


class lazily:
    """A module, or a name in it, that is imported when it is first used.

    Frameworks take seconds to import, and collecting tests should not wait for what no test has asked for.
    It can be called, subclassed, asked for attributes and used in `isinstance`.
    """

    __slots__ = ("_module", "_name")  # no __dict__, so that monkeypatch looks into the real one

    def __init__(self, module: str, name: str | None = None) -> None:
        object.__setattr__(self, "_module", module)
        object.__setattr__(self, "_name", name)

    def _found(self) -> Any:
        module = importlib.import_module(self._module)
        return module if self._name is None else getattr(module, self._name)

    def __getattr__(self, name: str) -> Any:
        if name in COLLECTING:
            raise AttributeError(name)
        return getattr(self._found(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._found(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._found(), name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._found()(*arguments, **options)

    def __instancecheck__(self, value: object) -> bool:
        return isinstance(value, self._found())

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._found(),)
