"""Run every example of the README and the docs: Python blocks, and console lines that call setwise.

    python -m tests.run_examples [PAGE ...]

Python blocks of one page share a namespace, and run in a folder of their own that starts with this
repository's ``docs``, as a fresh clone does: what else a page names, it makes. Lines of console blocks that
call setwise run there too, in their order.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Return the pages that have examples."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def prepare(folder: Path) -> None:
    """Put what a clone has and the examples name into a folder."""
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns(".*"))


def run_page(page: Path) -> int:
    """Run a page's examples, in their order; returns how many there were."""
    count, code = 0, ["import subprocess", ""]
    for kind, body in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "python":
            code.append(body)
            count += 1
            continue
        for line in re.sub(r"\\\n\s*", " ", body).splitlines():
            if re.match(r"\$ ([^|]* \| )?setwise ", line):
                code += [
                    "if __name__ == '__main__':  # not in a worker process, which imports this file",
                    f"    subprocess.run({line[2:]!r}, shell=True, check=True, stdout=subprocess.PIPE)",
                ]
                count += 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        script = folder / "page.py"
        script.write_text("\n".join(code), encoding="utf-8")
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise SystemExit(f"{page.name}: an example failed\n{done.stdout}{done.stderr}")
    return count


def main() -> None:
    """Run all pages, or those named, and say how many examples ran."""
    os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # examples reach for no network
    for page in [Path(name).resolve() for name in sys.argv[1:]] or pages():
        began = time.perf_counter()
        count = run_page(page)
        print(f"{page.relative_to(ROOT)}: {count} examples ran, {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
