"""A prompt and its answer are the conversation that the chat template itself writes, whatever its family."""

import pytest

from optional import lazily, needs

pytestmark = needs("torch", "transformers", "tokenizers", "accelerate", "trl")
tokenizers = lazily("tokenizers")
transformers = lazily("transformers")

_LOOP = "{% for m in messages %}"
_NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
)

#: Chat templates after those of known families; each with the token that ends a turn.
TEMPLATES = {
    "llama-3": (
        "{{ bos_token }}"
        + _LOOP
        + "<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] | trim }}"
        "<|eot_id|>{% endfor %}{% if add_generation_prompt %}"
        "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
        "<|eot_id|>",
    ),
    "gemma": (
        "{{ bos_token }}"
        + _NO_SYSTEM
        + _LOOP
        + "<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
        "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
        "<end_of_turn>",
    ),
    "phi": (
        _LOOP + "<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}",
        "<|end|>",
    ),
    "qwen": (
        "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe helpful.<|im_end|>\n{% endif %}"
        + _LOOP
        + "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        "<|im_end|>",
    ),
    "mistral": (
        "{{ bos_token }}" + _LOOP + "{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
        "{% else %}{{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}",
        "</s>",
    ),
    "deepseek": (
        "{{ bos_token }}"
        + _LOOP
        + "{% if m['role'] == 'user' %}User: {{ m['content'] }}\n\n{% else %}Assistant: {{ m['content'] }}"
        "{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}",
        "</s>",
    ),
    "qwen 3": (
        _LOOP + "<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' and loop.last "
        "and '<think>' not in m['content'] %}<think>\n\n</think>\n\n{% endif %}{{ m['content'] }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        "<|im_end|>",
    ),
    "gpt-oss": (
        _LOOP + "{% if m['role'] == 'user' %}<|start|>user<|message|>{{ m['content'] }}<|end|>{% else %}"
        "<|start|>assistant<|channel|>final<|message|>{{ m['content'] }}"
        "{{ '<|return|>' if loop.last else '<|end|>' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant{% endif %}",
        "<|return|>",
    ),
    "without a generation prompt": (
        _LOOP + "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}",
        "<|im_end|>",
    ),
}
SPECIAL = [
    *(
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
        "<start_of_turn>",
        "<end_of_turn>",
        "<|end|>",
    ),
    *("<|user|>", "<|assistant|>", "<|im_start|>", "<|im_end|>", "[INST]", "[/INST]", "<|return|>"),
]


def tokenizer(template=None, *, begins=True):
    """One token a byte, and the special ones; it begins every text that it is given alone."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    inner = tokenizers.Tokenizer(
        tokenizers.models.BPE({letter: at for at, letter in enumerate(alphabet)}, merges=[])
    )
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    made.add_special_tokens({"additional_special_tokens": SPECIAL})
    if begins:
        inner = made.backend_tokenizer
        inner.post_processor = tokenizers.processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", made.bos_token_id)]
        )
    made.chat_template = template
    return made


def group_of(row, words, **settings):
    from setwise.preference import PreferenceConfig
    from setwise.preference.training.groups import as_groups

    config = PreferenceConfig(output_dir="unused", use_cpu=True, bf16=False, report_to="none", **settings)
    (group,) = as_groups([row], words, config)
    return group


@pytest.mark.parametrize("family", TEMPLATES)
@pytest.mark.parametrize("turns", [1, 3])
def test_prompt_answer_and_end_are_the_templates_own(family, turns):
    template, end = TEMPLATES[family]
    words = tokenizer(template)
    prompt = [
        {"role": ("user", "assistant")[turn % 2], "content": f"What is «{turn}»?"} for turn in range(turns)
    ]
    row = {"prompt": prompt, "chosen": "Good — ünïcode", "rejected": ["bad"], "rewards": [1.0, 0.0]}
    group = group_of(row, words)
    found = words.decode([*group.prompt, *group.responses[0]])
    whole = words.apply_chat_template(
        [*prompt, {"role": "assistant", "content": "Good — ünïcode"}], tokenize=False
    )
    assert found == whole[: len(found)]
    assert whole[len(found) :].strip() in ("", "</s>")
    assert found.endswith(end)
    assert list(group.prompt).count(words.bos_token_id) == whole.count("<s>")


def test_an_answer_has_its_own_thoughts_or_those_that_the_template_writes():
    row = {"prompt": "Why?", "rejected": ["bad"], "rewards": [1.0, 0.0]}
    own, empty = "<think>\nHm.\n</think>\n\nSo.", "<think>\n\n</think>\n\n"
    words = tokenizer(TEMPLATES["qwen 3"][0])
    for chosen, expected in ((own, own), ("So.", empty + "So.")):
        assert (
            words.decode(group_of({**row, "chosen": chosen}, words).responses[0]) == expected + "<|im_end|>"
        )
    begun = _LOOP + "{{ m['content'] }}|{% endfor %}{% if add_generation_prompt %}A:<think>\n{% endif %}"
    words = tokenizer(begun)  # as DeepSeek-R1's, which writes no thoughts before answers
    with pytest.warns(UserWarning, match=r"chat template: prompts end in .*A:<think>\\n', of which"):
        group = group_of({**row, "chosen": "Hm.</think>So."}, words)
    assert words.decode(group.responses[0]).startswith("Hm.</think>So.")


def test_an_answer_that_has_begun_is_gone_on_with():
    from trl import apply_chat_template

    words = tokenizer(TEMPLATES["qwen"][0])
    prompt = [{"role": "user", "content": "Name a river."}, {"role": "assistant", "content": "It is the"}]
    row = {"prompt": prompt, "chosen": " Nile", "rejected": [" sun"], "rewards": [1.0, 0.0]}
    found = words.decode(group_of(row, words).prompt)
    expected = apply_chat_template(
        {"prompt": prompt, "completion": [{"role": "assistant", "content": " Nile"}]}, words
    )
    assert found == expected["prompt"]
    assert found.endswith("<|im_start|>assistant\nIt is the")


def test_a_template_that_refuses_a_role_is_one_line_with_the_row():
    from setwise.preference.prompts import all_tokens

    words = tokenizer(TEMPLATES["gemma"][0])
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    row = {"prompt": prompt, "chosen": "So.", "rejected": ["No."], "rewards": [1.0, 0.0]}
    with pytest.raises(
        ValueError, match=r"^prompt: .*row 0.*: the chat template refuses it \(System role not"
    ):
        group_of(row, words)
    with pytest.raises(ValueError, match=r"^prompts: row 1: the chat template refuses it"):
        all_tokens([prompt[1:], prompt], words, chat=True, room=1, limit=None, name="prompts")


def test_a_template_that_changes_an_answer_that_has_begun_is_one_line_with_the_row():
    from setwise.preference.prompts import all_tokens

    words = tokenizer(
        _LOOP + "<|{{ m['role'] }}|>{{ m['content'].split('</think>')[-1] }}<|end|>{% endfor %}"
    )
    asked = [{"role": "user", "content": "Why? The"}]
    kept, cut = (
        [*asked, {"role": "assistant", "content": text}] for text in ("<think>So", "<think>So</think>The")
    )
    options = {"chat": True, "room": 1, "limit": None, "name": "prompts"}
    (found,) = all_tokens([kept], words, **options)
    assert words.decode(found) == "<|user|>Why? The<|end|><|assistant|><think>So"
    with pytest.raises(
        ValueError,
        match=r"^prompts: row 1: the chat template changes the answer that has begun \('<think>So</",
    ):
        all_tokens([kept, cut], words, **options)
    # Nor does it pass for kept where another turn has the same words.
    repeated = [{"role": "user", "content": "Say x</think><think>So</think>The"}, cut[-1]]
    words.chat_template = _LOOP + (
        "{{ m['content'] if m['role'] == 'user' else m['content'].split('</think>')[-1] }}<|end|>{% endfor %}"
    )
    with pytest.raises(ValueError, match=r"^prompts: row 0: the chat template changes the answer"):
        all_tokens([repeated], words, **options)
    with pytest.raises(ValueError, match=r"^chat_template_kwargs: add_generation_prompt is set for each"):
        all_tokens([asked], words, template={"add_generation_prompt": True}, **options)


def test_a_text_loses_no_end_but_the_one_that_the_tokenizer_adds():
    from setwise.preference.prompts import as_tokens

    begin, end = (tokenizer(begins=False).convert_tokens_to_ids(name) for name in ("<s>", "</s>"))
    why = tokenizer(begins=False)("Why?")["input_ids"]
    both = tokenizer()
    both.backend_tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", begin), ("</s>", end)]
    )
    one = tokenizer(begins=False)
    one.bos_token = "</s>"
    one.backend_tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="</s> $A </s>", special_tokens=[("</s>", end)]
    )
    for words, before in (
        (tokenizer(begins=False), []),
        (tokenizer(), [begin]),
        (both, [begin]),
        (one, [end]),
    ):
        assert as_tokens("Why?", words, chat=False) == [*before, *why]
        assert as_tokens("Why?</s>", words, chat=False) == [*before, *why, end]
    assert as_tokens("<s>Why?</s>", both, chat=False) == [begin, *why, end]
    assert as_tokens("</s>", both, chat=False) == [begin, end]
    assert as_tokens("</s>", one, chat=False) == [end]


def test_a_text_that_begins_with_the_token_gets_no_second(tmp_path):
    from setwise.preference.prompts import as_tokens

    words = tokenizer()
    for text in ("Why?", "<s>Why?"):
        assert as_tokens(text, words, chat=False) == [
            words.bos_token_id,
            *words("Why?", add_special_tokens=False)["input_ids"],
        ]


def test_a_text_that_has_been_through_the_template_is_not_put_through_it_again():
    from setwise.preference.prompts import as_text

    for family in ("llama-3", "qwen", "phi", "mistral"):
        words = tokenizer(TEMPLATES[family][0])
        whole = as_text("Why?", words, chat=True)
        with pytest.raises(ValueError, match=r"prompt: begins with '<.*pass chat=False"):
            as_text(whole, words, chat=True)
        assert as_text(whole, words, chat=False) == whole
        assert "[/INST] <b>Why?" in as_text("[/INST] <b>Why?", words, chat=True)


def test_records_without_a_text_are_refused():
    from setwise.preference import PreferenceRows

    row = {"prompt": "Why?", "responses": [{"answer": "So.", "score": 1}, {"answer": "No.", "score": 0}]}
    with pytest.raises(
        TypeError, match="response 0 is a record of answer, score; its text is to be in one of"
    ):
        list(PreferenceRows([row], k=1))


@pytest.mark.parametrize("format", ["pairs", "unpaired", "openrlhf", "axolotl", "llama-factory"])
def test_an_answer_that_has_begun_is_whole_in_the_formats_that_do_not_go_on_with_it(format):
    from setwise.preference import PreferenceRows

    prompt = [{"role": "user", "content": "Name a river."}, {"role": "assistant", "content": "It is the"}]
    row = {"prompt": prompt, "responses": [" Nile", " sun"], "rewards": [1.0, 0.0], "token_ids": [[1], [2]]}
    made = list(PreferenceRows([row], k=1, format=format, model="ngrams"))
    assert all("token_ids" not in one for one in made)
    who, what = ("from", "value") if format == "llama-factory" else ("role", "content")
    asked = [{who: "human" if who == "from" else "user", what: "Name a river."}]
    answers = [
        {who: "gpt" if who == "from" else "assistant", what: f"It is the {word}"} for word in ("Nile", "sun")
    ]
    if format == "unpaired":
        assert [(one["prompt"], one["completion"]) for one in made] == [(asked, [one]) for one in answers]
        return
    (pair,) = made
    chosen, rejected = pair["chosen"], pair["rejected"]
    found = [one if isinstance(one, dict) else one[-1] for one in (chosen, rejected)]
    assert found == answers
    before = {"pairs": "prompt", "axolotl": "messages", "llama-factory": "conversations"}
    assert (chosen[:-1] if format == "openrlhf" else pair[before[format]]) == asked
