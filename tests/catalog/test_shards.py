"""Selection over shards and in partitions that run elsewhere: the same result as in one process."""

import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

import setwise
from reference.muss import alg1
from setwise.catalog import Catalog
from setwise.catalog.shards import Shard, merge_batches, select_batches, select_shards


@pytest.fixture(scope="module")
def items():
    rng = np.random.default_rng(0)
    return rng.standard_normal((900, 12)).astype(np.float32), rng.random(900)


@pytest.fixture(scope="module")
def shards(items, tmp_path_factory):
    """Three Parquet shards of unequal size, ids that are not rows."""
    X, q = items
    folder = tmp_path_factory.mktemp("shards")
    paths = []
    for number, (a, b) in enumerate([(0, 250), (250, 600), (600, 900)]):
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(X[a:b].ravel()), 12)
        table = pa.table(
            {
                "id": [f"item {row}" for row in range(a, b)],
                "quality": q[a:b],
                "vector": vectors,
                "other": [0] * (b - a),
            }
        )
        path = folder / f"{number}.parquet"
        parquet.write_table(table, path, row_group_size=100)
        paths.append(str(path))
    return paths


@pytest.fixture(scope="module")
def ray():
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    except Exception as error:  # no room to start a cluster: say why
        pytest.skip(f"Ray does not start here: {error}")
    yield ray
    ray.shutdown()


def expected_union(X, q, k, inside, t, top_up=True):
    rows = np.concatenate(
        [alg1(X, q, np.arange(a, b), inside, t) for a, b in [(0, 250), (250, 600), (600, 900)]]
    )
    tops = [a + np.argsort(-q[a:b], kind="stable")[:k] for a, b in [(0, 250), (250, 600), (600, 900)]]
    return np.unique(np.concatenate([rows, *tops] if top_up else [rows]))


def test_shards_are_dgds_with_its_top_up(items, shards):
    X, q = items
    found = select_shards(shards, 20, diversity=0.3, per_shard=15, workers=2)
    chosen = alg1(X, q, expected_union(X, q, 20, 15, 0.3), 20, 0.3)
    assert found.ids.tolist() == [f"item {row}" for row in chosen]
    starts = np.array([0, 250, 600])
    assert (starts[found.shards] + found.rows).tolist() == chosen.tolist()
    assert np.array_equal(found.quality, q[chosen])
    terms = setwise.select(X[chosen], 20, relevance=q[chosen], diversity=0.3)
    assert found.value == pytest.approx(terms.value, abs=1e-6)
    assert found.diversity == pytest.approx(terms.diversity, abs=1e-6)


def test_ray_gives_the_local_result(items, shards, ray):
    local = select_shards(shards, 20, diversity=0.3, workers=1)
    remote = select_shards(shards, 20, diversity=0.3, workers="ray")
    assert remote.ids.tolist() == local.ids.tolist()
    options = {"diversity": 0.3, "method": "muss", "clusters": 9, "seed": 2}
    remote, local = (select_shards(shards, 20, workers=workers, **options) for workers in ("ray", 1))
    assert remote.ids.tolist() == local.ids.tolist()
    assert remote.value == local.value
    catalog = Catalog.build(*items, clusters=9)
    for method in ("muss", "dgds"):
        options = {"diversity": 0.2, "method": method, "clusters": 5}
        here = catalog.select(25, **options)
        there = catalog.select(25, workers="ray", **options)
        assert here.indices.tolist() == there.indices.tolist()


@pytest.mark.parametrize("method", ["muss", "dgds", "muss-random-clusters", "muss-random-partition"])
def test_processes_give_the_threads_result(items, method, tmp_path, processes):
    options = {"diversity": 0.4, "method": method, "clusters": 4, "criterion": "sum"}
    catalog = Catalog.build(*items, clusters=9)
    here = catalog.select(25, **options)
    assert catalog.select(25, workers=processes, **options).indices.tolist() == here.indices.tolist()
    np.save(tmp_path / "rows.npy", items[0])
    mapped = Catalog.build(np.load(tmp_path / "rows.npy", mmap_mode="r"), items[1], clusters=9)
    assert mapped.select(25, workers=processes, **options).indices.tolist() == here.indices.tolist()


@pytest.mark.parametrize(("top_up", "scale"), [(True, 1.0), (False, 0.5)])
def test_npy_shards(items, tmp_path, top_up, scale):
    X, q = items
    parts = []
    for number, (a, b) in enumerate([(0, 250), (250, 600), (600, 900)]):
        np.save(tmp_path / f"{number}.npy", X[a:b])
        np.save(tmp_path / f"q{number}.npy", q[a:b])
        parts.append(Shard(str(tmp_path / f"{number}.npy"), str(tmp_path / f"q{number}.npy")))
    options = {"per_shard": 15, "top_up": top_up, "final_quality_scale": scale}
    found = select_shards(parts, 20, diversity=0.3, **options)
    union = expected_union(X, q, 20, 15, 0.3, top_up)
    chosen = alg1(X, scale * q, union, 20, 0.3)
    assert found.union == len(union)
    assert (np.array([0, 250, 600])[found.shards] + found.rows).tolist() == chosen.tolist()


def test_batches_of_arrow_are_the_same_functions(items, shards):
    """What Spark's mapInArrow calls: an iterator of a partition's batches in, batches out."""
    yielded = []
    for path in shards:
        batches = parquet.ParquetFile(path).iter_batches(64)
        yielded += list(select_batches(batches, per_part=20, diversity=0.3, top=20))
    assert list(select_batches(iter([]), per_part=20)) == []
    merged = merge_batches(yielded, 20, diversity=0.3)
    assert merged.column("id").to_pylist() == select_shards(shards, 20, diversity=0.3).ids.tolist()
    with pytest.raises(ValueError, match="more than"):
        merge_batches(yielded, 10_000)


def test_a_script_without_a_main_guard_is_not_run_again(shards, tmp_path):
    script = tmp_path / "job.py"
    script.write_text(
        "from setwise.catalog.shards import select_shards\n"
        "print('started')\n"
        f"print(len(select_shards({shards!r}, 20, workers=2)))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["started", "20"]


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda s: select_shards([], 3), ValueError, "none given"),
        (lambda s: select_shards(["nowhere.parquet"], 3), FileNotFoundError, "nowhere.parquet"),
        (lambda s: select_shards(s, 5000), ValueError, "more than the"),
        (lambda s: select_shards(s, 5, vectors="embedding"), ValueError, "no column 'embedding'"),
        (lambda s: select_shards(s, 5, quality="other2"), ValueError, "no column 'other2'"),
        (lambda s: select_shards(s, 5, diversity=2), ValueError, "diversity"),
        (lambda s: select_shards(s, 5, criterion="max"), ValueError, "criterion"),
        (lambda s: select_shards(s, 5, workers=0), ValueError, "workers: 0"),
    ],
)
def test_bad_input(shards, call, error, match):
    with pytest.raises(error, match=match):
        call(shards)


def test_methods_without_partitions_take_no_workers(items):
    catalog = Catalog.build(*items, clusters=9)
    with pytest.raises(ValueError, match="looks at all items at once"):
        catalog.select(10, method="frank-wolfe", workers=2)
