"""One name, one encoder; nothing heavy is imported before it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from optional import needs
from setwise import encode


@needs("wordllama")
def test_auto_is_static_whatever_is_installed(monkeypatch):
    assert encode.encoder("auto").name == encode.encoder("static").name
    monkeypatch.setitem(sys.modules, "wordllama", None)
    with pytest.raises(ImportError, match=r"wordllama: pip install 'setwise\[text\]'"):
        encode.encoder("auto")


def test_names_that_are_not_known():
    with pytest.raises(ValueError, match=r"model: 'statik' is unknown; did you mean 'static'\?"):
        encode.encoder("statik")
    for name in ("lsa:x", "sentence:", "auto:static"):
        with pytest.raises(ValueError, match=f"model: '{name}' is not understood"):
            encode.encoder(name)
    with pytest.raises(TypeError, match="model: expected one of"):
        encode.encoder(None)


def test_importing_the_registry_imports_no_library():
    code = (
        "import sys, setwise.encode, setwise.files;"
        "heavy = ('sklearn', 'torch', 'wordllama', 'pyarrow', 'scipy');"
        "print([name for name in heavy if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
