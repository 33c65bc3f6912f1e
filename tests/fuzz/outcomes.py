"""What became of random cases, and going through them for a time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """What became of a case: whether a set was proven best, and what is false of what was said."""

    bounded: bool = False
    optimal: bool = False
    wrong: str = ""


def run_all(run: Callable[[int], Outcome | None], what: str) -> None:
    """Run cases from a seed on for a time, as the command line says, and tell what was wrong."""
    seconds, seed = float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    began, done, wrong = time.monotonic(), [], 0
    while time.monotonic() - began < seconds:
        outcome = run(seed)
        if outcome is not None:
            done.append(outcome)
            if outcome.wrong:
                wrong += 1
                print(f"seed {seed}: {outcome.wrong}", flush=True)
        seed += 1
    counts = f"{sum(one.bounded for one in done)} bounded, {sum(one.optimal for one in done)} proven best"
    print(f"{len(done)} {what}, {counts}, {wrong} wrong; the next seed is {seed}")
    raise SystemExit(wrong > 0)
