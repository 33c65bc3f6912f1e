"""Words in every script, one spelling, and what encoders refuse alike."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from optional import needs
from setwise import encode
from setwise.encode import known_rows
from setwise.encode.words import checked_texts, has_word, words, words_and_pairs


@pytest.mark.parametrize(
    ("text", "plain", "code"),
    [
        ("Read_line(x, 2)!", ["read", "line", "x", "2"], ["read_line", "(", "x", ",", "2", ")!"]),
        ("Ünï Straße", ["ünï", "straße"], ["ünï", "straße"]),
        ("日本の映画 vol.2", [*"日本の映画", "vol", "2"], [*"日本の映画", "vol", ".", "2"]),
        ("カメラ,ok", ["カ", "メ", "ラ", "ok"], ["カ", "メ", "ラ", ",", "ok"]),
        ("ที่นี่", ["ที่", "นี่"], ["ที่", "นี่"]),  # a letter with its vowel and tone above
        ("हिन्दी में", ["हिन्दी", "में"], ["हिन्दी", "में"]),  # spaced: the signs are parts of the word
        ("한국어 문장", ["한국어", "문장"], ["한국어", "문장"]),
        ("🙂🙂 ok", ["ok"], ["🙂🙂", "ok"]),
        ("", [], []),
    ],
)
def test_words(text, plain, code):
    assert words(text) == plain
    assert words(text, code=True) == code


def test_neighbors_of_a_script_without_spaces_are_paired():
    assert words_and_pairs("税务 ab") == ["税", "务", "ab", "税务"]
    assert words_and_pairs("one two") == ["one", "two"]
    assert words_and_pairs("面x团") == ["面", "x", "团"]


def test_spellings_meet_and_letters_are_words():
    apart = unicodedata.normalize("NFD", "café été")
    assert list(checked_texts([apart, "plain"])) == ["café été", "plain"]
    assert words(next(iter(checked_texts([apart])))) == ["café", "été"]
    assert [has_word(text) for text in ("x", "7", "語", "ก", "", "?! —", "🙂")] == [True] * 4 + [False] * 3


NAMES = [pytest.param(name, marks=needs(*packages)) for name, packages in {
    "lsa": ["sklearn"], "ngrams": ["sklearn"], "static": ["wordllama"], "sentence": ["sentence_transformers"],
}.items()]  # fmt: skip


@pytest.fixture(scope="module")
def encoders():
    made = {}

    def of(name):
        if name not in made:
            made[name] = encode.encoder(name)
            if isinstance(made[name], encode.FittedEncoder):
                made[name].fit(["bake fresh bread", "income tax law", "café crème", "面团发酵", "所得税申报"])
        return made[name]

    return of


@pytest.mark.parametrize("name", NAMES)
def test_all_encoders_refuse_alike_what_is_no_sequence_of_texts(name, encoders):
    encoder = encoders(name)
    for bad, told in [
        ("bread", "expected a sequence of texts, got str; put it in a list"),
        (b"bread", "expected a sequence of texts, got bytes"),
        ({"text": ["bread"]}, "expected a sequence of texts, got dict; pass one column of it"),
        (np.array([["bread"]]), "got ndarray; pass one column"),
        (["bread", None], "row 1 is NoneType, not a text"),
        (["bread", 3], "row 1 is int, not a text"),
        ([["bread"]], "row 0 is list, not a text"),
    ]:
        with pytest.raises(TypeError, match=told):
            encoder.encode(bad)
        if isinstance(encoder, encode.FittedEncoder):
            with pytest.raises(TypeError, match=told):
                encode.encoder(name).fit(bad)


@pytest.mark.parametrize("name", NAMES)
def test_all_encoders_read_columns_of_texts_alike(name, encoders):
    arrow, pandas = pytest.importorskip("pyarrow"), pytest.importorskip("pandas")
    polars, datasets = pytest.importorskip("polars"), pytest.importorskip("datasets")
    texts = ["bake fresh bread", "income tax", "café"]
    expected = encoders(name).encode(texts)
    dataset = datasets.Dataset.from_dict({"text": texts})
    for column in (
        tuple(texts),
        np.array(texts),
        np.array(texts, object),
        pandas.Series(texts, index=[7, 8, 9]),
        polars.Series(texts),
        arrow.array(texts),
        arrow.chunked_array([texts[:1], texts[1:]]).dictionary_encode(),
        dataset["text"],
    ):
        np.testing.assert_array_equal(encoders(name).encode(column), expected)
    for table in (
        pandas.DataFrame({"text": texts}),
        polars.DataFrame({"text": texts}),
        arrow.table({"text": texts}),
        dataset,
    ):
        with pytest.raises(TypeError, match="pass one column of it"):
            encoders(name).encode(table)


@pytest.mark.parametrize("name", NAMES)
def test_both_spellings_of_a_word_have_one_vector(name, encoders):
    composed, apart = "café crème", unicodedata.normalize("NFD", "café crème")
    assert composed != apart
    one, other = encoders(name).encode([composed, apart])
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert one.any()


@pytest.mark.parametrize("name", NAMES)
def test_a_word_of_any_script_has_a_vector(name, encoders):
    """An encoder that learns knows the words it has learned."""
    texts = ["bread", "面团", "ビール", "ภาษาไทย", "हिन्दी", "שלום", "𠮷野家", "blueprint"]
    encoder = encoders(name)
    if name == "lsa":
        encoder = encode.encoder(name)
        encoder.fit(texts)
    assert known_rows(encoder.encode(texts)).all()
    assert not known_rows(encoder.encode(["", " \n", "?! —"])).any()


@needs("sklearn")
@pytest.mark.parametrize("name", ["lsa", "ngrams"])
def test_texts_without_spaces_are_near_where_they_share_words(name):
    texts = ["先揉好面团然后放入烤箱", "烤箱里的面团和黄油", "提交税务申报所得税", "审计所得税和发票"]
    encoder = encode.encoder(name)
    if isinstance(encoder, encode.FittedEncoder):
        encoder.fit(texts)
    vectors = encoder.encode(texts)
    near = vectors @ vectors.T
    assert min(near[0, 1], near[2, 3]) > 2 * max(near[0, 2], near[0, 3], near[1, 2], near[1, 3])
