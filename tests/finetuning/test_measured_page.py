"""The page of what was measured is what its script makes of the single results."""

import json

import numpy as np
import pytest

from benchmark_modules import part

page = part("finetune_page")


def test_the_page_has_the_tables_that_the_results_give():
    results = [json.loads(line) for line in page.RAW.read_text(encoding="utf-8").splitlines()]
    written = page.PAGE.read_text(encoding="utf-8")
    assert page.filled(written, page.tables(results)) == written
    with pytest.raises(ValueError, match="claims: there are no results for this table"):
        page.filled("<!-- table: claims -->\n<!-- end -->", {})


def test_an_interval_is_students_and_only_whole_seeds_count():
    mean, low, high = page.interval(np.array([1.0, 2.0, 3.0]))
    assert (mean, low, high) == pytest.approx((2.0, 2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    results = [{"seed": seed, "task": [target, seed]} for seed in (0, 1) for target in range(2)]
    assert [one["seed"] for one in page.whole(results[:3])] == [0, 0]
