"""One name, one encoder; nothing heavy is imported before it is needed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from setwise import encode


def test_auto_is_static_where_wordllama_is_installed(monkeypatch):
    found = importlib.util.find_spec

    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "wordllama" else found(name, *rest)
    )
    assert encode.encoder("auto").name.startswith("lsa ")
    monkeypatch.undo()
    if importlib.util.find_spec("wordllama"):
        assert encode.encoder().name.startswith("static (wordllama ")


def test_names_that_are_not_known():
    with pytest.raises(ValueError, match=r"model: 'statik' is unknown; did you mean 'static'\?"):
        encode.encoder("statik")
    for name in ("lsa:x", "sentence:", "auto:static"):
        with pytest.raises(ValueError, match=f"model: '{name}' is not understood"):
            encode.encoder(name)
    with pytest.raises(TypeError, match="model: expected one of"):
        encode.encoder(None)


@pytest.mark.parametrize(("name", "module"), [("static", "wordllama"), ("sentence", "sentence_transformers")])
def test_a_missing_package_says_how_to_install_it(monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        ImportError, match=rf"the {name} encoder needs {module}: pip install 'setwise\[{name}\]'"
    ):
        encode.encoder(name)


def test_importing_the_registry_imports_no_library():
    code = (
        "import sys, setwise.encode, setwise.files;"
        "heavy = ('sklearn', 'torch', 'wordllama', 'pyarrow', 'scipy');"
        "print([name for name in heavy if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
