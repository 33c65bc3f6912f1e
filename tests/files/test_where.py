"""Conditions on columns: the same rows as SQLite finds, and one line for what cannot be understood."""

from __future__ import annotations

import datetime
import random
import sqlite3

import pytest

from optional import lazily, needs

pytestmark = needs("pyarrow")

pa = lazily("pyarrow")
pc = lazily("pyarrow.compute")
where = lazily("setwise.files.where")


@pytest.fixture(scope="module")
def table():
    draw = random.Random(0)
    n = 300

    def some(values):
        return [draw.choice([*values, None]) for _ in range(n)]

    return pa.table(
        {
            "year": some(range(2015, 2026)),
            "price": some([0.5, 1.0, 1.5, -2.0, 1e6]),
            "lang": some(["en", "de", "it's", 'a "b"', "", "EN"]),
            "good": some([True, False]),
            "the title": some(["One", "Two words", "50%", "a_b"]),
        }
    )


@pytest.fixture(scope="module")
def database(table):
    found = sqlite3.connect(":memory:")
    found.execute("pragma case_sensitive_like = on")
    found.execute('create table t (year int, price real, lang text, good int, "the title" text)')
    found.executemany("insert into t values (?, ?, ?, ?, ?)", zip(*table.to_pydict().values(), strict=True))
    return found


CONDITIONS = [
    "year >= 2020 and lang = 'en'",
    "year = 2020 or year == 2021 and not good",
    "not (year < 2018 or lang <> 'de') AND price != 1",
    "year in (2015, 2016,2017) and lang not in ('en', 'de')",
    "lang is null or price is not null and good",
    "lang = 'it''s'",
    "`the title` like 'T%' or `the title` like '_wo words'",
    "`the title` not like '%o%'",
    "price > -2.5e0 and price <= 1.5",
    "price < 1000000 and year > 2019.5",
    "not not good",
    "good = true or good = FALSE",
    "lang > 'de' and lang <= 'en'",
    "((((year = 2020))))",
]


@pytest.mark.parametrize("text", CONDITIONS)
def test_the_rows_that_sqlite_finds(table, database, text):
    rows = database.execute(f"select rowid - 1 from t where {text}").fetchall()
    expected = [row for (row,) in rows]
    assert where.mask(table, text).nonzero()[0].tolist() == expected
    assert 0 < len(expected) < len(table)


def test_double_quotes_are_texts_too(table):
    assert (where.mask(table, 'lang = "a ""b"""') == where.mask(table, "lang = 'a \"b\"'")).all()
    assert where.mask(table, 'lang = "en"').any()


def test_times_are_compared_with_texts():
    days = [datetime.date(2024, 1, 1), None, datetime.date(2025, 6, 1)]
    times = pa.table({"day": days, "at": [datetime.datetime(2024, 1, day, 12) for day in (1, 2, 3)]})
    assert where.mask(times, "day >= '2025-01-01'").tolist() == [False, False, True]
    assert where.mask(times, "at < '2024-01-02 13:00:00'").tolist() == [True, True, False]


def test_unsigned_integers_of_64_bits():
    column = where.as_arrow([2**63, 1, None, 2**64 - 1], "n")
    assert column.type == pa.uint64()
    table = pa.table({"n": column})
    for text, rows in (
        ("n > 9223372036854775807", [0, 3]),
        ("n = 9223372036854775808", [0]),
        ("n in (1, 18446744073709551615)", [1, 3]),
        ("n < 1.5", [1]),
        ("n is null", [2]),
    ):
        assert where.mask(table, text).nonzero()[0].tolist() == rows
    with pytest.raises(ValueError, match="-1 is no value of column 'n'"):
        where.mask(table, "n > -1")
    with pytest.raises(ValueError, match="is no value of column 'x'"):
        where.mask(pa.table({"x": [0.5]}), f"x < {10**400}")
    assert where.as_arrow([2**64, 1], "n").to_pylist() == ["18446744073709551616", "1"]
    assert where.as_arrow([-1, 2**63], "n").to_pylist() == ["-1", "9223372036854775808"]


def test_an_arrow_expression_is_one_too(table):
    found = where.mask(table, (pc.field("year") >= 2020) & (pc.field("lang") == "en"))
    assert (found == where.mask(table, CONDITIONS[0])).all()
    with pytest.raises(TypeError, match="where: expected a condition or an Arrow expression, got int"):
        where.mask(table, 3)
    with pytest.raises(ValueError, match=r"where: .*[Nn]o match"):
        where.mask(table, pc.field("years") == 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a column, found the end (character 1)"),
        ("year >=", "expected a number, a text in quotes, true or false, found the end (character 8)"),
        ("year >= 2020 lang", "expected 'and', 'or' or the end, found 'lang' (character 14)"),
        ("yaer = 2020", "there is no column 'yaer'; did you mean 'year'? (columns: year, "),
        ("year = 'en'", "column 'year' holds integers, and 'en' is none (character 8)"),
        ("lang = 3", "column 'lang' holds texts, and 3 is none (character 8)"),
        ("good = 1", "column 'good' holds true or false, and 1 is none (character 8)"),
        ("year = true", "column 'year' holds integers, and true is none (character 8)"),
        ("year in ()", "expected a number, a text in quotes, true or false, found ')' (character 10)"),
        ("year in (1, 2", "expected ')', found the end (character 14)"),
        ("lang = 'en", '"\'en" is not understood (character 8)'),
        ("year = __import__('os')", "expected a number, a text in quotes, true or false, found '__import__'"),
        ("lang; drop", "'; drop' is not understood (character 5)"),
        ("year", "expected a comparison of 'year', found the end (character 5)"),
        ("year like '2%'", "expected a text to compare a column of texts with ('year' holds integers)"),
        ("lang = null", "expected a number, a text in quotes, true or false, found 'null'"),
        ("lang not 'x'", "expected 'in' or 'like', found"),
        (
            "year = 99999999999999999999",
            "99999999999999999999 is no value of column 'year' (int64) (character 8)",
        ),
        ("(" * 100 + "good" + ")" * 100, "more than 64 conditions stand in each other"),
    ],
)
def test_what_cannot_be_understood_is_one_line(table, text, message):
    with pytest.raises(ValueError, match="^where: ") as caught:
        where.mask(table, text)
    assert str(caught.value).removeprefix("where: ").startswith(message)
    assert "\n" not in str(caught.value)
