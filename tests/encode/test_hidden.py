"""Hidden states read together are those read one by one, and their means the definition's."""

import json

import numpy as np
import pytest

import tiny_policy
from optional import lazily, needs
from setwise.encode import encoder, hidden, parse
from setwise.encode.cache import encode_texts

pytestmark = needs("torch", "transformers", "tokenizers")
torch = lazily("torch")

TEXTS = [
    "good tree",
    "what is it",
    "",
    "red house blue house green tree what is good and what is bad in it " * 3,
    "fine",
    "good tree",
    "it is a poor house",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_policy.saved(tmp_path_factory.mktemp("model"), layers=2, context=128)


@pytest.fixture(scope="module")
def model(folder):
    return hidden.Hidden(str(folder), device="cpu")


def by_definition(folder, text):
    """Σ i h_i / Σ i of the last hidden states of a text alone, at length 1, by transformers."""
    import transformers

    whole = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = transformers.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        states = whole(ids, output_hidden_states=True).hidden_states[-1][0].double().numpy()
    places = np.arange(1, len(states) + 1)
    mean = places @ states / places.sum()
    return mean / np.linalg.norm(mean)


@pytest.mark.parametrize("together", [1, 64, 8_192])
def test_texts_read_together_are_as_one_by_one(folder, model, monkeypatch, together):
    monkeypatch.setattr("setwise.encode.batches.ON_CPU", together)
    done = []
    found = model.encode(TEXTS, lambda *at: done.append(at))
    assert found.dtype == np.float32
    assert not found[2].any()
    for row, text in enumerate(TEXTS):
        if text:
            np.testing.assert_allclose(found[row], by_definition(folder, text), atol=1e-5)
    assert done[-1] == (6, 6)


def test_what_is_beyond_the_limit_is_not_read(folder):
    short = hidden.Hidden(str(folder), max_tokens=3, device="cpu")
    found = short.encode(["good tree is red", "good tree is blue house"])
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    assert "reads the first 3 tokens" in short.name
    assert short.key != hidden.Hidden(str(folder), device="cpu").key


def saved(folder, config, **options):
    """Save a model drawn at random from a configuration, and a tokenizer beside it."""
    import transformers

    torch.manual_seed(0)
    auto = getattr(transformers, options.pop("auto", "AutoModelForCausalLM"))
    auto.from_config(config).save_pretrained(folder)
    words = tiny_policy.tokenizer()
    for name, value in options.items():
        setattr(words, name, value)
    words.save_pretrained(folder)
    return folder


def of_places(name):
    """A configuration with twelve places for tokens; OPT's states are half as long as those inside it."""
    import transformers

    sizes = {"vocab_size": 18, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    if name == "gpt2":
        return transformers.GPT2Config(**sizes, n_positions=12)
    return transformers.OPTConfig(
        **sizes, ffn_dim=16, word_embed_proj_dim=8, max_position_embeddings=12, do_layer_norm_before=False
    )


@pytest.mark.parametrize(("name", "size"), [("gpt2", 16), ("opt", 8)])
def test_a_text_is_read_from_its_start_as_far_as_a_model_has_places(tmp_path, name, size):
    text = " ".join(tiny_policy.WORDS * 3)
    folder = saved(tmp_path, of_places(name), truncation_side="left", padding_side="left", pad_token=None)
    made = hidden.Hidden(str(folder), device="cpu")
    assert made.max_tokens == 12
    found = made.encode([text, "good tree"])
    assert found.shape == (2, size)
    np.testing.assert_allclose(found[0], by_definition(folder, " ".join(text.split()[:12])), atol=1e-5)
    np.testing.assert_allclose(found[1], by_definition(folder, "good tree"), atol=1e-5)


def test_a_model_that_looks_ahead_is_refused(tmp_path):
    import transformers

    sizes = {"vocab_size": 18, "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    config = transformers.BertConfig(**sizes, num_hidden_layers=1)
    folder = saved(tmp_path, config, auto="AutoModelForMaskedLM")
    with pytest.raises(ValueError, match="is no causal language model: what it makes of a token hangs on"):
        encoder(f"hidden:{folder}")


def test_states_that_are_not_finite_are_refused_and_no_unknown_words(folder):
    made = hidden.Hidden(str(folder), device="cpu")
    with torch.no_grad():
        next(made._model.norm.parameters())[0] = float("nan")
    with pytest.raises(ValueError, match="gives NaN for text 0; use another"):
        encode_texts(["good tree"], made)


@pytest.mark.parametrize("kind", ["hidden", pytest.param("gradients", marks=needs("peft"))])
def test_a_tokenizer_of_another_model_is_refused(tmp_path, kind):
    tiny_policy.saved(tmp_path)
    file = tmp_path / "tokenizer.json"
    known = json.loads(file.read_text())
    known["model"]["vocab"]["house"] = 99
    file.write_text(json.dumps(known))
    made = encoder(f"{kind}:{tmp_path}")
    assert made.encode(["good tree"]).any()
    with pytest.raises(ValueError, match="model: its tokenizer gives token 99, and it knows 18; they do not"):
        made.encode(["good tree", "good house"])


def test_a_file_of_weights_that_was_cut_off_is_refused(tmp_path):
    tiny_policy.saved(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ValueError, match="is neither a folder with a causal language model nor"):
        encoder(f"hidden:{tmp_path}")


def test_settings_follow_the_name(folder):
    made = encoder(f"hidden:{folder},dtype=bfloat16,max_tokens=3")
    assert (made.max_tokens, made._dtype) == (3, "bfloat16")
    found = made.encode(["good tree is red", "good tree is blue house"])
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    plain = hidden.Hidden(str(folder), max_tokens=3, device="cpu").encode(["good tree is"])
    assert 0 < abs(found[:1] - plain).max() < 0.02
    for asked, message in (
        ("max_token=3", "setting of hidden: 'max_token' is unknown; did you mean 'max_tokens'"),
        ("max_tokens=few", "model: max_tokens=few is no whole number"),
        ("rank=3", "setting of hidden: 'rank' is unknown"),
        ("dtype=bf16", "dtype: 'bf16' is unknown; did you mean 'bfloat16'"),
    ):
        with pytest.raises(ValueError, match=message):
            encoder(f"hidden:{folder},{asked}")
    with pytest.raises(ValueError, match="max_token"):
        parse("gradients:smollm2,max_token=3")  # before anything is read


def test_by_name(folder):
    made = encoder(f"hidden:{folder}")
    assert made.encode(["good tree"]).shape == (1, 16)
    assert parse("hidden:smollm2") == ("hidden", "smollm2")
    with pytest.raises(ValueError, match="model: name the language model, as in hidden:FOLDER"):
        encoder("hidden")
    with pytest.raises(ValueError, match="is neither a folder with a causal language model"):
        encoder(f"hidden:{folder / 'nowhere'}")


def test_a_text_that_begins_as_a_chat_template_writes_it_gets_no_second_beginning(folder):
    import tokenizers

    made = hidden.Hidden(str(folder), device="cpu")
    made._tokenizer.backend_tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    plain, begun = made.encode(["good tree", "<s> good tree"])
    np.testing.assert_allclose(plain, begun, atol=1e-5)
