"""Rows in and out: the same pools from every kind of source, and rows that TRL and `datasets` take."""

from __future__ import annotations

import datetime
import gzip
import importlib
import json
from decimal import Decimal

import numpy as np
import pytest

pytest.importorskip("pyarrow")

import pyarrow as pa
from pyarrow import parquet

from setwise.preference.responses.choose import select_responses_many
from setwise.preference.rows import rows as rows_module
from setwise.preference.rows import sources as row_sources
from setwise.preference.rows.columns import find_columns
from setwise.preference.rows.formats import FORMATS
from setwise.preference.rows.pools import read_pools
from setwise.preference.rows.rows import PreferenceRows
from setwise.preference.rows.sources import open_rows

N, D, K = 6, 4, 3
WORDS = ["ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan", "yew"]


@pytest.fixture
def small_batches(monkeypatch):
    """Let eight rows be read, and as many prompts be selected from, at a time."""
    monkeypatch.setattr(row_sources, "_ROWS", 8)
    monkeypatch.setattr(rows_module, "_PROMPTS", 8)


def make(prompts=5, n=N, seed=0):
    """Return rows with embeddings: a prompt with all its responses each."""
    rng = np.random.default_rng(seed)
    return [
        {
            "prompt": f"Question {number}?",
            "responses": [f"{' '.join(rng.choice(WORDS, 5))} {number}-{place}" for place in range(n)],
            "rewards": rng.standard_normal(n).round(3).tolist(),
            "embeddings": rng.standard_normal((n, D)).round(3).tolist(),
            "source": f"s{number}",
        }
        for number in range(prompts)
    ]


def lengthened(rows):
    """Return the same rows, one a response."""
    return [
        {
            "prompt_id": number,
            "prompt": row["prompt"],
            "response": text,
            "reward": reward,
            "embedding": vector,
            "policy": f"m{place}",
        }
        for number, row in enumerate(rows)
        for place, (text, reward, vector) in enumerate(
            zip(row["responses"], row["rewards"], row["embeddings"], strict=True)
        )
    ]


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def source_of(kind, rows, folder):
    """Return rows as a source of some kind."""
    if kind == "jsonl":
        return jsonl(folder / "rows.jsonl", rows)
    if kind == "gz":
        (folder / "rows.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
        return folder / "rows.jsonl.gz"
    if kind == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet", row_group_size=7)
        return folder / "rows.parquet"
    if kind == "list":
        return rows
    import datasets

    made = datasets.Dataset.from_list(rows)
    if kind == "dataset":
        return made
    made.save_to_disk(folder / "saved")
    return folder / "saved"


KINDS = ("jsonl", "gz", "parquet", "list", "dataset", "folder")


def pools_of(source, **named):
    opened = open_rows(source)
    return list(read_pools(opened, find_columns(opened, **named)))


# ---------------------------------------------------------------- sources


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("long", [False, True])
def test_every_source_has_the_same_pools(kind, long, tmp_path):
    rows = make()
    pools = pools_of(source_of(kind, lengthened(rows) if long else rows, tmp_path))
    assert len(pools) == len(rows)
    for number, (pool, row) in enumerate(zip(pools, rows, strict=True)):
        assert pool.prompt == row["prompt"]
        assert pool.responses == row["responses"]
        assert pool.rewards.tolist() == row["rewards"]
        assert np.array_equal(np.asarray(pool.embeddings), np.array(row["embeddings"]))
        if long:
            assert pool.others == {"prompt_id": number}
            assert pool.each == {"policy": [f"m{place}" for place in range(N)]}
            assert pool.read == (number + 1) * N
        else:
            assert pool.others == {"source": row["source"]}
            assert pool.read == number + 1


@pytest.mark.parametrize("scores", ["all_rm_scores", "all_reward_scores"])
def test_published_schemas_are_known(scores, tmp_path):
    rows = [
        {"prompt": row["prompt"], "all_generated_responses": row["responses"], scores: row["rewards"]}
        for row in make()
    ]
    pools = pools_of(jsonl(tmp_path / "simpo.jsonl", rows))
    assert [pool.responses for pool in pools] == [row["all_generated_responses"] for row in rows]
    assert [pool.rewards.tolist() for pool in pools] == [row[scores] for row in rows]


def test_columns_can_be_named():
    rows = [{"q": "Why?", "a": ["x", "y"], "rewards": [9, 9], "r": [0, 1], "v": [[1, 2], [3, 4]]}]
    (pool,) = pools_of(rows, prompt="q", responses="a", rewards="r", embeddings="v")
    assert (pool.prompt, pool.responses, pool.rewards.tolist()) == ("Why?", ["x", "y"], [0.0, 1.0])
    assert pool.others == {"rewards": [9, 9]}


def test_rows_without_ids_are_grouped_by_their_prompt():
    rows = [{key: row[key] for key in ("prompt", "response", "reward")} for row in lengthened(make(3))]
    assert [len(pool) for pool in pools_of(rows)] == [N] * 3
    talks = [{**row, "prompt": [{"role": "user", "content": row["prompt"]}]} for row in rows]
    assert [len(pool) for pool in pools_of(talks)] == [N] * 3


@pytest.mark.usefixtures("small_batches")
def test_only_what_is_needed_is_read():
    rows = make(50, n=4)
    taken = []

    class Counting:
        def __iter__(self):
            for row in rows:
                taken.append(1)
                yield row

    made = iter(PreferenceRows(Counting(), 2))
    taken.clear()
    next(made)
    assert len(taken) == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": [1, 2, 3, 4, 5, float("inf")]}, "rewards: row 3, response 5 has inf"),
        (
            {"rewards": [1, 2, 3, 4, 5, "six"]},
            "rewards: row 3, response 5 has 'six' .str., expected a number",
        ),
        ({"rewards": [1, 2, 3]}, "rewards: row 3 has 3 for 6 responses"),
        ({"rewards": 3}, "rewards: row 3 has 3 .int. in 'rewards', expected a list"),
        ({"responses": "one"}, "responses: row 3 has 'one' .str. in 'responses', expected a list"),
        ({"responses": ["a", "b", "c", 4, "e", "f"]}, "responses: row 3, response 3 is 4 .int., expected a"),
        ({"responses": ["a", "b", "\ud800", "d", "e", "f"]}, "responses: row 3, response 2 holds half of"),
        ({"prompt": None}, "prompt: row 3 has nothing in 'prompt', expected a text or messages"),
        ({"prompt": "  "}, "prompt: row 3 has an empty one in 'prompt'"),
        ({"prompt": []}, "prompt: row 3 has an empty one in 'prompt'"),
        ({"prompt": ["Hi"]}, "prompt: row 3 has a list in 'prompt' that is not of messages"),
        ({"prompt": 7}, "prompt: row 3 has 7 .int. in 'prompt'"),
        ({"embeddings": None}, "embeddings: row 3 has nothing in 'embeddings'"),
        ({"embeddings": [[1, 2]]}, "embeddings: row 3 has 1 for 6 responses"),
        ({"embeddings": [[1, 2]] * 6}, "embeddings: those at row 3 have 2 numbers where earlier ones have 4"),
        ({"embeddings": [[1, 2, 3, 4]] * 5 + [[1, 2, 3, float("nan")]]}, "row 3, response 5 has NaN, Inf or"),
        ({"rewards": [1, 2, 3, 4, 5, 1e200]}, "rewards: row 3, response 5 has 1e.200"),
        ({"embeddings": [[1, 2]] * 5 + [[1]]}, "embeddings: row 3, 'embeddings': row 5 has 1 entries"),
    ],
)
def test_a_bad_row_is_named(change, message):
    rows = make()
    rows[3] |= change
    with pytest.raises((TypeError, ValueError), match=message):
        pools_of(rows)


def test_scores_as_a_database_gives_them():
    rows, same = make(), make()
    for row in rows:
        row["rewards"] = [Decimal(str(one)) for one in row["rewards"]]
    rows[1]["rewards"][2], same[1]["rewards"][2] = Decimal("NaN"), None
    found, wanted = pools_of(rows), pools_of(same)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.rewards, other.rewards)


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("mark", [None, float("nan"), "N/A", " n/a ", ""])
def test_responses_without_a_score_are_left_out_and_counted(mark, long):
    rows = make()
    rows[0]["rewards"][5] = rows[3]["rewards"][2] = mark
    without = make()
    for row, place in ((without[0], 5), (without[3], 2)):
        for name in ("responses", "rewards", "embeddings"):
            del row[name][place]
    given, expected = (lengthened(rows), lengthened(without)) if long else (rows, without)
    made = PreferenceRows(given, K)
    found, wanted = list(made), list(PreferenceRows(expected, K))
    for one, other in zip(found, wanted, strict=True):
        assert [one[name] for name in ("chosen", "rejected", "rewards", "cost")] == [
            other[name] for name in ("chosen", "rejected", "rewards", "cost")
        ]
    assert found[3]["rejected"] == [rows[3]["responses"][place] for place in found[3]["indices"][1:]]
    assert made.summary.unscored == made.summary.to_dict()["unscored"] == 2
    refused = r"rewards: row \d+, response \d has no score; score it, or leave such .*--unscored drop"
    with pytest.raises(ValueError, match=refused):
        list(PreferenceRows(given, K, unscored="refuse"))


def test_a_prompt_without_responses_or_scores_is_one_with_too_few():
    rows = make()
    rows[0] |= {"responses": None, "rewards": None, "embeddings": None}
    rows[2] |= {"rewards": None}
    rows[4]["responses"][1] = None
    made = PreferenceRows(rows, K, too_few="skip")
    assert [row["prompt"] for row in made] == ["Question 1?", "Question 3?", "Question 4?"]
    summary = made.summary
    assert (summary.skipped, summary.unscored, summary.blank) == (2, 6, 1)
    assert summary.first_skipped.startswith("row 0 has 0 responses to choose from, where 4 are needed")
    with pytest.raises(ValueError, match="responses: row 0 has 0 responses to choose from"):
        list(PreferenceRows(rows, K))


def test_files_name_lines_and_rows(tmp_path):
    rows = make()
    rows[3]["rewards"][2] = 1e200
    with pytest.raises(ValueError, match=r"rewards: line 4 of rows\.jsonl, response 2 has 1e\+200"):
        pools_of(source_of("jsonl", rows, tmp_path))
    with pytest.raises(ValueError, match=r"rewards: row 3 of rows\.parquet, response 2 has 1e\+200"):
        pools_of(source_of("parquet", rows, tmp_path))


def test_bad_rows_of_one_response_are_named():
    rows = lengthened(make(3))
    with pytest.raises(ValueError, match="prompt: row 18 goes back to a prompt of earlier rows; sort"):
        pools_of([*rows, rows[0]])
    other = [dict(row) for row in rows]
    other[4]["prompt"] = "Another?"
    with pytest.raises(ValueError, match="prompt: row 4 has another 'prompt' than row 0, with the same"):
        pools_of(other)
    signed = [row | {"prompt_id": -1 - row["prompt_id"]} for row in rows]
    assert len(pools_of(signed)) == len({row["prompt_id"] for row in rows})
    other[4] = rows[4] | {"prompt_id": None}
    with pytest.raises(ValueError, match="prompt: row 4 has nothing in 'prompt_id'"):
        pools_of(other)
    other[4] = rows[4] | {"reward": "good"}
    with pytest.raises(TypeError, match=r"rewards: row 4 has 'good' \(str\), expected a number"):
        pools_of(other)
    other[4] = rows[4] | {"embedding": [1.0]}
    with pytest.raises(ValueError, match="embeddings: those of the prompt at row 0 have 1 to 4 numbers"):
        pools_of(other)
    other[4] = rows[4] | {"embedding": ["a"]}
    with pytest.raises(TypeError, match="embeddings: row 4 has no list of numbers in 'embedding'"):
        pools_of(other)


def test_sources_that_cannot_be_read_are_refused(tmp_path):
    import datasets

    with pytest.raises(
        FileNotFoundError, match=r"responses: no file or folder .*; did you mean 'rows.jsonl'"
    ):
        open_rows(jsonl(tmp_path / "rows.jsonl", make()).with_name("row.jsonl"))
    (tmp_path / "rows.txt").write_text("x")
    with pytest.raises(ValueError, match=r"'rows\.txt' ends in none of \.jsonl, \.jsonl\.gz, .*, \.parquet"):
        open_rows(tmp_path / "rows.txt")
    (tmp_path / "none.jsonl").touch()
    with pytest.raises(ValueError, match=r"responses: none\.jsonl is empty"):
        open_rows(tmp_path / "none.jsonl")
    (tmp_path / "bad.jsonl").write_text(json.dumps(make()[0]) + '\n{"prompt": ')
    with pytest.raises(ValueError, match=r"bad\.jsonl, line 2 is not JSON"):
        open_rows(tmp_path / "bad.jsonl")
    whole = source_of("parquet", make(), tmp_path).read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[:-20])
    with pytest.raises(ValueError, match=r"responses: cut\.parquet is truncated or damaged"):
        open_rows(tmp_path / "cut.parquet")
    with pytest.raises(ValueError, match="is no saved dataset"):
        open_rows(tmp_path)
    part = datasets.Dataset.from_list(make())
    made = datasets.DatasetDict({"train": part, "test": part.select(range(2))})
    with pytest.raises(ValueError, match="dataset_split: DatasetDict holds the splits train, test; name one"):
        open_rows(made)
    made.save_to_disk(tmp_path / "splits")
    with pytest.raises(ValueError, match="'splits' holds the splits test, train; name one"):
        open_rows(tmp_path / "splits")
    for source in (made, tmp_path / "splits"):
        assert len(open_rows(source, "test")) == 2
        with pytest.raises(ValueError, match="dataset_split: 'tset' is unknown; did you mean 'test'"):
            open_rows(source, "tset")
    with pytest.raises(ValueError, match="dataset_split: .* leave it out"):
        open_rows(make(), "train")
    for wrong in (iter(make()), 7, make()[0]):
        with pytest.raises(TypeError, match="responses: expected"):
            open_rows(wrong)
    with pytest.raises(ValueError, match="responses: there are no rows"):
        open_rows([])
    with pytest.raises(TypeError, match="responses: row 0 is no mapping but str"):
        open_rows(["x"])
    with pytest.raises(TypeError, match="responses: row 1 is no mapping but int"):
        pools_of([make()[0], 1])


def test_columns_that_are_not_there_are_refused(tmp_path):
    rows = make()
    with pytest.raises(ValueError, match="rewards: .* has no column 'reward'; did you mean 'rewards'"):
        pools_of(rows, rewards="reward")
    with pytest.raises(ValueError, match="responses_column: .* has no column responses or .*columns: prompt"):
        pools_of([{"prompt": "x", "rewards": [1]}])
    with pytest.raises(ValueError, match="rewards: .* has no column reward or rm_score"):
        pools_of([{"prompt": "x", "response": "y", "rewards": [1]}])
    with pytest.raises(ValueError, match="prompt: rows.jsonl has no column prompt or instruction"):
        pools_of(jsonl(tmp_path / "rows.jsonl", [{"responses": ["a"], "rewards": [1]}]))
    with pytest.raises(ValueError, match="prompt_id: it is for rows of one response"):
        pools_of(rows, prompt_id="source")


# ---------------------------------------------------------------- what is selected


def choices(rows, k=K, **options):
    """Return what the library chooses of each row."""
    vectors = [np.array(row["embeddings"]) for row in rows]
    options.setdefault("reward_weight", 3.0)
    return select_responses_many(vectors, [row["rewards"] for row in rows], k, **options)


@pytest.mark.parametrize("method", ["opt-select", "coreset", "bottom-k", "random"])
def test_a_group_is_what_select_responses_chooses(method):
    rows = make(9)
    made = PreferenceRows(rows, K, method=method, seed=3)
    for group, row, chosen in zip(made, rows, choices(rows, method=method, seed=3), strict=True):
        best = int(chosen.positive)
        negatives = [int(one) for one in chosen.negatives]
        assert best == int(np.argmax(row["rewards"]))
        assert group == {
            "prompt": row["prompt"],
            "chosen": row["responses"][best],
            "rejected": [row["responses"][one] for one in negatives],
            "rewards": [row["rewards"][one] for one in [best, *negatives]],
            "indices": [best, *negatives],
            "cost": pytest.approx(chosen.cost),
            "lower_bound": pytest.approx(chosen.lower_bound),
            "source": row["source"],
        }


def test_pairs_and_labels_hold_the_same_choice():
    rows = make()
    groups = list(PreferenceRows(rows, K, positives=2))
    pairs = list(PreferenceRows(rows, K, positives=2, format="pairs"))
    assert [(row["prompt"], row["chosen"], row["rejected"], row["source"]) for row in pairs] == [
        (group["prompt"], better, worse, group["source"])
        for group in groups
        for better in group["chosen"]
        for worse in group["rejected"]
    ]
    assert all(row["score_chosen"] > row["score_rejected"] for row in pairs)
    labeled = list(PreferenceRows(rows, K, positives=2, format="unpaired"))
    assert [(row["completion"], row["label"], row["score"]) for row in labeled] == [
        (text, place < 2, reward)
        for group in groups
        for place, (text, reward) in enumerate(
            zip(group["chosen"] + group["rejected"], group["rewards"], strict=True)
        )
    ]
    assert set(pairs[0]) == {"prompt", "chosen", "rejected", "score_chosen", "score_rejected", "source"}
    assert set(labeled[0]) == {"prompt", "completion", "label", "score", "source"}


def test_conversations_stay_conversations():
    rows = make()
    for row in rows:
        row["prompt"] = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": row["prompt"]},
        ]
    (group, *_), (pair, *_), (labeled, *_) = (
        list(PreferenceRows(rows, K, format=format)) for format in ("groups", "pairs", "unpaired")
    )
    best = rows[0]["responses"][int(np.argmax(rows[0]["rewards"]))]
    said = [{"role": "assistant", "content": best}]
    assert group["prompt"] == pair["prompt"] == labeled["prompt"] == rows[0]["prompt"]
    assert group["chosen"] == pair["chosen"] == labeled["completion"] == said
    assert [messages[0]["role"] for messages in group["rejected"]] == ["assistant"] * K
    assert pair["rejected"] == group["rejected"][0]


def test_columns_of_single_responses_follow_them():
    rows = lengthened(make())
    groups = list(PreferenceRows(rows, K))
    for group in groups:
        assert group["policy"] == [f"m{place}" for place in group["indices"]]
    pair = next(iter(PreferenceRows(rows, K, format="pairs")))
    assert pair["policy"] == groups[0]["policy"][:2]
    assert pair["prompt_id"] == 0
    labeled = list(PreferenceRows(rows, K, format="unpaired"))
    assert [row["policy"] for row in labeled[: K + 1]] == groups[0]["policy"]


def test_columns_that_would_mislead_are_left_out():
    rows = [{**row, "chosen": "old", "messages": [], "completion": "?", "cost": 3} for row in make()]
    groups = PreferenceRows(rows, K)
    assert groups.replaced == ["chosen", "cost"]
    assert next(iter(groups))["messages"] == []
    pairs = PreferenceRows(rows, K, format="pairs")
    assert pairs.replaced == ["chosen", "messages", "completion"]
    assert set(next(iter(pairs))) == {*FORMATS["pairs"], "source", "cost"}


def test_blank_responses_are_left_out_and_counted():
    rows = make()
    rows[1]["responses"][2] = " \n"
    rows[1]["responses"][5] = ""
    made = PreferenceRows(rows, K)
    groups = list(made)
    assert made.summary.blank == 2
    assert made.summary.responses == 5 * N - 2
    assert not {2, 5} & set(groups[1]["indices"])
    for group, row in zip(groups, rows, strict=True):
        assert [group["chosen"], *group["rejected"]] == [row["responses"][at] for at in group["indices"]]
        assert group["rewards"] == [row["rewards"][at] for at in group["indices"]]


def test_repeated_responses_are_left_out_or_kept():
    rows = make(40)
    for row in rows:
        best = int(np.argmax(row["rewards"]))
        for place in {0, 1, 2} - {best}:
            row["responses"][place] = row["responses"][best]
            row["embeddings"][place] = row["embeddings"][best]
    dropped = PreferenceRows(rows, 2)
    for row in dropped:
        texts = [row["chosen"], *row["rejected"]]
        assert len(set(texts)) == 3
    repeats = sum(N - len(set(row["responses"])) for row in rows)
    assert dropped.summary.duplicates == repeats
    assert dropped.summary.responses == 40 * N - repeats
    kept = PreferenceRows(rows, 2, duplicates="keep")
    assert [row["indices"] for row in kept] == [
        [*one.positives.tolist(), *one.negatives.tolist()] for one in choices(rows, 2)
    ]
    assert (kept.summary.duplicates, kept.summary.responses) == (repeats, 40 * N)
    assert [row["indices"] for row in kept] != [row["indices"] for row in dropped]


def test_ties_with_the_chosen_are_left_out_or_kept():
    rows = make(30, n=9)
    rng = np.random.default_rng(5)
    for row in rows:
        row["rewards"] = [1.0, *rng.integers(0, 2, 5).tolist(), 0, 0, 0]  # right or wrong
    right = sum(sum(row["rewards"]) for row in rows)
    dropped = PreferenceRows(rows, K, format="pairs", method="random")
    assert all(row["score_chosen"] == 1 and row["score_rejected"] == 0 for row in dropped)
    assert dropped.summary.ties == right - 30
    kept = PreferenceRows(rows, K, format="pairs", method="random", ties="keep")
    assert any(row["score_rejected"] == 1 for row in kept)
    assert kept.summary.ties == 0
    two = PreferenceRows([row for row in rows if sum(row["rewards"]) > 1], K, positives=2)
    assert all(row["rewards"] == [1, 1, 0, 0, 0] for row in two)
    split = PreferenceRows(rows, K, split="mean")
    for row in split:
        above = len(row["chosen"])
        assert set(row["rewards"][:above]) == {1}
        assert 1 not in row["rewards"][above:]
    assert split.summary.ties == 0
    alike = [{**rows[0], "rewards": [0.5] * 9}]
    told = (
        r"row 0 has 1 response to choose from \(of 9, without empty or repeated or tied ones\), where 4 are"
    )
    for option in ({}, {"split": "mean"}):
        with pytest.raises(ValueError, match=f"{told} needed; take a smaller k, keep ties"):
            list(PreferenceRows(alike, K, **option))
    repeated = [{**rows[0], "responses": ["the same"] * 9}]
    with pytest.raises(
        ValueError, match=r"1 response to choose from \(of 9, without empty or repeated ones\)"
    ):
        list(PreferenceRows(repeated, K, ties="keep"))
    made = PreferenceRows([*alike, rows[1]], K, too_few="skip")
    assert len(list(made)) == 1
    best = max(rows[1]["rewards"])
    assert made.summary.to_dict()["ties"] == 8 + rows[1]["rewards"].count(best) - 1


@pytest.mark.usefixtures("small_batches")
def test_draws_differ_from_batch_to_batch_and_repeat_with_the_seed():
    rows = make(1, n=12) * 24
    draws = [
        [tuple(row["indices"]) for row in PreferenceRows(rows, 5, method="random", seed=s)] for s in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]
    assert draws[0][:8] != draws[0][8:16] != draws[0][16:]


def test_more_positives_and_the_split_at_the_mean():
    rows = make(20)
    for options in ({"positives": 2}, {"split": "mean"}):
        for row, one in zip(PreferenceRows(rows, K, **options), choices(rows, **options), strict=True):
            assert row["indices"] == [*one.positives.tolist(), *one.negatives.tolist()]
            assert isinstance(row["chosen"], list)
            assert len(row["chosen"]) == len(one.positives)
            assert len(row["rewards"]) == len(row["chosen"]) + len(row["rejected"]) == len(row["indices"])


def test_too_few_responses_are_refused_or_skipped(tmp_path):
    rows = make()
    for column in ("responses", "rewards", "embeddings"):
        rows[2][column] = rows[2][column][:K]
    message = r"responses: line 3 of rows\.jsonl has 3 responses to choose from, where 4 are .*--too-few skip"
    with pytest.raises(ValueError, match=message):
        list(PreferenceRows(jsonl(tmp_path / "rows.jsonl", rows), K))
    made = PreferenceRows(rows, K, too_few="skip")
    assert [row["prompt"] for row in made] == [rows[at]["prompt"] for at in (0, 1, 3, 4)]
    assert (made.summary.prompts, made.summary.skipped) == (4, 1)
    assert made.summary.first_skipped == "row 2 has 3 responses to choose from, where 4 are needed"
    with pytest.raises(
        ValueError, match="too_few: every prompt was skipped, the first: row 0 has 6 responses"
    ):
        list(PreferenceRows(rows, 6, too_few="skip"))


def test_the_summary_is_of_the_rows():
    rows = make(7)
    made = PreferenceRows(rows, K, format="pairs")
    first, again = list(made), list(made)
    assert first == again
    chosen = choices(rows)
    summary = made.summary.to_dict()
    assert (summary["prompts"], summary["responses"], summary["rows"]) == (7, 7 * N, 7 * K)
    assert (summary["duplicates"], summary["blank"], summary["skipped"]) == (0, 0, 0)
    assert summary["cost"] == pytest.approx(np.mean([one.cost for one in chosen]))
    assert summary["lower_bound"] == pytest.approx(np.mean([one.lower_bound for one in chosen]))
    best = np.mean([max(row["rewards"]) for row in rows])
    assert summary["chosen_reward"] == pytest.approx(best)
    rejected = [
        np.mean([row["rewards"][at] for at in one.negatives]) for row, one in zip(rows, chosen, strict=True)
    ]
    assert summary["rejected_reward"] == pytest.approx(np.mean(rejected))
    list(bare := PreferenceRows(rows, K, certify=False))
    assert bare.summary.lower_bound is None
    assert bare.summary.optimal is None


def test_encoded_responses_are_those_of_the_encoder():
    from setwise.encode import encoder

    rows = make(4)
    model = encoder("lsa")
    model.fit([text for row in rows for text in row["responses"]])
    own = [{**row, "embeddings": model.encode(row["responses"]).tolist()} for row in rows]
    encoded = PreferenceRows(rows, K, model="lsa")  # said aloud, so the column of vectors is not used
    assert encoded.columns.embeddings is None
    assert "embeddings" not in next(iter(encoded))
    assert [row["indices"] for row in encoded] == [row["indices"] for row in PreferenceRows(own, K)]
    assert encoded.encoder.startswith("lsa")
    assert PreferenceRows(own, K).encoder is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k: 0 is below 1"),
        ({"positives": 0}, "positives: 0 is below 1"),
        ({"method": "optselect"}, "method: 'optselect' is unknown; did you mean 'opt-select'"),
        ({"solver": "swop"}, "solver: 'swop' is unknown; did you mean 'swap'"),
        ({"certify": "bounded"}, "certify: expected False, True or 'full', got 'bounded'"),
        ({"split": "median"}, "split: 'median' is unknown"),
        ({"format": "pair"}, "format: 'pair' is unknown; did you mean 'pairs'"),
        ({"duplicates": "skip"}, "duplicates: 'skip' is unknown"),
        ({"ties": "skip"}, "ties: 'skip' is unknown"),
        ({"too_few": "drop"}, "too_few: 'drop' is unknown"),
        ({"model": "lsaa"}, "model: 'lsaa' is unknown; did you mean 'lsa'"),
        ({"model": "lsa", "embeddings": "embeddings"}, "model: embeddings say what"),
        ({"embeddings": "vectors"}, "embeddings: .* has no column 'vectors'"),
    ],
)
def test_bad_options_are_refused_before_a_row_is_made(options, message):
    with pytest.raises(ValueError, match=message):
        PreferenceRows(make(), **{"k": K, **options})


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "list", "dataset"])
@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("format", ["groups", "pairs", "unpaired"])
@pytest.mark.usefixtures("small_batches")
def test_files_hold_the_rows(kind, long, format, tmp_path):
    rows = make(20, n=4)
    source = source_of(kind, lengthened(rows) if long else rows, tmp_path)
    made = PreferenceRows(source, 2, format=format, certify=False)
    wanted = list(made)
    summary = made.write(tmp_path / "out.jsonl")
    assert summary.prompts == 20
    made.write(tmp_path / "out.parquet")
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == wanted
    assert parquet.read_table(tmp_path / "out.parquet").to_pylist() == wanted
    assert made.to_dataset().to_list() == wanted
    assert not list(tmp_path.glob(".*"))


def test_conversations_and_several_chosen_in_parquet(tmp_path):
    rows = make()
    for row in rows:
        row["prompt"] = [{"role": "user", "content": row["prompt"]}]
    for options in ({}, {"positives": 2}, {"format": "pairs"}, {"positives": 2, "format": "unpaired"}):
        made = PreferenceRows(rows, 2, **options)
        made.write(tmp_path / "out.parquet", force=True)
        assert parquet.read_table(tmp_path / "out.parquet").to_pylist() == list(made)


@pytest.mark.usefixtures("small_batches")
def test_columns_of_late_rows_and_late_types_are_kept(tmp_path):
    rows = make(120, n=4)
    for row in rows:
        row["note"] = None
        row["number"] = 1
    rows[110]["note"] = "late"
    rows[119]["number"] = 1.5
    rows[119]["only here"] = {"deep": [1]}
    source = jsonl(tmp_path / "rows.jsonl", rows)
    PreferenceRows(source, 2).write(tmp_path / "out.parquet")
    found = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert found[110]["note"] == "late"
    assert (found[0]["number"], found[119]["number"]) == (1.0, 1.5)
    assert (found[0]["only here"], found[119]["only here"]) == (None, {"deep": [1]})
    PreferenceRows(source, 2).write(tmp_path / "out.jsonl")
    last = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[-1])
    assert last["only here"] == {"deep": [1]}


def test_rows_in_memory_are_those_of_a_file_whatever_the_first_has(tmp_path):
    late = [{"prompt": "a", "chosen": "b", "rejected": "c"}]
    late += [{"prompt": "d", "chosen": "e", "rejected": ["f", "g"], "rewards": [3.0, 1.0, 2.0]}]
    kept = list(PreferenceRows(late, 1))
    assert kept == list(PreferenceRows(jsonl(tmp_path / "rows.jsonl", late), 1))
    assert [row["rewards"] for row in kept] == [[1.0, 0.0], [3.0, 1.0]]


def test_what_a_file_cannot_hold_is_refused_and_nothing_is_left(tmp_path):
    rows = make()
    rows[4]["source"] = float("nan")
    with pytest.raises(ValueError, match="out: column 'source' has NaN or Inf, which JSON cannot hold"):
        PreferenceRows(rows, K).write(tmp_path / "out.jsonl")
    rows[4]["source"] = datetime.date(2020, 1, 2)
    with pytest.raises(ValueError, match="out: column 'source' has datetime.date"):
        PreferenceRows(rows, K).write(tmp_path / "out.jsonl")
    with pytest.raises(ValueError, match="out: column 'source' of responses holds values of different types"):
        PreferenceRows(rows, K).write(tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == []
    dated = [{**row, "source": datetime.date(2020, 1, 2)} for row in rows]
    PreferenceRows(dated, K).write(tmp_path / "out.parquet")
    assert parquet.read_table(tmp_path / "out.parquet")["source"][0].as_py() == datetime.date(2020, 1, 2)


@pytest.mark.usefixtures("small_batches")
def test_a_failure_half_way_leaves_what_was_there(tmp_path):
    rows = make(40, n=4)
    rows[38]["rewards"][0] = float("inf")
    for name in ("out.jsonl", "out.parquet"):
        with pytest.raises(ValueError, match="rewards: row 38, response 0"):
            PreferenceRows(rows, 2).write(tmp_path / name)
        assert list(tmp_path.iterdir()) == []
        (tmp_path / name).write_text("mine")
        with pytest.raises(FileExistsError, match="add --force"):
            PreferenceRows(rows, 2).write(tmp_path / name)
        with pytest.raises(ValueError, match="rewards: row 38"):
            PreferenceRows(rows, 2).write(tmp_path / name, force=True)
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=r"out: .*out\.csv' ends in none of \.jsonl, \.parquet"):
        PreferenceRows(rows, 2).write(tmp_path / "out.csv")


@pytest.mark.usefixtures("small_batches")
def test_progress_ends_at_the_last_row(tmp_path):
    rows = make(20, n=4)
    for source, total in ((source_of("jsonl", lengthened(rows), tmp_path), 80), (rows, 20)):
        told = []
        list(PreferenceRows(source, 2, progress=lambda done, of, told=told: told.append((done, of))))
        done = [each for each, _ in told]
        assert done == sorted(done)
        assert len(told) >= 3
        assert told[-1] == (total, total)


# ---------------------------------------------------------------- what reads them


def test_a_last_line_without_an_end_counts(tmp_path):
    path = jsonl(tmp_path / "rows.jsonl", make(3))
    assert len(open_rows(path)) == 3
    path.write_text(path.read_text().rstrip("\n"))
    assert len(open_rows(path)) == 3


def test_datasets_reads_the_files(tmp_path):
    import datasets

    rows = make()
    made = PreferenceRows(rows, K)
    for name, builder in (("out.parquet", "parquet"), ("out.jsonl", "json")):
        made.write(tmp_path / name)
        loaded = datasets.load_dataset(
            builder, data_files=str(tmp_path / name), split="train", cache_dir=str(tmp_path / "cache")
        )
        assert loaded.to_list() == list(made)


@pytest.mark.slow
@pytest.mark.parametrize("talks", [False, True])
def test_trl_sees_what_the_rows_are(talks):
    from trl.data_utils import is_conversational, unpair_preference_dataset

    rows = make()
    for row in rows:
        row["messages"] = "would be taken for a conversation, or hide one"
        if talks:
            row["prompt"] = [{"role": "user", "content": row["prompt"]}]
    pairs = PreferenceRows(rows, K, format="pairs").to_dataset()
    labeled = PreferenceRows(rows, K, format="unpaired").to_dataset()
    assert all(is_conversational(row) is talks for row in (*pairs, *labeled))
    assert {"prompt", "chosen", "rejected"} <= set(pairs.column_names)
    unpaired = unpair_preference_dataset(pairs.select_columns(["prompt", "chosen", "rejected"]))
    assert set(unpaired.column_names) <= set(labeled.column_names)
    ours = {json.dumps([row["prompt"], row["completion"], row["label"]]) for row in labeled}
    assert {json.dumps([row["prompt"], row["completion"], row["label"]]) for row in unpaired} == ours


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Return a language model of two small layers and a tokenizer of words, made here."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = [
        "<pad>",
        "<end>",
        "<unk>",
        *WORDS,
        "Question",
        "?",
        *map(str, range(20)),
        "-",
        "user",
        "assistant",
    ]
    inner = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, "<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<end>", unk_token="<unk>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} <end> {% endfor %}"
        "{% if add_generation_prompt %}assistant {% endif %}"
    )
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        eos_token_id=1,
    )
    folder = tmp_path_factory.mktemp("tiny")  # trainers load a second copy from where the first is from
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return LlamaForCausalLM.from_pretrained(folder), tokenizer


@pytest.mark.slow
@pytest.mark.parametrize("talks", [False, True])
@pytest.mark.parametrize(
    ("place", "trainer", "format", "count"),
    [
        ("trl", "DPO", "pairs", 4 * K),
        ("trl", "Reward", "pairs", 4 * K),
        ("trl", "KTO", "unpaired", 4 * (1 + K)),
        ("trl.experimental.cpo", "CPO", "pairs", 4 * K),
        ("trl.experimental.orpo", "ORPO", "pairs", 4 * K),
    ],
)
def test_trl_trains_on_rows(tiny, place, trainer, format, count, talks, tmp_path):
    from transformers import LlamaForSequenceClassification

    trl = importlib.import_module(place)
    model, tokenizer = tiny
    if trainer == "Reward":
        model = LlamaForSequenceClassification.from_pretrained(model.name_or_path, num_labels=1)
    rows = make(4)
    for row in rows:
        row["prompt"] = [{"role": "user", "content": row["prompt"]}] if talks else row["prompt"]
    made = PreferenceRows(rows, K, format=format).to_dataset()
    settings = getattr(trl, f"{trainer}Config")(
        str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=4,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        max_length=64,
    )
    training = getattr(trl, f"{trainer}Trainer")(
        model, args=settings, train_dataset=made, processing_class=tokenizer
    )
    assert len(training.train_dataset) == count
    # What each trainer reads of a row: the tokens of its prompt, or of the prompt with a response.
    read = {"Reward": "chosen_ids", "CPO": "prompt_input_ids", "ORPO": "prompt_input_ids"}
    tokens = [row[read.get(trainer, "prompt_ids")] for row in training.train_dataset]
    known = tokenizer.convert_tokens_to_ids("Question")
    assert all(known in one for one in tokens)
    assert np.isfinite(training.train().training_loss)


@pytest.mark.parametrize("kind", ["tensor", "permuted tensor", "nested list", "fixed list", "array2d"])
def test_embeddings_of_every_arrow_type_are_the_same_vectors(kind, tmp_path):
    rows = make(3)
    matrix = np.array([row["embeddings"] for row in rows], np.float32)
    column = pa.array(matrix.tolist(), pa.list_(pa.list_(pa.float32())))
    if kind == "tensor":
        column = pa.FixedShapeTensorArray.from_numpy_ndarray(matrix)
    elif kind == "permuted tensor":
        column = pa.FixedShapeTensorArray.from_numpy_ndarray(np.asfortranarray(matrix.T).T)
    elif kind == "fixed list":
        column = column.cast(pa.list_(pa.list_(pa.float32(), D), N))
    others = {name: [row[name] for row in rows] for name in ("prompt", "responses", "rewards")}
    if kind == "array2d":
        datasets = pytest.importorskip("datasets")
        one = pa.table(others | {"embeddings": column})
        source = datasets.Dataset(one).cast_column("embeddings", datasets.Array2D((N, D), "float32"))
    else:
        source = tmp_path / "rows.parquet"
        parquet.write_table(pa.table(others).append_column("embeddings", column), source)
    for pool, row in zip(pools_of(source), matrix, strict=True):
        np.testing.assert_array_equal(pool.embeddings, row)


def test_what_single_precision_calls_infinite_is_refused(tmp_path):
    rows = make(2)
    rows[1]["embeddings"][3][0] = float("inf")
    column = pa.array([row["embeddings"] for row in rows], pa.list_(pa.list_(pa.float32())))
    others = {name: [row[name] for row in rows] for name in ("prompt", "responses", "rewards")}
    parquet.write_table(pa.table(others).append_column("embeddings", column), tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match=r"embeddings: row 1 of rows.parquet, response 3 has NaN, Inf or"):
        pools_of(tmp_path / "rows.parquet")


def test_columns_that_parquet_has_no_place_for_are_refused_before_any_choice(tmp_path, monkeypatch):
    rows = [row | {"about": {"tags": [{}]}} for row in make()]
    monkeypatch.setattr(rows_module, "select_responses_many", lambda *_: pytest.fail("a choice was made"))
    told = (
        r"out: column 'about' of responses holds empty objects \({}\), which Parquet has no place for; write"
    )
    with pytest.raises(ValueError, match=told):
        PreferenceRows(rows, K).write(tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == []
