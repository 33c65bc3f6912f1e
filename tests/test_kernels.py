"""The processor, the BLAS kernel and the number of threads change no selection."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from optional import needs

PICKS = """
import itertools, json, sys, warnings
import numpy as np
import setwise

warnings.simplefilter("ignore")
CASES = [
    ("max-sum", "cosine", 1), ("max-sum", "cosine", 8), ("max-sum", "euclidean", 1), ("mmr", "cosine", 1),
    ("mmr", "euclidean", 1), ("log-det", "cosine", 1), ("log-det", "euclidean", 1), ("coverage", "cosine", 1),
]
SOLVERS = ("auto", "greedy", "frank-wolfe", "swap", "clustering")
picks = []
for n, d in ((25, 7), (350, 13), (1100, 21)):
    rng = np.random.default_rng(n)
    X = np.tile(rng.standard_normal((n, d)), (2, 1)).astype(np.float32)
    r, query = np.tile(rng.random(n), 2), rng.standard_normal(d)
    for told in ({"relevance": r}, {"query": query}, {}):
        for (objective, metric, sharpness), solver, t in itertools.product(CASES, SOLVERS, (0.4,)):
            able = setwise.solvers.solver_of(objective, solver)
            if able is None or (objective == "coverage" and n > 400):
                continue
            found = setwise.select(
                X, 6, **told, diversity=t, objective=objective, metric=metric, sharpness=sharpness,
                solver=solver, certify=n < 100,
            )
            picks.append(found.indices.tolist())
    queries = rng.standard_normal((4, d))
    index = setwise.Index.from_array(X)
    for sharpness in (1, 8):
        picks += [hits.ids.tolist() for hits in setwise.retrieve(queries, index, 6, sharpness=sharpness)]
        many = setwise.select_many(X, 6, queries=queries, sharpness=sharpness, certify=False)
        picks += [one.indices.tolist() for one in many]
    stacked, probes = X[:50].reshape(2, 25, d), queries[:2]
    picks += [one.indices.tolist() for one in setwise.select_many(stacked, 6, queries=probes, certify=False)]
json.dump(picks, sys.stdout)
"""

#: The environment's settings, and what NumPy calls the instructions that they need.
SETTINGS = {
    "Nehalem": ({"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4", "OPENBLAS_NUM_THREADS": "1"}, "X86_V4"),
    "Sandybridge": ({"NPY_DISABLE_CPU_FEATURES": "X86_V4", "OPENBLAS_NUM_THREADS": "2"}, "X86_V4"),
    "Haswell": ({}, "AVX2"),
    "Zen": ({"OPENBLAS_NUM_THREADS": "1"}, "AVX2"),
    "SkylakeX": ({}, "AVX512_SKX"),
}


def picks_under(setting):
    done = subprocess.run(
        [sys.executable, "-c", PICKS],
        env={**os.environ, **setting},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def runs_here(kernel):
    return np._core._multiarray_umath.__cpu_features__.get(SETTINGS[kernel][1], False)


@needs("faiss")
@pytest.mark.parametrize(
    "kernels",
    [("Nehalem", "Haswell"), *(pytest.param((one,), marks=pytest.mark.slow) for one in SETTINGS)],
    ids=" or ".join,
)
def test_selections_are_the_same(kernels):
    """Every row is there twice, and a third of the calls have no relevance to tell others apart."""
    kernel = next(filter(runs_here, kernels), None)
    if kernel is None:
        pytest.skip(f"this processor has not what {' or '.join(kernels)} need")
    assert picks_under({"OPENBLAS_CORETYPE": kernel, **SETTINGS[kernel][0]}) == picks_under({})
