"""The suite on several Pythons, and with the base alone or all extras, each in an environment of its own.

    python -m tests.matrix [--pythons "python3.11 python3.13"] [--installs "base extras"] [what pytest takes]

``base`` is setwise as ``pip install setwise`` brings it, with pytest: tests that need more are skipped.
``extras`` is what ``make test`` installs. Environments are kept in .venv-matrix. A Python that is not there
is named and left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".venv-matrix"

#: Tried in turn; what is not on the PATH is left out.
PYTHONS = "python3.11 python3.12 python3.13 python3.14"

#: What pip installs, by name.
INSTALLS = {
    "base": ["-e", ".", "--group", "test"],
    "extras": ["-e", ".[all]", "--group", "dev"],
}


def interpreter(name: str) -> str | None:
    """Return where a Python is, None where there is none; pyenv's shims are asked for all their versions."""
    variables = dict(os.environ)
    if shutil.which("pyenv"):
        versions = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True)
        variables["PYENV_VERSION"] = ":".join(versions.stdout.split())
    if shutil.which(name) is None:
        return None
    where = [name, "-c", "import sys; print(sys.executable)"]
    found = subprocess.run(where, env=variables, capture_output=True, text=True)
    return found.stdout.strip() if found.returncode == 0 else None


def prepare(python: str, name: str, install: str) -> Path:
    """Make or bring up to date an environment; return its Python."""
    folder = FOLDER / f"{name}-{install}"
    inside = folder / "bin" / "python"
    pip = [str(inside), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    if not inside.exists():
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        subprocess.run([*pip, "pip>=25.1"], check=True)
    subprocess.run([*pip, *INSTALLS[install]], cwd=ROOT, check=True)
    return inside


def main() -> None:
    """Run the suite in each environment; leave with 1 where one fails or none ran."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pythons", default=PYTHONS)
    parser.add_argument("--installs", default=" ".join(INSTALLS))
    chosen, arguments = parser.parse_known_args()
    outcome: dict[str, str] = {}
    for name in chosen.pythons.split():
        python = interpreter(name)
        if python is None:
            outcome[name] = "left out: it is not installed"
            continue
        for install in chosen.installs.split():
            print(f"=== {name}, {install}", flush=True)
            began = time.perf_counter()
            inside = prepare(python, Path(name).name, install)
            done = subprocess.run(
                [str(inside), "-m", "pytest", *(arguments or ["-q", "-m", "not slow"])], cwd=ROOT
            )
            said = "passed" if done.returncode == 0 else f"FAILED (exit code {done.returncode})"
            outcome[f"{name}, {install}"] = f"{said} in {time.perf_counter() - began:.0f} s"
    print("=== matrix")
    for each, said in outcome.items():
        print(f"{each:24} {said}")
    told = list(outcome.values())
    failed = any(each.startswith("FAILED") for each in told)
    raise SystemExit(1 if failed or not any(each.startswith("passed") for each in told) else 0)


if __name__ == "__main__":
    main()
