"""A text's gradient by the name of a model is that of its loss, and finetune takes it like any encoder's."""

import json

import numpy as np
import pytest

import tiny_policy
from optional import lazily, needs
from setwise.encode import encoder, parse
from setwise.encode.cache import encode_texts
from setwise.finetuning import Pipeline

pytestmark = needs("torch", "transformers", "tokenizers", "peft")
torch = lazily("torch")

TEXTS = [
    "good tree",
    "what is it",
    "",
    "red",
    "red house blue house green tree what is good " * 3,
    "it is bad",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_policy.saved(tmp_path_factory.mktemp("model"), layers=2, context=128)


@pytest.fixture(scope="module")
def model(folder):
    return encoder(f"gradients:{folder}")


def by_definition(folder, model, text):
    """G Aᵀ of every layer of a text's mean loss alone, end to end, without the adapter: (D,), float64."""
    import transformers

    plain = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    words = transformers.AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor([[*words(text)["input_ids"], words.eos_token_id]])
    plain(ids, labels=ids).loss.backward()
    own, parts = dict(plain.named_parameters()), []
    drawn = dict(model._model.named_parameters())
    for name in model._weights:
        bare = name.removeprefix("base_model.model.").replace(".lora_B.weight", "")
        A = drawn[f"base_model.model.{bare}.lora_A.default.weight"]
        parts.append((own[f"{bare}.weight"].grad @ A.T).reshape(-1))
    return torch.cat(parts).detach()


@pytest.mark.parametrize("together", [1, 8_192])
def test_vectors_are_the_gradients_projected(folder, model, monkeypatch, together):
    monkeypatch.setattr("setwise.encode.batches.ON_CPU", together)
    found = model.encode(TEXTS)
    assert found.shape == (6, 8_192)
    assert not found[[2, 3]].any()  # no text, and no token to predict
    for row in (0, 1, 4, 5):
        exact = by_definition(folder, model, TEXTS[row])
        expected = model._mapped.project((exact / exact.norm())[None])[0].numpy()
        np.testing.assert_allclose(found[row], expected / np.linalg.norm(expected), atol=1e-5)


def test_inner_products_are_those_of_gradients_without_an_adapter(folder, model):
    """A is drawn: the mean over draws is the cosine of the layers' whole gradients."""
    import transformers

    from setwise.encode.gradients.texts import Gradients

    plain = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    words = transformers.AutoTokenizer.from_pretrained(folder)
    whole = []
    for text in (TEXTS[4], TEXTS[5]):
        plain.zero_grad()
        ids = torch.tensor([[*words(text)["input_ids"], words.eos_token_id]])
        plain(ids, labels=ids).loss.backward()
        layers = [
            part
            for name, part in plain.named_parameters()
            if name.split(".")[-2] in ["q_proj", "k_proj", "v_proj", "o_proj"]
        ]
        whole.append(torch.cat([part.grad.reshape(-1) for part in layers]))
    cosine = float(torch.nn.functional.cosine_similarity(*whole, dim=0))
    found = [
        float(np.vecdot(*Gradients(str(folder), rank=64, seed=seed).encode(TEXTS[4:6]))) for seed in range(6)
    ]
    assert abs(np.mean(found) - cosine) < 0.03
    assert np.std(found) > 0  # each draw is another


def test_an_adapter_of_a_training_gives_the_gradients_in_its_weights(folder, tmp_path):
    import transformers

    from setwise.encode.gradients import warm_up

    plain = transformers.AutoModelForCausalLM.from_pretrained(folder)
    words = transformers.AutoTokenizer.from_pretrained(folder)
    warm_up(plain, words, TEXTS[:2], out=tmp_path / "warm", epochs=1, rank=2, learning_rate=0.1)
    trained = encoder(f"gradients:{tmp_path / 'warm' / 'epoch-1'}")
    assert any(".lora_A." in name for name in trained._weights)
    assert trained.key != encoder(f"gradients:{folder}").key
    assert abs(np.linalg.norm(trained.encode(TEXTS[:2]), axis=1) - 1).max() < 1e-6


def test_an_interrupted_run_loses_a_part_of_a_chunk_alone(model, tmp_path, monkeypatch):
    texts = [f"{TEXTS[row % 2]} {word}" for row, word in enumerate(tiny_policy.WORDS * 3)]
    monkeypatch.setattr(type(model), "chunk", 8)
    monkeypatch.setattr("setwise.encode.cache._SAVE", 0.0)

    def stop(done, total):
        if done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_texts(texts, model, tmp_path, stop)
    resumed = encode_texts(texts, model, tmp_path)
    assert resumed.found == 16
    np.testing.assert_array_equal(resumed.vectors, encode_texts(texts, model).vectors)


@needs("pyarrow", "faiss")
def test_finetune_chooses_by_the_name_of_a_model(folder, model, tmp_path):
    rows = [f"{kind} {word}" for word in tiny_policy.WORDS for kind in ("good tree is", "what house")]
    for name, texts in (("rows", rows), ("task", ["what house is blue", "what house is it"])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    made = Pipeline(
        tmp_path / "rows.jsonl",
        tmp_path / "task.jsonl",
        model=f"gradients:{folder}",
        method="nearest",
        rows=8,
    ).run()
    assert made.sources.encoder.startswith("gradients (model")
    vectors, examples = model.encode(rows), model.encode(["what house is blue", "what house is it"])
    first = np.argmin(np.linalg.norm(vectors - examples[0], axis=1))
    assert first in made.epochs[0]
    assert (made.epochs[0] % 2).sum() >= 7  # "what house …" all but alone


def test_what_a_model_has_no_places_for_is_not_read(tmp_path):
    import transformers

    sizes = {"vocab_size": 18, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, n_positions=12)).save_pretrained(tmp_path)
    tiny_policy.tokenizer().save_pretrained(tmp_path)
    made = encoder(f"gradients:{tmp_path},dimensions=64,rank=2")
    text = " ".join(tiny_policy.WORDS * 3)
    found = made.encode([text, f"{text} bad house", "good tree"])
    assert found.shape == (3, 64)
    np.testing.assert_array_equal(found[0], found[1])
    model, words = made._model, tiny_policy.tokenizer()
    ids = torch.tensor([words(text)["input_ids"][:12]])
    weights = [weight for _, weight in sorted(model.named_parameters()) if weight.requires_grad]
    parts = torch.autograd.grad(model(ids, labels=ids).loss, weights)
    exact = torch.cat([part.reshape(-1) for part in parts])
    expected = made._mapped.project((exact / exact.norm())[None])[0].numpy()
    np.testing.assert_allclose(found[0], expected / np.linalg.norm(expected), atol=1e-5)


def test_a_model_that_peft_has_no_adapter_for_is_refused(tmp_path):
    import transformers

    sizes = {"vocab_size": 18, "hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}
    transformers.MambaForCausalLM(transformers.MambaConfig(**sizes)).save_pretrained(tmp_path)
    tiny_policy.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="^model: peft has no adapter for MambaForCausalLM"):
        encoder(f"gradients:{tmp_path}")


def test_names_and_settings_that_cannot_be(folder):
    assert parse("gradients:smollm2") == ("gradients", "smollm2")
    with pytest.raises(ValueError, match="model: name the language model, as in gradients:FOLDER"):
        encoder("gradients")
    from setwise.encode.gradients.texts import Gradients

    with pytest.raises(ValueError, match="dimensions: 0 is"):
        Gradients(str(folder), dimensions=0)
    with pytest.raises(ValueError, match="is neither a folder with a causal language model"):
        encoder(f"gradients:{folder / 'nowhere'}")
