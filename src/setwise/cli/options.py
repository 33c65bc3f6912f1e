"""How the commands declare their options, and what several of them take."""

from __future__ import annotations

from typing import Any

import typer

#: What ``--certify`` takes, as the library's ``certify``.
CERTIFY: dict[str, Any] = {"none": False, "bounded": True, "full": "full"}


def option(*names: str, help: str, panel: str | None, metavar: str | None = None, **more: Any) -> Any:
    """Return an option's declaration.

    Parameters
    ----------
    *names : str
        ``--name``, and a short one if there is any.
    help : str
        One sentence.
    panel : str or None
        The heading in the command's help that the option stands under; None for the common one.
    metavar : str, optional
        What stands for its value.
    **more
        What `typer.Option` takes besides.
    """
    return typer.Option(*names, help=help, rich_help_panel=panel, metavar=metavar, **more)


def given(context: typer.Context, name: str) -> bool:
    """Return whether a parameter was written on the command line, its default or not."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def threads_option(panel: str | None = None) -> Any:
    """Return the declaration of ``--threads``."""
    return option("--threads", help="At most so many. By default all processors.", panel=panel)


def json_option(panel: str | None = None) -> Any:
    """Return the declaration of ``--json``."""
    return option("--json", help="Print one JSON object.", panel=panel)


def as_workers(typed: str | None) -> int | str | None:
    """Return what ``--workers`` asks for: a number of processes, "ray", or an address."""
    return int(typed) if typed is not None and typed.isdecimal() else typed
