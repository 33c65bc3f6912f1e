"""Answers as text, by the rules of the evaluations they come from."""

import pytest

from setwise import metrics


def test_words_are_compared_without_case_points_and_articles():
    assert metrics.normalized("The  U.S.\tWomen's team, an A!") == "us womens team"
    assert metrics.normalized("Theatre another") == "theatre another"
    assert metrics.exact_match("The Beatles.", ["Beatles", "Fab Four"])
    assert metrics.exact_match("fab four", "Fab-Four") is False  # a hyphen goes, and no space comes


def test_f1_of_words_by_hand():
    assert metrics.token_f1("Barack Hussein Obama", ["Obama", "Barack Obama"]) == pytest.approx(0.8)
    assert metrics.token_f1("a b b", "b b b") == pytest.approx(2 * 2 / (2 + 3))
    assert metrics.token_f1("the", "an") == 1
    assert metrics.token_f1("the", "cat") == 0
    assert metrics.token_f1("dog", "cat") == 0


def test_answers_in_passages_by_hand():
    passages = ["She won the Nobel Prize in 1911.", "Marie Curie was born in Warsaw", "Pierre too"]
    answers = ["nobel prize", ["M. Curie", "Marie Curie"], "war", ["Radium"]]
    assert metrics.answer_recall(passages, answers) == 0.5  # "war" is no word of Warsaw
    assert metrics.answer_recall(passages, answers, 1) == 0.25
    assert metrics.answer_recall([], answers, 3) == 0
    with pytest.raises(TypeError, match="several"):
        metrics.answer_recall("Marie Curie", answers)
    with pytest.raises(ValueError, match="empty"):
        metrics.answer_recall(passages, [])
    with pytest.raises(ValueError, match=r"answers\[1\]: no word"):
        metrics.answer_recall(passages, ["x", ["the", "..."]])


def test_lists_by_hand():
    right = [["Rome", "Roma"], "Paris", ["Berlin"]]
    assert metrics.list_scores(["roma", "the Paris", "Oslo", "!"], right) == pytest.approx(
        (2 / 3, 2 / 3, 2 / 3)
    )
    assert metrics.list_scores(["Rome", "Roma"], right) == pytest.approx((1, 1 / 3, 0.5))
    assert metrics.list_scores(["Rome", "Paris"], right, enough=2) == (1, 1, 1)
    assert metrics.list_scores([], right) == (0, 0, 0)
    assert metrics.list_scores(["Oslo"], right) == (0, 0, 0)
    with pytest.raises(TypeError, match="several"):
        metrics.list_scores("Rome", right)
    with pytest.raises(ValueError, match="empty"):
        metrics.list_scores(["Rome"], [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 Q0 d 1 2.0\n", "line 1: 5 fields, expected 6"),
        ("1 Q0 d 1 2.0 x\n\n1 Q0 d 2 1.0 x\n", "line 3: topic 1 has document d twice"),
        ("1 Q0 d 1 high x\n", "line 1: the score 'high' is no number"),
        ("1 Q0 d 1 nan x\n", "line 1: the score is NaN"),
    ],
)
def test_a_bad_run_is_refused_by_line(tmp_path, text, message):
    (tmp_path / "run").write_text(text)
    with pytest.raises(ValueError, match=message):
        metrics.read_run(tmp_path / "run")


def test_what_white_space_parts_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="'two words' cannot be a field"):
        metrics.write_run(tmp_path / "run", {"1": ["two words"]})
    assert not (tmp_path / "run").exists()
    metrics.write_run(tmp_path / "run", {"1": [3]})
    with pytest.raises(FileExistsError):
        metrics.write_run(tmp_path / "run", {"1": [3]})
    assert metrics.read_run(tmp_path / "run") == {"1": ["3"]}
    (tmp_path / "qrels").write_text("1 0 d yes\n")
    with pytest.raises(ValueError, match="'yes' is no integer"):
        metrics.read_qrels(tmp_path / "qrels")
