"""A few hundred of the cases that ``python -m tests.fuzz.indexes`` makes without end."""

import pytest

pytest.importorskip("faiss")


def test_no_certificate_over_any_index_is_false():
    import indexes

    outcomes = [one for one in map(indexes.run, range(400)) if one is not None]
    assert [one.wrong for one in outcomes if one.wrong] == []
    assert len(outcomes) > 300
    assert sum(one.bounded for one in outcomes) > 200
    assert sum(one.optimal for one in outcomes) > 100
