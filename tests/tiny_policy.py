"""A policy small enough to train in a test: a Llama of one layer, over a dozen words."""

from __future__ import annotations

from optional import lazily

tokenizers = lazily("tokenizers")
torch = lazily("torch")
transformers = lazily("transformers")


WORDS = ("good", "bad", "fine", "poor", "red", "blue", "green", "tree", "house", "what", "is", "it")
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}assistant{% endif %}"
)


def tokenizer(*, chat=False):
    """Words are tokens; what is not known is <unk>."""
    names = ["<pad>", "<s>", "</s>", "<unk>", "user", "assistant", *WORDS]
    inner = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({name: place for place, name in enumerate(names)}, unk_token="<unk>")
    )
    inner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    if chat:
        made.chat_template = TEMPLATE
    return made


def model(seed=0, *, layers=1, context=64):
    """A Llama with weights drawn at random, wide enough for its words to be anything but equally likely."""
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=6 + len(WORDS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=context,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.3,
    )
    return transformers.LlamaForCausalLM(config).eval()


def share_of_good(prompts, responses):
    """The share of a response's words that are "good"."""
    return [text.split().count("good") / max(1, len(text.split())) for text in responses]


def saved(folder, **shape):
    """Save the model and its tokenizer as a folder; return it."""
    model(**shape).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
