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
    words = (*words[:-5], "--out", tmp_path / "whole", "--set", "use_cpu=true", "--set", "streaming=true")
    whole = run(*words, "--set", "max_steps=1", "--set", "loss=swepo")
    assert (whole.code, whole.err) == (0, "")  # no bars of transformers', which saves the weights in shards
    assert whole.out.startswith("whole  trained on 1 step by swepo: train_loss ")
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


TRAIN = ("prefer", "train", "--rows", "rows.jsonl", "--model", "policy", "--out", "trained")
GENERATE = ("prefer", "generate", "--prompts", "rows.jsonl", "--out", "drawn.jsonl")
LOOP = ("prefer", "loop", "--prompts", "rows.jsonl", "--model", "policy", "--reward", "reward.py:one")
SCORE = ("prefer", "score", "--responses", "rows.jsonl", "--out", "scored.jsonl")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((*TRAIN, "--rows", "none.jsonl"), "rows: no file or folder 'none.jsonl'"),
        ((*TRAIN, "--rows", "half.jsonl"), "responses: line 2 of half.jsonl, response 0 is empty"),
        ((*TRAIN, "--eval-rows", "none.jsonl"), "eval_rows: no file or folder 'none.jsonl'"),
        ((*TRAIN, "--batch-size", 0), "batch_size: 0 is below 1"),
        ((*TRAIN, "--batch-size", -2), "batch_size: -2 is below 1"),
        ((*TRAIN, "--epochs", 0), "num_train_epochs: 0 is not a finite number above 0"),
        ((*TRAIN, "--epochs", "nan"), "num_train_epochs: nan is not"),
        ((*TRAIN, "--learning-rate", -1), "learning_rate: -1.0 is not finite and at least 0"),
        ((*TRAIN, "--seed", -1), "seed: -1 is below 0"),
        ((*TRAIN, "--out", "reward.py"), "output_dir: 'reward.py' is a file"),
        # A text is true, whatever it says.
        ((*TRAIN, "--set", "bf16=no"), "bf16: expected True or False, got 'no'"),
        ((*TRAIN, "--set", "lora=False", "--set", "seed=-1"), "seed: -1 is below 0"),
        ((*TRAIN, "--set", "label_smoothing_factor=0.1"), "label_smoothing_factor: these losses have none"),
        ((*TRAIN, "--set", "max_steps=x"), "max_steps: expected a number"),
        ((*TRAIN, "--set", "gradient_accumulation_steps=0"), "gradient_accumulation_steps: 0 is below 1"),
        ((*TRAIN, "--set", "report_to=nothing"), "report_to: 'nothing' is unknown or not installed"),
        ((*TRAIN, "--set", "learning_rte=1"), "--set: 'learning_rte' is unknown; did you mean"),
        ((*TRAIN, "--set", "output_dir=x"), "--set: output_dir is said by an option of its own"),
        ((*TRAIN, "--set", "loading.type=x"), "loading: 'type' is unknown"),
        ((*GENERATE, "--model", "policy", "--seed", -1), "seed: -1 is below 0"),
        ((*GENERATE, "--model", "policy", "--set", "loading.device=moon"), "device: 'moon' is not there"),
        ((*GENERATE, "--model", "policy", "--set", "seed=1"), "--set: 'seed' is unknown"),
        ((*GENERATE, "--model", "policy", "--set", "loading.type=x"), "loading: 'type' is unknown"),
        ((*GENERATE, "--prompts", "none.jsonl", "--model", "policy"), "prompts: no file or folder"),
        ((*GENERATE, "--server", "localhost:1"), "server: 'localhost:1' is no address"),
        ((*GENERATE, "--server", "http://localhost:1", "--retries", -1), "retries: -1 is below 0"),
        ((*GENERATE, "--server", "http://localhost:1", "--set", "chat=true"), "--set: of a model that is"),
        ((*LOOP, "--out", "run", "--set", "training.learning_rte=1"), "training: 'learning_rte' is unknown"),
        ((*LOOP, "--out", "run", "--set", "seed=1"), "--set: seed is said by an option of its own"),
        ((*LOOP, "--out", "reward.py"), "out: 'reward.py' is a file; name a folder"),
        ((*LOOP, "--out", "run", "--prompts", "none.jsonl"), "prompts: no file or folder 'none.jsonl'"),
        ((*SCORE, "--reward", "reward.py:two"), "reward: 'reward.py' has no function 'two'"),
        ((*SCORE, "--reward", "broken.py:one"), "reward: 'broken.py' is no Python (invalid syntax"),
        ((*SCORE, "--reward", "no.such:one"), "reward: 'no.such' cannot be imported"),
    ],
)
def test_what_is_wrong_is_said_before_a_model_is_loaded(refused, tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    loader = "transformers.AutoModelForCausalLM.from_pretrained"
    monkeypatch.setattr(loader, lambda *_, **__: pytest.fail("a model was loaded"))
    tiny_policy.tokenizer().save_pretrained("policy")
    row = {"prompt": "what is it", "chosen": "good", "rejected": ["bad"], "rewards": [1, 0]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    (tmp_path / "half.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({**row, "chosen": ""}))
    (tmp_path / "reward.py").write_text("two = 2\n\ndef one(prompts, responses):\n    pass\n")
    (tmp_path / "broken.py").write_text("def (:")
    assert told in refused(*words)
