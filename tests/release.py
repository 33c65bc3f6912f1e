"""What a release must pass: built, checked, and used from environments that have nothing else.

python -m tests.release
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

from setwise._version import __version__

ROOT = Path(__file__).resolve().parents[1]

BASE = ["numpy", "scipy", "threadpoolctl"]

SELECT = """
import numpy as np, setwise, setwise.kernels
rng = np.random.default_rng(0)
print(setwise.__version__, setwise.select(rng.standard_normal((500, 16)), 5, relevance=rng.random(500)))
print("kernels:", setwise.kernels.instructions())
"""

#: What stands for a machine without a compiler.
NO_COMPILER = {"CC": "false", "CXX": "false"}


def run(*words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command; where it fails, say what it printed and leave."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
    return done


def require(holds: bool, what: str) -> None:
    """Leave with what is wrong, unless it holds."""
    if not holds:
        raise SystemExit(f"release: {what}")


def metadata_of(wheel: Path) -> Message:
    """Return a wheel's metadata, having looked at what lies in it."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        inside = {name.split("/")[0] for name in names}
        require(
            inside == {"setwise", f"setwise-{__version__}.dist-info"}, f"the wheel holds {sorted(inside)}"
        )
        require("setwise/py.typed" in names, "the wheel lacks py.typed")
        text = archive.read(f"setwise-{__version__}.dist-info/METADATA").decode()
    return message_from_string(text)


def check_metadata(found: Message) -> None:
    """Look at the version, what is required, and whether the description's links lead anywhere."""
    require(found["Version"] == __version__, f"the version is {found['Version']}")
    needed = [each for each in found.get_all("Requires-Dist", []) if "extra ==" not in each]
    names = sorted(re.split(r"[<>=!~ ;\[]", each, maxsplit=1)[0] for each in needed)
    require(names == BASE, f"the base requires {names}")
    page = str(found.get_payload())
    dead = [link for link in re.findall(r"\]\(([^)]+)\)", page) if not link.startswith(("https://", "#"))]
    require(not dead, f"links that lead nowhere from a package's page: {', '.join(dead)}")
    require("# setwise" in page, "the description is not the README")


def environment(folder: Path, *packages: str | Path, **variables: str) -> Path:
    """Make an environment with packages in it; return its folder of programs."""
    run(sys.executable, "-m", "venv", folder)
    pip = folder / "bin" / "python", "-m", "pip", "install", "--quiet"
    run(*pip, *packages, env={**os.environ, **variables})
    return folder / "bin"


def weight(programs: Path) -> str:
    """Return how many packages an environment has beside pip and its like, and how much they weigh."""
    own = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")
    site = next(programs.parent.glob("lib/python*/site-packages"))
    kept = [each for each in site.iterdir() if not each.name.startswith(own)]
    files = [file for each in kept for file in ([each] if each.is_file() else each.rglob("*"))]
    size = sum(file.stat().st_size for file in files if file.is_file())
    others = sum(each.name.endswith(".dist-info") for each in kept) - 1
    return f"{size / 1e6:.0f} MB, {others} packages beside setwise"


def main() -> None:
    """Build, check, install and use both files of a release."""
    with tempfile.TemporaryDirectory() as name:
        there = Path(name)
        files = there / "dist"
        run(sys.executable, "-m", "build", "--outdir", files, ROOT)
        (wheel,), (sdist,) = files.glob("*.whl"), files.glob("*.tar.gz")
        run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
        check_metadata(metadata_of(wheel))
        print(f"{wheel.name} {wheel.stat().st_size:,} bytes, {sdist.name} {sdist.stat().st_size:,} bytes")

        clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        inside = {"cwd": there, "env": clean}
        require(wheel.name.endswith("none-any.whl") or "-cp311-abi3-" in wheel.name, f"tag of {wheel.name}")
        base = environment(there / "base", wheel, **NO_COMPILER)
        print(f"base: {weight(base)}")
        print(run(base / "python", "-c", SELECT, **inside).stdout.strip())
        bare = subprocess.run([base / "setwise"], capture_output=True, text=True, **inside)  # type: ignore[call-overload]
        require(bare.returncode == 2 and "setwise[cli]" in bare.stderr, f"bare command: {bare.stderr}")

        command = environment(there / "command", f"{wheel}[cli,text]")
        print(f"cli and text: {weight(command)}")
        clean["XDG_CACHE_HOME"] = str(there / "cache")
        require(
            run(command / "setwise", "--version", **inside).stdout.split()[-1] == __version__, "--version"
        )
        demo = run(
            command / "python", "-m", "setwise", "demo", "--library", "-q", "parse a date and time", **inside
        )
        require("parse a date and time" in demo.stdout, f"the demo printed {demo.stdout}")

        for variables in ({}, NO_COMPILER):
            source = environment(there / f"source-{len(variables)}", sdist, **variables)
            said = run(source / "python", "-c", SELECT, **inside).stdout
            require(not variables or "kernels: numpy" in said, f"without a compiler, {said}")
            print(f"sdist, {'without a' if variables else 'with the'} compiler: {said.splitlines()[-1]}")
    print("release: both files install into empty environments, and work there")


if __name__ == "__main__":
    main()
