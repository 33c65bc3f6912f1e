"""The suite under other BLAS kernels, dispatch levels and hash seeds than a process takes here by itself.

    python -m tests.kernels [--quick] [what pytest takes]

A result may not hang on the instruction set, on the number of BLAS threads or on compiled kernels: sums are
rounded otherwise there, and what ties here may not tie there. Nor on the order in which a set of words is
gone through, which Python draws for each process. Each setting is made by environment variables
and looked at from inside before the tests run under it. What cannot be had is named with the reason, and left
out.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from setwise import kernels

ROOT = Path(__file__).resolve().parents[1]

#: Dispatch levels: what they leave out of NumPy's dispatched features (names differ by its version), and the
#: variables that hold FAISS and PyTorch to the same.
LEVELS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "all": ((), {}),
    "without AVX-512": (("X86_V4", "AVX512"), {"FAISS_SIMD_LEVEL": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}),
    "baseline": (("",), {"FAISS_SIMD_LEVEL": "NONE", "ATEN_CPU_CAPABILITY": "default"}),
}


@dataclass(frozen=True)
class Setting:
    """A kernel of OpenBLAS (None: the one it takes by itself), a dispatch level, a number of threads, a seed
    of Python's hashes, and which of setwise's own kernels are used ("0": none)."""

    kernel: str | None
    level: str
    threads: int
    hashes: int
    own: str = "0"

    def __str__(self) -> str:
        own = "no own kernels" if self.own == "0" else f"own kernels {self.own}"
        kernel = self.kernel or "own kernel"
        return (
            f"{kernel}, dispatch {self.level}, {self.threads} BLAS thread(s), hash seed {self.hashes}, {own}"
        )


#: By machine; the first is enough where time is short: far from what a new processor takes by itself, which
#: the suite runs under anyway.
SETTINGS = {
    "x86_64": (
        Setting("Nehalem", "baseline", 2, 4),
        Setting("Haswell", "without AVX-512", 2, 0, "avx2"),
        Setting("SkylakeX", "all", 2, 1, "avx512"),
        Setting("Zen", "without AVX-512", 1, 2, "baseline"),
        Setting("Sandybridge", "baseline", 1, 3),
        Setting(None, "all", 1, 5),
    ),
    "aarch64": (
        Setting("NEOVERSEN1", "baseline", 1, 4),
        Setting("ARMV8", "all", 2, 0),
        Setting(None, "all", 1, 1),
    ),
}
QUICK = 1

#: Run under a setting: which kernels and features are really in use, and whether a product is right.
PROBE = """
import json
import numpy as np, scipy.linalg, setwise.kernels
from threadpoolctl import threadpool_info
try:
    import faiss
except ImportError:
    pass
rng = np.random.default_rng(0)
A, B = rng.integers(-9, 9, (67, 131)).astype(float), rng.integers(-9, 9, (131, 53)).astype(float)
right = all(
    (A.astype(kind) @ B.astype(kind) == (A[:, :, None] * B).sum(axis=1)).all()
    and (A.astype(kind) @ B[:, 0].astype(kind) == (A * B[:, 0]).sum(axis=1)).all()
    for kind in ("float32", "float64")
)
print(json.dumps({
    "libraries": [one for one in threadpool_info() if one["user_api"] == "blas"],
    "features": np.show_config(mode="dicts")["SIMD Extensions"].get("found", []),
    "right": bool(right),
}))
"""


def dispatched() -> list[str]:
    """Return the features that NumPy dispatches to here, beyond its baseline."""
    return list(np.show_config(mode="dicts")["SIMD Extensions"].get("found", []))


def environment(setting: Setting) -> dict[str, str]:
    """Return the environment variables that make a setting."""
    features, levels = LEVELS[setting.level]
    left_out = [name for name in dispatched() if name.startswith(features)]
    made = {"OPENBLAS_NUM_THREADS": str(setting.threads), "OMP_NUM_THREADS": str(setting.threads)}
    made |= {"PYTHONHASHSEED": str(setting.hashes), **levels}
    if setting.kernel is not None:
        made["OPENBLAS_CORETYPE"] = setting.kernel
    if kernels.installed():
        made["SETWISE_KERNELS"] = setting.own
    if left_out:
        made["NPY_DISABLE_CPU_FEATURES"] = " ".join(left_out)
    return {**os.environ, **made}


def obstacle(setting: Setting) -> str | None:
    """Return why a setting cannot be had here, None where it is really in force."""
    made = environment(setting)
    left_out = made.get("NPY_DISABLE_CPU_FEATURES", "").split()
    if setting.level != "all" and not left_out:
        return f"NumPy {np.__version__} dispatches to nothing that could be left out here"
    strict = "error::ImportWarning"  # NumPy's only word on a feature that it does not know
    done = subprocess.run(
        [sys.executable, "-W", strict, "-c", PROBE], env=made, capture_output=True, text=True
    )
    if done.returncode < 0:
        return f"the processor cannot run it ({signal.Signals(-done.returncode).name})"
    if done.returncode:
        return f"it does not start: {done.stderr.strip().splitlines()[-1]}"
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    left = sorted(set(left_out) & set(seen["features"]))
    if left:
        return f"NumPy still dispatches to {', '.join(left)}"
    for library in seen["libraries"]:
        name = Path(library["filepath"]).name
        if library["internal_api"] != "openblas":
            return f"{name} is not OpenBLAS"
        if library["num_threads"] != setting.threads:
            return f"{name} runs {library['num_threads']} thread(s)"
    if not seen["libraries"]:
        return "NumPy has no BLAS that can be looked at"
    own = [library for library in seen["libraries"] if "numpy" in library["filepath"]] or seen["libraries"]
    if setting.kernel is not None and setting.kernel.lower() != own[0]["architecture"].lower():
        return f"NumPy's OpenBLAS takes {own[0]['architecture']} instead"
    return None if seen["right"] else "its products of whole numbers are wrong"


def main() -> None:
    """Run pytest under each setting that can be had; leave with 1 where one fails or none ran."""
    arguments = sys.argv[1:]
    quick = "--quick" in arguments
    arguments = [each for each in arguments if each != "--quick"] or ["-q", "-m", "not slow"]
    settings = SETTINGS.get(platform.machine(), (Setting(None, "all", 1, 0),))[: QUICK if quick else None]
    outcome: dict[Setting, str] = {}
    for setting in settings:
        reason = obstacle(setting)
        if reason is None:
            print(f"=== {setting}", flush=True)
            done = subprocess.run(
                [sys.executable, "-m", "pytest", *arguments], cwd=ROOT, env=environment(setting)
            )
            outcome[setting] = "passed" if done.returncode == 0 else f"FAILED (exit code {done.returncode})"
        else:
            outcome[setting] = f"left out: {reason}"
    print("=== kernels")
    for setting, said in outcome.items():
        print(f"{setting!s:80} {said}")
    told = list(outcome.values())
    raise SystemExit(1 if any("FAILED" in each for each in told) or "passed" not in told else 0)


if __name__ == "__main__":
    main()
