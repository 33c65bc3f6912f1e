"""From UltraFeedback's rows to a trained adapter by commands, and the stages around the choice."""

from __future__ import annotations

import json

import pytest

import tiny_policy
from optional import needs

pytestmark = needs("torch", "transformers", "peft", "pyarrow")


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def policy(tmp_path):
    from setwise.encode.models import quietly

    folder = tmp_path / "policy"
    with quietly():
        tiny_policy.model().save_pretrained(folder)
    tiny_policy.tokenizer().save_pretrained(folder)
    return folder


def test_from_ultrafeedback_to_an_adapter(run, policy, tmp_path):
    answers = ["good good fine", "bad", "tree house bad", "blue red bad"]
    raw = [
        {
            "source": "own",
            "instruction": question,
            "completions": [
                {"response": f"{answer} {question.split()[-1]}", "overall_score": score}
                for answer, score in zip(answers, (9.0, 2.0, 3.0, 1.0), strict=True)
            ],
        }
        for question in ("what is it", "what is red", "is it blue", "what is tree")
    ]
    (tmp_path / "raw.jsonl").write_text("\n".join(map(json.dumps, raw)))
    groups, out = tmp_path / "groups.jsonl", tmp_path / "adapter"
    chosen = run(
        "prefer", "select", "--responses", tmp_path / "raw.jsonl", "-k", 2, "--model", "lsa", "--out", groups
    )
    assert (chosen.code, chosen.err) == (0, "")
    assert all(row["chosen"].startswith("good") for row in lines(groups))
    words = ("prefer", "train", "--rows", groups, "--model", policy, "--out", out, "--lora", "--epochs", 2)
    trained = run(*words, "--set", "lora_r=2", "--set", "use_cpu=true", "--batch-size", 2, "--json")
    assert trained.code == 0, trained.err
    record = json.loads(trained.out.splitlines()[-1])
    assert record["rows"] == 4
    assert record["train_loss"] > 0
    assert (out / "adapter_model.safetensors").is_file()
    again = run(*words)
    assert again.code == 2
    assert "holds" in again.err
    whole = run(*words[:-5], "--out", tmp_path / "whole", "--set", "use_cpu=true", "--set", "max_steps=1")
    assert (whole.code, whole.err) == (0, "")  # no bars of transformers', which saves the weights in shards
    assert (tmp_path / "whole" / "model.safetensors").is_file()


def test_generate_and_score(run, policy, tmp_path):
    prompts, drawn, scored = (tmp_path / f"{name}.jsonl" for name in ("prompts", "drawn", "scored"))
    prompts.write_text('{"prompt": "what is it"}\n{"prompt": "red tree"}\n')
    words = ("prefer", "generate", "--prompts", prompts, "--model", policy, "-n", 3, "--out", drawn)
    made = run(*words, "--max-new-tokens", 4)
    assert (made.code, made.err) == (0, "")
    assert made.out == "drawn.jsonl  2 prompts with 3 responses each\n"
    reward = tmp_path / "reward.py"
    reward.write_text("def length(prompts, responses):\n    return [len(text) for text in responses]\n")
    rated = run(
        "prefer", "score", "--responses", drawn, "--reward", f"{reward}:length", "--out", scored, "--json"
    )
    assert json.loads(rated.out) == {"out": str(scored), "rows": 2}
    for row in lines(scored):
        assert row["rewards"] == [len(text) for text in row["responses"]]
        assert len(row["token_ids"]) == 3
    refused = run(*words[:-1], tmp_path / "x.jsonl", "--field", "top_k=1")
    assert "--field: a field of requests to --server" in refused.err
    refused = run("prefer", "generate", "--prompts", prompts, "--out", tmp_path / "x.jsonl")
    assert (refused.code, refused.err) == (2, "setwise: server: give either a server or a model\n")


def test_the_loop(run, policy, tmp_path):
    prompts, reward, out = tmp_path / "prompts.jsonl", tmp_path / "reward.py", tmp_path / "run"
    prompts.write_text('{"prompt": "what is it"}\n{"prompt": "what is red"}\n')
    reward.write_text(
        "def good(prompts, responses):\n"
        "    return [text.split().count('good') / max(1, len(text.split())) for text in responses]\n"
    )
    words = (
        "prefer",
        "loop",
        "--prompts",
        prompts,
        "--model",
        policy,
        "--reward",
        f"{reward}:good",
        "--out",
        out,
    )
    words += ("--iterations", 1, "-n", 12, "-k", 2, "--max-new-tokens", 5, "--evaluation-prompts", prompts)
    words += ("--set", "encoder=lsa", "--set", "training.use_cpu=true", "--json")
    done = run(*words)
    assert done.code == 0, done.err
    assert [json.loads(line)["iteration"] for line in done.out.splitlines()] == [0, 1]
    assert (out / "iteration-001" / "checkpoint" / "model.safetensors").is_file()
    wrong = run(*words[:-1], "--set", "encoder")
    assert (wrong.code, wrong.err) == (2, "setwise: --set: 'encoder' is not NAME=VALUE\n")
