"""Data frames of every kind: read wherever arrays are, and given back with the candidates' own columns."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import numpy as np
import pytest

import setwise
from optional import needs
from setwise import frames
from setwise.finetuning import match

pytestmark = needs("pandas", "polars", "pyarrow", "datasets")

N, D = 30, 5
VECTORS = np.random.default_rng(1).standard_normal((N, D)).astype(np.float32)
SCORES = np.random.default_rng(2).random(N)
COLUMNS = {
    "name": [f"item {row}" for row in range(N)],
    "year": [1990 + row % 7 for row in range(N)],
    "score": SCORES.tolist(),
    "embedding": list(VECTORS),
}


def frame_of(kind, columns=COLUMNS):
    import datasets
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    lists = {name: [v.tolist() if isinstance(v, np.ndarray) else v for v in c] for name, c in columns.items()}
    if kind == "pandas":
        return pd.DataFrame(columns, index=[f"r{row}" for row in range(len(next(iter(columns.values()))))])
    if kind == "polars":
        return pl.DataFrame(lists)
    if kind == "polars arrays":
        return pl.DataFrame(lists).with_columns(pl.col("embedding").cast(pl.Array(pl.Float32, D)))
    if kind == "datasets":
        return datasets.Dataset.from_dict(lists)
    table = pa.table(lists)
    return table if kind == "pyarrow" else table.to_batches()[0]


KINDS = ("pandas", "polars", "polars arrays", "datasets", "pyarrow", "batch")


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_stands_for_its_vectors(kind):
    frame = frame_of(kind)
    expected = setwise.select(VECTORS, 4, relevance=SCORES, groups=COLUMNS["year"], max_per_group=1)
    found = setwise.select(frame, 4, relevance="score", groups="year", max_per_group=1)
    assert found.indices.tolist() == expected.indices.tolist()
    index = setwise.Index.from_array(frame)
    hits = setwise.retrieve(VECTORS[3], index, 4, groups="year", max_per_group=1)
    plain = setwise.Index.from_array(VECTORS, fields={"year": COLUMNS["year"]})
    same = setwise.retrieve(VECTORS[3], plain, 4, groups="year", max_per_group=1)
    assert hits.ids.tolist() == same.ids.tolist()
    ranked = setwise.diversify("name", 4, relevance="score", vectors=frame, groups="year", max_per_group=1)
    again = setwise.diversify(
        COLUMNS["name"], 4, relevance=SCORES, vectors=VECTORS, groups=COLUMNS["year"], max_per_group=1
    )
    assert ranked.ids.tolist() == again.ids.tolist()
    matched = match(frame, VECTORS[:3] + 0.1, diversity=0.5)
    assert matched.indices.tolist() == match(VECTORS, VECTORS[:3] + 0.1, diversity=0.5).indices.tolist()
    for one, rows in (
        (found, found.indices),
        (hits, hits.ids),
        (ranked, ranked.indices),
        (matched, matched.indices),
    ):
        for back, values in (
            (one.to_pandas(), lambda table, name: table[name].tolist()),
            (one.to_polars(), lambda table, name: table[name].to_list()),
            (one.to_arrow(), lambda table, name: table[name].to_pylist()),
        ):
            assert values(back, "name") == [COLUMNS["name"][row] for row in rows]
            assert values(back, "year") == [COLUMNS["year"][row] for row in rows]
            np.testing.assert_allclose(np.stack(values(back, "embedding")), VECTORS[rows], rtol=1e-6)


def test_what_is_known_of_members_is_given_with_them():
    frame = frame_of("pandas")
    found = setwise.select(frame, 4, relevance="score")
    table = found.to_pandas()
    assert table.index.tolist() == [f"r{row}" for row in found.indices]
    assert table.columns.tolist() == [*COLUMNS, "rank", "position", "gain"]
    assert table["rank"].tolist() == [1, 2, 3, 4]
    assert table["position"].tolist() == found.positions.tolist()
    hits = setwise.diversify("name", 3, relevance="score", vectors=frame)
    table = hits.to_polars()
    assert table.columns == [*COLUMNS, "rank", "id", "setwise_score", "novelty", "gain"]
    assert table["id"].to_list() == table["name"].to_list() == hits.ids.tolist()
    np.testing.assert_allclose(table["setwise_score"], hits.scores)
    bare = setwise.select(VECTORS, 3, relevance=SCORES)
    assert bare.to_arrow().column_names == ["rank", "position", "gain"]
    assert bare.to_pandas()["position"].tolist() == bare.indices.tolist()
    likely = match(VECTORS, VECTORS[:2], diversity=0.3)
    assert likely.to_arrow()["probability"].to_pylist() == likely.probabilities.tolist()
    assert likely.to_pandas(frame)["name"].tolist() == [COLUMNS["name"][row] for row in likely.indices]
    with pytest.raises(ValueError, match="candidates: 3 rows, the repository has 30"):
        likely.to_pandas(frame[:3])


@needs("faiss")
def test_a_catalogs_columns_come_back():
    frame = frame_of("pandas")
    catalog = setwise.Catalog.build(
        frame, frame["score"].to_numpy(), clusters=4, ids=COLUMNS["name"], fields=frame[["year"]]
    )
    shelf = catalog.select(k=5)
    table = shelf.to_pandas()
    assert table["id"].tolist() == shelf.ids.tolist() == list(shelf)
    assert table["year"].tolist() == [COLUMNS["year"][row] for row in shelf.positions]


@needs("faiss")
@pytest.mark.parametrize("way", ["series", "mapping", "pandas", "polars", "pyarrow"])
def test_qualities_are_joined_by_id(way):
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    order = np.random.default_rng(3).permutation(N)
    names, scores = [COLUMNS["name"][row] for row in order], SCORES[order]
    given = {
        "series": lambda: pd.Series(scores, index=names),
        "mapping": lambda: dict(zip(names, scores.tolist(), strict=True)),
        "pandas": lambda: pd.DataFrame({"id": names, "quality": scores, "note": 0}),
        "polars": lambda: pl.DataFrame({"id": names, "clicks": scores}),
        "pyarrow": lambda: pa.table({"id": names, "quality": scores}),
    }[way]()
    built = setwise.Catalog.build(VECTORS, given, clusters=4, ids=COLUMNS["name"])
    later = setwise.Catalog.build(VECTORS, np.ones(N), clusters=4, ids=COLUMNS["name"])
    assert later.set_quality(given) == 0
    for catalog in (built, later):
        np.testing.assert_array_equal(catalog.quality, SCORES)
    if way == "pandas":
        with pytest.raises(ValueError, match="quality: 1 items have none, such as 'item 7'"):
            setwise.Catalog.build(VECTORS, given[given["id"] != "item 7"], clusters=4, ids=COLUMNS["name"])
        with pytest.raises(ValueError, match="quality: the frame has several columns beside 'id'"):
            later.set_quality(given.rename(columns={"quality": "score"}))
        with pytest.raises(ValueError, match="quality: the frame has no column of ids"):
            later.set_quality(given[["quality"]])


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_of_numbers_alone_is_a_matrix(kind):
    frame = frame_of(
        kind if kind != "polars arrays" else "polars", {f"c{at}": VECTORS[:, at].tolist() for at in range(D)}
    )
    expected = setwise.select(VECTORS, 4, query=VECTORS[0])
    assert setwise.select(frame, 4, query=VECTORS[0]).indices.tolist() == expected.indices.tolist()


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow", "datasets"])
def test_decimals_beside_numbers_are_numbers(kind):
    """As the columns of a table whose database has NUMERIC ones."""
    numbers = np.round(VECTORS.astype(float), 3)
    columns = {"a": [Decimal(str(one)) for one in numbers[:, 0].tolist()]}
    columns |= {f"c{at}": numbers[:, at].tolist() for at in range(1, D)}
    expected = setwise.select(numbers, 4, query=VECTORS[0])
    assert (
        setwise.select(frame_of(kind, columns), 4, query=VECTORS[0]).indices.tolist()
        == expected.indices.tolist()
    )


def test_frames_without_or_with_several_columns_of_vectors():
    two = frame_of("pandas").assign(other=list(VECTORS))
    with pytest.raises(
        TypeError, match=r"vectors: the columns 'embedding', 'other' hold vectors; pass one of them"
    ):
        setwise.select(two, 2)
    with pytest.raises(
        TypeError, match="vectors: no column of the frame holds vectors, and 'name' holds no numbers"
    ):
        setwise.select(frame_of("polars")[["name", "year"]], 2)
    with pytest.raises(
        ValueError, match=r"relevance: the frame has no column 'scores' \(columns: name, year"
    ):
        setwise.select(frame_of("polars"), 2, relevance="scores")
    late = frame_of("pandas")
    late["embedding"] = [None, *list(VECTORS[1:])]
    with pytest.raises(ValueError, match="vectors: row 0 is null"):
        setwise.select(late, 2)


def test_iterating_shows_the_ids_where_there_are_ids():
    ids = [f"d{row}" for row in range(N)]
    hits = setwise.diversify(ids, 3, relevance=SCORES, vectors=VECTORS)
    assert list(hits) == hits.ids.tolist() == [hits[place] for place in range(3)] == np.asarray(hits).tolist()
    assert hits.ids[1] in hits
    assert [ids[row] for row in hits.positions] == list(hits)
    assert all(repr(one).strip("'") in repr(hits) for one in hits)
    plain = setwise.select(VECTORS, 3, relevance=SCORES)
    assert list(plain) == plain.indices.tolist() == plain.positions.tolist() == np.asarray(plain).tolist()
    assert repr(plain).startswith("Selection of 3 by ")


@needs("faiss")
@pytest.mark.parametrize(
    ("ids", "given"),
    [
        ([2**63, 5, 2**64 - 1], [2**63, 5, 2**64 - 1]),
        ([10**30, 5, 6], [str(10**30), "5", "6"]),
        ([1, "b", 2**63], ["1", "b", str(2**63)]),
        ([-1, 2**63, 0], ["-1", str(2**63), "0"]),
    ],
)
def test_ids_of_any_size_and_kind_in_a_frame(ids, given):
    shelf = setwise.diversify(ids, 3, relevance=[0.9, 0.8, 0.7], vectors=np.eye(3), diversity=0)
    assert shelf.to_arrow()["id"].to_pylist() == given
    assert shelf.to_polars()["id"].to_list() == given
    assert shelf.to_pandas()["id"].tolist() == ids


def test_a_shelf_speaks_of_the_items():
    catalog = setwise.Catalog.build(VECTORS, SCORES, clusters=4, ids=[9000 - row for row in range(N)])
    shelf = catalog.select(k=4)
    assert (
        list(shelf)
        == shelf.ids.tolist()
        == np.asarray(shelf).tolist()
        == [shelf[place] for place in range(4)]
    )
    assert [9000 - row for row in shelf.positions.tolist()] == list(shelf)
    assert str(shelf.ids[0]) in repr(shelf)
    assert repr(shelf).startswith("CatalogSelection of 4 by ")


def test_a_series_of_labels_is_joined_by_its_index():
    import pandas as pd

    ids = [f"d{row}" for row in range(N)]
    order = np.random.default_rng(3).permutation(N)
    labels = pd.Series([COLUMNS["year"][row] for row in order], index=[ids[row] for row in order])
    wish = {"relevance": SCORES, "vectors": VECTORS, "max_per_group": 1}
    expected = setwise.diversify(ids, 5, groups=COLUMNS["year"], **wish)
    assert setwise.diversify(ids, 5, groups=labels, **wish).ids.tolist() == expected.ids.tolist()
    index = setwise.Index.from_array(VECTORS)
    labels = pd.Series([COLUMNS["year"][row] for row in order], index=order)
    found = setwise.retrieve(VECTORS[0], index, 5, groups=labels, max_per_group=1)
    expected = setwise.retrieve(VECTORS[0], index, 5, groups=COLUMNS["year"], max_per_group=1)
    assert found.ids.tolist() == expected.ids.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_a_corpus_is_read_from_a_frame(kind):
    from setwise.files import read_corpus

    columns = {"id": COLUMNS["name"], "title": [f"note {row} of tea" for row in range(N)], **COLUMNS}
    read = read_corpus(
        frame_of(kind, columns), vectors="embedding", relevance="score", group="year", text="title"
    )
    assert list(read.ids) == COLUMNS["name"]
    assert list(read.texts) == columns["title"]
    assert list(read.groups) == COLUMNS["year"]
    np.testing.assert_allclose(read.vectors, VECTORS, rtol=1e-6)
    np.testing.assert_allclose(read.relevance, SCORES, rtol=1e-6)
    told = read_corpus(
        frame_of(kind.removesuffix(" arrays"), {"title": columns["title"], "description": COLUMNS["name"]})
    ).notes
    assert told == ("texts: column 'description'; others: 'title'",)
    with pytest.raises(ValueError, match="text: the frame has no column 'titel'; did you mean 'title'"):
        read_corpus(frame_of(kind, columns), text="titel")


@needs("sklearn")
@pytest.mark.parametrize("kind", KINDS)
def test_rows_to_finetune_on_are_chosen_from_a_frame(kind, tmp_path):
    import json

    from setwise.finetuning import Pipeline

    columns = {
        "text": [f"{'bread and dough' if row % 2 else 'tax and law'} {row}" for row in range(N)],
        **COLUMNS,
    }
    like = frame_of(kind.removesuffix(" arrays"), {"text": ["bread", "dough"]})
    chosen = Pipeline(
        frame_of(kind, columns), like, rows=5, method="nearest", model="ngrams", out=tmp_path / "out.jsonl"
    ).run()
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    rows = [COLUMNS["name"].index(line["name"]) for line in lines]
    assert all(row % 2 for row in rows)
    assert rows == chosen.epochs[0].tolist()
    with pytest.raises(ValueError, match="text_column: the frame has no column 'txt'"):
        Pipeline(frame_of(kind, columns), like, rows=5, text_column="txt", model="ngrams").run()
    by_vectors = Pipeline(
        frame_of(kind, columns), example_vectors=VECTORS[:2], vectors="embedding", rows=2, method="nearest"
    ).run()
    assert sorted(by_vectors.epochs[0].tolist()) == [0, 1]


@pytest.mark.parametrize("kind", [*KINDS, "rows"])
def test_responses_are_chosen_from_a_frame_and_given_as_one(kind):
    from setwise.preference.rows.rows import PreferenceRows

    rng = np.random.default_rng(7)
    columns = {
        "prompt": [f"Q{row}?" for row in range(N)],
        "responses": [[f"answer {row} {place}" for place in range(5)] for row in range(N)],
        "rewards": rng.standard_normal((N, 5)).tolist(),
        "embeddings": rng.standard_normal((N, 5, 3)).tolist(),
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    made = PreferenceRows(rows if kind == "rows" else frame_of(kind.removesuffix(" arrays"), columns), 2)
    expected = list(PreferenceRows(rows, 2))
    assert [row["rejected"] for row in made] == [row["rejected"] for row in expected]
    assert made.to_arrow().column("chosen").to_pylist() == [row["chosen"] for row in expected]
    assert made.to_pandas()["chosen"].tolist() == made.to_polars()["chosen"].to_list()
    assert made.to_dataset()["chosen"][:] == made.to_polars()["chosen"].to_list()


def test_kinds():
    assert [frames.kind_of(frame_of(kind)) for kind in KINDS] == [
        *("pandas", "polars", "polars", "datasets", "pyarrow", "pyarrow"),
    ]
    assert frames.kind_of(VECTORS) is frames.kind_of([1]) is frames.kind_of(None) is None


@needs("pandas", "faiss")
def test_a_catalog_of_a_frame_has_its_ids_and_what_its_columns_say():
    import pandas as pd

    rng = np.random.default_rng(3)
    vectors, quality = rng.standard_normal((40, 5)), rng.random(40)
    names = [f"book {row}" for row in range(40)]
    frame = pd.DataFrame({"id": names, "v": list(vectors), "stars": quality})

    def shelf(*given, **named):
        made = setwise.Catalog.build(*given, clusters=4, **named)
        return made.select(6, diversity=0.3).ids.tolist()

    expected = shelf(vectors, quality, ids=names)
    mixed = frame.sample(frac=1, random_state=0)
    assert shelf(frame, "stars") == expected
    assert shelf(frame.rename(columns={"id": "isbn"}), "stars", ids="isbn") == expected
    assert shelf(frame, mixed["stars"]) == expected  # a column's index says which row is which
    assert shelf(vectors, mixed["stars"], ids=frame["id"]) == expected
    assert shelf(vectors, pd.Series(quality, names)[::-1], ids=names) == expected
    with pytest.warns(UserWarning, match="column 'id' is not used, rows are numbered: ids: row 3 has no id"):
        numbers = shelf(frame.assign(id=[*names[:3], None, *names[4:]]), "stars")
    assert [names[row] for row in numbers] == expected


@needs("pandas")
def test_columns_beside_a_frame_are_joined_by_its_index():
    import pandas as pd

    rng = np.random.default_rng(4)
    vectors, stars = rng.standard_normal((12, 4)), rng.random(12)
    names = list("abcdefghijkl")
    frame = pd.DataFrame({"v": list(vectors)}, names)
    kinds = pd.Series(list("xxxyyyzzzwww"), names)
    expected = setwise.select(vectors, 3, relevance=stars, groups=kinds.tolist(), max_per_group=1)
    order = rng.permutation(12)
    found = setwise.select(
        frame, 3, relevance=pd.Series(stars, names).iloc[order], groups=kinds.iloc[order], max_per_group=1
    )
    assert found.indices.tolist() == expected.indices.tolist()
    numbered = setwise.select(frame, 3, relevance=pd.Series(stars), groups=kinds, max_per_group=1)
    assert numbered.indices.tolist() == expected.indices.tolist()


@needs("pandas")
@pytest.mark.parametrize("how", ["series", "mapping"])
def test_scores_vectors_and_labels_of_candidates_are_joined_by_id(how):
    import pandas as pd

    rng = np.random.default_rng(5)
    names, vectors, scores = list("abcdefghijkl"), rng.standard_normal((12, 4)), rng.random(12)
    labels = list("xxxyyyzzzwww")
    order = rng.permutation(12)

    def by_id(values):
        listed = {names[row]: values[row] for row in order}
        return listed if how == "mapping" else pd.Series(listed)

    plain = {"relevance": scores, "vectors": vectors, "groups": labels}
    expected = setwise.diversify(names, 3, **plain, max_per_group=1).ids.tolist()
    joined = {name: by_id(values) for name, values in plain.items()}
    assert setwise.diversify(names, 3, **joined, max_per_group=1).ids.tolist() == expected
    table = pd.DataFrame({"id": names, "score": scores, "kind": labels})
    beside = {"relevance": table["score"], "vectors": vectors, "groups": table["kind"]}
    assert setwise.diversify(table["id"], 3, **beside, max_per_group=1).ids.tolist() == expected
    with pytest.raises(ValueError, match="relevance: there is none for id 'b'; give each one"):
        setwise.diversify(names, 3, relevance={"a": 1.0}, vectors=vectors)


def test_rows_of_an_arrow_column_are_rows():
    import pyarrow as pa

    names, vectors, scores = (pa.array(one) for one in (COLUMNS["name"], VECTORS.tolist(), SCORES.tolist()))
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(VECTORS)
    expected = setwise.diversify(names, 4, relevance=scores, vectors=vectors)
    for rows in (vectors, tensors):
        found = setwise.diversify(list(names), 4, relevance=list(scores), vectors=list(rows))
        assert found.ids.tolist() == expected.ids.tolist()
    with pytest.raises(ValueError, match=r"^ids: row 1 has no id"):
        setwise.diversify(list(pa.array(["a", None])), 1, relevance=[1, 2], vectors=VECTORS[:2])


def test_a_frame_of_masks_bars_by_its_rows():
    barred = np.random.default_rng(9).random((3, N)) < 0.5
    expected = setwise.select_many(VECTORS, 4, relevance=np.tile(SCORES, (3, 1)), exclude=barred)
    for kind in ("pandas", "polars"):
        frame = frame_of(kind, {f"i{at}": barred[:, at].tolist() for at in range(N)})
        found = setwise.select_many(VECTORS, 4, relevance=np.tile(SCORES, (3, 1)), exclude=frame)
        assert [one.indices.tolist() for one in found] == [one.indices.tolist() for one in expected]
    with pytest.raises(TypeError, match="exclude: expected row numbers, got "):
        setwise.select(VECTORS, 4, relevance=SCORES, exclude=frame_of("pandas", {"row": [1, 2]}))


@needs("pandas")
def test_uuids_are_ids_wherever_something_is_joined_by_them():
    import pandas as pd

    ids = [UUID(int=2**100 + row) for row in range(9)]
    vectors = np.random.default_rng(0).standard_normal((9, 4))
    scores = np.random.default_rng(1).random(9)
    plain = {"relevance": scores, "vectors": vectors, "groups": list("aabbccdde"), "max_per_group": 1}
    expected = [str(ids[row]) for row in setwise.diversify(range(9), 4, **plain).ids]
    for kind in (lambda one: one, str):
        for way in (dict, lambda pairs: pd.Series(dict(pairs))):
            keys = [kind(one) for one in ids[::-1]]
            joined = {
                name: way(zip(keys, plain[name][::-1], strict=True)) for name in ("relevance", "groups")
            }
            assert setwise.diversify(ids, 4, **(plain | joined)).ids.tolist() == expected
    with pytest.raises(TypeError, match="ids: a set has no order"):
        setwise.diversify(set(ids), 4, **plain)


def test_what_is_barred_may_be_a_set():
    vectors = np.eye(4)
    expected = setwise.select(vectors, 2, relevance=[1, 2, 3, 4], exclude=[3, 1]).indices.tolist()
    for barred in ({3, 1}, {1: "seen", 3: "seen"}.keys(), iter([3, 1])):
        assert setwise.select(vectors, 2, relevance=[1, 2, 3, 4], exclude=barred).indices.tolist() == expected


@needs("pyarrow")
def test_rows_of_views_can_be_taken():
    import pyarrow as pa

    titles = pa.array(["a", "b", None, "d"], pa.string_view())
    table = pa.table({"v": np.eye(4).tolist(), "title": titles, "tags": [["x"], [], None, ["y", "z"]]})
    table = table.set_column(2, "tags", table["tags"].cast(pa.list_(pa.string_view())))
    for frame in (table, table.to_batches()[0]):
        found = setwise.select(frame, 2, relevance=[1, 4, 2, 3], diversity=0.0).to_arrow()
        assert found["title"].to_pylist() == ["b", "d"]
        assert found["tags"].to_pylist() == [[], ["y", "z"]]
