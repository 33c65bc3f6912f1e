"""The compiled kernels under AddressSanitizer and UndefinedBehaviorSanitizer.

    python -m tests.sanitized [what pytest takes]

They are compiled once more into a folder of their own, from which alone the tests then load them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: Run when Python starts: what `setwise.kernels` imports is the module beside this file.
LOAD = """
import importlib.machinery, importlib.util, pathlib, sys
name = "setwise.kernels._native"
path = str(pathlib.Path(__file__).with_name("_native.abi3.so"))
loader = importlib.machinery.ExtensionFileLoader(name, path)
module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
loader.exec_module(module)
sys.modules[name] = module
"""

OPTIONS = ("-O1", "-g", "-std=c11", "-ffp-contract=off", "-fsanitize=address,undefined",
           "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-Wall", "-Wextra", "-Werror")  # fmt: skip


def main() -> None:
    """Compile, run, and leave with what pytest says; any report of a sanitizer ends the run."""
    compiler = os.environ.get("CC", "gcc")
    with tempfile.TemporaryDirectory() as name:
        there = Path(name)
        source = ROOT / "src" / "setwise" / "kernels" / "native.c"
        include = f"-I{sysconfig.get_path('include')}"
        built = there / "_native.abi3.so"
        subprocess.run([compiler, *OPTIONS, "-shared", "-fPIC", include, source, "-o", built], check=True)
        (there / "sitecustomize.py").write_text(LOAD)
        asked = [compiler, "-print-file-name=libasan.so"]
        library = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        paths = [name, str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
        made = {
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "LD_PRELOAD": library,
            "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
        }
        arguments = sys.argv[1:] or ["-q", "tests/test_compiled.py"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-n", "0", *arguments], cwd=ROOT, env={**os.environ, **made}
        )
    raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
