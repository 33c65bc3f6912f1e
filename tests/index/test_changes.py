"""A living index: queries in words, conditions, rows added, updated and removed; nothing is encoded twice."""

from __future__ import annotations

import pickle
import zlib

import numpy as np
import pytest

pytest.importorskip("pyarrow")

import pyarrow.compute as pc

import setwise
from optional import needs
from setwise.encode import unit_rows
from setwise.files.corpus import Corpus
from setwise.files.versions import home
from setwise.index import changes
from setwise.index.folder import FORMAT
from setwise.index.saving import save

WORDS = [
    "red",
    "green",
    "blue",
    "apples",
    "pears",
    "plums",
    "trains",
    "ships",
    "planes",
    "fast",
    "slow",
    "old",
    "new",
]


class Words:
    """An encoder that learns nothing and counts what it encodes: a text's vector is its words'."""

    name = key = "words"

    def __init__(self):
        self.encoded = []

    def encode(self, texts, progress=None):
        self.encoded += list(texts)
        rows = np.zeros((len(texts), 24), np.float32)
        for row, text in enumerate(texts):
            for word in sorted(set(text.split()) & set(WORDS)):
                rows[row] += np.random.default_rng(zlib.crc32(word.encode())).standard_normal(24)
        return unit_rows(rows)


def corpus(rows, **more):
    """Return a corpus of (id, text, year) rows."""
    ids, texts, years = zip(*rows, strict=True)
    columns = {"year": list(years), "length": [len(text) for text in texts]}
    return Corpus(None, list(ids), list(texts), columns=columns, **more)


def some_rows(n, seed=0):
    draw = np.random.default_rng(seed)
    texts = [" ".join(draw.choice(WORDS, 4, replace=False)) for _ in range(n)]
    return [(f"r{row}", text, 2000 + row % 20) for row, text in enumerate(texts)]


def built(place, rows, **more):
    """Build an index of rows; return the encoder."""
    encoder, source = Words(), corpus(rows)
    save(
        place,
        encoder.encode(source.texts),
        ids=source.ids,
        texts=source.texts,
        columns=source.columns,
        encoder=encoder,
        **more,
    )
    encoder.encoded.clear()
    return encoder


def content(place):
    """Return an index's rows by id: text, columns, vector."""
    index = setwise.open_index(place)
    FORMAT.verify(place)
    ids = list(index.ids)
    vectors = index.vectors(ids)
    columns = index.take(ids)
    return {
        name: ({key: values[row] for key, values in columns.items()}, vectors[row].tolist())
        for row, name in enumerate(ids)
    }


@pytest.fixture
def place(tmp_path):
    return tmp_path / "saved"


# ---------------------------------------------------------------- an index of its own ids


@pytest.mark.parametrize("kind", ["array", pytest.param("faiss", marks=needs("faiss"))])
@pytest.mark.parametrize("named", [str, int])
def test_it_speaks_of_the_corpuss_ids(place, kind, named):
    rows = [(named(900 - row), text, year) for row, (_, text, year) in enumerate(some_rows(200))]
    encoder = built(place, rows, kind=kind)
    index = setwise.open_index(place, encoder=encoder)
    vectors = encoder.encode([text for _, text, _ in rows])
    own = setwise.retrieve(encoder.encode(["fast red ships"])[0], setwise.Index.from_array(vectors), 6)
    hits = setwise.retrieve("fast red ships", index, 6)
    assert hits.ids.tolist() == [rows[row][0] for row in own.ids]
    assert hits.value == pytest.approx(own.value, rel=1e-6)
    assert hits.certificate.pool_sufficient
    assert index.take(hits.ids)["text"] == [rows[row][1] for row in own.ids]
    table = hits.to_arrow().to_pydict()
    assert table["text"] == [rows[row][1] for row in own.ids]
    assert table["year"] == [rows[row][2] for row in own.ids]
    assert pickle.loads(pickle.dumps(hits)).to_arrow().to_pydict()["id"] == hits.ids.tolist()
    both = setwise.retrieve(["fast red ships", "old plums"], index, 6)
    assert both[0].ids.tolist() == hits.ids.tolist()
    never, _, _, must, *_ = hits.ids.tolist()
    other = setwise.retrieve("fast red ships", index, 6, include=[must], exclude=[never])
    assert must in other.ids.tolist()
    assert never not in other.ids.tolist()
    pages = setwise.retrieve("fast red ships", index, 6, offset=6)
    assert not set(pages.ids.tolist()) & set(hits.ids.tolist())
    scores, found = index.search(vectors[:2], 3, exclude=[rows[1][0]])
    assert found[0, 0] == rows[0][0]
    assert scores.shape == (2, 3)
    with pytest.raises(KeyError, match=r"the index has no id 'r9999'"):
        index.vectors(["r9999"])


def test_groups_by_any_column(place):
    encoder = built(place, some_rows(200))
    index = setwise.open_index(place, encoder=encoder)
    hits = setwise.retrieve("fast red ships", index, 8, groups="year", max_per_group=1)
    assert len(set(index.values(hits.ids, "year"))) == 8
    with pytest.raises(ValueError, match=r"groups: the index has no column 'yaer'; did you mean 'year'\?"):
        setwise.retrieve("fast red ships", index, 8, groups="yaer", max_per_group=1)


def test_words_need_an_index_with_an_encoder(place):
    with pytest.raises(TypeError, match=r"query: ArrayIndex takes vectors; .* setwise\.open_index"):
        setwise.retrieve("red", setwise.Index.from_array(np.eye(3)), 1)
    encoder = built(place, some_rows(20))
    index = setwise.open_index(place, encoder=encoder)
    with pytest.raises(ValueError, match="words knows no word of 'zebra'"):
        setwise.retrieve(["red", "zebra"], index, 1)
    with pytest.raises(TypeError, match="query: expected a string, or a list of strings"):
        setwise.retrieve(["red", 3], index, 1)


@pytest.mark.parametrize("kind", ["array", pytest.param("faiss", marks=needs("faiss"))])
def test_a_filter_leaves_the_candidates_that_the_certificate_is_about(place, kind):
    rows = some_rows(300)
    encoder = built(place, rows, kind=kind)
    index = setwise.open_index(place, encoder=encoder)
    allowed = [row for row, (_, text, year) in enumerate(rows) if year >= 2015 and "red" in text]
    vectors = encoder.encode([rows[row][1] for row in allowed])
    own = setwise.select(
        vectors, 5, query=encoder.encode(["fast ships"])[0], diversity=0.3, sharpness=8, certify="full"
    )
    mask = np.isin(np.arange(300), allowed)
    names = [rows[row][0] for row in allowed]
    for filter in (
        "year >= 2015 and text like '%red%'",
        (pc.field("year") >= 2015) & pc.match_substring(pc.field("text"), "red"),
        mask,
        names,
        lambda name: name in names,
    ):
        hits = setwise.retrieve("fast ships", index, 5, filter=filter, certify="full")
        assert hits.value == pytest.approx(own.value, rel=1e-6)
        assert own.value <= hits.certificate.upper_bound <= own.certificate.upper_bound + 1e-6
        assert set(hits.ids.tolist()) <= set(names)
    with pytest.raises(ValueError, match=r"filter: there is no column 'yer'; did you mean 'year'\?"):
        setwise.retrieve("fast ships", index, 5, filter="yer = 1")
    with pytest.raises(ValueError, match="filter: expected a mask of 300 rows"):
        setwise.retrieve("fast ships", index, 5, filter=mask[:10])
    with pytest.raises(TypeError, match="filter: expected a condition, an Arrow expression, a mask or ids"):
        setwise.retrieve("fast ships", index, 5, filter=3)


def test_columns_come_back_as_they_were(place):
    columns = {
        "id": ["a", None, "c"],
        "number": [1, None, 3],
        "part": [0.5, float("nan"), 2.0],
        "mixed": [1, "x", None],
        "large": [2**70, 1, None],
        "nothing": [None, None, None],
        "flag": [True, False, None],
    }
    save(place, np.eye(3), columns=columns, texts=["x", "y", "z"])
    index = setwise.open_index(place)
    kept = {name: list(column) for name, column in index.columns.items()}
    assert kept == {
        **columns,
        "part": [0.5, None, 2.0],
        "mixed": ["1", "x", None],
        "large": [str(2**70), "1", None],
    }
    assert index.info.columns["number"] == "int64"
    assert index.mask("id = 'c' and text = 'z'").tolist() == [False, False, True]
    with pytest.raises(ValueError, match=r"columns: 'bad': 2 of them for 3 vectors"):
        save(place, np.eye(3), columns={"bad": [1, 2]}, force=True)
    with pytest.raises(ValueError, match=r"columns: 'bad' holds half of a surrogate pair"):
        save(place, np.eye(3), columns={"bad": ["\ud83d", "", ""]}, force=True)


def test_ids_beyond_64_bits_are_whole(place):
    save(place, np.eye(3), ids=[2**64 - 1, 2**63, 5])
    index = setwise.open_index(place)
    hits = setwise.retrieve(np.array([1, 0.5, 0]), index, 2, diversity=0)
    assert hits.ids.tolist() == [2**64 - 1, 2**63]


# ---------------------------------------------------------------- changes


def test_an_added_row_encodes_one_text(place):
    rows = some_rows(100)
    encoder = built(place, rows)
    before = content(place)
    new = ("new", "old blue planes", 2030)
    change = changes.add(place, corpus([new]), encoder=encoder)
    assert encoder.encoded == ["old blue planes"]
    assert (change.added, change.unchanged, change.encoded, change.info.n) == (1, 100, 1, 101)
    after = content(place)
    assert after.pop("new") == (
        {"text": "old blue planes", "year": 2030, "length": 15},
        pytest.approx(encoder.encode(["old blue planes"])[0].tolist(), abs=1e-6),
    )
    assert after == before


def test_an_added_text_that_is_there_is_not_encoded(place):
    rows = some_rows(10)
    encoder = built(place, rows)
    change = changes.add(place, corpus([("again", rows[3][1], 1), ("twice", rows[3][1], 1)]), encoder=encoder)
    assert (change.added, change.encoded, encoder.encoded) == (2, 0, [])
    found = content(place)
    assert found["again"][1] == found["twice"][1] == found["r3"][1]


def test_an_update_is_what_building_anew_gives(place, tmp_path):
    rows = some_rows(60)
    encoder = built(place, rows)
    fresh = [
        *rows[:10],
        ("r10", "changed old red", 1999),
        ("r11", rows[11][1], 1980),
        *rows[20:],
        ("moved", rows[15][1], 5),
        ("new", "slow ships", 3),
    ]
    change = changes.update(place, corpus(fresh), encoder=encoder)
    assert sorted(encoder.encoded) == ["changed old red", "slow ships"]
    assert (change.added, change.changed, change.removed, change.unchanged) == (2, 2, 8, 50)
    built(tmp_path / "anew", fresh)
    assert content(place) == content(tmp_path / "anew")
    content_before = home(place).name
    change = changes.update(place, corpus(fresh), encoder=encoder)
    assert (change.unchanged, change.encoded) == (54, 0)
    assert home(place).name == content_before


def test_an_update_may_keep_what_the_corpus_lacks(place):
    encoder = built(place, some_rows(30))
    before = content(place)
    change = changes.update(place, corpus([("r4", "new planes", 1)]), keep=True, encoder=encoder)
    assert (change.changed, change.unchanged, change.removed) == (1, 29, 0)
    after = content(place)
    assert after.pop("r4") != before.pop("r4")
    assert after == before


def test_rows_are_removed_by_id_and_by_condition(place):
    rows = some_rows(60)
    built(place, rows)
    before = content(place)
    change = changes.remove(place, ["r5"], where="year = 2003")
    gone = {"r5", *(name for name, _, year in rows if year == 2003)}
    assert change.removed == len(gone) == 4
    assert content(place) == {name: found for name, found in before.items() if name not in gone}
    assert changes.remove(place, where="year = 1").removed == 0
    with pytest.raises(ValueError, match="ids: the index has no id 'r5'"):
        changes.remove(place, ["r5"])
    with pytest.raises(ValueError, match="index: no row would be left"):
        changes.remove(place, where="year > 0")


@pytest.mark.parametrize("factory", ["Flat", "IVF4,Flat", "HNSW8"])
@needs("faiss")
def test_a_faiss_index_grows_and_is_built_anew(place, factory):
    import faiss

    rows = some_rows(200)
    encoder = built(place, rows[:150], kind="faiss", factory=factory)
    changes.add(place, corpus(rows[150:]), encoder=encoder)
    changes.remove(place, [name for name, _, _ in rows[:20]])
    index = setwise.open_index(place, encoder=encoder)
    assert index.info.faiss["factory"] == factory
    assert faiss.read_index(str(home(place) / "index.faiss")).ntotal == index.size == 180
    vectors = encoder.encode([text for _, text, _ in rows])
    for row in (20, 120, 199):  # texts of the same words are equally near
        [found] = index.take(index.search(vectors[[row]], 1)[1][0])["text"]
        assert sorted(found.split()) == sorted(rows[row][1].split())


def test_what_has_no_word_is_left_out_and_named(place):
    encoder = built(place, some_rows(10))
    change = changes.update(
        place, corpus([("r1", "??", 1), ("x", "!!", 1), ("r2", "red", 1)]), keep=True, encoder=encoder
    )
    assert change.unknown == ("r1", "x")
    assert (change.removed, change.changed, change.added) == (1, 1, 0)
    assert set(content(place)) == {f"r{row}" for row in range(10)} - {"r1"}


def test_vectors_of_ones_own(place):
    draw = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float16)
    save(place, draw[:3], ids=[1, 2, 3], groups=["x", "y", "x"])
    changes.add(place, Corpus(None, [4], vectors=draw[3:4], groups=["z"]))
    changes.update(place, Corpus(None, [2], vectors=draw[4:], groups=["w"]), keep=True)
    index = setwise.open_index(place)
    assert np.array_equal(np.load(home(place) / "vectors.npy"), draw[[0, 4, 2, 3]])
    assert (list(index.ids), list(index.groups)) == ([1, 2, 3, 4], ["x", "w", "x", "z"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Corpus(None, ["r1"], ["red"]), r"ids: the index has 'r1' already; setwise index update"),
        (Corpus(None, ["r1", "r2"], ["red", "red"]), r"ids: the index has 'r1' already \(and 1 more\)"),
        (Corpus(None, ["x"], vectors=np.eye(1, 24)), "text: the index has texts"),
        (Corpus(None, ["x"], ["red"], np.eye(1, 23)), "vectors: they have 23 d, the index has 24"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(place, given, message):
    encoder = built(place, some_rows(5))
    before = content(place)
    with pytest.raises(ValueError, match="^" + message):
        changes.add(place, given, encoder=encoder)
    assert content(place) == before


def test_another_version_of_the_encoder_is_refused(place, monkeypatch):
    pytest.importorskip("sklearn")
    from setwise.encode import encoder

    used = encoder("ngrams")
    save(place, used.encode(["red", "blue"]), texts=["red", "blue"], encoder=used, model="ngrams")
    assert changes.add(place, Corpus(None, [2], ["green"])).encoded == 1
    monkeypatch.setattr("setwise.encode.ngrams.Ngrams.key", "ngrams of another version")
    with (
        pytest.warns(UserWarning, match="the index was built with"),
        pytest.raises(ValueError, match="their vectors do not compare: build the index again"),
    ):
        changes.add(place, Corpus(None, [3], ["yellow"]))


@pytest.mark.parametrize("at", ["setwise.files.folder.write_json", "setwise.index.saving.write_rows"])
def test_an_interrupted_change_leaves_what_was_there(place, monkeypatch, at):
    encoder = built(place, some_rows(5))
    before = content(place)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(at, interrupt)
    with pytest.raises(KeyboardInterrupt):
        changes.add(place, corpus([("x", "red", 1)]), encoder=encoder)
    monkeypatch.undo()
    assert content(place) == before
