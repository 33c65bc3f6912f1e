"""What a service is started with."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from setwise import checks
from setwise.files.names import existing

#: Names of this machine alone: what a service that listens on loopback is called.
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

#: What all clients send alike in a header: what ASCII prints, without spaces around it.
_TOKEN = re.compile(r"[!-~]([ -~]*[!-~])?")


@dataclass(frozen=True)
class Limits:
    """How much one request, and all of them together, may ask for.

    Attributes
    ----------
    body : int
        Bytes of a request's body.
    documents : int
        Documents or vectors of a request, and members of a set.
    width : int
        Numbers of a vector.
    seconds : float
        Until a request is answered, from when its body is read; and for the body to arrive.
    waiting : int
        Requests that are worked on or wait, of each process; further ones are told to come again.
    threads : int
        Requests that each process works on at a time; 0 for as many as there are processors.
    """

    body: int = 32 << 20
    documents: int = 2000
    width: int = 8192
    seconds: float = 30.0
    waiting: int = 64
    threads: int = 0

    def __post_init__(self) -> None:
        for one in fields(self):
            if one.name != "seconds":
                checks.integer(one.name, getattr(self, one.name), least=0 if one.name == "threads" else 1)
        checks.positive("seconds", self.seconds)

    @property
    def proving(self) -> float:
        """Seconds that the proof of one set may take: half of what a request may."""
        return self.seconds / 2

    @property
    def workers(self) -> int:
        """How many threads work on requests."""
        return self.threads or os.cpu_count() or 1


@dataclass(frozen=True)
class Settings:
    """What a service is started with; can be sent to its processes.

    Attributes
    ----------
    indexes : mapping of str to Path
        Saved indexes that may be asked, by the names that requests know them by; nothing else is read.
    model : str
        The encoder of texts; see `setwise.encode.encoder`.
    token : str, optional
        What every request has to bring, as ``Authorization: Bearer TOKEN``.
    hosts : tuple of str
        Names that a request may call this service by, without a port; none for any.
    origins : tuple of str
        Origins of other web pages that may read answers; by default none.
    limits : Limits
    """

    indexes: Mapping[str, Path] = field(default_factory=dict)
    model: str = "auto"
    token: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = LOOPBACK
    origins: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.token is not None and not self.token.strip():
            raise ValueError("token: it is blank; pass one that cannot be guessed, or none")
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise ValueError("token: it is no plain ASCII on one line; make it of letters, digits and signs")


def named_indexes(given: list[str]) -> dict[str, Path]:
    """Return saved indexes by name: of ``NAME=FOLDER``, or of a folder, whose own name is taken.

    Raises FileNotFoundError: there is no such folder; ValueError: two have one name.
    """
    found: dict[str, Path] = {}
    for one in given:
        name, equals, folder = one.partition("=")
        if not equals or Path(one).exists():
            name, folder = Path(one).resolve().name, one
        path = existing(Path(folder), "index")
        if not name or name in found:
            raise ValueError(f"index: two have the name {name!r}; name one as in other=FOLDER")
        found[name] = path.resolve()
    return found
