"""On a GPU: losses, a shared prompt, hidden states, gradients and a whole loop are those of the processor."""

from __future__ import annotations

import numpy as np
import pytest
from training_toys import make_model, make_rows, make_tokenizer, settings, weights

import tiny_policy
from optional import installed, lazily

torch = lazily("torch")
losses = lazily("setwise.preference.losses")
PreferenceTrainer = lazily("setwise.preference", "PreferenceTrainer")
on_policy = lazily("setwise.preference.loop.run", "on_policy")
OnPolicyConfig = lazily("setwise.preference.loop.run", "OnPolicyConfig")
Hidden = lazily("setwise.encode.hidden", "Hidden")


def _gpu():
    import torch

    return torch.cuda.is_available()


pytestmark = pytest.mark.skipif(
    not installed("torch", "transformers", "accelerate", "trl") or not _gpu(), reason="no CUDA GPU"
)


def loop(out, reward):
    """Run two iterations from a model on the processor; return what they left, without times."""
    training = {"learning_rate": 0.01, "per_device_train_batch_size": 4, "bf16": False}
    config = OnPolicyConfig(
        iterations=2, responses=12, max_new_tokens=6, k=3, encoder="lsa", training=training, seed=1
    )
    found = on_policy(
        tiny_policy.model(),
        ["what is it", "red tree", "is it green", "house"],
        reward,
        config,
        out=out,
        tokenizer=tiny_policy.tokenizer(),
        evaluation_prompts=["what is red", "tree"],
    )
    assert found.model.device.type == "cuda"
    return [
        {name: value for name, value in row.items() if not name.endswith("_seconds")} for row in found.metrics
    ]


def trained(folder, device, *, dtype="float32", attention="sdpa", **options):
    """Take two steps; return the losses and the weights, on the processor."""
    model = make_model(attn_implementation=attention).to(getattr(torch, dtype)).to(device)
    config = settings(
        folder,
        use_cpu=device == "cpu",
        max_steps=2,
        per_device_train_batch_size=4,
        bf16=False,
        **options,
    )
    trainer = PreferenceTrainer(model, config, train_dataset=make_rows(8), processing_class=make_tokenizer())
    trainer.train()
    said = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return np.array(said), weights(trainer.model).float().cpu()


@pytest.mark.parametrize("loss", ["refa", "swepo", "mpo", "infonca", "nca", "listwise-dpo", "simpo", "dpo"])
def test_every_loss_trains_as_on_the_processor(tmp_path, loss):
    said, moved = trained(tmp_path, "cuda", loss=loss)
    expected, place = trained(tmp_path, "cpu", loss=loss)
    np.testing.assert_allclose(said, expected, atol=2e-4)
    torch.testing.assert_close(moved, place, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_shared_prompt_is_the_plain_one(tmp_path, attention):
    said, moved = trained(tmp_path, "cuda", attention=attention, share_prompt=True)
    expected, place = trained(tmp_path, "cuda", attention=attention)
    np.testing.assert_allclose(said, expected, atol=2e-4)
    torch.testing.assert_close(moved, place, atol=1e-5, rtol=1e-4)


def test_bfloat16_trains(tmp_path):
    said, moved = trained(tmp_path, "cuda", dtype="bfloat16")
    expected, _ = trained(tmp_path, "cpu")
    assert moved.isfinite().all()
    np.testing.assert_allclose(said, expected, rtol=0.1)


@pytest.mark.parametrize("breaks", [2, 3, 4])
def test_a_loop_that_was_broken_off_goes_on_as_if_it_had_not_been(tmp_path, breaks):
    asked = []

    def reward(prompts, responses):
        asked.append(len(prompts))
        if len(asked) == breaks:
            raise KeyboardInterrupt
        return tiny_policy.share_of_good(prompts, responses)

    with pytest.raises(KeyboardInterrupt):
        loop(tmp_path / "broken", reward)
    assert loop(tmp_path / "broken", reward) == loop(tmp_path / "whole", reward)


def test_the_loss_of_tensors_on_the_gpu_is_that_of_arrays():
    from setwise.preference import swepo_loss

    rng = np.random.default_rng(0)
    logps, rewards = rng.normal(-5, 1, (3, 6)), rng.random((3, 6))
    positive = np.arange(6) < np.array([[1], [2], [3]])
    expected = swepo_loss(*map(torch.as_tensor, (logps, rewards, positive)))
    found = swepo_loss(*(torch.as_tensor(one, device="cuda") for one in (logps, rewards, positive)))
    assert found.device.type == "cuda"
    torch.testing.assert_close(found.cpu(), expected)


def test_vectors_on_the_gpu_are_refused_with_the_mend():
    from setwise.preference import select_responses

    vectors = torch.rand(32, 16, device="cuda")
    with pytest.raises(TypeError, match=r"embeddings: the tensor is on cuda:0; pass its \.cpu\(\)"):
        select_responses(vectors, np.arange(32.0), 4)


@pytest.mark.parametrize(("dtype", "apart"), [("float32", 1e-4), ("bfloat16", 0.05)])
def test_hidden_states_are_those_of_the_processor(tmp_path, dtype, apart):
    folder = str(tiny_policy.saved(tmp_path / "model", layers=2, context=128))
    texts = ["good tree", "", "what is it", "red house blue house green tree " * 5]
    found = Hidden(folder, device="cuda", dtype=dtype).encode(texts)
    np.testing.assert_allclose(found, Hidden(folder, device="cpu").encode(texts), atol=apart)


def test_gradients_are_those_of_the_processor(tmp_path):
    from setwise.encode.gradients import GradientEncoder, warm_up

    rows = [("what is", " good tree"), "red house blue", ("it is", " bad"), "green tree house is fine"] * 3
    kept = {"epochs": 1, "rank": 4, "alpha": 8, "learning_rate": 1e-2, "batch": 4}
    steps = warm_up(tiny_policy.model(), tiny_policy.tokenizer(), rows, out=tmp_path / "up", **kept)
    for kind in ("train", "target"):
        found, expected = (
            GradientEncoder(
                tiny_policy.model().to(device), steps, tokenizer=tiny_policy.tokenizer(), dimensions=None
            ).encode(rows, kind=kind)
            for device in ("cuda", "cpu")
        )
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
