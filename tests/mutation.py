"""Whether the tests notice: a bounded, fixed sample of faults put into the modules that prove and solve.

    python -m tests.mutation [modules of SLICE; all of them if none is named]

Each mutant of cosmic-ray is written into a copy of the tree, and the module's tests are run on it in a fork
of a process that has the heavy imports done. Printed are the mutants that no test fails on.
"""

from __future__ import annotations

import difflib
import os
import random
import resource
import shutil
import sys
import tempfile
from pathlib import Path

import numpy  # noqa: F401  (these three here once, not in every fork)
import pytest
import scipy.optimize
import scipy.sparse  # noqa: F401
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).resolve().parents[1]

#: Mutants of each module, and the seconds of processor time after which one counts as noticed.
SAMPLE, SECONDS = 25, 60

#: A bar is a union of types in all these modules.
LEFT_OUT = "core/ReplaceBinaryOperator_BitOr_"

#: Modules, and what pytest is given to test each in a second or two.
SLICE = {
    "solvers/bounds.py": ["tests/solvers/test_bounds.py"],
    "certificate.py": [
        "tests/test_certificate.py",
        "tests/solvers/test_bounds.py",
        "-k=percent or rounding or words or never_below and cosine-8",
    ],
    "solvers/unseen.py": [
        "tests/retrieval/test_retrieve.py",
        "tests/retrieval/test_promises.py",
        "tests/fuzz/test_wishes.py",
        "tests/solvers/test_unseen.py",
        "-k=certificates_hold or no_exchange_with or honest_index or few_were_seen or unseen",
    ],
    "catalog/shards/select.py": [
        "tests/catalog/test_shards.py",
        "tests/catalog/test_shards_muss.py",
        "-k=not ray and not processes and not main_guard and not dgds_with",
    ],
    "solvers/matching.py": ["tests/solvers/test_matching.py"],
    "solvers/max_sum.py": [
        "tests/solvers/test_exact.py",
        "tests/test_certificate.py",
        "-k=giving_up or constraints and cosine-8 or every_solver and cosine-8",
    ],
    "solvers/exact.py": [
        "tests/solvers/test_exact.py",
        "-k=worst_start or giving_up or below_a_node or constraints and cosine-8",
    ],
}


def sample(code: str) -> list[str]:
    """Mutants of a module, the same ones of the same code."""
    tree = get_ast(code)
    places = []
    for name in operator_names():
        operator = get_operator(name)
        if operator.arguments() or name.startswith(LEFT_OUT):
            continue
        found = sum(len(list(operator().mutation_positions(node))) for node in ast_nodes(tree))
        places += [(operator, number) for number in range(found)]
    some = random.Random(0).sample(places, min(SAMPLE, len(places)))
    return [mutate_code(code, operator(), number) for operator, number in some]


def noticed(tests: list[str]) -> bool:
    """Run tests in a fork, in the working directory."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        os._exit(int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-m", "not slow", *tests])))
    return os.waitpid(child, 0)[1] != 0


def main() -> int:
    """Run the slice; 1 where the tests fail on the code as it is."""
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    with tempfile.TemporaryDirectory() as folder:
        for part in ("src", "tests", "pyproject.toml"):
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, Path(folder) / part)
        os.chdir(folder)
        sys.path.insert(0, str(Path(folder, "src")))
        for module in sys.argv[1:] or SLICE:
            file = Path("src/setwise", module)
            for compiled in file.parent.glob(f"__pycache__/{file.stem}.*"):
                compiled.unlink()
            code = file.read_text(encoding="utf-8")
            if noticed(SLICE[module]):
                print(f"{module}: its tests fail on the code as it is")
                return 1
            mutants, survived = sample(code), 0
            for mutant in mutants:
                file.write_text(mutant, encoding="utf-8")
                if not noticed(SLICE[module]):
                    survived += 1
                    changes = difflib.unified_diff(code.splitlines(), mutant.splitlines(), n=0)
                    print(module, *[line for line in changes if line[:3] not in ("---", "+++")], sep="\n")
            file.write_text(code, encoding="utf-8")
            print(f"{module}: {len(mutants)} mutants, {survived} survived\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
