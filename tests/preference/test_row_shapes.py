"""Rows as people have them: the same pools from every shape, for `setwise prefer` and for training alike."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from setwise.preference.rows.columns import find_columns
from setwise.preference.rows.pools import judged, read_pools
from setwise.preference.rows.rows import PreferenceRows
from setwise.preference.rows.sources import open_rows
from setwise.preference.stages import generate


def said(*turns):
    return [
        {"role": role, "content": text}
        for role, text in zip(["user", "assistant"] * len(turns), turns, strict=False)
    ]


QUESTION, GOOD, BAD = "What color is the sky?", "It is blue.", "It is green."
TALK = said(QUESTION)

#: One row in each shape, and the prompt that it has.
SHAPES = {
    "texts": ({"prompt": QUESTION, "chosen": GOOD, "rejected": BAD}, QUESTION),
    "ultrafeedback_binarized": (
        {
            "prompt": QUESTION,
            "prompt_id": "x",
            "chosen": said(QUESTION, GOOD),
            "rejected": said(QUESTION, BAD),
            "messages": said(QUESTION, GOOD),
            "score_chosen": 8.0,
            "score_rejected": 3.0,
        },
        QUESTION,
    ),
    "implicit prompt": ({"chosen": said(QUESTION, GOOD), "rejected": said(QUESTION, BAD)}, TALK),
    "implicit prompt of texts": (
        {"chosen": f"{QUESTION} {GOOD}", "rejected": f"{QUESTION} {BAD}"},
        f"{QUESTION} It is",
    ),
    "messages": ({"prompt": TALK, "chosen": said("", GOOD)[1:], "rejected": said("", BAD)[1:]}, TALK),
    "a message": (
        {
            "prompt": TALK,
            "chosen": {"role": "assistant", "content": GOOD},
            "rejected": [said("", BAD)[1:]],
        },
        TALK,
    ),
    "parts": (
        {
            "prompt": [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}],
            "chosen": [{"role": "assistant", "content": [{"type": "text", "text": GOOD}]}],
            "rejected": [{"role": "assistant", "content": [{"type": "text", "text": BAD}]}],
        },
        TALK,
    ),
    "a system's word": (
        {
            "prompt": QUESTION,
            "chosen": [{"role": "system", "content": "Be brief."}, *said(QUESTION, GOOD)],
            "rejected": [{"role": "system", "content": "Be brief."}, *said(QUESTION, BAD)],
        },
        [{"role": "system", "content": "Be brief."}, *TALK],
    ),
    "a pool of messages": (
        {"prompt": TALK, "responses": [said("", GOOD)[1:], said("", BAD)[1:]], "rewards": [1, 0]},
        TALK,
    ),
    "a pool of whole conversations": (
        {"prompt": QUESTION, "responses": [said(QUESTION, GOOD), said(QUESTION, BAD)], "rewards": [1, 0]},
        QUESTION,
    ),
    "UltraFeedback": (
        {
            "instruction": QUESTION,
            "completions": [
                {"response": GOOD, "overall_score": 8.5, "annotations": {"helpfulness": {"Rating": "2"}}},
                {"response": BAD, "overall_score": 2.0, "annotations": {"helpfulness": {"Rating": "N/A"}}},
            ],
        },
        QUESTION,
    ),
    "right and wrong": ({"prompt": QUESTION, "responses": [GOOD, BAD], "rewards": [True, False]}, QUESTION),
}


def pools_of(row, **named):
    source = open_rows([row])
    return [judged(pool) for pool in read_pools(source, find_columns(source, **named))]


@pytest.mark.parametrize(("row", "prompt"), SHAPES.values(), ids=SHAPES)
def test_every_shape_is_a_prompt_with_its_responses(row, prompt):
    (pool,) = pools_of(row)
    assert pool.prompt == prompt
    texts = [GOOD, BAD]
    if isinstance(prompt, str) and prompt != QUESTION:
        texts = [" blue.", " green."]
    assert pool.responses == texts
    assert pool.rewards[0] > pool.rewards[1]
    # What is selected is the same from each, and can be written and read again.
    (made,) = PreferenceRows([row], k=1, method="bottom-k", model="lsa")
    (again,) = pools_of(made)
    assert (again.prompt, again.responses, again.positive) == (prompt, texts, [True, False])
    assert again.rewards.tolist() == pool.rewards.tolist()


@pytest.mark.parametrize("beside", ["tool_calls", "reasoning_content"])
def test_what_an_answer_says_beside_its_text_is_not_lost(beside):
    told = {"role": "assistant", "content": GOOD, beside: None}
    row = {"prompt": TALK, "chosen": [told], "rejected": BAD}
    assert next(iter(PreferenceRows([row], 1)))["chosen"] == [{"role": "assistant", "content": GOOD}]
    told[beside] = [{"function": {"name": "look"}}]
    with pytest.raises(ValueError, match=f"chosen: row 0 has '{beside}' beside its text"):
        next(iter(PreferenceRows([row], 1)))


@pytest.mark.parametrize("name", ["implicit prompt", "implicit prompt of texts"])
def test_an_implicit_prompt_is_the_one_that_trl_takes(name):
    trl = pytest.importorskip("trl")
    row, _ = SHAPES[name]
    theirs = trl.extract_prompt(row)
    (pool,) = pools_of(row)
    assert pool.prompt == theirs["prompt"]
    for text, other in zip(pool.responses, (theirs["chosen"], theirs["rejected"]), strict=True):
        assert text == (other if isinstance(other, str) else other[0]["content"])


def test_a_rating_inside_the_records_is_taken_by_its_path():
    (pool,) = pools_of(SHAPES["UltraFeedback"][0], rewards="annotations.helpfulness.Rating")
    assert pool.rewards[0] == 2.0
    assert np.isnan(pool.rewards[1])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"chosen": said(QUESTION, GOOD), "rejected": said("Another?", BAD)},
            "prompt: row 0 has responses to different messages",
        ),
        (
            {"prompt": "Another?", "chosen": said(QUESTION, GOOD), "rejected": said(QUESTION, BAD)},
            "prompt: row 0 has another prompt than the messages before its responses",
        ),
        ({"chosen": "yes", "rejected": "no"}, "prompt: row 0 has none, neither in a column nor where"),
        (
            {"prompt": QUESTION, "chosen": said(QUESTION), "rejected": BAD},
            "chosen: row 0 is .*expected a string or a message of the assistant",
        ),
        (
            {
                "prompt": QUESTION,
                "chosen": [{"role": "assistant", "content": [{"type": "image"}]}],
                "rejected": BAD,
            },
            "chosen: row 0 has a message with a part that is no text .image.",
        ),
    ],
)
def test_what_cannot_be_told_is_refused(row, message):
    with pytest.raises((TypeError, ValueError), match=message):
        pools_of(row)


@pytest.mark.parametrize("name", ["input", "system", "history"])
def test_what_stands_beside_a_prompt_and_belongs_to_it_is_not_lost(name, tmp_path):
    """Alpaca's rows have half of the question in another column, others a system's word."""
    row = {"instruction": "Translate.", name: "Bonjour", "chosen": GOOD, "rejected": BAD}
    with pytest.raises(ValueError, match=f"prompt: row 0 has '{name}' beside its prompt, which would"):
        pools_of(row)
    with pytest.raises(ValueError, match=f"prompt: row 0 has '{name}' beside its prompt"):
        generate([row], tmp_path / "drawn.jsonl", model="there is none")
    talk = {**row, "instruction": TALK, "history": "x", "input": "y"}
    talk.pop("system", None)
    assert pools_of(talk)[0].prompt == TALK
    with pytest.raises(ValueError, match="prompt: row 0 has 'system' beside its prompt"):
        pools_of({**talk, "system": "Be brief."})
    assert pools_of({**row, name: ""})[0].prompt == "Translate."
    (named,) = PreferenceRows([row], 1, model="lsa", prompt="instruction")
    assert named["prompt"] == "Translate."


POOL = {"prompt": QUESTION, "responses": [GOOD, BAD, "No idea."], "rewards": [1.0, 0.2, 0.1]}

#: A pair of that pool as the documentation of each trainer has it.
OUTGOING = {
    "llama-factory": {
        "conversations": [{"from": "human", "value": QUESTION}],
        "chosen": {"from": "gpt", "value": GOOD},
        "rejected": {"from": "gpt", "value": BAD},
    },
    "openrlhf": {"chosen": said(QUESTION, GOOD), "rejected": said(QUESTION, BAD)},
    "axolotl": {
        "messages": TALK,
        "chosen": {"role": "assistant", "content": GOOD},
        "rejected": {"role": "assistant", "content": BAD},
    },
}


@pytest.mark.parametrize("prompt", [QUESTION, TALK], ids=["text", "messages"])
@pytest.mark.parametrize("format", OUTGOING)
def test_pairs_in_the_words_of_other_trainers(format, prompt, tmp_path):
    from pyarrow import parquet

    rows = PreferenceRows([{**POOL, "prompt": prompt, "source": "s"}], k=2, format=format, model="lsa")
    found = list(rows)
    assert len(found) == 2
    assert OUTGOING[format] in found
    rows.write(tmp_path / "rows.parquet")
    assert parquet.read_table(tmp_path / "rows.parquet").to_pylist() == found
    # What is read back is the same pair, of a prompt in messages.
    again = PreferenceRows(tmp_path / "rows.parquet", k=1, format="pairs", model="lsa")
    again.write(tmp_path / "again.parquet")
    back = parquet.read_table(tmp_path / "again.parquet").to_pylist()
    wanted = {"prompt": TALK, "chosen": said("", GOOD)[1:], "rejected": said("", BAD)[1:]}
    assert wanted in [{name: row[name] for name in wanted} for row in back]
    # Tools and calls of them, which a trainer would not be told of, are not lost without a word.
    called = [*TALK, {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]}]
    for beside, name in (({"tools": [{"name": "f"}]}, "tools"), ({"prompt": called}, "tool_calls")):
        with pytest.raises(ValueError, match=f"format: row 0 .*'{name}', for which '{format}' has no place"):
            list(PreferenceRows([{**POOL, **beside}], k=2, format=format, model="lsa"))


def test_tokens_and_ends_follow_the_responses(tmp_path):
    from pyarrow import parquet

    row = {**POOL, "token_ids": [[1], [2, 2], [3]], "finished": [True, False, True]}
    rows = PreferenceRows([row], k=2, method="bottom-k", model="lsa")
    (made,) = rows
    assert made["token_ids"] == [[1], [3], [2, 2]]
    assert made["finished"] == [True, True, False]
    rows.write(tmp_path / "rows.parquet")
    assert parquet.read_table(tmp_path / "rows.parquet").to_pylist() == [made]
    singles = PreferenceRows([row], k=2, method="bottom-k", model="lsa", format="unpaired")
    assert [one["token_ids"] for one in singles] == [[1], [3], [2, 2]]
    singles.write(tmp_path / "singles.parquet")
    assert parquet.read_table(tmp_path / "singles.parquet").to_pylist() == list(singles)


def test_near_copies_of_a_better_response_are_left_out_and_counted():
    """The positive with other case and punctuation, and with one word changed; a paraphrase stays."""
    words = [
        "to",
        "boil",
        "an",
        "egg",
        "put",
        "it",
        "into",
        "boiling",
        "water",
        "for",
        "eight",
        "minutes",
        "and",
        "then",
        "under",
        "cold",
        "water",
    ]
    best = " ".join(words)
    changed = " ".join([*words[:-1], "ice"])
    texts = [
        best,
        best.capitalize() + "!",
        changed,
        "Eight minutes in hot water, then cool it.",
        "Call a plumber.",
    ]
    vectors = [[1.0, 0.0], [1.0, 0.01], [1.0, 0.05], [1.0, 0.02], [0.0, 1.0]]
    row = {"prompt": "How?", "responses": texts, "rewards": [0.9, 0.8, 0.7, 0.6, 0.1], "embeddings": vectors}
    made = PreferenceRows([row], k=2)
    assert next(iter(made))["rejected"] == [texts[4], texts[3]]
    assert made.summary.near_copies == 2
    everything = PreferenceRows([row], k=4, near=2.0)
    assert len(next(iter(everything))["rejected"]) == 4
    assert everything.summary.near_copies == 0
    kept = PreferenceRows([row], k=4, duplicates="keep")
    assert len(next(iter(kept))["rejected"]) == 4
    with pytest.raises(ValueError, match="has 3 responses to choose from .*nearly repeated"):
        list(PreferenceRows([row], k=3))


def test_a_gap_between_the_chosen_and_the_rejected():
    row = {"prompt": "How?", "responses": list("abcd"), "rewards": [0.9, 0.8, 0.5, 0.1]}
    made = PreferenceRows([row], k=2, model="lsa", min_gap=0.4, near=2.0)
    assert next(iter(made))["rewards"] == [0.9, 0.1, 0.5]
    assert made.summary.ties == 1
    for wrong in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="min_gap: .* is not finite and at least 0"):
            PreferenceRows([row], k=2, min_gap=wrong)
