"""Modules of the benchmarks' folder, which is not installed."""

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def part(name):
    """A module of it by its name."""
    sys.path.insert(0, str(ROOT))
    try:
        return importlib.import_module(f"benchmarks.{name}")
    finally:
        sys.path.remove(str(ROOT))
