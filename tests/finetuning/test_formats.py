"""Datasets as people have them: conversations, folders of all origins, splits; and what loads the output."""

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest

from optional import lazily, needs
from setwise.files import read_corpus, read_table
from setwise.finetuning import Pipeline, Repository
from setwise.finetuning.rows.draw import text_lengths
from setwise.finetuning.rows.writing import write_epochs

pytestmark = needs("pyarrow")
pa, parquet = lazily("pyarrow"), lazily("pyarrow.parquet")

SYSTEM = "You are a helpful assistant."
TALK = [
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "image"}, "this?"]},
    {"role": "assistant", "content": "A pear."},
    {"role": "tool", "content": "42"},
]
SHAREGPT = [
    {"from": "system", "value": SYSTEM},
    {"from": "human", "value": "What is\nthis?"},
    {"from": "gpt", "value": "A pear."},
    {"from": "observation", "value": "42"},
]


def texts(repository):
    return [text for block in repository.texts() for text in block]


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_parts_of_a_message_may_be_spelled_in_other_ways(tmp_path):
    spelled = [
        [{"type": "text", "text": {"value": "a pear", "annotations": []}}],
        {"type": "text", "text": "a pear"},
    ]
    rows = [{"messages": [{"role": "user", "content": content}]} for content in spelled]
    assert texts(Repository(write_lines(tmp_path / "a.jsonl", rows))) == ["a pear", "a pear"]


def test_a_call_of_a_tool_is_said_alike_in_every_format(tmp_path):
    named = '{"name": "search", "arguments": {"q": "a pear"}}'
    call = {"name": "search", "arguments": {"q": "a pear", "other_tools": None}}
    written = {"name": "search", "arguments": '{"q": "a pear"}'}
    turns = [
        {"from": "function_call", "value": named},
        {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": call}]},
        {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": written}]},
        {"role": "assistant", "content": None, "tool_calls": None, "function_call": written},
    ]
    rows = [{"messages": [turn]} for turn in turns]
    assert texts(Repository(write_lines(tmp_path / "a.jsonl", rows))) == [named] * 4


def test_rows_in_memory_that_are_no_table_are_told_what_to_be():
    for rows in ([{"text": "a pear"}], ["a pear"]):
        with pytest.raises(TypeError, match="repository: expected a file, a table or an array .* got list"):
            Pipeline(rows, np.ones((1, 2)), rows=1).run()


@pytest.mark.parametrize("column", ["messages", "conversations"])
def test_a_conversation_is_what_some_roles_say(tmp_path, column):
    path = write_lines(tmp_path / "a.jsonl", [{column: TALK if column == "messages" else SHAREGPT}])
    everything = f"{SYSTEM}\nWhat is\nthis?\nA pear.\n42"
    assert texts(Repository(path)) == [everything.removeprefix(f"{SYSTEM}\n")]
    assert texts(Repository(path, roles="user")) == ["What is\nthis?"]
    assert texts(Repository(path, roles=("assistant", "tool"))) == ["A pear.\n42"]
    assert texts(Repository(path, roles="all")) == [everything]
    # What is trained on is all of it, whoever's turns are encoded.
    assert text_lengths(Repository(path, roles="user"), "words").tolist() == [len(everything.split())]
    with pytest.raises(ValueError, match="roles: 'users' is unknown; did you mean 'user'"):
        Pipeline(path, path, roles="users", rows=1)


ALPACA = {
    "instruction": "And add",
    "input": "2",
    "output": "6",
    "system": SYSTEM,
    "history": [["Add 1 and 2", "3"], ["Add 1", "4"]],
}


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        ((), "Add 1 and 2\n3\nAdd 1\n4\nAnd add\n2\n6"),
        ("user", "Add 1 and 2\nAdd 1\nAnd add\n2"),
        ("assistant", "3\n4\n6"),
        ("system", SYSTEM),
        ("all", f"{SYSTEM}\nAdd 1 and 2\n3\nAdd 1\n4\nAnd add\n2\n6"),
    ],
)
def test_earlier_turns_and_the_system_prompt_stand_in_columns_of_their_own(tmp_path, roles, expected):
    """As LLaMA-Factory describes them: history is prompt-response pairs, system the system prompt."""
    path = write_lines(tmp_path / "a.jsonl", [ALPACA, {**ALPACA, "system": None, "history": []}])
    parquet.write_table(pa.Table.from_pylist([ALPACA, {**ALPACA, "history": None}]), tmp_path / "a.parquet")
    for file in (path, tmp_path / "a.parquet"):
        rows = Repository(file, roles=roles)
        assert texts(rows)[0] == expected
        assert text_lengths(rows, "words")[0] == len(f"{SYSTEM} Add 1 and 2 3 Add 1 4 And add 2 6".split())
    last = [line for line in expected.split("\n") if line in ("And add", "2", "6")]
    assert texts(Repository(path, roles=roles))[1] == "\n".join(last)
    if roles == "user":
        told = "texts: columns 'history', 'instruction', 'input'; others: 'output', 'system'"
        assert Repository(path, roles=roles).told == told
        with pytest.raises(ValueError, match=r"every row of a.jsonl has .*, in history \(said by tool\)"):
            Pipeline(path, path, roles="tool", model="ngrams", cache=None).run()


def test_conversations_in_other_spellings_are_read(tmp_path):
    turns = [{"human": "Add 1", "assistant": "4"}, {"human": "Add 2", "assistant": "6"}]
    spelled = {
        "Add 1\n4\nAdd 2\n6": {"conversation": turns},
        "A\nB": {"system": SYSTEM, "query": "A", "response": "B", "history": []},
        "I cannot.\nA\nNo.": {
            "messages": [
                {"role": "developer", "content": SYSTEM},
                {"role": "user", "content": None},
                {"role": "assistant", "content": None, "refusal": "I cannot."},
                {
                    "role": "assistant",
                    "content": [{"type": "text", "text": "A"}, {"type": "refusal", "refusal": "No."}],
                },
            ]
        },
        "A\nC": {
            "conversations": [{"from": "human", "value": "A"}, {"from": "gpt", "value": "C"}],
            "system": SYSTEM,
            "tools": "[]",
        },
    }
    for number, (expected, row) in enumerate(spelled.items()):
        assert texts(Repository(write_lines(tmp_path / f"{number}.jsonl", [row]))) == [expected]
    ranked = {
        "conversations": SHAREGPT[:2],
        "chosen": SHAREGPT[2],
        "rejected": {"from": "gpt", "value": "No."},
    }
    path = write_lines(tmp_path / "ranked.jsonl", [ranked])
    named = Repository(path, text_column=("conversations", "chosen"))
    assert texts(named) == ["What is\nthis?\nA pear."]


def test_a_long_system_prompt_does_not_make_rows_alike(tmp_path):
    """Half of the rows with one prompt would otherwise be one cloud near any example that has it."""
    rng = np.random.default_rng(0)
    words = [f"word{one}" for one in range(400)]
    prompt = " ".join(rng.choice(words, 300))
    said = [" ".join(rng.choice(words, 20)) for _ in range(60)]

    def talk(text, with_prompt):
        system = [{"role": "system", "content": prompt}] if with_prompt else []
        return {"messages": [*system, {"role": "user", "content": text}]}

    plain = write_lines(tmp_path / "plain.jsonl", [talk(text, False) for text in said])
    half = write_lines(tmp_path / "half.jsonl", [talk(text, row % 2) for row, text in enumerate(said)])
    task = write_lines(tmp_path / "task.jsonl", [talk(text + " more", True) for text in said[:5]])
    found = [Pipeline(rows, task, model="ngrams", cache=None).run().distribution for rows in (plain, half)]
    np.testing.assert_allclose(found[0].dense(), found[1].dense(), atol=1e-12)


def test_one_json_array_is_a_table(tmp_path):
    alpaca = [{"instruction": f"Add {i}", "input": "1 and 2", "output": str(i)} for i in range(3)]
    (tmp_path / "alpaca.json").write_text(json.dumps(alpaca, indent=1))
    assert texts(Repository(tmp_path / "alpaca.json"))[1] == "Add 1\n1 and 2\n1"
    (tmp_path / "sharegpt.json.gz").write_bytes(
        gzip.compress(json.dumps([{"conversations": SHAREGPT}]).encode())
    )
    assert texts(Repository(tmp_path / "sharegpt.json.gz")) == ["What is\nthis?\nA pear.\n42"]
    lines = "".join(json.dumps(row) + "\n" for row in alpaca).encode()
    with pa.output_stream(str(tmp_path / "a.jsonl.zst"), compression="zstd") as stream:
        stream.write(lines)
    assert texts(Repository(tmp_path / "a.jsonl.zst")) == texts(Repository(tmp_path / "alpaca.json"))


def snapshot(folder, splits=("train", "test")):
    """A dataset as it comes from the hub: its files are links into another folder of the cache."""
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    (folder / "dataset_infos.json").write_text("{}")
    for split in splits:
        for part in range(2):
            table = pa.table({"text": [f"{split} {part} {row}" for row in range(3)]})
            blob = folder.parent / f"blob-{folder.name}-{split}-{part}"
            parquet.write_table(table, blob)
            (folder / "data" / f"{split}-0000{part}-of-00002.parquet").symlink_to(blob)
    return folder


def test_of_a_downloaded_dataset_the_training_split_is_read(tmp_path):
    rows = Repository(snapshot(tmp_path / "snapshots" / "hub"))
    assert texts(rows) == [f"train {part} {row}" for part in range(2) for row in range(3)]
    assert rows.told == "rows of split 'train', not of test"
    alone = Repository(snapshot(tmp_path / "snapshots" / "alone", ["test"]))
    assert (len(alone), alone.told) == (6, "")
    nested = tmp_path / "snapshots" / "configs"
    for name in ("en", "de"):
        snapshot(nested / name)
    with pytest.raises(ValueError, match=r"holds several folders of rows \(de, en\); name one"):
        Repository(nested)
    assert len(Repository(nested / "de")) == 6
    several = snapshot(tmp_path / "snapshots" / "several", ["train_sft", "train_gen", "test_sft"])
    with pytest.raises(ValueError, match="holds the splits train_gen, train_sft; put the files of one into"):
        Repository(several)
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match=r"holds no \.parquet"):
        Repository(tmp_path / "bare")


@needs("datasets")
def test_datasets_with_splits_in_memory_and_saved(tmp_path):
    from datasets import Dataset, DatasetDict

    own = {
        name: Dataset.from_dict({"text": [f"{name} {row}" for row in range(9)]}) for name in ("test", "train")
    }
    both = DatasetDict(own)
    both.save_to_disk(tmp_path / "both")
    own["train"].save_to_disk(tmp_path / "one")
    for source in (both, tmp_path / "both", tmp_path / "one", own["train"].filter(lambda row: True)):
        assert texts(Repository(source)) == [f"train {row}" for row in range(9)]
    assert (
        Repository(both).told == Repository(tmp_path / "both").told or "not of test" in Repository(both).told
    )
    drawn = Pipeline(both, own["test"], model="ngrams", rows=4).run().epochs[0]
    assert len(drawn) == 4
    with pytest.raises(ValueError, match=r"examples: the dataset has splits \(a, b\); pass one"):
        Pipeline(both, DatasetDict(a=own["test"], b=own["test"]), rows=1).run()
    with pytest.raises(TypeError, match="repository: IterableDataset holds no rows by itself"):
        Repository(own["train"].to_iterable_dataset())
    upper = own["train"].with_transform(lambda rows: {"text": [text.upper() for text in rows["text"]]})
    with pytest.raises(TypeError, match=r"repository: the rows of this dataset are made by a transform"):
        Repository(upper)
    assert texts(Repository(upper.with_format("numpy"))) == texts(Repository(own["train"]))


@needs("datasets")
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_epochs_are_loaded_in_order_and_nothing_else_is(tmp_path, monkeypatch, kind):
    from datasets import load_dataset

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    rows = [{"id": row, "text": f"word{row} row"} for row in range(40)]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    if kind == "parquet":
        parquet.write_table(
            pa.Table.from_pylist([json.loads(line) for line in path.open()]), tmp_path / "rows.parquet"
        )
    found = Pipeline(
        tmp_path / f"rows.{kind}", path, method="random", rows=5, epochs=11, out=tmp_path / "run"
    ).run()
    cache = str(tmp_path / "cache")
    whole = load_dataset(str(tmp_path / "run"), cache_dir=cache, split="train")
    assert whole["id"][:] == np.concatenate(found.epochs).tolist()
    assert whole.column_names == ["id", "text"]
    tenth = load_dataset(str(tmp_path / "run"), "epochs", cache_dir=cache, split="epoch_10")
    assert tenth["id"][:] == found.epochs[9].tolist()
    # Other rows of a folder of this name, which `datasets` keeps by that and by the card alone.
    again = Pipeline(
        tmp_path / f"rows.{kind}",
        path,
        method="random",
        rows=5,
        epochs=11,
        out=tmp_path / "run",
        seed=1,
        force=True,
    ).run()
    assert np.concatenate(again.epochs).tolist() != np.concatenate(found.epochs).tolist()
    whole = load_dataset(str(tmp_path / "run"), cache_dir=cache, split="train")
    assert whole["id"][:] == np.concatenate(again.epochs).tolist()
    tenth = load_dataset(str(tmp_path / "run"), "epochs", cache_dir=cache, split="epoch_10")
    assert tenth["id"][:] == again.epochs[9].tolist()
    # Without the card, too: names sort as epochs do, and what is not for data is hidden.
    builder = "json" if kind == "jsonl" else kind
    bare = load_dataset(builder, data_dir=str(tmp_path / "run"), cache_dir=cache, split="train")
    assert bare["id"][:] == whole["id"][:]
    read = [text for block in Repository(tmp_path / "run").texts() for text in block]
    assert read == whole["text"][:]


def test_tokens_are_counted_by_any_tokenizer(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", [{"text": "A pear, please."}, {"text": "私は学生です"}])
    assert text_lengths(Repository(path)).tolist() == [5, 6]  # a script without spaces is no single word
    assert text_lengths(Repository(path), "words").tolist() == [3, 1]
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "A": 1}, "[UNK]"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    model.enable_truncation(4)  # what a file keeps of its training says nothing of how long a text is
    model.enable_padding(length=8)
    (tmp_path / "model").mkdir()
    model.save(str(tmp_path / "model" / "tokenizer.json"))
    for name in ("tokenizers:model", "tokenizers:model/tokenizer.json"):
        unit = name.replace("model", str(tmp_path / "model"), 1)
        assert text_lengths(Repository(path), unit).tolist() == [15, 6]
    whole = Pipeline(path, path, text_column="text", method="random", tokens=11, epochs=4, model="ngrams")
    found = whole.run()
    assert found.tokens == [11] * 4
    assert found.notes[-1] == "tokens are those of text alone; --length-column brings others"
    path.write_text(path.read_text() + json.dumps({"text": "much " * 99}) + "\n")
    found = replace(whole, replace=True, epochs=1, seed=8).run()
    assert found.tokens == [5]  # since the row drawn next has 99
    assert "so one has 5 of 11 tokens" in found.notes[-1]
    with pytest.raises(FileNotFoundError, match="tokenizer: no file or folder"):
        Pipeline(path, path, tokens=9, tokenizer="tokenizers:nowhere.json")
    with pytest.raises(ValueError, match="tokenizer: it counts for tokens"):
        Pipeline(path, path, rows=9, tokenizer="words")


def test_conversations_that_are_written_as_json_are_conversations(tmp_path):
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why «this»?"}]
    other = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "That."}]
    code = '[{"name": "Ann", "role": "admin"}]'  # says nothing, so it is a text
    rows = [json.dumps(turns), json.dumps(other, indent=1), code, "[1, 2", "plain"]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    assert list(Repository(path).texts()) == [["Why «this»?", "What?\nThat.", code, "[1, 2", "plain"]]
    assert next(Repository(path, roles="user").texts())[1] == "What?"


@needs("datasets")
@pytest.mark.parametrize(
    "names",
    [
        ("a_train.jsonl", "a_eval.jsonl"),
        ("gsm-train-1.jsonl", "gsm-testing-1.jsonl"),
        ("train2.jsonl", "x.dev.jsonl"),
    ],
)
def test_splits_are_told_by_any_word_of_a_files_name(tmp_path, names):
    """As `datasets` reads the same folder."""
    from datasets import load_dataset

    folder = tmp_path / "rows"
    folder.mkdir()
    for name in names:
        (folder / name).write_text(json.dumps({"text": name}) + "\n")
    rows = Repository(folder)
    assert list(rows.texts()) == [[names[0]]]
    assert rows.told.startswith("rows of split 'train', not of ")
    expected = load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert expected["text"][:] == [names[0]]


@needs("datasets")
def test_epochs_whose_rows_have_other_entries_are_loaded_in_order(tmp_path):
    """Entries that an epoch has not, or null alone, or empty: the card tells `datasets` all columns."""
    from datasets import Features, load_dataset

    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "n": 0.5}]}
    late = {"note": "x", "score": 1.5, "tags": [["q"]], "meta": {"a": 1}, "messages": [call]}
    talk = [{"role": "user", "content": "hi"}]
    bare = {"score": None, "tags": [], "meta": {"b": True}, "messages": talk}
    rows = [{"id": row, **(late if row == 3 else bare)} for row in range(6)]
    repository = Repository(write_lines(tmp_path / "a.jsonl", rows))
    write_epochs(repository, [np.array([0, 1]), np.array([3, 2]), np.array([4, 5])], tmp_path / "out")
    loaded = load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["id"][:] == [0, 1, 3, 2, 4, 5]
    assert loaded.features == Features.from_arrow_schema(repository.schema())
    assert loaded[2]["messages"] == [call]
    only = load_dataset(str(tmp_path / "out"), "epochs", split="epoch_2", cache_dir=str(tmp_path / "cache"))
    assert (only["id"][:], only.features) == ([3, 2], loaded.features)
    # No type holds both kinds of values: the card leaves the columns to whoever reads them.
    odd = Repository(write_lines(tmp_path / "b.jsonl", [{"n": 1}, {"n": "one"}]))
    write_epochs(odd, [np.array([0, 1])], tmp_path / "odd")
    assert "dataset_info" not in (tmp_path / "odd" / "README.md").read_text()


@pytest.mark.parametrize("value", [5, b"user", ["user", 5], {"user": 1}])
def test_what_is_no_name_is_refused_before_any_work(tmp_path, value):
    rows = write_lines(tmp_path / "rows.jsonl", [{"messages": TALK}])
    for name in ("text_column", "roles"):
        with pytest.raises(TypeError, match=f"^{name}: expected a string or a list of strings"):
            Repository(rows, **{name: value})
    for name in ("text_column", "example_text_column", "roles"):
        with pytest.raises(TypeError, match=f"^{name}: expected a string or a list of strings"):
            Pipeline(rows, rows, **{name: value})
    with pytest.raises(TypeError, match="^model: expected an encoder"):
        Pipeline(rows, rows, model=value)
    assert texts(Repository(rows, text_column=None, roles=None)) == texts(Repository(rows))


def test_of_a_key_that_a_row_has_twice_the_last_counts_in_every_reader(tmp_path):
    """As JSON is read in Python; the lines are written as they stand."""
    twice = '{"text": "first pear", "text": "second pear"}'
    (tmp_path / "lines.jsonl").write_text(twice + "\n")
    (tmp_path / "list.json").write_text(f"[{twice}]")
    with gzip.open(tmp_path / "packed.jsonl.gz", "wt") as file:
        file.write(twice + "\n")
    for name in ("lines.jsonl", "list.json", "packed.jsonl.gz"):
        repository = Repository(tmp_path / name)
        assert texts(repository) == repository.texts_of(np.array([0])) == ["second pear"]
        assert read_corpus(tmp_path / name).texts == ["second pear"]
        assert read_table(tmp_path / name, ["text"]).texts("text") == ["second pear"]
    write_epochs(Repository(tmp_path / "lines.jsonl"), [np.array([0])], tmp_path / "run")
    assert (tmp_path / "run" / "epoch-00001.jsonl").read_text() == twice + "\n"
