"""``setwise explore`` as a process: it prints its address, answers there, and ends by Ctrl-C."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from tests.optional import needs

pytestmark = needs("fastapi", "uvicorn", "prometheus_client")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["corpus", "index"])
def test_a_page_is_served_until_ctrl_c(run, corpus, tmp_path, kind):
    place = corpus
    if kind == "index":
        place = tmp_path / "index"
        assert run("index", "build", corpus, "--out", place, "--model", "lsa").code == 0
    words = ["explore", str(place), "--port", "0", "-q", "school uniforms"]
    if kind == "corpus":
        words += ["--model", "lsa", "--no-cache"]
    code = "from setwise.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            told = process.stdout.readline()
            address = told.split(": ", 1)[1].split("#")[0]
            assert told.endswith("#query=school%20uniforms (Ctrl-C ends it)\n")
            with urllib.request.urlopen(f"{address}api/select?query=school+uniforms&k=3") as answer:
                found = json.load(answer)
            assert "uniforms" in found["set"][0]["text"]
        finally:
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")


def test_what_cannot_be_explored_is_one_line(refused, corpus, tmp_path):
    assert refused("explore") == "corpus: say what to explore: a corpus, or an index by --index"
    assert "are two sources" in refused("explore", corpus, "--index", tmp_path)
    assert refused("explore", "--index", tmp_path, "--model", "lsa").startswith("model: --model goes with")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused("explore", corpus, "--port", port)
    assert line.startswith(f"port: cannot listen on 127.0.0.1:{port} (")
    assert line.endswith("name another with --port")
