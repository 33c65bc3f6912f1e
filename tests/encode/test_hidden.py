"""Hidden states read together are those read one by one, and their means the definition's."""

import numpy as np
import pytest

import tiny_policy
from optional import lazily, needs
from setwise.encode import encoder, hidden, parse

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
