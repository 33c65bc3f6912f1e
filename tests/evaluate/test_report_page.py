"""A comparison's report in a real browser: it loads and runs nothing, and everybody can read it."""

from __future__ import annotations

import numpy as np
import pytest
from tests.browser import chromium as chromium
from tests.browser import needs_chromium, size, violations
from tests.optional import needs

import setwise
from setwise import evaluate

pytestmark = [pytest.mark.slow, needs("matplotlib", "selenium"), needs_chromium]


def test_a_report_can_be_read_by_everybody(chromium, tmp_path):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((60, 6))
    answers = tuple(((row,), (row + 1, row + 2)) for row in range(0, 50, 10))
    names = tuple(f"q{row}" for row in range(5))
    questions = evaluate.Questions(names, answers, vectors=rng.standard_normal((5, 6)))
    index = setwise.Index.from_array(vectors)
    hostile = "<script>window.ran = 1</script><img src=x onerror='window.ran = 2'>"
    ids = [f"{hostile} $x^2$ {row}" for row in range(60)]
    named = tuple(tuple(tuple(ids[row] for row in answer) for answer in one) for one in answers)
    questions = evaluate.Questions(names, named, texts=(hostile,) * 5, vectors=questions.vectors)
    found = evaluate.compare(index, questions, ids=ids, k=(3, 5), diversities=(0.2, 0.5))
    maps = [evaluate.mapped(index, questions, found, k=k, ids=ids) for k in (3, 5)]
    path = tmp_path / "report.html"
    evaluate.write_report(path, found, maps=maps, title=hostile, command=hostile)
    chromium.get("about:blank")
    chromium.get_log("browser")
    for width, scheme in ((390, "dark"), (768, "light"), (1280, "light")):
        size(chromium, width, scheme)
        chromium.get(path.as_uri())
        assert chromium.find_element("css selector", "h1").text == hostile
        assert chromium.execute_script("return window.ran") is None
        shown = chromium.execute_script(
            "return [...document.querySelectorAll('h3')].map((h) => h.textContent)"
        )
        assert shown == [f"“{hostile}”"] * 2
        assert chromium.execute_script("return document.documentElement.scrollWidth") <= width
        assert violations(chromium) == []
    assert chromium.get_log("browser") == []
    chromium.execute_script(
        "const one = document.createElement('script'); one.textContent = 'window.ran = 3';"
        "document.body.append(one)"
    )
    assert chromium.execute_script("return window.ran") is None
    assert "Content Security Policy" in chromium.get_log("browser")[0]["message"]
