"""Run every example of the README and the docs: Python blocks, and console lines that call setwise.

    python -m tests.run_examples [PAGE ...]

Python blocks of one page share a namespace, and run in a folder of their own that starts with this
repository's ``docs``, as a fresh clone does: what else a page names, it makes. Lines of console blocks that
call setwise or curl run there too, in their order. One that ends in ``&`` runs until its page ends; what
follows waits until it serves.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)

#: A line of a console block that is run; what it is quoted in may go over several.
LINE = re.compile(r"^\$ ((?:[^|\n]* \| )?(?:setwise|curl) (?:'[^']*'|[^'\n])*)", re.MULTILINE)

#: What a page's program begins with.
BEGIN = """\
import atexit, subprocess, time, urllib.request

def serve(command):
    server = subprocess.Popen("exec " + command, shell=True, stderr=subprocess.PIPE, text=True)
    atexit.register(server.wait)
    atexit.register(server.terminate)
    told = server.stderr.readline()
    assert told.startswith("serving "), told
    for _ in range(600):
        try:
            return urllib.request.urlopen(told.split()[1] + "/readyz")
        except OSError:
            time.sleep(0.1)
    raise SystemExit("it does not serve")
"""


def pages() -> list[Path]:
    """Return the pages that have examples."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def prepare(folder: Path) -> None:
    """Put what a clone has and the examples name into a folder."""
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns(".*"))


def run_page(page: Path) -> int:
    """Run a page's examples, in their order; returns how many there were."""
    count, code = 0, [BEGIN]
    for kind, body in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "python":
            code.append(body)
            count += 1
            continue
        for line in LINE.findall(re.sub(r"\\\n\s*", " ", body)):
            run = f"subprocess.run({line!r}, shell=True, check=True, stdout=subprocess.PIPE)"
            if line.endswith("&"):
                run = f"serve({line[:-1].strip()!r})"
            elif line.startswith("curl "):
                run = run.replace("curl ", "curl --fail-with-body ", 1)
            code += [
                "if __name__ == '__main__':  # not in a worker process, which imports this file",
                f"    {run}",
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
    """Run all pages, or those named, several at a time, and say how many examples ran."""
    os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # examples reach for no network
    chosen = [Path(name).resolve() for name in sys.argv[1:]] or pages()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for told in pool.map(timed, chosen):
            print(told, flush=True)


def timed(page: Path) -> str:
    """Run a page's examples; return how many there were and how long they took."""
    began = time.perf_counter()
    count = run_page(page)
    return f"{page.relative_to(ROOT)}: {count} examples ran, {time.perf_counter() - began:.1f} s"


if __name__ == "__main__":
    main()
