"""Saved indexes: what comes back is what went in, whole or refused, and nothing is lost on the way."""

from __future__ import annotations

import json
import os
import pickle
import uuid

import pytest

pytest.importorskip("faiss")
pytest.importorskip("pyarrow")

import faiss
import numpy as np

import setwise
from setwise.encode import encoder
from setwise.files.checksums import digest
from setwise.files.versions import home
from setwise.index import Index, rows
from setwise.index.array import ArrayIndex
from setwise.index.faiss import FaissIndex
from setwise.index.folder import FORMAT
from setwise.index.saved import open_index
from setwise.index.saving import save

TEXTS = ["red apples", "green apples", "fast trains", "slow trains", "ships at sea", "red planes"]


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    return rng.standard_normal((300, 16)).astype(np.float32) * rng.uniform(0.5, 2, (300, 1)).astype(
        np.float32
    )


@pytest.fixture
def place(tmp_path):
    return tmp_path / "saved"


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("options", [{}, {"kind": "faiss", "factory": "Flat"}, {"kind": "faiss"}])
def test_the_same_set_as_from_memory(vectors, place, metric, options):
    info = save(place, vectors, metric=metric, **options)
    saved = open_index(place)
    assert saved.info == info
    assert (len(saved), saved.index.size, saved.index.dim) == (300, 300, 16)
    assert saved.index.exact
    assert saved.index.metric == metric
    assert isinstance(saved.index, FaissIndex if options else ArrayIndex)
    own = setwise.retrieve(vectors[3], setwise.Index.from_array(vectors, metric=metric), 5)
    hits = setwise.retrieve(vectors[3], saved.index, 5)
    assert hits.ids.tolist() == own.ids.tolist()
    assert hits.value == pytest.approx(own.value, rel=1e-5)
    assert np.array_equal(saved.index.vectors([7, 3]), vectors[[7, 3]])


def test_vectors_stay_on_disk(vectors, place):
    save(place, vectors)
    raw = open_index(place).index.everything().vectors.raw
    assert isinstance(raw.base, np.memmap) or isinstance(raw, np.memmap)
    save(place, vectors, kind="faiss", force=True)
    side = open_index(place).index._side
    assert isinstance(side.base, np.memmap) or isinstance(side, np.memmap)


@pytest.mark.parametrize(
    ("given", "storage", "stored"),
    [("f8", None, "float32"), ("f2", None, "float16"), ("f4", "float16", "float16"), ("i4", None, "float32")],
)
def test_storage(vectors, place, given, storage, stored):
    info = save(place, (vectors * 10).astype(given), storage=storage)
    assert info.dtype == stored
    assert np.load(home(place) / "vectors.npy").dtype == stored
    assert open_index(place).index.vectors([1]).dtype == np.float32


@pytest.mark.parametrize(
    ("ids", "how"),
    [
        (range(100, 6), "integers"),
        ([f"né{row}" for row in range(6)], "strings"),
        (["a", 1, "b", 2, -3, 2**70], "json"),
        ([2**63, 1, 2, 3, 4, -5], "large integers"),
        (np.arange(6) * 10, "integers"),
        (["\ud83d", "b", "c", "d", "e", "f"], "json"),
    ],
)
def test_ids_come_back_as_they_were(place, ids, how):
    ids = range(100, 106) if isinstance(ids, range) else ids
    info = save(place, np.eye(6), ids=ids, texts=TEXTS, groups=["x", 1, "1", "x", 2, "é"])
    saved = open_index(place)
    assert info.ids == how
    assert list(saved.ids) == list(ids)
    assert [type(name) for name in saved.ids] == [
        int if isinstance(name, np.integer) else type(name) for name in ids
    ]
    assert list(saved.texts) == TEXTS
    assert list(saved.groups) == ["x", 1, "1", "x", 2, "é"]
    assert saved.ids[-1] == ids[5]
    assert saved.texts[1:3] == TEXTS[1:3]
    assert saved.rows_of([ids[4], str(ids[0])]) == [4, 0]
    with pytest.raises(IndexError, match="texts?: no row 6, there are 6"):
        saved.texts[6]


@pytest.mark.parametrize(
    "ids",
    [
        np.arange(40) * 3,
        -np.arange(40),
        np.arange(40, dtype=np.uint64) + 2**63,
        [10**30 + row for row in range(40)],
        [f"é{row}" for row in range(40)],
        [str(row) for row in range(40)],
        [uuid.UUID(int=row) for row in range(40)],
        [row if row % 3 else f"s{row}" for row in range(40)],
        [2**64 - row if row % 2 else str(row) for row in range(40)],
    ],
    ids=["int64", "negative", "uint64", "huge", "str", "digits", "uuid", "mixed", "mixed uint64"],
)
def test_sets_speak_of_the_ids_that_were_saved(vectors, place, ids):
    """As plain integers and strings, in and out of every option, as an array's sets speak of rows."""
    plain = ids.tolist() if isinstance(ids, np.ndarray) else ids
    names = [str(one) if isinstance(one, uuid.UUID) else one for one in plain]
    save(place, vectors[:40], ids=ids, columns={"n": list(range(40))})
    index, array, query = open_index(place), Index.from_array(vectors[:40]), vectors[41]

    def check(hits, rows):
        wanted = [names[row] for row in rows.ids.tolist()]
        assert hits.ids.tolist() == wanted
        assert list(map(type, hits.ids.tolist())) == list(map(type, wanted))
        assert list(hits) == hits.to_dict()["ids"] == wanted
        assert hits.to_arrow()["n"].to_pylist() == rows.ids.tolist()
        if rows.reasoner is not None:
            told = [names[one.member] for one in rows.explain().left_out]
            assert [one.member for one in hits.explain().left_out] == told

    for options in (
        {},
        {"include": [7]},
        {"include": [3, 0], "exclude": [1, 2]},
        {"shown": [4, 9], "exclude": [5]},
        {"after": [6, 12]},
        {"diversity": 0.9, "sharpness": 1, "exclude": [0, 3]},
    ):
        mine = {
            name: [plain[row] for row in value] if isinstance(value, list) else value
            for name, value in options.items()
        }
        check(setwise.retrieve(query, index, 4, **mine), setwise.retrieve(query, array, 4, **options))
    hits, rows = setwise.retrieve(query, index, 3), setwise.retrieve(query, array, 3)
    check(hits.next().next(), rows.next().next())
    check(setwise.retrieve(query, index, 3, after=hits.cursor), rows.next())
    kinds = {name: row % 5 for row, name in enumerate(names)}
    for groups in (kinds, lambda name: kinds[name]):
        options = {"diversity": 0.3, "max_per_group": 1}
        check(
            setwise.retrieve(query, index, 4, groups=groups, **options),
            setwise.retrieve(query, array, 4, groups=np.arange(40) % 5, **options),
        )
    with pytest.raises(ValueError, match="is in shown, too"):
        setwise.retrieve(query, index, 3, include=plain[5:6], shown=plain[5:6])
    few = np.arange(40) < 9
    for allowed in ("n < 9", few, plain[:9], lambda name: name in names[:9]):
        check(
            setwise.retrieve(query, index, 3, filter=allowed), setwise.retrieve(query, array, 3, filter=few)
        )
    np.testing.assert_array_equal(index.vectors(plain[5:8]), vectors[5:8])


def test_columns_are_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "TOGETHER", 10)
    monkeypatch.setattr(rows, "KEPT", 2)
    texts = [f"text {row}" for row in range(95)]
    rows.write(tmp_path / "r.parquet", range(95), texts, None)
    read = rows.read(tmp_path / "r.parquet", 95, "integers", texts=True, groups=False, columns=())
    ids, column = read.ids, read.texts
    assert read.groups is None
    assert column.take([94, 0, 13, 94]) == ["text 94", "text 0", "text 13", "text 94"]
    assert len(column._parts) == 2
    assert list(column) == texts
    assert list(ids) == list(range(95))
    assert len(ids._parts) == 10


def test_groups_are_the_indexs_own_field(vectors, place):
    save(place, vectors, groups=[row % 3 for row in range(300)], kind="faiss")
    hits = setwise.retrieve(vectors[0], open_index(place).index, 3, groups="group", max_per_group=1)
    assert sorted(row % 3 for row in hits.ids) == [0, 1, 2]


@pytest.mark.parametrize("model", ["lsa", "static"])
def test_queries_are_encoded_as_the_texts_were(place, model):
    used = encoder(model)
    used.fit(TEXTS)
    save(place, used.encode(TEXTS), texts=TEXTS, encoder=used, model=model)
    saved = open_index(place)
    assert np.array_equal(saved.encode("slow ships"), used.encode(["slow ships"])[0])
    hits = setwise.retrieve(saved.encode("apples"), saved.index, 2, diversity=0)
    assert sorted(saved.texts.take(hits.ids)) == ["green apples", "red apples"]
    with pytest.raises(ValueError, match=r"knows no word of '\?\?'"):
        saved.encode("??")
    with pytest.raises(TypeError, match="query: expected a string, or a list of strings, got int"):
        saved.encode(3)


def test_an_encoder_of_ones_own(place):
    used = encoder("lsa")
    used.fit(TEXTS)
    save(place, used.encode(TEXTS), encoder=used)
    with pytest.raises(ValueError, match="open the index with encoder="):
        open_index(place).encode("apples")
    assert open_index(place, encoder=used).encode("apples").any()
    copied = pickle.loads(pickle.dumps(open_index(place, encoder=used)))
    assert np.array_equal(copied.encode("apples"), used.encode(["apples"])[0])
    assert setwise.retrieve("apples", copied, 2).ids.tolist() == [0, 1]
    other = encoder("lsa")
    other.fit(TEXTS[:2])
    with pytest.raises(ValueError, match="build the index again"):
        open_index(place, encoder=other).encode("apples")


def test_an_encoder_that_has_changed_is_said(place):
    used = encoder("static")
    save(place, used.encode(TEXTS), encoder=used, model="static")
    _rewrite(place, lambda meta: meta["encoder"].update(key="static 1 wordllama 0.0.1 l2_supercat 256"))
    with pytest.warns(UserWarning, match="the index was built with static"):
        open_index(place).encode("apples")


def test_an_open_index_stays_when_another_is_saved(place):
    used = encoder("lsa")
    used.fit(TEXTS)
    save(place, used.encode(TEXTS), ids=list("abcdef"), texts=TEXTS, encoder=used, model="lsa", kind="faiss")
    saved = open_index(place)
    save(place, np.eye(3), force=True)
    assert list(saved.ids) == list("abcdef")
    assert list(saved.texts) == TEXTS
    hits = setwise.retrieve(saved.encode("apples"), saved.index, 2, diversity=0)
    assert sorted(saved.texts.take(hits.ids)) == ["green apples", "red apples"]
    assert len(open_index(place)) == 3


def test_no_encoder(place):
    save(place, np.eye(3))
    with pytest.raises(ValueError, match="query: the index was built from vectors alone"):
        open_index(place).encode("apples")


def _rewrite(place, change):
    """Alter meta.json as somebody would who also renews its checksum."""
    meta = json.loads((home(place) / "meta.json").read_text())
    change(meta)
    meta.pop("checksum")
    meta["checksum"] = digest(meta)
    (home(place) / "meta.json").write_text(json.dumps(meta))


# ---------------------------------------------------------------- FAISS


@pytest.mark.parametrize(
    ("factory", "effort", "facts"),
    [
        ("IVF8,Flat", {"nprobe": 3}, {"lists": 8, "nprobe": 3, "ef": None}),
        ("IVF8,SQ8", {}, {"lists": 8, "nprobe": 8, "ef": None}),
        ("HNSW8", {"ef": 40}, {"lists": None, "nprobe": None, "ef": 40}),
        ("PCA8,IVF4,Flat", {"nprobe": 1}, {"lists": 4, "nprobe": 1, "ef": None}),
    ],
)
def test_factories(vectors, place, factory, effort, facts, capfd):
    info = save(place, vectors, kind="faiss", factory=factory, **effort)
    assert dict(info.faiss) == {"factory": factory, **facts}
    index = open_index(place).index
    hits = setwise.retrieve(vectors[5], index, 4, exclude=[9])
    assert hits.ids[0] == 5
    assert hits.certificate.scope == ("all" if info.exact else "returned")
    assert np.array_equal(index.vectors([5]), vectors[[5]])
    read = index._held.core
    lists = faiss.try_extract_index_ivf(read)
    assert (None if lists is None else lists.nprobe) == facts["nprobe"]
    assert facts["ef"] is None or read.hnsw.efSearch == facts["ef"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factory": "IVFx,Flat"}, "factory: FAISS does not understand 'IVFx,Flat' for 16 d"),
        ({"factory": ""}, "factory: FAISS does not understand ''"),
        ({"factory": "IDMap,Flat"}, "factory: 'IDMap,Flat' asks for ids of its own"),
        ({"factory": "IVF1024,Flat"}, "factory: 'IVF1024,Flat' cannot be built of 300 vectors"),
        ({"factory": "Flat", "nprobe": 3}, "nprobe: 'Flat' has no lists to probe"),
        ({"factory": "IVF8,Flat", "nprobe": 9}, "nprobe: 9 is above 8"),
        ({"factory": "IVF8,Flat", "ef": 9}, "ef: 'IVF8,Flat' is no HNSW index"),
        ({"factory": "HNSW8", "ef": 0}, "ef: 0 is below 1"),
        ({"kind": "array", "factory": "Flat"}, "factory: it is for kind 'faiss', not for 'array'"),
        ({"kind": "fais"}, "kind: 'fais' is unknown; did you mean 'faiss'?"),
        ({"storage": "float64"}, "storage: 'float64' is unknown"),
        ({"metric": "dot"}, "metric: 'dot' is unknown"),
        ({"ids": ["a"]}, "ids: 1 of them for 300 vectors"),
        ({"ids": [0, "0", *range(2, 300)]}, "ids: '0' stands in row 0 and row 1; they must differ"),
        ({"texts": [*"x" * 299, "\ud83d"]}, "texts: row 299 holds half of a surrogate pair"),
    ],
)
def test_refusals_leave_nothing(vectors, place, options, message):
    with pytest.raises(ValueError, match="^" + message.replace("?", r"\?")):
        save(place, vectors, **{"kind": "faiss", **options})
    assert os.listdir(place.parent) == []


def test_bad_numbers_leave_nothing(place):
    for bad, message in ((np.nan, "row 2 has NaN"), (np.inf, "row 2 has Inf")):
        vectors = np.eye(4)
        vectors[2, 1] = bad
        with pytest.raises(ValueError, match=message):
            save(place, vectors)
    with pytest.raises(ValueError, match="storage: row 3 has a number beyond what float16 holds"):
        save(place, np.diag([1, 1, 1, 1e5]), storage="float16")
    with pytest.raises(ValueError, match="row 1 is all zero"):
        save(place, np.diag([1, 0, 1]))
    with pytest.raises(TypeError, match="ids: row 0 is no string or integer but float"):
        save(place, np.eye(2), ids=[1.5, 2.5])
    with pytest.raises(TypeError, match="texts: row 1 is no string but NoneType"):
        save(place, np.eye(2), texts=["a", None])
    assert os.listdir(place.parent) == []


def test_an_encoder_of_another_width(place):
    with pytest.raises(ValueError, match="does not fit vectors of 3 d"):
        save(place, np.eye(3), encoder=encoder("static"), model="static")
    assert os.listdir(place.parent) == []


# ---------------------------------------------------------------- the folder


def test_only_an_index_is_replaced_and_only_when_asked(place):
    save(place, np.eye(3))
    with pytest.raises(FileExistsError, match="add --force"):
        save(place, np.eye(4))
    save(place, np.eye(4), kind="faiss", force=True)
    assert len(open_index(place)) == 4
    save(place, np.eye(5), force=True)
    assert sorted(os.listdir(place)) == ["content-3", "current"]
    assert sorted(os.listdir(home(place))) == ["meta.json", "rows.parquet", "vectors.npy"]
    (place / "notes.txt").write_text("mine")
    save(place, np.eye(6), force=True)
    assert (place / "notes.txt").read_text() == "mine"
    assert len(open_index(place)) == 6
    assert os.listdir(place.parent) == ["saved"]


def test_another_folder_is_never_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "meta.json").write_text('{"format": "something else"}')
    for force in (False, True):
        with pytest.raises(FileExistsError, match="is no setwise index, so nothing replaces it"):
            save(tmp_path / "mine", np.eye(3), force=force)
    assert os.listdir(tmp_path / "mine") == ["meta.json"]
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="is a file; name a folder"):
        save(tmp_path / "file", np.eye(3), force=True)
    with pytest.raises(FileNotFoundError, match="create it first"):
        save(tmp_path / "no" / "such", np.eye(3))
    (tmp_path / "empty").mkdir()
    save(tmp_path / "empty", np.eye(3), force=True)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize(
    "at",
    [
        "setwise.files.folder.write_json",
        "setwise.files.versions.os.rename",
        "setwise.files.versions.write_atomic",
    ],
)
def test_what_was_there_stays_if_writing_fails(place, monkeypatch, error, at):
    save(place, np.eye(3))
    before = (home(place) / "meta.json").read_bytes()

    def fail(*words, **more):
        raise error

    monkeypatch.setattr(at, fail)
    with pytest.raises(error):
        save(place, np.eye(4), force=True)
    assert os.listdir(place.parent) == ["saved"]
    assert sorted(os.listdir(place)) == ["content-1", "current"]
    assert (home(place) / "meta.json").read_bytes() == before
    monkeypatch.undo()
    FORMAT.verify(place)


def test_progress(vectors, place):
    told = []
    save(place, vectors, kind="faiss", factory="IVF4,Flat", progress=lambda *words: told.append(words))
    steps = list(dict.fromkeys(step for step, _, _ in told))
    assert steps == ["writing", "training", "indexing", "finishing"]
    told.clear()
    info = FORMAT.verify(place, lambda *words: told.append(words))
    assert told[-1] == ("checking", info.bytes, info.bytes)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


# ---------------------------------------------------------------- damage


def test_what_is_no_index(tmp_path):
    with pytest.raises(FileNotFoundError, match="index: no file or folder"):
        open_index(tmp_path / "missing")
    with pytest.raises(ValueError, match="a folder without meta.json, no setwise index"):
        open_index(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file, no setwise index"):
        open_index(tmp_path / "file")
    (tmp_path / "meta.json").write_text('{"format": "other"}')
    with pytest.raises(ValueError, match="of something else"):
        open_index(tmp_path)
    for text in ("{", "\x00\xff", ""):
        (tmp_path / "meta.json").write_text(text)
        with pytest.raises(ValueError, match=r"meta.json is no JSON"):
            open_index(tmp_path)


def test_another_format_version(place):
    save(place, np.eye(3))
    meta = json.loads((home(place) / "meta.json").read_text())
    (home(place) / "meta.json").write_text(json.dumps({**meta, "version": 9}))
    with pytest.raises(ValueError, match="has format version 9, this setwise reads 3; build it again"):
        open_index(place)


def test_an_altered_meta(place):
    save(place, np.eye(3))
    text = (home(place) / "meta.json").read_text()
    (home(place) / "meta.json").write_text(text.replace('"cosine"', '"euclidean"'))
    with pytest.raises(ValueError, match=r"damaged: meta.json was altered; build it again"):
        open_index(place)


@pytest.mark.parametrize("name", ["vectors.npy", "rows.parquet", "index.faiss", "encoder.npz"])
def test_truncated_missing_and_altered_files(place, name):
    used = encoder("lsa")
    used.fit(TEXTS)
    save(place, used.encode(TEXTS), texts=TEXTS, encoder=used, model="lsa", kind="faiss")
    FORMAT.verify(place)
    data = (home(place) / name).read_bytes()
    (home(place) / name).write_bytes(data[:-7])
    with pytest.raises(ValueError, match=f"{name} has .* bytes instead of "):
        FORMAT.read(place)
    middle = len(data) // 2
    (home(place) / name).write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    FORMAT.read(place)
    with pytest.raises(ValueError, match=f"{name} was altered"):
        FORMAT.verify(place)
    (home(place) / name).unlink()
    with pytest.raises(ValueError, match=f"{name} is missing"):
        FORMAT.read(place)


def test_files_that_do_not_belong_together(place):
    save(place, np.eye(3))
    np.save(home(place) / "vectors.npy", np.eye(3, dtype=np.int32))
    with pytest.raises(ValueError, match=r"vectors.npy holds int32 of shape \(3, 3\) instead of float32"):
        open_index(place)
    np.save(home(place) / "vectors.npy", np.eye(3, dtype=np.float32))
    size = (home(place) / "rows.parquet").stat().st_size
    (home(place) / "rows.parquet").write_bytes(b"x" * size)
    with pytest.raises(ValueError, match=r"rows.parquet is damaged"):
        open_index(place)


def test_any_flipped_byte_is_one_line_or_none(place, tmp_path):
    """What is read without comparing checksums is refused in one line, if at all."""
    save(place, np.eye(30), ids=[f"né{row}" for row in range(30)], texts=["word"] * 30, groups=[1] * 30)
    rng, refused = np.random.default_rng(0), []
    for name in ("meta.json", "rows.parquet", "vectors.npy"):
        file = home(place) / name
        data = file.read_bytes()
        for at in rng.integers(len(data), size=150).tolist():
            file.write_bytes(data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :])
            try:
                saved = open_index(place)
                setwise.retrieve(np.ones(30), saved.index, 3, diversity=0, certify=False)
                for column in (saved.ids, saved.texts, saved.groups):
                    list(column)
            except ValueError as error:
                refused.append(str(error))
        file.write_bytes(data)
    assert len(refused) > 200
    assert not [message for message in refused if "\n" in message]
    FORMAT.verify(place)


def test_unknown_ids(place):
    save(place, np.eye(3), ids=["p1", "p22", "q3"])
    with pytest.raises(ValueError, match=r"include: the index has no id 'p23'; did you mean 'p22'\?"):
        open_index(place).rows_of(["p1", "p23"], "include")
    with pytest.raises(ValueError, match="exclude: the index has no id 'p23'"):
        setwise.retrieve(np.ones(3), open_index(place), 1, exclude=["p23"])
    with pytest.raises(TypeError, match="shown: expected row numbers, got 'p23'"):
        setwise.retrieve(np.ones(3), setwise.Index.from_array(np.eye(3)), 1, shown=["p23"])


def test_what_reaches_a_score_has_the_ids_that_were_saved(vectors, place):
    """Chosen anew among what reaches it, as by the retrievers of frameworks."""
    from setwise.integrations.common import Search, request_for
    from setwise.steps import run

    ids = [row if row % 3 else f"s{row}" for row in range(40)]
    save(place, vectors[:40], ids=ids)
    index, query = open_index(place), vectors[41]
    request = request_for(objective="max-sum", sharpness=None, index=index, k=6, diversity=0.9)
    plain = run(Search(request).over(index, query))
    least = float(np.sort(plain.scores)[1])  # one of the set falls short of it
    found = run(Search(request, threshold=least).over(index, query))
    assert found.ids.tolist() != plain.ids.tolist()
    assert found.scores.min() >= least
    assert set(found.ids.tolist()) <= set(ids)
