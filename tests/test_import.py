"""What `import setwise` loads, and the names and keywords that others rely on."""

import inspect
import json
import subprocess
import sys
from importlib import resources

import pytest

import setwise

SELECT = [
    "vectors",
    "k",
    "relevance",
    "query",
    "relevance_scale",
    "diversity",
    "objective",
    "sharpness",
    "solver",
    "metric",
    "include",
    "exclude",
    "groups",
    "max_per_group",
    "certify",
    "seed",
    "threads",
]

DEFAULTS = {
    "relevance": None,
    "query": None,
    "relevance_scale": "none",
    "diversity": 0.2,
    "objective": "max-sum",
    "sharpness": 1,
    "solver": "auto",
    "metric": "cosine",
    "include": (),
    "exclude": (),
    "groups": None,
    "max_per_group": None,
    "certify": True,
    "seed": 0,
    "threads": None,
}

HEAVY = {"torch", "sklearn", "pandas", "pyarrow", "faiss", "typer", "rich", "transformers", "matplotlib"}


def packages_after(code):
    """The top-level packages that some code loads in a fresh interpreter."""
    script = (
        "import sys, json\nbefore = set(sys.modules)\n"
        + code
        + "\nprint(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_loads_numpy_and_the_standard_library_alone():
    """Whatever else was loaded would cost more than the 0.2 s that an import may take."""
    loaded = packages_after("import setwise")
    assert loaded <= set(sys.stdlib_module_names) | {"numpy", "setwise"}
    assert "setwise" in loaded


def test_a_selection_loads_nothing_heavy():
    """Arrow, torch, scikit-learn and FAISS are loaded where they are asked for."""
    loaded = packages_after(
        "import numpy, setwise\nsetwise.select(numpy.eye(4), 2, objective='mmr')\n"
        "setwise.select(numpy.eye(4), 2, certify='full')\n"
        "setwise.select_many(numpy.eye(4), 2, queries=numpy.eye(4))"
    )
    assert not loaded & HEAVY


def test_public_names():
    """Each name of __all__ exists and is listed; others are refused by name."""
    for name in ("select", "select_many", "Selection", "Certificate"):
        assert name in setwise.__all__
        assert name in dir(setwise)
        assert getattr(setwise, name).__name__ == name
    assert setwise.objectives.MaxSum.name == "max-sum"
    assert "auto" in setwise.solvers.SOLVERS
    assert setwise.__version__
    with pytest.raises(AttributeError, match="selekt"):
        _ = setwise.selekt


def test_keywords_of_select():
    """The contract's arguments, in its order, with its defaults, all but two by keyword alone."""
    parameters = inspect.signature(setwise.select).parameters
    assert [name for name in parameters if name in SELECT] == SELECT
    for name, default in DEFAULTS.items():
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[name].default == default


def test_keywords_of_select_many():
    """The same keywords, with many queries and pools in place of one."""
    parameters = inspect.signature(setwise.select_many).parameters
    assert list(parameters)[:2] == ["vectors", "k"]
    shared = set(SELECT) - {"query"} | {"queries", "offsets"}
    assert shared <= set(parameters)
    for name in shared - {"vectors", "k"}:
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[name].default == DEFAULTS.get(name)


def test_typed():
    """Type checkers may trust the annotations."""
    assert resources.files("setwise").joinpath("py.typed").is_file()
