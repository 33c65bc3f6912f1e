"""Workers encode with a language model, search and write: the rows are those of one process."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

import tiny_policy
from optional import lazily, needs
from setwise.encode import spread
from setwise.finetuning import Pipeline, search
from setwise.finetuning.rows import writing

pytestmark = [needs("torch", "transformers", "tokenizers", "pyarrow", "faiss"), pytest.mark.slow]
ray = lazily("ray")
_encode_part, _written_by_worker = spread.encode_part, writing.written_by_worker
_nearest_in_part, _kernels_in_part = search.nearest_in_part, search.kernels_in_part


def encode_and_die_once(work):
    """As `spread.encode_part`, by a worker that dies the first time that it has the third part."""
    die_once("encoding", "third" in " ".join(work[2]))
    return _encode_part(work)


def search_and_die_once(work):
    """As `search.nearest_in_part`, by a worker that dies the first time that it has searched part two."""
    found = _nearest_in_part(work)
    die_once("searching", work[1].first > 0)
    return found


def count_and_die_once(work):
    """As `search.kernels_in_part`, by a worker that dies the first time that it has counted in part two."""
    found = _kernels_in_part(work)
    die_once("counting", work[1].first > 0)
    return found


def write_and_die_once(work):
    """As `writing.written_by_worker`, by a worker that dies the first time that it has written epoch 2."""
    found = _written_by_worker(work)
    die_once("writing", "epoch-00002" in work[3])
    return found


def die_once(what, now):
    marker = Path(os.environ["SETWISE_TEST_MARKER"] + what)
    if now and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [2, pytest.param("ray", marks=needs("ray"))])
def test_the_rows_are_those_of_one_process_though_a_worker_is_killed(workers, tmp_path, monkeypatch):
    tiny_policy.saved(tmp_path / "model", layers=2, context=128)
    words = tiny_policy.WORDS
    texts = [f"{words[row % 12]} {words[row * 7 % 11]} {words[row // 12 % 12]}" for row in range(700)]
    texts[600] += " third"
    for name, some in (("rows", texts), ("task", ["good green tree", "what is it"])):
        lines = (json.dumps({"text": text}) + "\n" for text in some)
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    settings = {"model": f"hidden:{tmp_path / 'model'}", "rows": 60, "epochs": 2, "neighbors": 100}
    sources = (tmp_path / "rows.jsonl", tmp_path / "task.jsonl")
    alone = Pipeline(*sources, cache=tmp_path / "one", out=tmp_path / "alone", **settings).run()

    home = Path(__file__).parent
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(home), str(home.parent), os.environ.get("PYTHONPATH", "")])
    )
    monkeypatch.setenv("SETWISE_TEST_MARKER", str(tmp_path / "died"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(spread, "encode_part", encode_and_die_once)
    monkeypatch.setattr(search, "nearest_in_part", search_and_die_once)
    monkeypatch.setattr(search, "kernels_in_part", count_and_die_once)
    monkeypatch.setattr(writing, "written_by_worker", write_and_die_once)
    if workers == "ray":
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        found = Pipeline(
            *sources, cache=tmp_path / "two", out=tmp_path / "spread", workers=workers, **settings
        ).run()
    finally:
        if workers == "ray":
            ray.shutdown()
    died = {path.name.removeprefix("died") for path in tmp_path.glob("died*")}
    assert died == {"encoding", "searching", "counting", "writing"}
    for one, other in zip(alone.epochs, found.epochs, strict=True):
        np.testing.assert_array_equal(one, other)
    assert found.distribution.stats["search"] == "exact in parts"
    for name in ("epoch-00001.jsonl", "epoch-00002.jsonl"):
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "spread" / name).read_bytes()
