"""The processes of one run: the first does what is done once, all of them train."""

from __future__ import annotations

import os

from setwise.extras import require


class Team:
    """The processes that `accelerate launch` or `torchrun` has started; one alone where none has.

    Attributes
    ----------
    first : bool
        Whether this is the process that generates, scores, selects and writes.
    size : int
        Processes.
    """

    def __init__(self) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.first = int(os.environ.get("RANK", "0")) == 0

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            require("accelerate", "train", "several processes").PartialState().wait_for_everyone()
