"""Training on groups: the loss and gradient of a step, metrics, resuming, adapters, mistakes."""

from __future__ import annotations

import copy
import inspect
import itertools
import json
import math
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
from training_toys import BOS, EOS, WORDS, ids, make_model, make_rows, make_tokenizer, settings, weights

from optional import lazily, needs

torch = lazily("torch")
transformers = lazily("transformers")
PreferenceTrainer = lazily("setwise.preference", "PreferenceTrainer")
response_logps = lazily("setwise.preference.logps", "response_logps")
swepo_loss = lazily("setwise.preference", "swepo_loss")
train = lazily("setwise.preference", "train")
preference = lazily("setwise.preference")
trainer_module = lazily("setwise.preference.training.trainer")
Groups = lazily("setwise.preference.training.groups", "Groups")
as_groups = lazily("setwise.preference.training.groups", "as_groups")
StreamedGroups = lazily("setwise.preference.training.stream", "StreamedGroups")

pytestmark = needs("torch", "transformers", "accelerate")


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


ALL = {
    "beta": 0.7,
    "gamma": 2.0,
    "alpha": 1.5,
    "length_normalized": True,
    "eos_regularizer": 0.3,
    "eos_term": "mean",
    "reward_scale": "none",
}


REFA = {"alpha": 0.0, "beta": 8.0, "gamma": 2.0, "length_normalized": True, "eos_regularizer": 0.0}
EQ_4 = {"alpha": 0.0, "beta": 1.0, "gamma": 1.0, "length_normalized": False, "eos_regularizer": 0.0}


def written_out(model, rows, alpha, beta, gamma, length_normalized, eos_regularizer):
    """The mean loss of rows, each response run alone and unpadded, the whole log-softmax taken."""
    losses = []
    for row in rows:
        responses = [*row["chosen"], *row["rejected"]]
        s, ends = [], []
        for response, reward in zip(responses, row["rewards"], strict=True):
            prompt, answer = [BOS, *ids(row["prompt"])], [*ids(response), EOS]
            table = model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
            terms = [table[len(prompt) + place - 1, token] for place, token in enumerate(answer)]
            logp = sum(terms) / (len(terms) if length_normalized else 1)
            s.append(beta * logp + alpha * (reward - np.mean(row["rewards"])))
            ends.append(terms[-1].exp())
        s = torch.stack(s).exp()
        good, bad = s[: len(row["chosen"])].sum(), s[len(row["chosen"]) :].sum()
        losses.append(-torch.log(good / (good + gamma * bad)) + eos_regularizer * torch.stack(ends).mean())
    return torch.stack(losses).mean()


# The loss and the gradient of a step


def a_step(model, rows, tokenizer, folder, **options):
    """The trainer's loss and gradient on all rows as one batch."""
    made = PreferenceTrainer(
        model, settings(folder, **options), train_dataset=rows, processing_class=tokenizer
    )
    model.train()
    batch = made.data_collator(list(made.train_dataset))
    loss = made.compute_loss(model, batch)
    model.zero_grad()
    loss.backward()
    gradient = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
    return float(loss.detach()), gradient


@pytest.mark.parametrize(
    ("options", "written"),
    [
        ({}, REFA),
        ({"loss": "swepo"}, EQ_4),
        ({"loss": "swepo", "beta": 2.0}, {**EQ_4, "beta": 2.0}),
        (ALL, ALL),
    ],
    ids=["by default", "Equation 4", "one changed", "all options"],
)
def test_the_loss_is_that_of_each_response_alone(tokenizer, tmp_path, options, written):
    model, rows = make_model().double(), make_rows(4)
    loss, gradient = a_step(model, rows, tokenizer, tmp_path, **options)
    expected = written_out(model, rows, **{name: written[name] for name in REFA})
    assert loss == pytest.approx(float(expected.detach()), rel=1e-6)
    model.zero_grad()
    expected.backward()
    plain = torch.cat([weight.grad.flatten() for weight in model.parameters()])
    torch.testing.assert_close(gradient, plain, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_the_gradient_in_parts_is_the_whole_batchs(tokenizer, tmp_path, size):
    model, rows = make_model().double(), make_rows(4)
    whole = a_step(model, rows, tokenizer, tmp_path, **ALL)
    parts = a_step(model, rows, tokenizer, tmp_path, responses_per_forward=size, **ALL)
    assert parts[0] == pytest.approx(whole[0], rel=1e-12)
    torch.testing.assert_close(parts[1], whole[1], rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_prompt_run_once_gives_the_same_loss_and_gradient(tokenizer, tmp_path, attention):
    rows = make_rows(4)
    options = {**ALL, "eos_term": "budget", "eos_target": 3}
    plain = a_step(make_model().double(), rows, tokenizer, tmp_path, **options)
    model = make_model(attn_implementation=attention).double()
    tokens = []
    forward = model.forward

    def counted(*, input_ids, **given):
        if torch.is_grad_enabled():  # what is tried before training is not
            tokens.append(input_ids.numel())
        return forward(input_ids=input_ids, **given)

    counted.__signature__ = inspect.signature(forward)
    model.forward = counted
    shared = a_step(model, rows, tokenizer, tmp_path, share_prompt=True, **options)
    # Norms and the softmax are taken in single precision inside the model.
    assert shared[0] == pytest.approx(plain[0], rel=1e-6)
    torch.testing.assert_close(shared[1], plain[1], rtol=1e-5, atol=1e-6)
    assert len(tokens) == 1
    with pytest.raises(ValueError, match="share_prompt: a group is run whole"):
        settings(tmp_path, share_prompt=True, responses_per_forward=2)
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ValueError, match="share_prompt: attention 'flash_attention_2' takes no mask"):
        a_step(model, rows, tokenizer, tmp_path, share_prompt=True)


def test_a_prompt_is_not_run_once_where_that_changes_what_responses_see(tokenizer, tmp_path):
    """A window of four tokens hides the prompt's beginning, which the mask of tokens by tokens shows."""
    options = {"vocab_size": len(WORDS), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "initializer_range": 0.2}

    def trainer(window):
        made = transformers.MistralConfig(**options, **heads, sliding_window=window)
        config = settings(tmp_path, share_prompt=True)
        PreferenceTrainer(
            transformers.MistralForCausalLM(made),
            config,
            train_dataset=make_rows(4),
            processing_class=tokenizer,
        )

    trainer(64)
    with pytest.raises(
        ValueError, match=r"share_prompt: this model gives a token's log-probability .* apart"
    ):
        trainer(4)


def test_rewards_far_from_zero_keep_their_differences(tokenizer, tmp_path):
    row = {"prompt": "what is", "chosen": "rome", "rejected": ["paris", "ugly", "old a"]}
    options = {"alpha": 1.0, "reward_scale": "minmax"}
    near, far = (
        a_step(
            make_model().double(),
            [{**row, "rewards": [base + one for one in (3.0, 1.0, 2.0, 0.0)]}],
            tokenizer,
            tmp_path,
            **options,
        )[0]
        for base in (0.0, 1e9)
    )
    assert far == near


def test_no_part_is_larger_than_asked_for_and_one_is_run_once(tokenizer, tmp_path, monkeypatch):
    model, rows = make_model(), make_rows(4)
    sizes = []
    forward = model.forward

    def counted(*, input_ids, **options):
        sizes.append(input_ids.shape)
        return forward(input_ids=input_ids, **options)

    counted.__signature__ = inspect.signature(forward)
    monkeypatch.setattr(model, "forward", counted)
    a_step(model, rows, tokenizer, tmp_path, responses_per_forward=3)
    responses = sum(len(row["chosen"]) + len(row["rejected"]) for row in rows)
    parts = math.ceil(responses / 3)
    assert len(sizes) == 2 * parts - 1
    assert max(rows for rows, _ in sizes) == 3
    assert len({length for _, length in sizes}) > 1  # each is padded to its own longest


def test_random_numbers_repeat_in_parts(tokenizer, tmp_path, monkeypatch):
    """With dropout, the gradient is that of the very activations whose loss was taken."""
    rows = make_rows(3)
    model = make_model(attention_dropout=0.3).double()
    options = {"responses_per_forward": 2, "seed": 11}
    recomputed = a_step(model, rows, tokenizer, tmp_path, **options)

    def kept(function, *arguments, use_reentrant):
        return function(*arguments)

    monkeypatch.setattr(trainer_module, "checkpoint", kept)
    direct = a_step(model, rows, tokenizer, tmp_path, **options)
    assert recomputed[0] == direct[0]
    torch.testing.assert_close(recomputed[1], direct[1], rtol=1e-9, atol=1e-13)
    other = a_step(model, rows, tokenizer, tmp_path, **{**options, "seed": 12})
    assert not torch.allclose(other[1], direct[1])


def one_update(tokenizer, folder, rows, **options):
    model = make_model().double()
    train(model, rows, settings(folder, num_train_epochs=1, **options), tokenizer=tokenizer)
    return weights(model)


@pytest.mark.parametrize("count", [8, 5], ids=["full", "short last batch"])
def test_accumulated_groups_are_one_large_batch(tokenizer, tmp_path, count):
    rows = make_rows(count)
    at_once = one_update(tokenizer, tmp_path, rows, per_device_train_batch_size=8)
    accumulated = one_update(
        tokenizer, tmp_path, rows, per_device_train_batch_size=2, gradient_accumulation_steps=4
    )
    torch.testing.assert_close(accumulated, at_once, rtol=1e-6, atol=1e-8)
    assert not torch.allclose(at_once, weights(make_model().double()), atol=1e-4)


def test_activation_checkpointing_goes_together_with_parts(tokenizer, tmp_path):
    rows = make_rows(4)
    options = {"per_device_train_batch_size": 4, **ALL}
    plain = one_update(tokenizer, tmp_path, rows, **options)
    both = one_update(
        tokenizer, tmp_path, rows, responses_per_forward=3, activation_checkpointing=True, **options
    )
    torch.testing.assert_close(both, plain, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("options", [{}, {"responses_per_forward": 2}])
def test_a_logged_loss_is_the_mean_over_groups(tokenizer, tmp_path, options):
    rows = make_rows(6)
    model = make_model()
    trainer = train(
        copy.deepcopy(model),
        rows,
        settings(
            tmp_path,
            num_train_epochs=1,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=3,
            **options,
        ),
        tokenizer=tokenizer,
    )
    expected = written_out(model, rows, **REFA)
    assert trainer.state.log_history[0]["loss"] == pytest.approx(float(expected.detach()), rel=1e-4)


def test_bfloat16(tokenizer, tmp_path):
    rows = make_rows(4)
    exact, _ = a_step(make_model(), rows, tokenizer, tmp_path, **ALL)
    narrow, _ = a_step(make_model().bfloat16(), rows, tokenizer, tmp_path, **ALL)
    assert narrow == pytest.approx(exact, rel=0.02)
    assert narrow != exact


def test_mixed_precision_leaves_the_logits_narrow(tokenizer, tmp_path, monkeypatch):
    rows = make_rows(4)
    exact, _ = a_step(make_model(), rows, tokenizer, tmp_path, **ALL)
    seen = set()

    def spy(logits, labels, **options):
        seen.add(logits.dtype)
        return response_logps(logits, labels, **options)

    monkeypatch.setattr(trainer_module, "response_logps", spy)
    for size in (None, 3):
        logged = train(
            make_model(),
            rows,
            settings(
                tmp_path,
                bf16=True,
                max_steps=1,
                per_device_train_batch_size=4,
                responses_per_forward=size,
                **ALL,
            ),
            tokenizer=tokenizer,
        )
        loss = logged.state.log_history[0]["loss"]
        assert loss == pytest.approx(exact, rel=0.02)
        assert loss != exact
        assert seen == {torch.bfloat16}
        assert {weight.dtype for weight in logged.model.parameters()} == {torch.float32}


# Training


CITIES = [
    {
        "prompt": f"what is the best city of {letter}",
        "chosen": "rome fine",
        "rejected": ["paris ugly", "old old old", "maybe"],
        "rewards": [1.0, 0.2, 0.1, 0.0],
    }
    for letter in "abcd"
]


@pytest.mark.parametrize("options", [{}, ALL, {"responses_per_forward": 2}])
def test_training_raises_the_positives_above_the_negatives(tokenizer, tmp_path, options):
    trainer = train(
        make_model(),
        CITIES[:3],
        settings(tmp_path, learning_rate=0.01, optim="adamw_torch", num_train_epochs=5, **options),
        tokenizer=tokenizer,
        eval_rows=CITIES[3:],
    )
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    first, last = logs[0], logs[-1]
    assert last["loss"] < 0.7 * first["loss"]
    assert last["rewards/margins"] > first["rewards/margins"] + 0.5
    assert last["logps/chosen"] > first["logps/chosen"]
    assert last["rewards/accuracies"] == 1.0
    evaluated = trainer.state.log_history[-1]
    assert evaluated["eval_rewards/accuracies"] == 1.0  # a prompt it was not trained on
    assert evaluated["eval_rewards/margins"] > first["rewards/margins"]


def test_evaluation_is_a_mean_over_groups(tokenizer, tmp_path):
    model, rows = make_model(), make_rows(5)
    trainer = PreferenceTrainer(
        model,
        settings(tmp_path, per_device_eval_batch_size=2, loss="swepo", beta=0.5),
        eval_dataset={"one": rows, "two": rows[:2]},
        processing_class=tokenizer,
    )
    found = trainer.evaluate()
    expected = written_out(model, rows, 0.0, 0.5, 1.0, False, 0.0)
    assert found["eval_one_loss"] == pytest.approx(float(expected.detach()), rel=1e-5)
    margins, accuracies, chosen, effective = [], [], [], []
    for row in rows:
        logps = []
        for response in [*row["chosen"], *row["rejected"]]:
            prompt, answer = [BOS, *ids(row["prompt"])], [*ids(response), EOS]
            table = model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1).detach()
            logps.append(sum(float(table[len(prompt) + i - 1, token]) for i, token in enumerate(answer)))
        good, bad = logps[: len(row["chosen"])], logps[len(row["chosen"]) :]
        margins.append(0.5 * (np.mean(good) - np.mean(bad)))
        accuracies.append(np.mean([g > b for g in good for b in bad]))
        chosen.append(np.mean(good))
        shares = np.exp(0.5 * np.array(bad)) / np.exp(0.5 * np.array(bad)).sum()
        effective.append(1 / (shares**2).sum())
    assert found["eval_one_rewards/margins"] == pytest.approx(np.mean(margins), rel=1e-4)
    assert found["eval_one_rewards/accuracies"] == pytest.approx(np.mean(accuracies))
    assert found["eval_one_logps/chosen"] == pytest.approx(np.mean(chosen), rel=1e-5)
    assert found["eval_one_negatives/effective"] == pytest.approx(np.mean(effective), rel=1e-4)
    assert found["eval_two_rewards/margins"] == pytest.approx(np.mean(margins[:2]), rel=1e-4)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"loss": "swepo"}, "take loss='refa', or lower beta"),
        ({"beta": 100.0}, "lower beta"),
        ({"loss": "simpo"}, "take pairs='all', or loss='refa'"),
        ({"beta": 0.5}, None),
    ],
)
def test_a_gradient_on_one_negative_is_told_of(tokenizer, tmp_path, options, told):
    """Three negatives, one of them short: of sums of log-probabilities, its is by far the largest."""
    rejected = ["ugly", "old old old fine fine fine", "fine old fine old fine old fine"]
    rewards = [1.0, 0.3, 0.2, 0.1]
    rows = [
        {"prompt": "what is the best city", "chosen": "rome", "rejected": rejected, "rewards": rewards}
    ] * 40
    config = settings(tmp_path, max_steps=10, per_device_train_batch_size=4, learning_rate=0.0, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        steps = []
        trainer = train(
            make_model(),
            rows,
            config,
            tokenizer=tokenizer,
            progress=lambda done, of: steps.append((done, of)),
        )
    assert steps == [(step, 10) for step in range(11)]
    messages = [str(one.message) for one in caught if str(one.message).startswith("loss: ")]
    assert len(messages) == (told is not None)
    for message in messages:
        assert "of 3.0 negatives a group, the gradient reaches 1.0" in message
        assert message.endswith(f"groups); {told}")
    logs = [log["negatives/effective"] for log in trainer.state.log_history if "loss" in log]
    assert len(logs) == 10
    assert all((log < 1.1) == (told is not None) for log in logs)


@pytest.mark.parametrize("together", [1, 4])
def test_a_model_is_as_good_as_itself(tokenizer, tmp_path, together):
    """Before the first step all ratios are 0 but for rounding, which is the batch's and says nothing."""
    config = settings(tmp_path, loss="mpo", per_device_train_batch_size=together, max_steps=1)
    trainer = train(make_model(), make_rows(together), config, tokenizer=tokenizer)
    assert trainer.state.log_history[0]["rewards/accuracies"] == 0.5


def stop_at(step):
    """A callback that ends a run early, as a machine that is taken away does after its last checkpoint."""

    class StopAt(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            control.should_training_stop = state.global_step == step

    return StopAt()


@pytest.mark.parametrize("lora", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_resumed_run_ends_as_an_uninterrupted_one(tokenizer, tmp_path, lora):
    rows = make_rows(6)
    options = {
        "num_train_epochs": 2,
        "optim": "adamw_torch",
        "learning_rate": 0.01,
        "save_strategy": "steps",
        "save_steps": 2,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "lora": lora,
        "lora_dropout": 0.2 if lora else 0.0,
    }
    straight = train(make_model(), rows, settings(tmp_path / "one", **options), tokenizer=tokenizer)
    halted = PreferenceTrainer(
        make_model(),
        settings(tmp_path / "two", **options),
        train_dataset=rows,
        processing_class=tokenizer,
        callbacks=[stop_at(4)],
    )
    halted.train()
    assert halted.state.global_step == 4
    assert not torch.equal(weights(halted.model), weights(straight.model))
    for name, state in (("checkpoint-7", None), ("checkpoint-8", "")):  # runs that were killed while saving
        shutil.copytree(tmp_path / "two" / "checkpoint-2", tmp_path / "two" / name)
        (tmp_path / "two" / name / "trainer_state.json").unlink()
        if state is not None:
            (tmp_path / "two" / name / "trainer_state.json").write_text(state)
    resumed = train(
        make_model(), rows, settings(tmp_path / "two", **options), tokenizer=tokenizer, resume=True
    )
    assert resumed.state.global_step == straight.state.global_step == 6
    assert torch.equal(weights(resumed.model), weights(straight.model))
    by_path = train(
        make_model(),
        rows,
        settings(tmp_path / "three", **options),
        tokenizer=tokenizer,
        resume=tmp_path / "one" / "checkpoint-2",
    )
    assert torch.equal(weights(by_path.model), weights(straight.model))


def test_a_checkpoint_that_finds_no_room_is_removed_and_a_whole_one_is_gone_on_from(tmp_path, monkeypatch):
    tokenizer, rows, out = make_tokenizer(), make_rows(2), tmp_path / "out"
    options = {"save_strategy": "steps", "save_steps": 1, "max_steps": 2}
    full, save = "checkpoint-1", trainer_module.torch.save

    def saved(value, place, *arguments, **named):
        if full in str(place):
            raise OSError(28, "No space left on device")
        save(value, place, *arguments, **named)

    monkeypatch.setattr("torch.save", saved)
    with pytest.raises(OSError, match="the disk has no room for"):
        train(make_model(), rows, settings(out, **options), tokenizer=tokenizer)
    assert not out.exists()
    full = "checkpoint-2"
    with pytest.raises(OSError, match="the disk has no room for"):
        train(make_model(), rows, settings(out, **options), tokenizer=tokenizer)
    assert [one.name for one in out.iterdir()] == ["checkpoint-1"]
    full = "nothing"
    train(make_model(), rows, settings(out, **options), tokenizer=tokenizer, resume=True)
    assert {"model.safetensors", "checkpoint-2"} <= {one.name for one in out.iterdir()}


def test_what_is_saved_is_what_was_trained(tokenizer, tmp_path):
    options = {"max_steps": 2, "save_strategy": "epoch"}
    trainer = train(make_model(), CITIES, settings(tmp_path / "out", **options), tokenizer=tokenizer)
    loaded = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.equal(weights(loaded), weights(trainer.model))
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    assert any("rewards/margins" in entry for entry in state["log_history"])
    # The tokenizer was saved too: a folder alone is enough to go on with.
    again = train(str(tmp_path / "out"), CITIES, settings(tmp_path / "next", max_steps=1))
    assert again.state.global_step == 1
    with pytest.raises(
        ValueError, match=r"output_dir: .*holds .* already; add --resume .resume=True., or name another"
    ):
        train(make_model(), CITIES, settings(tmp_path / "out", **options), tokenizer=tokenizer)


def test_adapters(tokenizer, tmp_path):
    import peft

    model = make_model()
    before = weights(model)
    options = {"lora": True, "lora_r": 4, "learning_rate": 0.05, "optim": "adamw_torch", "max_steps": 6}
    trainer = train(
        model,
        CITIES,
        settings(tmp_path / "out", save_strategy="steps", activation_checkpointing=True, **options),
        tokenizer=tokenizer,
    )
    assert isinstance(trainer.model, peft.PeftModel)
    trained = {name for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    base = [weight for name, weight in trainer.model.named_parameters() if "lora_" not in name]
    assert torch.equal(torch.cat([weight.detach().flatten() for weight in base]), before)
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert logs[-1]["loss"] < logs[0]["loss"]

    loaded = peft.PeftModel.from_pretrained(make_model(), tmp_path / "out", is_trainable=True)
    tokens = torch.tensor([ids("what is the best")])
    torch.testing.assert_close(loaded(tokens).logits, trainer.model(tokens).logits)
    onward = train(loaded, CITIES, settings(tmp_path / "next", **options), tokenizer=tokenizer)
    assert onward.model is loaded
    with pytest.raises(ValueError, match="peft_config: the model has adapters already"):
        train(
            loaded,
            CITIES,
            settings(tmp_path / "third", **options),
            tokenizer=tokenizer,
            peft_config=peft.LoraConfig(),
        )


def test_peft_config(tokenizer, tmp_path):
    import peft

    trainer = train(
        make_model(),
        CITIES,
        settings(tmp_path, max_steps=1),
        tokenizer=tokenizer,
        peft_config=peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"),
    )
    trained = [name for name, weight in trainer.model.named_parameters() if weight.requires_grad]
    assert len(trained) == 4
    assert all("q_proj.lora_" in name for name in trained)


def test_rows_of_hugging_face_datasets(tokenizer, tmp_path):
    import datasets

    rows = datasets.Dataset.from_list([{**row, "chosen": [row["chosen"]], "cost": 0.5} for row in CITIES])
    trainer = train(make_model(), rows, settings(tmp_path, max_steps=1), tokenizer=tokenizer)
    assert isinstance(trainer.train_dataset, Groups)
    assert len(trainer.train_dataset) == len(CITIES)


def test_the_config_is_read_from_the_command_line(tmp_path):
    arguments = (
        f"--output_dir {tmp_path} --beta 5 --gamma 3 --length_normalized true --split mean --max_length 100"
    )
    arguments += " --lora --lora_target_modules q_proj v_proj --chat false --responses_per_forward 4"
    (config,) = transformers.HfArgumentParser(preference.PreferenceConfig).parse_args_into_dataclasses(
        arguments.split()
    )
    assert (config.beta, config.gamma, config.length_normalized, config.split) == (5.0, 3.0, True, "mean")
    assert (config.lora, config.lora_target_modules, config.chat) == (True, ["q_proj", "v_proj"], False)
    assert (config.max_length, config.responses_per_forward) == (100, 4)
    own = (
        preference.PreferenceConfig.__dataclass_fields__.keys()
        - transformers.TrainingArguments.__dataclass_fields__.keys()
    )
    parser = transformers.HfArgumentParser(preference.PreferenceConfig)
    helped = {action.dest for action in parser._actions if action.help}
    assert own <= helped
    parser.format_help()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "reffa"}, "loss: 'reffa' is unknown; did you mean 'refa'"),
        ({"beta": 0.0}, "beta"),
        ({"gamma": -1.0}, "gamma"),
        ({"alpha": math.nan}, "alpha"),
        ({"eos_regularizer": math.inf}, "eos_regularizer"),
        ({"split": "median"}, "split: 'median' is unknown"),
        ({"unusable": "dropp"}, "did you mean 'drop'"),
        ({"max_length": 1}, "max_length: 1 is below 2"),
        ({"max_prompt_length": 2048}, "max_prompt_length: 2048 is above 2047"),
        ({"responses_per_forward": 0}, "responses_per_forward: 0 is below 1"),
        ({"lora_r": 0}, "lora_r: 0 is below 1"),
        ({"lora_dropout": 1.5}, "lora_dropout: 1.5 is outside"),
        ({"remove_unused_columns": True}, "remove_unused_columns: must be False"),
    ],
)
def test_settings_out_of_range(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        settings(tmp_path, **options)


def test_other_mistakes(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="resume: no checkpoint in"):
        train(make_model(), CITIES, settings(tmp_path), tokenizer=tokenizer, resume=True)
    with pytest.raises(ValueError, match="resume: no checkpoint '"):
        train(make_model(), CITIES, settings(tmp_path), tokenizer=tokenizer, resume=str(tmp_path / "none"))
    with pytest.raises(ValueError, match="tokenizer: the model was not loaded"):
        train(make_model(), CITIES, settings(tmp_path))
    with pytest.raises(TypeError, match="config: expected a PreferenceConfig, got TrainingArguments"):
        train(make_model(), CITIES, transformers.TrainingArguments(use_cpu=True), tokenizer=tokenizer)
    frozen = make_model().requires_grad_(False)
    with pytest.raises(ValueError, match="model: none of its weights can be trained"):
        train(frozen, CITIES, settings(tmp_path), tokenizer=tokenizer)
    endless = make_tokenizer()
    endless.eos_token = None
    with pytest.raises(ValueError, match="tokenizer: it has no end-of-sequence token"):
        train(make_model(), CITIES, settings(tmp_path), tokenizer=endless)
    broken = make_model()
    with torch.no_grad():
        broken.lm_head.weight[:] = math.nan
    with pytest.raises(ValueError, match="logps: row 0, response 0 is NaN or infinite"):
        train(broken, CITIES, settings(tmp_path), tokenizer=tokenizer)


class Reread:
    """Rows that can be read again and again, and count how often one was asked for."""

    def __init__(self, rows):
        self.rows, self.read = rows, 0

    def __iter__(self):
        for row in self.rows:
            self.read += 1
            yield row


def test_streamed_rows_give_the_groups_of_rows_that_are_held_and_only_those_asked_for(tmp_path):
    rows, tokenizer = make_rows(6), make_tokenizer()
    source = Reread(rows)
    config = settings(tmp_path, streaming=True, max_steps=1)
    groups = StreamedGroups(source, tokenizer, config, "rows")
    source.read = 0
    streamed = list(itertools.islice(groups, 3))
    assert source.read == 3
    streamed += itertools.islice(groups, 3, 9)
    held = as_groups(rows, tokenizer, settings(tmp_path))
    for place, group in enumerate(streamed):
        expected = held[place % 6]
        for one, other in zip(
            (group.prompt, *group.responses, group.positive),
            (expected.prompt, *expected.responses, expected.positive),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)
    assert groups.end == held.end


def test_a_streamed_row_is_told_of_by_its_own_place(tmp_path):
    """Not by that of the next one that can be used."""
    rows = [
        {"prompt": "one", "responses": ["a", "b"], "rewards": [None, 1.0]},
        {"prompt": "two", "responses": ["a", "b"], "rewards": [0.0, 1.0]},
        {"prompt": "three", "responses": ["a", "b", "c"], "rewards": [0.0, 1.0, None]},
    ]
    config = settings(tmp_path, streaming=True, max_steps=1, unusable="drop")
    with pytest.warns(UserWarning, match="row 2 has responses without a reward"):
        list(itertools.islice(StreamedGroups(rows, make_tokenizer(), config, "rows"), 2))


def test_a_streamed_run_that_was_interrupted_ends_as_one_that_was_not(tmp_path):
    runs = {}
    for name, stops in (("whole", (4,)), ("resumed", (2, 4))):
        for steps in stops:
            model = make_model()
            options = {
                "streaming": True,
                "save_strategy": "steps",
                "save_steps": 2,
                "lr_scheduler_type": "constant",
            }
            config = settings(tmp_path / name, max_steps=steps, **options)
            train(model, make_rows(6), config, tokenizer=make_tokenizer(), resume=steps != stops[0])
        runs[name] = weights(model)
    torch.testing.assert_close(runs["resumed"], runs["whole"], rtol=0, atol=0)


def test_what_cannot_be_streamed_is_refused(tmp_path):
    rows, tokenizer = make_rows(2), make_tokenizer()
    for options, said in (
        ({}, "max_steps: needed by streaming=True"),
        ({"max_steps": 1, "loss": "dpo"}, "streaming: loss='dpo' takes a reference"),
    ):
        with pytest.raises(ValueError, match=said):
            train(make_model(), rows, settings(tmp_path, streaming=True, **options), tokenizer=tokenizer)
    config = settings(tmp_path, streaming=True, max_steps=1, unusable="drop", max_prompt_length=1)
    with pytest.raises(ValueError, match="rows: there are none left"):
        train(make_model(), rows, config, tokenizer=tokenizer)


def test_processes_that_would_each_train_alone_are_refused(tmp_path, monkeypatch):
    """Of several processes on processors accelerate makes one only where it is told that they are such."""
    config = settings(tmp_path)  # of one process, as accelerate says
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ValueError, match="use_cpu: 2 processes were started, .* each would train by itself"):
        config.__post_init__()


def test_sharding_that_would_not_happen_is_refused(tmp_path):
    """accelerate leaves a model whole on processors and on one process, and says nothing."""
    with pytest.raises(ValueError, match="fsdp: .* would leave it whole"):
        train(make_model(), CITIES, settings(tmp_path, fsdp="full_shard"), tokenizer=make_tokenizer())


def test_swepo_loss_and_the_trainer_agree_on_names():
    parameters = inspect.signature(swepo_loss).parameters
    written = preference.PreferenceConfig(loss="swepo")
    for name in ("beta", "gamma", "alpha", "length_normalized", "eos_regularizer"):
        assert parameters[name].default == getattr(written, name)


ACROSS = """
import os, sys, torch
sys.path[:0] = PATHS
import training_toys as t
from setwise.preference import train

out, size = sys.argv[1], int(sys.argv[2])
# Five groups are two steps of four: in the second one process has a group, and the other none.
for part, count in ((None, 5), (2, 7), ("stream", 8)):
    model = t.make_model().double()
    folder = os.path.join(out, str(part))
    how = {"streaming": True, "max_steps": 3, "loss": "refa"} if part == "stream" else {
        "responses_per_forward": part, "num_train_epochs": 2, "loss": "mpo"}
    config = t.settings(folder, per_device_train_batch_size=size, per_device_eval_batch_size=size,
                        ddp_backend="gloo" if size == 2 else None, **how)
    other = t.make_model().double()
    with torch.no_grad():
        other.lm_head.weight *= 0.5
    # Seven rows to evaluate on: neither a whole number of batches nor the same for each process.
    rows, held_out = t.make_rows(count), t.make_rows(7, 5)
    trainer = train(model, rows, config, tokenizer=t.make_tokenizer(), eval_rows=held_out,
                    reference_model=None if part == "stream" else other)
    if trainer.is_world_process_zero():
        torch.save((t.weights(model), trainer.state.log_history), os.path.join(folder, "weights.pt"))
"""


@pytest.mark.slow
def test_two_processes_train_and_evaluate_as_one(tmp_path):
    """Two processes of two groups a step each, against one of four: weights, and every figure of both."""
    script = tmp_path / "run.py"
    script.write_text(ACROSS.replace("PATHS", repr([path for path in sys.path if "tests" in path])))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    for out, size, how in (("one", "4", []), ("two", "2", launch)):
        command = [sys.executable, *how, str(script), str(tmp_path / out), size]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
    for part in ("None", "2", "stream"):
        (one, one_logs), (two, two_logs) = (
            torch.load(tmp_path / out / part / "weights.pt", weights_only=False) for out in ("one", "two")
        )
        torch.testing.assert_close(two, one, rtol=1e-6, atol=1e-8)
        compared = set()
        for a, b in zip(one_logs, two_logs, strict=True):
            named = {name for name in a if "/" in name or name in ("loss", "eval_loss", "grad_norm")}
            assert {name: b[name] for name in named} == pytest.approx(
                {name: a[name] for name in named}, rel=1e-5
            )
            compared |= named
        assert {"loss", "eval_loss", "eval_negatives/effective", "eval_rewards/accuracies"} <= compared
