"""A language model and a tokenizer of 23 words, and groups of responses to train them on."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np

from optional import lazily

tokenizers = lazily("tokenizers")
torch = lazily("torch")
transformers = lazily("transformers")
PreferenceConfig = lazily("setwise.preference", "PreferenceConfig")


TEXT = (
    "<s> </s> <user> <assistant> what is the best city of all rome paris ugly old fine a b c d yes no maybe"
)
WORDS = TEXT.split()
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} </s> {% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)
BOS, EOS = 0, 1


def make_tokenizer(chat=False):
    transformers.utils.logging.set_verbosity_error()
    words = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="maybe")
    )
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    words.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", BOS)]
    )
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="</s>")
    if chat:
        made.chat_template = TEMPLATE
    return made


def make_model(**options):
    torch.manual_seed(0)
    settings = {"vocab_size": len(WORDS), "hidden_size": 32, "intermediate_size": 64}
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            **settings,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            bos_token_id=BOS,
            eos_token_id=EOS,
            initializer_range=0.2,
            **options,
        )
    )


def ids(text):
    return [WORDS.index(word) for word in text.split()]


def make_rows(count=8, seed=3):
    """Ragged groups: one or two chosen, one to four rejected, one to six words each."""
    rng = np.random.default_rng(seed)

    def words(least, most):
        return " ".join(rng.choice(WORDS[4:], rng.integers(least, most + 1)))

    rows = []
    for _ in range(count):
        chosen = [words(1, 6) for _ in range(rng.integers(1, 3))]
        rejected = [words(1, 6) for _ in range(rng.integers(1, 5))]
        rewards = [*rng.uniform(0.6, 1, len(chosen)), *rng.uniform(0, 0.5, len(rejected))]
        rows.append({"prompt": words(1, 7), "chosen": chosen, "rejected": rejected, "rewards": rewards})
    return rows


def settings(folder, **options):
    kept = {
        "learning_rate": 0.1,
        "optim": "sgd",
        "logging_steps": 1,
        "save_strategy": "no",
        "max_grad_norm": 0.0,
    }
    return PreferenceConfig(
        output_dir=str(folder),
        **{**kept, "use_cpu": True, "disable_tqdm": True, "report_to": "none", **options},
    )


def weights(model):
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])
