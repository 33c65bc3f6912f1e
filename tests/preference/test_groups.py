"""Rows as groups of tokens: what enters a model, and which rows are refused."""

from __future__ import annotations

import json
import math

import pytest
from training_toys import BOS, EOS, ids, make_tokenizer, settings

from optional import lazily, needs

torch = lazily("torch")
GroupCollator = lazily("setwise.preference.training.collate", "GroupCollator")
first_groups = lazily("setwise.preference.training.collate", "first_groups")
as_groups = lazily("setwise.preference.training.groups", "as_groups")

pytestmark = needs("torch", "transformers")


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


def test_groups_are_prompts_and_responses_in_tokens(tokenizer, tmp_path):
    row = {"prompt": "what is", "chosen": "rome", "rejected": ["paris ugly", "old"], "rewards": [1, 0.5, 0]}
    (group,) = as_groups([row], tokenizer, settings(tmp_path))
    assert group.prompt.tolist() == [BOS, *ids("what is")]
    assert [tokens.tolist() for tokens in group.responses] == [
        [*ids(text), EOS] for text in ("rome", "paris ugly", "old")
    ]
    assert group.positive.tolist() == [True, False, False]
    assert group.rewards.tolist() == [1, 0.5, 0]


def test_a_chat_template_is_used_where_there_is_one(tmp_path):
    chat = make_tokenizer(chat=True)
    said = [{"role": "user", "content": "what is"}]
    answer = [{"role": "assistant", "content": "rome"}]
    wrong = [{"role": "assistant", "content": "old"}]
    rows = [
        {"prompt": "what is", "chosen": "rome", "rejected": ["old"]},
        {"prompt": said, "chosen": ["rome"], "rejected": "old"},
        {"prompt": said, "chosen": answer, "rejected": [wrong]},
        {"prompt": said, "chosen": [answer], "rejected": wrong},
    ]
    for group in as_groups(rows, chat, settings(tmp_path)):
        assert group.prompt.tolist() == ids("<user> what is </s> <assistant>")
        assert [tokens.tolist() for tokens in group.responses] == [ids("rome </s>"), ids("old </s>")]
    (plain,) = as_groups(rows[:1], chat, settings(tmp_path, chat=False))
    assert plain.prompt.tolist() == [BOS, *ids("what is")]


def test_responses_and_rewards_are_split(tokenizer, tmp_path):
    row = {"prompt": "what", "responses": ["a", "b", "c", "d"], "rewards": [0.2, 0.9, 0.8, 0.1]}

    def positive(**options):
        return as_groups([row], tokenizer, settings(tmp_path, **options))[0].positive.tolist()

    assert positive() == [False, True, False, False]
    assert positive(split="one-vs-k") == [False, True, False, False]
    assert positive(split="mean") == [False, True, True, False]
    given = {"prompt": "what", "chosen": "a", "rejected": ["b", "c"], "rewards": [0.5, 0.6, 0.1]}
    assert as_groups([given], tokenizer, settings(tmp_path))[0].positive.tolist() == [True, False, False]
    mean = as_groups([given], tokenizer, settings(tmp_path, split="mean"))[0].positive.tolist()
    assert mean == [True, True, False]


def test_long_responses_are_cut_off_and_counted(tokenizer, tmp_path):
    rows = [
        {"prompt": "what is", "chosen": "a b c d", "rejected": ["a b", "b b c"]},
        {"prompt": "what", "chosen": "a", "rejected": ["b"]},
    ]
    with pytest.warns(UserWarning, match="2 of 5 responses cut off at max_length=6"):
        groups = as_groups(rows, tokenizer, settings(tmp_path, max_length=6))
    assert groups.truncated == 2
    assert [tokens.tolist() for tokens in groups[0].responses] == [
        ids("a b c"),
        ids("a b </s>"),
        ids("b b c"),
    ]


def test_a_negative_with_the_tokens_of_a_positive_is_left_out(tokenizer, tmp_path):
    row = {"prompt": "what is", "responses": ["a", "b", "a", "c"], "rewards": [1.0, 0.5, 0.2, 0.0]}
    with pytest.warns(UserWarning, match="rows: 1 negatives have the tokens of their positive"):
        groups = as_groups([row], tokenizer, settings(tmp_path))
    (group,) = groups
    assert groups.copies == 1
    assert [tokens.tolist() for tokens in group.responses] == [ids(f"{word} </s>") for word in "abc"]
    assert (group.positive.tolist(), group.rewards.tolist()) == ([True, False, False], [1.0, 0.5, 0.0])
    cut = {"prompt": "what is", "chosen": "a b c d", "rejected": ["a b c"]}
    with pytest.raises(ValueError, match="row 0 has no negative response but its positive's tokens"):
        as_groups([cut], tokenizer, settings(tmp_path, max_length=6))


def test_the_batch(tokenizer, tmp_path):
    rows = [
        {"prompt": "what", "chosen": "a b", "rejected": ["c"], "rewards": [1, 0]},
        {"prompt": "what is", "chosen": ["a", "b"], "rejected": ["c d"], "rewards": [3, 2, 1]},
    ]
    groups = as_groups(rows, tokenizer, settings(tmp_path, reward_scale="none"))
    batch = GroupCollator(pad_token_id=9)(groups)
    assert batch["mask"].tolist() == [[True, True, False], [True, True, True]]
    assert batch["positive"].tolist() == [[True, False, False], [True, True, False]]
    assert batch["rewards"].tolist() == [[1, 0, 0], [2, 1, 0]]  # above the least
    prompts = [[BOS, *ids("what")]] * 2 + [[BOS, *ids("what is")]] * 3
    answers = [ids(text) for text in ("a b </s>", "c </s>", "a </s>", "b </s>", "c d </s>")]
    for place, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        padding = 6 - len(prompt) - len(answer)
        assert batch["input_ids"][place].tolist() == prompt + answer + [9] * padding
        assert batch["attention_mask"][place].tolist() == [1] * (6 - padding) + [0] * padding
        assert batch["labels"][place].tolist() == [-100] * len(prompt) + answer + [-100] * padding
        assert int(batch["prompt_lengths"][place]) == len(prompt)
    # What a process keeps of a batch that accelerate has filled up: one group, or none that counts.
    for count in (1, 0, -1):
        kept = first_groups(batch, count)
        assert kept.pop("repeated", False) == (count < 1)
        assert {name: len(cells) for name, cells in kept.items()} == {
            name: 1 if name in ("mask", "positive", "rewards") else 2 for name in batch
        }
        assert all(torch.equal(cells, batch[name][: len(cells)]) for name, cells in kept.items())


# Where a response ends

#: Templates as models have them: what ends a turn, and the tokenizer's own end of sequence.
TURNS = {
    "gemma": (
        "{{ bos_token }}{% for m in messages %}<start_of_turn>"
        "{{ 'model' if m['role'] == 'assistant' else m['role'] }}"
        "\n{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
        ["<start_of_turn>", "<end_of_turn>"],
        "<end_of_turn>",
    ),
    "phi": (
        "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}",
        ["<|user|>", "<|assistant|>", "<|end|>"],
        "<|end|>",
    ),
    "plain": (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}",
        [],
        "</s>",
    ),
}


@pytest.mark.parametrize(("template", "marks", "expected"), TURNS.values(), ids=TURNS)
def test_a_response_ends_as_the_chat_template_ends_a_turn(tmp_path, template, marks, expected):
    made = make_tokenizer()
    made.add_special_tokens({"additional_special_tokens": marks}, replace_extra_special_tokens=False)
    made.chat_template = template
    row = {"prompt": "what is", "chosen": "rome", "rejected": ["paris ugly"]}
    groups = as_groups([row], made, settings(tmp_path))
    end = made.convert_tokens_to_ids(expected)
    assert groups.end == end
    for tokens, text in zip(groups[0].responses, ("rome", "paris ugly"), strict=True):
        assert tokens.tolist() == [*ids(text), end]
    # What the template itself writes of the conversation begins with the very tokens.
    talk = [{"role": "user", "content": "what is"}, {"role": "assistant", "content": "rome"}]
    if marks:
        whole = made(made.apply_chat_template(talk, tokenize=False), add_special_tokens=False)["input_ids"]
        ours = [*groups[0].prompt.tolist(), *groups[0].responses[0].tolist()]
        assert whole[: len(ours)] == ours
    assert as_groups([row], made, settings(tmp_path, chat=False)).end == EOS


def test_drawn_tokens_are_taken_as_they_are_and_what_was_cut_has_no_end(tokenizer, tmp_path):
    """Two spellings of one text stay apart, and a response that was cut off at the limit does not end."""
    row = {
        "prompt": "what is",
        "chosen": "rome fine",
        "rejected": ["paris", "old old"],
        "token_ids": [[*ids("rome fine"), EOS], ids("paris"), ids("old old")],
        "finished": [True, True, False],
    }
    (group,) = as_groups([row], tokenizer, settings(tmp_path))
    assert [tokens.tolist() for tokens in group.responses] == [
        [*ids("rome fine"), EOS],
        [*ids("paris"), EOS],
        ids("old old"),
    ]
    cut = {name: row[name] for name in ("prompt", "chosen", "rejected", "finished")}
    assert [tokens.tolist() for tokens in as_groups([cut], tokenizer, settings(tmp_path))[0].responses] == [
        [*ids("rome fine"), EOS],
        [*ids("paris"), EOS],
        ids("old old"),
    ]


def test_variables_of_the_chat_template(tmp_path):
    chat = make_tokenizer(chat=True)
    chat.chat_template = "{% if old %}old {% endif %}" + chat.chat_template
    row = {"prompt": "what is", "chosen": "rome", "rejected": ["a"]}
    for given in ({"old": True}, '{"old": true}'):
        (group,) = as_groups([row], chat, settings(tmp_path, chat_template_kwargs=given))
        assert group.prompt.tolist() == ids("old <user> what is </s> <assistant>")
    with pytest.raises(ValueError, match="chat_template_kwargs: 'old' is not JSON"):
        settings(tmp_path, chat_template_kwargs="old")
    chat.chat_template = "{% for tool in tools or [] %}{{ tool.name }} {% endfor %}" + chat.chat_template
    for tools in ([{"name": "fine"}], '[{"name": "fine"}]'):
        (group,) = as_groups([{**row, "tools": tools}], chat, settings(tmp_path))
        assert group.prompt.tolist() == ids("fine <user> what is </s> <assistant>")
    with pytest.raises(ValueError, match="tools: row 0 has no list of JSON schemas"):
        as_groups([{**row, "tools": ["fine"]}], chat, settings(tmp_path))


@needs("pyarrow")
def test_messages_and_tools_read_alike_from_lines_and_from_parquet(tmp_path):
    """Parquet gives every record the fields of all, with nulls, and templates ask which are there."""
    from setwise.extras.arrow import arrow, parquet

    chat = make_tokenizer(chat=True)
    chat.chat_template = (
        "{% for tool in tools or [] %}{{ tool.parameters.properties | length }} {% endfor %}"
        "{% for m in messages %}{{ m | length }} {% if 'call' in m %}{{ m.call | length }} {% endif %}"
        "{{ m['content'] }} </s> {% endfor %}{% if add_generation_prompt %}<assistant> {% endif %}"
    )
    asked = {"role": "user", "content": "what is"}
    rows = [
        {
            "prompt": [asked, {"role": "assistant", "content": None, "call": call}, asked],
            "tools": [{"name": name, "parameters": {"properties": {name: {"type": "string"}}}}],
            "chosen": [{"role": "assistant", "content": "a", "name": None}],
            "rejected": [{"role": "assistant", "content": "b", "name": "old"}],
        }
        for name, call in (("fine", {"a": "b"}), ("ugly", {"c": "d", "e": "f"}))
    ]
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines, cells = (
        [group.prompt.tolist() for group in as_groups(tmp_path / name, chat, settings(tmp_path))]
        for name in ("rows.jsonl", "rows.parquet")
    )
    text = chat.apply_chat_template(rows[0]["prompt"], tools=rows[0]["tools"], tokenize=False)
    assert cells == lines
    assert len(lines) == 2
    assert text.startswith("1 2 what")


def test_rewards_are_scaled_before_they_are_narrow(tokenizer, tmp_path):
    row = {"prompt": "what", "chosen": "a", "rejected": ["b", "c"], "rewards": [3e139, 1e139, -1e139]}
    batch = GroupCollator(0)(as_groups([row], tokenizer, settings(tmp_path, alpha=1.0)))
    assert batch["rewards"].tolist() == [[1.0, 0.5, 0.0]]
    with pytest.raises(ValueError, match=r"rewards: row 0 has some 4e\+139 apart, which is no float32"):
        as_groups([row], tokenizer, settings(tmp_path, alpha=1.0, reward_scale="none"))


def test_responses_without_a_reward_are_left_out_where_one_is_needed(tokenizer, tmp_path):
    row = {"prompt": "what", "responses": ["a", "b", "c"], "rewards": [0.1, None, 0.9]}
    with pytest.warns(UserWarning, match="1 responses have no reward and are left out"):
        groups = as_groups([row], tokenizer, settings(tmp_path))
    assert groups.unscored == 1
    assert [tokens.tolist() for tokens in groups[0].responses] == [[*ids("a"), EOS], [*ids("c"), EOS]]
    assert groups[0].positive.tolist() == [False, True]


# Bad input

GOOD = {"prompt": "what is", "chosen": "a", "rejected": ["b", "c"], "rewards": [1.0, 0.5, 0.0]}
BAD = {
    "no prompt": ({"prompt": None}, {}, "prompt: row 1 has nothing in 'prompt'"),
    "empty prompt": ({"prompt": " "}, {}, "prompt: row 1 has an empty one"),
    "prompt of another type": (
        {"prompt": 3},
        {},
        "prompt: row 1 has 3 .int. in 'prompt', expected a text or",
    ),
    "messages without a template": (
        {"prompt": [{"role": "user", "content": "what"}]},
        {},
        "prompt: row 1 holds messages",
    ),
    "no rejected": ({"rejected": None}, {}, "rejected: row 1 has none"),
    "rejected empty": ({"rejected": [], "rewards": [1.0]}, {}, "rows: row 1 has no negative response"),
    "chosen empty": ({"chosen": [], "rewards": [1, 0]}, {}, "rows: row 1 has no positive response"),
    "empty response": ({"rejected": ["b", " "]}, {}, "responses: row 1, response 2 is empty"),
    "response of another type": (
        {"rejected": ["b", 3]},
        {},
        "rejected: row 1, response 1 is 3 .int., expected a string or a message",
    ),
    "a user's response": (
        {"chosen": [{"role": "user", "content": "a"}]},
        {},
        "chosen: row 1 is .*expected a string or a message of the assistant",
    ),
    "rewards too few": ({"rewards": [1.0, 0.5]}, {}, "rewards: row 1 has 2 for 3 responses"),
    "rewards infinite": ({"rewards": [1.0, math.inf, 0.0]}, {}, "rewards: row 1, response 1 has inf"),
    "ends of another number": ({"finished": [True]}, {}, "finished: row 1 has 1 for 3 responses"),
    "tokens of another text": (
        {"token_ids": [[2], [3], [4]]},
        {},
        "token_ids: row 1, response 0: this tokenizer reads another text",
    ),
    "rewards of another type": (
        {"rewards": [1.0, "x", 0]},
        {},
        "rewards: row 1, response 1 has 'x' .str., expected a number",
    ),
    "rewards a text": (
        {"rewards": "1.0"},
        {},
        "rewards: row 1 has '1.0' .str. in 'rewards', expected a list",
    ),
    "rewards needed by alpha": (
        {"rewards": None},
        {"alpha": 1.0},
        "rewards: row 1 has none, which alpha=1 needs",
    ),
    "rewards needed by split": ({"rewards": None}, {"split": "mean"}, "which the split by reward needs"),
    "rewards alike": ({"rewards": [0.1, 0.1, 0.1]}, {"split": "mean"}, "no positive response .*alike"),
    "both": ({"responses": ["a", "b", "c"]}, {}, "both responses and chosen or rejected"),
    "prompt too long": (
        {"prompt": "a b c d"},
        {"max_prompt_length": 4},
        "a prompt of 5 tokens, and max_prompt_length is 4; shorten it, raise the limit, or pass unusable=",
    ),
    "no room": ({"prompt": "a b c d"}, {"max_length": 5}, "a prompt of 5 tokens, and max_length is 5"),
}


@pytest.mark.parametrize(("changes", "options", "message"), BAD.values(), ids=BAD)
def test_bad_rows_are_refused_by_number(tokenizer, tmp_path, changes, options, message):
    rows = [GOOD, {**GOOD, **changes}]
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        as_groups(rows, tokenizer, settings(tmp_path, **options))
    assert "\n" not in str(caught.value)


def test_rows_that_cannot_be_trained_on_can_be_dropped(tokenizer, tmp_path):
    rows = [
        GOOD,
        {**GOOD, "prompt": "a b c d a b c d"},
        {**GOOD, "rejected": [], "rewards": [1.0]},
        {**GOOD, "rewards": None},
    ]
    options = {"max_prompt_length": 5, "unusable": "drop"}
    with pytest.warns(UserWarning, match=r"dropped 2 of 4 .*the first: row 1 has a prompt of 9 tokens"):
        groups = as_groups(rows, tokenizer, settings(tmp_path, **options))
    assert (len(groups), groups.dropped) == (2, 2)
    with pytest.raises(ValueError, match=r"rows: there are none left of 1 \(row 0 has a prompt"):
        as_groups(rows[1:2], tokenizer, settings(tmp_path, **options))
    broken = {**GOOD, "rewards": [1.0, math.inf, 0.0]}
    with pytest.raises(ValueError, match="rewards: row 1, response 1 has inf"):  # not a matter of dropping
        as_groups([GOOD, broken], tokenizer, settings(tmp_path, **options))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "rows: there are no rows"),
        ("rows.jsonl", "no file or folder 'rows.jsonl'"),
        (GOOD, "rows: expected rows, got one dict"),
        ([GOOD, "text"], "rows: row 1 is no mapping but str"),
    ],
)
def test_what_is_no_rows(tokenizer, tmp_path, rows, message):
    with pytest.raises((TypeError, ValueError, FileNotFoundError), match=message):
        as_groups(rows, tokenizer, settings(tmp_path))
