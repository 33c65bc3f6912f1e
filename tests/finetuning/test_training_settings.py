"""The settings that the docs name for axolotl and LLaMA-Factory are read by these programs' own code.

Both are installed apart from their dependencies, by ``make test-slow``; else this is skipped.
"""

import importlib.machinery
import importlib.util
import json
import os
import re
import sys
from pathlib import Path

import pytest

from optional import needs
from setwise.finetuning import Pipeline

pytestmark = [pytest.mark.slow, needs("pyarrow", "datasets", "sklearn")]

DOCS = Path(__file__).resolve().parents[2] / "docs"

SAID = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "what is red"},
    {"role": "assistant", "content": "a plum"},
]


def blocks(kind):
    page = (DOCS / "finetune-training.md").read_text()
    return re.findall(rf"^```{kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Two epochs in a folder, and their rows in order."""
    rows = [
        {"id": row, "messages": [*SAID[:2], {"role": "assistant", "content": f"{row}"}]} for row in range(30)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    found = Pipeline("rows.jsonl", "rows.jsonl", model="ngrams", rows=8, epochs=2, out="run").run()
    return [row for epoch in found.epochs for row in epoch.tolist()]


@needs("axolotl", "yaml")
def test_axolotl_takes_the_settings_and_loads_all_epochs_in_order(run):
    import yaml
    from axolotl.utils.schemas.config import AxolotlInputConfig
    from datasets import load_dataset

    settings = yaml.safe_load(blocks("yaml")[0])
    assert set(settings) <= set(AxolotlInputConfig.model_fields)  # others it would pass over
    needed = {"micro_batch_size": 1, "gradient_accumulation_steps": 1, "learning_rate": 1e-4}
    taken = AxolotlInputConfig(**settings, **needed)
    assert (taken.curriculum_sampling, taken.shuffle_merged_datasets) == (True, False)
    (one,) = taken.datasets
    assert load_dataset(one.path, split=one.split)["id"][:] == run


@pytest.fixture
def llama_factory(monkeypatch):
    """It imports torchaudio, for sounds alone, and looks at versions."""
    monkeypatch.setenv("DISABLE_VERSION_CHECK", "1")
    if importlib.util.find_spec("torchaudio") is None:
        nothing = importlib.util.module_from_spec(importlib.machinery.ModuleSpec("torchaudio", None))
        monkeypatch.setitem(sys.modules, "torchaudio", nothing)


@needs("llamafactory", "omegaconf", "yaml")
@pytest.mark.usefixtures("llama_factory")
def test_llama_factory_takes_the_settings_and_reads_every_turn(run):
    import yaml
    from llamafactory.data.converter import get_dataset_converter
    from llamafactory.data.parser import get_dataset_list
    from llamafactory.hparams.data_args import DataArguments
    from llamafactory.hparams.finetuning_args import FinetuningArguments

    Path("dataset_info.json").write_text(blocks("json")[0])
    settings = yaml.safe_load(blocks("yaml")[1])
    known = {
        *DataArguments.__dataclass_fields__,
        *FinetuningArguments.__dataclass_fields__,
        "num_train_epochs",
    }
    assert set(settings) <= known
    assert FinetuningArguments(stage="sft", disable_shuffling=True).disable_shuffling
    data = DataArguments(**{name: settings[name] for name in ("dataset", "dataset_dir", "mix_strategy")})
    found = []
    for one in get_dataset_list(data.dataset, data.dataset_dir):
        convert = get_dataset_converter(one.formatting, one, data)
        rows = map(json.loads, Path(one.dataset_name).read_text().splitlines())
        found += [convert(row) for row in rows]
    assert [int(row["_response"][0]["content"]) for row in found] == run
    assert {row["_system"] for row in found} == {"be brief"}
    assert all(row["_prompt"] == [SAID[1]] for row in found)


@needs("llamafactory", "omegaconf")
@pytest.mark.usefixtures("llama_factory")
def test_llama_factory_reads_pairs_by_the_settings_of_the_docs(tmp_path):
    from llamafactory.data.converter import get_dataset_converter
    from llamafactory.data.parser import get_dataset_list
    from llamafactory.hparams.data_args import DataArguments

    from setwise.preference import PreferenceRows

    row = {"prompt": SAID[:2], "responses": ["a plum", "a pear", "no idea"], "rewards": [3.0, 1.0, 0.0]}
    pairs = PreferenceRows([row], k=2, format="llama-factory", model="ngrams")
    (tmp_path / "out.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    told = re.search(r"LLaMA-Factory: `(.*?)` \|", (DOCS / "prefer.md").read_text())[1]
    (tmp_path / "dataset_info.json").write_text(f'{{"pairs": {{"file_name": "out.jsonl", {told}}}}}')
    (one,) = get_dataset_list(["pairs"], os.fspath(tmp_path))
    convert = get_dataset_converter(one.formatting, one, DataArguments())
    found = [convert(json.loads(line)) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {row["_system"] for row in found} == {"be brief"}
    answers = [[said["content"] for said in row["_response"]] for row in found]
    assert sorted(answers) == [["a plum", "a pear"], ["a plum", "no idea"]]
