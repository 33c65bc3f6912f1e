"""No test of an encoder asks the network; this has to be said before the first library is imported."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
