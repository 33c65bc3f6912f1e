"""Without any extra: arrays work, and everything else says in one line what to install."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: Refuses every package but the base's, however much is installed here.
ALONE = """
import sys

BASE = {"numpy", "scipy", "threadpoolctl", "setwise", *sys.stdlib_module_names}

class Alone:
    def find_spec(self, name, path=None, target=None):
        if not name.startswith("_") and name.partition(".")[0] not in BASE:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Alone())
"""

#: Code, the extra that its error names, and the error's first words.
MISSING = [
    ("setwise.encode.encoder()", "text", "the static encoder needs wordllama"),
    ("setwise.encode.encoder('lsa')", "text", "the lsa encoder needs sklearn"),
    ("setwise.encode.encoder('ngrams')", "text", "the ngrams encoder needs sklearn"),
    ("setwise.encode.encoder('sentence')", "sentence", "the sentence encoder needs sentence_transformers"),
    (
        "setwise.files.read_table(Path('t.csv'), ['a'])",
        "arrow",
        "a table (Parquet, Arrow, CSV, a saved index, drawn rows) needs pyarrow",
    ),
    (
        "setwise.finetuning.Pipeline('t.csv', 't.csv', out='o.jsonl', rows=1).check_outputs()",
        "arrow",
        "a table (Parquet, Arrow, CSV, a saved index, drawn rows) needs pyarrow",
    ),
    ("setwise.Index.from_faiss('index.faiss')", "faiss", "search and clustering by FAISS needs faiss"),
    (
        "setwise.select(X, 3, relevance=r, solver='clustering')",
        "faiss",
        "search and clustering by FAISS needs",
    ),
    ("setwise.finetuning.match(X, X[:3], kernel_width=0.1)", "faiss", "search and clustering by FAISS needs"),
    ("setwise.Catalog.build(X, r, clusters=4)", "faiss", "search and clustering by FAISS needs faiss"),
    ("setwise.Index.from_qdrant('http://localhost', 'c')", "qdrant", "QdrantIndex needs qdrant_client"),
    ("setwise.Index.from_pgvector('dbname=x', 't')", "pgvector", "PgvectorIndex needs psycopg"),
    ("setwise.Index.from_lance('t')", "lance", "LanceIndex needs lancedb"),
    ("setwise.Index.from_chroma('c')", "chroma", "ChromaIndex needs chromadb"),
    ("setwise.Index.from_milvus('c', 't')", "milvus", "MilvusIndex needs pymilvus"),
    ("setwise.Index.from_duckdb('c', 't')", "duckdb", "DuckdbIndex needs duckdb"),
    (
        "import sqlite3; setwise.Index.from_sqlite(sqlite3.connect(':memory:'), 't')",
        "sqlite",
        "SqliteIndex needs sqlite_vec",
    ),
    ("setwise.Index.from_torch(X)", "torch", "an index over a tensor needs torch"),
    (
        "import setwise.integrations.langchain",
        "langchain",
        "setwise.integrations.langchain needs langchain_core",
    ),
    ("import setwise.integrations.llama_index", "llama-index", "setwise.integrations.llama_index needs"),
    ("import setwise.integrations.haystack", "haystack", "setwise.integrations.haystack needs haystack"),
    ("setwise.preference.swepo_loss", "torch", "setwise.preference.losses needs torch"),
    ("setwise.preference.train", "train", "training on preferences needs"),
    ("setwise.preference.load_model('here')", "train", "a causal language model needs"),
    ("setwise.engine.engine_for('ray')", "ray", "workers='ray' needs ray"),
]

WORKING = """
sel = setwise.select(X, 5, relevance=r, diversity=0.3, certify="full")
for objective in ("mmr", "log-det", "coverage"):
    setwise.select(X, 5, relevance=r, diversity=0.3, objective=objective)
setwise.select(X, 5, relevance=r, diversity=0.3, solver="exact")
setwise.select_many(X, 5, queries=X[:3], diversity=0.3)
setwise.retrieve(X[0], setwise.Index.from_array(X), 5, diversity=0.3)
setwise.diversify(list(range(40)), 5, relevance=r, vectors=X)
setwise.finetuning.match(X, X[:3] + 0.1, regularizer="uniform", scale=5.0).sample(5)
setwise.preference.select_responses(X, r, 4)
"""


def alone(code: str) -> subprocess.CompletedProcess[str]:
    """Run code where nothing but the base can be imported."""
    start = "import json\nfrom pathlib import Path\nimport numpy as np\nimport setwise\n"
    data = "rng = np.random.default_rng(0)\nX, r = rng.standard_normal((40, 8)), rng.random(40)\n"
    return subprocess.run(
        [sys.executable, "-c", ALONE + start + data + code], capture_output=True, text=True, timeout=120
    )


def test_arrays_need_the_base_alone():
    done = alone(WORKING)
    assert done.returncode == 0, done.stderr


def test_what_is_missing_is_one_line_with_the_command(tmp_path):
    (tmp_path / "t.csv").write_text("a\n1\n")
    rows = json.dumps([code for code, *_ in MISSING])
    done = alone(
        f"import os\nos.chdir({str(tmp_path)!r})\nfound = []\nfor code in json.loads({rows!r}):\n"
        "    try:\n        exec(code)\n        found.append('it ran')\n"
        "    except Exception as error:\n        found.append(f'{type(error).__name__}: {error}')\n"
        "print(json.dumps(found))"
    )
    assert done.returncode == 0, done.stderr
    for (code, extra, words), said in zip(MISSING, json.loads(done.stdout), strict=True):
        assert said.startswith(f"ModuleNotFoundError: {words}"), code
        assert said.endswith(f": pip install 'setwise[{extra}]'"), code
        assert "\n" not in said


@pytest.mark.parametrize("arguments", [[], ["demo"], ["--help"]])
def test_the_command_without_its_packages_is_one_line(arguments):
    run = f"import runpy\nsys.argv[1:] = {arguments!r}\nrunpy.run_module('setwise', run_name='__main__')"
    done = alone(run)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "setwise: the command line needs typer: pip install 'setwise[cli]'\n"


def test_a_package_that_does_not_load_says_why(tmp_path):
    (tmp_path / "lancedb.py").write_text("raise ImportError('libarrow.so: cannot open shared object')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import setwise; setwise.Index.from_lance('t')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: LanceIndex needs lance: pip install 'setwise[lance]' "
        "(libarrow.so: cannot open shared object)"
    )


def test_every_extra_that_an_error_or_a_page_names_exists():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    known = set(project["optional-dependencies"])
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = {
        extra
        for page in pages
        for group in re.findall(r"setwise\[([\w,-]+)\]", page.read_text(encoding="utf-8"))
        for extra in group.split(",")
    }
    calls = re.compile(r'\b(?:needs\(|require\([^,()]+,)\s*"([\w-]+)"')
    for module in (ROOT / "src" / "setwise").rglob("*.py"):
        named |= set(calls.findall(module.read_text(encoding="utf-8")))
    assert {"cli", "text", "arrow", "faiss", "torch", "train"} <= named
    assert named <= known
