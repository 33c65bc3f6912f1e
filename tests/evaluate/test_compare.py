"""Comparisons against plain loops over the definitions, their journals and reports, and the choice."""

import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest

import setwise
from optional import needs
from setwise import evaluate, metrics


@pytest.fixture(scope="module")
def labeled():
    """Passages in crowded topics: each of a question's answers has many copies."""
    rng = np.random.default_rng(0)
    topics = rng.standard_normal((20, 24))
    facets = topics[:, None] + 0.5 * rng.standard_normal((20, 4, 24))
    X = (facets[:, :, None] + 0.05 * rng.standard_normal((20, 4, 9, 24))).reshape(-1, 24)
    rows = np.arange(len(X)).reshape(20, 4, 9)
    answers = tuple(tuple(tuple(one.tolist()) for one in topic) for topic in rows)
    queries = topics + 0.3 * rng.standard_normal((20, 24))
    return X, evaluate.Questions(tuple(f"q{t}" for t in range(20)), answers, vectors=queries)


def test_every_figure_is_that_of_a_call_and_a_definition(labeled):
    X, questions = labeled
    index = setwise.Index.from_array(X)
    found = evaluate.compare(index, questions, k=(3, 6), diversities=(0.2, 0.6), methods=["MMR", "max-sum"])
    assert len(found.configurations) == 2 * (1 + 2 * 2)
    assert found.values.shape == (10, 20, len(evaluate.MEASURES))
    for place, one in enumerate(found.configurations):
        options = {"solver": "top-k"} if one.method == "top-k" else evaluate.METHODS[one.method]
        for q in (0, 7, 19):
            hits = setwise.retrieve(questions.vectors[q], index, one.k, diversity=one.diversity, **options)
            expected = [
                metrics.aspect_recall(hits.ids, questions.answers[q]),
                metrics.alpha_ndcg(hits.ids, questions.answers[q]),
                metrics.ilad(X[hits.ids]),
            ]
            got = [found.of(name)[place, q] for name in ("aspect recall", "alpha-nDCG", "ILAD")]
            assert got == pytest.approx(expected, abs=1e-6)
    rows = found.rows()
    assert len(rows["method"]) == 200
    assert rows["aspect recall"][20 * 3 + 7] == found.of("aspect recall")[3, 7]
    assert rows["question"][20 * 3 + 7] == "q7"


def test_diversity_finds_what_is_repeated_and_tune_says_so(labeled):
    X, questions = labeled
    index = setwise.Index.from_array(X)
    found = evaluate.compare(index, questions, k=4, diversities=(0.1, 0.3), methods=["max-sum, sharpness 8"])
    tuned = evaluate.tune(found)
    assert tuned.helps
    assert tuned.configuration.method == "max-sum, sharpness 8"
    assert tuned.settings == {"sharpness": 8, "k": 4, "diversity": tuned.configuration.diversity}
    hits = setwise.retrieve(questions.vectors[0], index, **tuned.settings)
    assert len(hits) == 4
    assert sum(tuned.picks.values()) == 5
    assert "held-out aspect recall" in str(tuned)
    crowded = evaluate.crowding(index, questions.vectors, k=4)
    assert crowded.needed
    assert crowded.affected > 0.9
    alone = evaluate.crowding(setwise.Index.from_array(X[::9]), questions.vectors, k=4)
    assert not alone.needed
    assert alone.repeated == 0


def test_where_answers_are_drawn_at_random_nothing_beats_top_k():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((300, 16))
    answers = tuple(((int(r),),) for r in rng.integers(0, 300, 40))
    questions = evaluate.Questions(
        tuple(map(str, range(40))), answers, vectors=X[[one[0][0] for one in answers]]
    )
    found = evaluate.compare(setwise.Index.from_array(X), questions, k=5, diversities=(0.3, 0.7))
    tuned = evaluate.tune(found)
    assert not tuned.helps
    assert tuned.configuration == evaluate.Configuration("top-k", 0.0, 5)
    assert "nothing beats top-k here" in str(tuned)


def test_an_interval_is_that_of_the_bootstrap_and_covers_what_it_should():
    """Coverage of the true mean over many draws of clustered data, against the 95 % that is claimed."""
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(40), 3)
    inside = 0
    for seed in range(200):
        differences = (rng.normal(size=40)[groups] + 0.3 * rng.normal(size=120))[None]
        low, high = evaluate.intervals(differences, groups, resamples=400, seed=seed)
        inside += bool(low[0] <= 0 <= high[0])
    assert 178 <= inside <= 199


def test_differences_that_cancel_are_none():
    """Gains and losses of a tenth, which no binary number is, sum to a rounding and not to 0."""
    differences = np.tile([0.1, 0.2, -0.3], 8)
    assert differences.reshape(-1, 3).sum(axis=1).max() > 0
    low, high = evaluate.intervals(differences[None], np.repeat(np.arange(8), 3))
    assert low[0] == high[0] == 0


def test_a_stopped_comparison_goes_on_where_it_was(labeled, tmp_path):
    X, questions = labeled
    index = setwise.Index.from_array(X)
    options = {"k": 4, "diversities": (0.2,), "methods": ["MMR"], "journal": tmp_path / "journal"}
    whole = evaluate.compare(index, questions, **options | {"journal": None})

    def stop(done, total):
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate.compare(index, questions, **options, progress=stop)
    with open(tmp_path / "journal", "a") as file:  # as a kill in the middle of a line leaves it
        file.write('["q9", [[0.5')
    told = []
    again = evaluate.compare(index, questions, **options, progress=lambda *done: told.append(done))
    assert told == [(done, 20) for done in range(10, 21)]
    np.testing.assert_array_equal(again.values[:, :, :-1], whole.values[:, :, :-1])
    assert evaluate.compare(index, questions, **options, progress=stop).questions == questions.names
    for other, changed in ((index, {"k": 5}), (setwise.Index.from_array(X + 0.01), {})):
        with pytest.raises(ValueError, match="another comparison's"):
            evaluate.compare(other, questions, **options | changed)
    for damage in ("{\n", "[" * 100_000 + "\n", "\ud800\n"):
        (tmp_path / "journal").write_text(damage, encoding="utf-8", errors="surrogatepass")
        with pytest.raises(ValueError, match=r"journal: .* (is not JSON|nested too deeply|is not UTF-8)"):
            evaluate.compare(index, questions, **options)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_journal_on_a_full_disk(labeled):
    X, questions = labeled
    with pytest.raises(OSError, match="^the disk has no room for '/dev/full'; make some, or name another"):
        evaluate.compare(setwise.Index.from_array(X), questions, k=4, journal="/dev/full")
    assert os.path.exists("/dev/full")


def test_a_map_is_of_the_best_configuration_on_the_question_in_the_middle(labeled):
    X, questions = labeled
    ids = [f"p{row}" for row in range(len(X))]
    index, methods = setwise.Index.from_array(X), ["MMR", "max-sum"]
    named = tuple(tuple(tuple(ids[row] for row in answer) for answer in one) for one in questions.answers)
    asked = evaluate.Questions(questions.names, named, vectors=questions.vectors)
    options = {"ids": ids, "methods": methods}
    found = evaluate.compare(index, asked, k=(3, 6), diversities=(0.2,), **options)
    shown = evaluate.mapped(index, asked, found, k=6, **options)
    means = {
        one: found.of("aspect recall")[place].mean()
        for place, one in enumerate(found.configurations)
        if one.k == 6 and one.method != "top-k"
    }
    assert means[shown.configuration] == max(means.values())
    gains = found.differences("aspect recall")[found.configurations.index(shown.configuration)]
    place = found.questions.index(shown.question)
    assert gains[place] == shown.difference == np.sort(gains)[len(gains) // 2]
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    query = questions.vectors[place] / np.linalg.norm(questions.vectors[place])
    leading = np.argsort(-(unit @ query), kind="stable")[:6]
    assert shown.ranked == [ids[row] for row in leading]
    right = [
        {one for one in named[place][number] if one in shown.chosen} for number in range(len(named[place]))
    ]
    recall = sum(map(bool, right)) / len(right)
    assert recall == found.of("aspect recall")[found.configurations.index(shown.configuration), place]
    for each in shown.chosen:
        given = [str(number) for number, members in enumerate(right, 1) if each in members]
        assert shown.answers.get(each, "") == ", ".join(given)
    assert len(shown.shown.places) == min(len(X), 400)
    assert shown.shown.names == shown.chosen
    with pytest.raises(ValueError, match="k: 4 was not compared"):
        evaluate.mapped(index, asked, found, k=4, **options)


@needs("matplotlib")
def test_a_report_is_one_page_that_loads_nothing(labeled, tmp_path):
    X, questions = labeled
    found = evaluate.compare(setwise.Index.from_array(X), questions, k=4, diversities=(0.2, 0.5))
    path = tmp_path / "report.html"
    evaluate.write_report(path, found, tuned=[evaluate.tune(found)], title="<b>Ours</b>", command="x < y")
    page = path.read_text(encoding="utf-8")
    assert "&lt;b&gt;Ours" in page
    assert "x &lt; y" in page
    assert page.count("<svg") == 1
    assert not re.search(r'(src|href)="(?!#)', page.replace('xlink:href="#', ""))
    assert f"{found.of('aspect recall').mean(axis=1)[0]:.4f}" in page
    with pytest.raises(FileExistsError):
        evaluate.write_report(path, found)


@needs("matplotlib")
def test_the_parts_of_a_report_s_figures_have_names_of_their_own(labeled, tmp_path):
    X, questions = labeled
    found = evaluate.compare(setwise.Index.from_array(X), questions, k=[3, 4], diversities=(0.2,))
    evaluate.write_report(tmp_path / "report.html", found)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    names = re.findall(r' id="([^"]*)"', page)
    assert page.count("<svg") == 2
    assert len(names) == len(set(names))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]*)', page)) <= set(names)


# ---------------------------------------------------------------------- questions


def test_questions_as_jsonl(tmp_path):
    path = tmp_path / "asked.jsonl"
    lines = [
        {"id": "a", "query": "who?", "answers": [["p1", "p2"], ["p3"]], "group": "g"},
        {"id": "b", "query": "when?", "answers": ["p1", "p4"], "group": "g"},
        {"id": "c", "query": "why?", "answers": [[7], [8, 9]], "group": "h"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = evaluate.read_questions(path)
    assert found.names == ("a", "b", "c")
    assert found.texts == ("who?", "when?", "why?")
    assert found.answers == ((("p1", "p2"), ("p3",)), (("p1",), ("p4",)), ((7,), (8, 9)))
    assert found.groups == ("g", "g", "h")
    with pytest.raises(ValueError, match=r"'a' has the answer 'p2'.*\(1 of 8 are not\)"):
        found.located(["p1", "p3", "p4", "7", 8, "9"])
    with pytest.warns(UserWarning, match="1 of 3 are left out"):
        kept = found.located(["p3", "7"], missing="drop")
    assert kept.names == ("a", "c")
    assert kept.answers == ((("p3",),), (("7",),))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"query": "x", "answers": []}, "line 1 has no right answer"),
        ({"query": "x", "answers": [[]]}, "line 1 has no right answer"),
        ({"query": "x", "answers": "p1"}, "line 1: answers are no list: 'p1'"),
        ({"query": "x", "answers": [None]}, "line 1: None in answers is no id"),
        ({"query": "x", "answers": [["p1", 2.5]]}, "line 1: 2.5 in answers is no id"),
        ({"query": "x", "answers": [[["p1"]]]}, r"line 1: \['p1'\] in answers is no id"),
        ({"query": "x", "answers": [{"id": "p1"}]}, "line 1: {'id': 'p1'} in answers is no id"),
        ({"query": " ", "answers": ["p1"]}, "line 1 has no query"),
        ({"question": "x", "answers": ["p1"]}, "no column 'query'"),
    ],
)
def test_bad_questions_are_refused_by_line(tmp_path, line, message):
    path = tmp_path / "asked.jsonl"
    path.write_text(json.dumps(line) + "\n")
    with pytest.raises(ValueError, match=message):
        evaluate.read_questions(path)


def test_a_beir_folder_and_trec_files_read_alike(tmp_path):
    (tmp_path / "qrels").mkdir()
    queries = [{"_id": "1", "text": "who?"}, {"_id": "2", "text": "when?"}, {"_id": "3", "text": "unjudged"}]
    (tmp_path / "queries.jsonl").write_text("".join(json.dumps(one) + "\n" for one in queries))
    (tmp_path / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\n1\td1\t1\n1\td2\t2\n1\td3\t0\n2\td2\t1\n"
    )
    (tmp_path / "topics").write_text("1\twho?\n2\twhen?\n3\tunjudged\n")
    (tmp_path / "judged").write_text("1 0 d1 1\n1 0 d2 2\n1 0 d3 0\n2 0 d2 1\n")
    rows = "1\td1\t1\r\n1\td2\t2\r\n1\td3\t-1\r\n2\td2\t1\r\n3\td1\t0\r\n"
    (tmp_path / "bare.tsv").write_text(rows)  # a row in the first line is a row
    (tmp_path / "crlf").write_text("\ufeff1\twho?\r\n2\twhen?\r\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="1 of 3 are left out: they have not a judgment above 0"):
        third = evaluate.read_questions(tmp_path / "topics", qrels=tmp_path / "judged")
    with pytest.warns(UserWarning, match="1 of 3 are left out"):
        bare = evaluate.read_questions(tmp_path, qrels=tmp_path / "bare.tsv")
    for found in (
        evaluate.read_questions(tmp_path),
        evaluate.read_questions(tmp_path / "crlf", qrels=tmp_path / "judged"),
        third,
        bare,
    ):
        assert found.names == ("1", "2")
        assert found.texts == ("who?", "when?")
        assert found.answers == ((("d1",), ("d2",)), (("d2",),))
    (tmp_path / "judged").write_text("1 1 d1 1\n1 1 d2 1\n1 2 d2 1\n3 2 d2 1\n")
    with pytest.warns(UserWarning, match="1 of 3"):
        found = evaluate.read_questions(tmp_path / "topics", qrels=tmp_path / "judged")
    assert found.answers == ((("d1", "d2"), ("d2",)), (("d2",),))
    (tmp_path / "judged").write_text("7 0 d1 1\n")
    with pytest.raises(ValueError, match="no topic has a judgment above 0"):
        evaluate.read_questions(tmp_path / "topics", qrels=tmp_path / "judged")
    (tmp_path / "qrels" / "test.tsv").rename(tmp_path / "qrels" / "dev.tsv")
    with pytest.raises(FileNotFoundError, match=r"test\.tsv'; did you mean 'dev\.tsv'"):
        evaluate.read_questions(tmp_path)


def test_questions_of_the_same_words_are_one_group(labeled):
    """A question that is asked twice is no second witness: intervals are those of the different ones."""
    _, questions = labeled
    texts = tuple(f"question {place}" for place in range(20))
    once = replace(questions, texts=texts, groups=())
    many = evaluate.Questions(
        tuple(f"{name} {turn}" for turn in range(5) for name in once.names),
        once.answers * 5,
        texts * 5,
        np.tile(once.vectors, (5, 1)),
    )
    index = setwise.Index.from_array(labeled[0])
    options = {"k": 4, "diversities": (0.3,), "methods": ["MMR"]}
    one, five = (evaluate.compare(index, each, **options) for each in (once, many))
    assert five.groups.max() == 19
    for name in ("aspect recall", "ILAD"):
        np.testing.assert_allclose(five.intervals[name], one.intervals[name], atol=1e-12)


@needs("faiss")
def test_a_catalog_is_measured_on_each_user():
    rng = np.random.default_rng(3)
    catalog = setwise.Catalog.build(rng.standard_normal((60, 4)), rng.random(60), clusters=4)
    taken = [rng.choice(60, size, replace=False).tolist() for size in (1, 3, 5, 2, 4, 6)]
    found = evaluate.compare_catalog(
        catalog, taken, k=12, diversities=[0.2], methods={"greedy": {"method": "greedy"}}
    )
    assert found.configurations == (("top-k", 0.0, 12), ("greedy", 0.2, 12))
    for place, (options, diversity) in enumerate([({"method": "top-k"}, 0.0), ({"method": "greedy"}, 0.2)]):
        one = catalog.select(12, diversity=diversity, **options)
        inside = [len(set(one.positions.tolist()) & set(each)) for each in taken]
        shares = [count / len(each) for count, each in zip(inside, taken, strict=True)]
        assert found.of("recall")[place] == pytest.approx(shares)
        assert found.of("precision")[place] == pytest.approx(np.array(inside) / 12)
        assert found.of("ILAD")[place] == pytest.approx([one.diversity] * 6)
    with pytest.raises(ValueError, match="99, which is no id"):
        evaluate.compare_catalog(catalog, [[1], [99]], k=5)
