"""The explorer's page in a real browser: its main path, hostile texts, how fast it moves, who can use it."""

from __future__ import annotations

import json
import statistics
import threading
import time
import urllib.request

import numpy as np
import pytest
from tests.browser import chromium as chromium
from tests.browser import needs_chromium, size, violations
from tests.optional import needs

from setwise.files import Corpus
from setwise.retrieval import prepare

pytestmark = [
    pytest.mark.slow,
    needs("fastapi", "uvicorn", "prometheus_client", "selenium"),
    needs_chromium,
]

HOSTILE = [
    "<script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 2'>",
    "</p></li></ol><svg onload='window.ran = 3'><iframe srcdoc='<script>parent.ran = 4</script>'>",
    "javascript:window.ran=5//\" autofocus onfocus='window.ran = 6'",
    "\u202emirror \u0000 \ud800 &lt;b&gt; {{7*7}} ${window.ran=7}",
]


class Hashed:
    """Encodes a text by its words, each with a direction of its own."""

    name, key = "words", "words"

    def encode(self, texts, progress=None):
        found = np.zeros((len(texts), 64), np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                seed = int.from_bytes(word.encode("utf-8", "replace")[:8].ljust(8, b"\0"), "little")
                found[row] += np.random.default_rng(seed).standard_normal(64)
        return found


def served(source):
    """Serve a source on a thread; yields its address."""
    import uvicorn

    from setwise.serve.explore import create_app
    from setwise.serve.explore.run import listening

    with listening("127.0.0.1", 0) as socket:
        config = uvicorn.Config(create_app(source), log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([socket],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{socket.getsockname()[1]}/"
        server.should_exit = True
        thread.join(10)


def messages(hostile=False):
    from setwise.cli.demo import inbox

    corpus = inbox()
    if not hostile:
        return corpus
    ids = [f"{HOSTILE[row % len(HOSTILE)]} {name}" for row, name in enumerate(corpus.ids)]
    texts = [f"{HOSTILE[row % len(HOSTILE)]} {text}" for row, text in enumerate(corpus.texts)]
    return Corpus(None, ids, texts)


@pytest.fixture(scope="module")
def address():
    from setwise.serve.explore import of_corpus

    yield from served(of_corpus(prepare(messages(), Hashed()), "inbox.jsonl"))


@pytest.fixture(scope="module")
def hostile_address():
    from setwise.serve.explore import of_corpus

    yield from served(of_corpus(prepare(messages(hostile=True), Hashed()), "<script>window.ran = 8</script>"))


@pytest.fixture(scope="module")
def large_address():
    from setwise.index.array import ArrayIndex
    from setwise.serve.explore import ExploredSource

    rng = np.random.default_rng(0)
    topics = rng.standard_normal((2000, 256), np.float32) + 0.5
    vectors = topics[rng.integers(2000, size=100_000)] + 0.8 * rng.standard_normal((100_000, 256), np.float32)
    query = topics[3] + 0.5 * topics[7]
    yield from served(
        ExploredSource(
            name="large",
            index=ArrayIndex(vectors),
            encoder="one query",
            encode=lambda _text: query,
            ids=lambda rows: [f"d{row}" for row in rows.tolist()],
            texts=lambda rows: [f"passage {row} " + "of some length " * 20 for row in rows.tolist()],
            columns=lambda rows: {},
            row_of=int,
        )
    )


@pytest.fixture
def page(chromium):
    """A browser that opens addresses; in the end nothing may have been complained of on its console."""
    size(chromium, 1280)
    chromium.get("about:blank")
    chromium.get_log("browser")
    yield Page(chromium)
    assert chromium.get_log("browser") == []


class Page:
    """The page, as a person sees and uses it."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, address):
        self.driver.get("about:blank")
        self.driver.get(address)
        self.until("document.querySelector('#objective').options.length > 0")

    def run(self, script, *given):
        return self.driver.execute_script(script, *given)

    def until(self, condition, seconds=30):
        ends = time.monotonic() + seconds
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < ends, condition
            time.sleep(0.02)

    def settled(self):
        """Wait until all that belongs to the last move is there."""
        self.until("document.documentElement.dataset.complete")
        last = None
        while last != (now := self.run("return document.documentElement.dataset.complete")):
            last = now
            time.sleep(0.6)

    def find(self, css):
        return self.driver.find_element("css selector", css)

    def ids(self, part):
        return self.run(f"return [...document.querySelectorAll('#{part} .id')].map((one) => one.textContent)")

    def text(self, css):
        return self.find(css).text


def test_the_main_path(page, address):
    from selenium.webdriver.common.keys import Keys

    page.open(address)
    assert page.run("return document.activeElement.id") == "query"
    page.find("#query").send_keys("cannot log in", Keys.ENTER)
    page.settled()
    assert len(page.ids("set")) == len(page.ids("ranked")) == 10
    assert "of the best possible 10 of 64" in page.text("#proven") or "proven" in page.text("#proven")
    assert "64 passages" in page.text("#about")
    # Relevance alone is the ranking.
    slider = page.find("#diversity")
    slider.send_keys(Keys.HOME)
    page.settled()
    assert page.ids("set") == page.ids("ranked")
    assert page.run("return document.querySelectorAll('.passage.in, .passage.out').length") == 0
    # Diversity swaps passages, marked on both sides and on the map.
    for _ in range(70):
        slider.send_keys(Keys.ARROW_RIGHT)
    page.until("document.querySelector('#diversity-value').textContent === '0.70'")
    page.settled()
    came = page.run("return document.querySelectorAll('#set .in').length")
    assert came == page.run("return document.querySelectorAll('#ranked .out').length") > 0
    assert page.text("#swapped") == f"{came} of 10"
    assert page.run("return document.querySelectorAll('#map path.came').length") == came
    assert page.run("return document.querySelectorAll('#map circle.gone').length") == came
    assert page.run("return document.querySelectorAll('#frontier circle').length") >= 12
    # The map: neighborhoods when they are ready, the principal axes on demand, and back.
    page.until("document.querySelector('#map').dataset.layout === 'near'")
    assert page.text("#share") == "(t-SNE: what is alike lies together)"
    near = page.run("return document.querySelector('#map').innerHTML")
    page.find("input[value=axes]").click()
    assert "of the variance)" in page.text("#share")
    assert page.run("return document.querySelectorAll('#map path.came').length") == came
    assert page.run("return document.querySelector('#map').innerHTML") != near
    assert page.run("return document.querySelectorAll('#frontier circle').length") >= 12
    page.find("input[value=near]").click()
    assert page.run("return document.querySelector('#map').innerHTML") == near
    why = page.run("return [...document.querySelectorAll('.why')].map((one) => one.textContent)")
    assert all("similarity" in one for one in why)
    assert sum("the set is worth" in one for one in why) >= 10
    # What stands in the address restores it.
    here, members = page.run("return location.href"), page.ids("set")
    told = json.loads(urllib.request.urlopen(page.find("#json").get_attribute("href")).read())
    assert [f"{place + 1}. {one['id']}" for place, one in enumerate(told["members"])] == members
    page.open(here)
    page.settled()
    assert page.ids("set") == members
    assert page.find("#query").get_attribute("value") == "cannot log in"
    # A passage as the query, a budget, another objective.
    page.find("#set .passage:nth-child(2) button").click()
    page.settled()
    assert page.ids("ranked")[0].split(". ")[1] == members[1].split(". ")[1]
    page.find("input[value=tokens]").click()
    page.settled()
    assert "tokens" in page.text("#set-title")
    page.run(
        "const one = document.querySelector('#objective'); one.value = 'mmr';"
        "one.dispatchEvent(new Event('input'))"
    )
    page.settled()
    assert page.find("#sharpness").get_attribute("disabled")
    assert "mmr" in page.text("#proven")


def test_what_is_refused_is_told(page, address):
    from selenium.webdriver.common.keys import Keys

    page.open(address)
    page.find("#query").send_keys("like: nobody", Keys.ENTER)
    page.until("!document.querySelector('#problem').hidden")
    assert page.text("#problem").startswith("like: 'nobody' is no id of the corpus")
    logged = page.driver.get_log("browser")  # the browser tells of every answer that refuses
    assert logged
    assert all("422" in one["message"] for one in logged)


def test_texts_of_documents_run_nothing(page, hostile_address):
    page.open(f"{hostile_address}#query=cannot+log+in&diversity=0.6&k=40&junk=<script>&sharpness=99&unit=x")
    page.settled()
    assert page.run("return document.querySelectorAll('#set .passage').length") == 40
    shown = "const shown = document.querySelector('#lists').textContent;"
    assert page.run(f"{shown} return arguments[0].every((one) => shown.includes(one))", HOSTILE[:4])
    assert page.run("return window.ran") is None
    assert page.run("return document.querySelectorAll('script').length") == 1
    assert page.run("return document.querySelectorAll('img, iframe, [onload], [onfocus]').length") == 0
    # Nor would a script that found its way in.
    page.run("const one = document.createElement('script'); one.textContent = 'window.ran = 9';"
             "document.body.append(one)")  # fmt: skip
    assert page.run("return window.ran") is None
    [logged] = page.driver.get_log("browser")
    assert "Content Security Policy" in logged["message"]


def test_pictures_follow_the_slider(page, large_address):
    """From the move to the picture, as the page measures it: 100,000 passages, 256 numbers each."""
    page.open(f"{large_address}#query=x&k=10")
    page.until("document.documentElement.dataset.latency")
    time.sleep(0.4)  # neighborhoods are asked for after a pause; the moves come while they are found
    found, while_drawn = [], []
    for step in range(5, 96, 6):
        while_drawn.append(page.run("return document.querySelector('#map').dataset.layout === 'axes'"))
        page.run("delete document.documentElement.dataset.latency")
        page.run(
            "const one = document.querySelector('#diversity'); one.value = arguments[0];"
            "one.dispatchEvent(new Event('input'))",
            step / 100,
        )
        page.until("document.documentElement.dataset.latency")
        found.append(float(page.run("return document.documentElement.dataset.latency")))
    print(f"\nmilliseconds from a move to its picture: {sorted(found)}")
    assert any(while_drawn)
    assert statistics.median(found) < 100
    page.until("document.querySelector('#map').dataset.layout === 'near'")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_everybody_can_use_it(page, address, width, scheme):
    size(page.driver, width, scheme)
    page.open(f"{address}#query=cannot+log+in&diversity=0.6&k=6")
    page.settled()
    assert page.run("return document.documentElement.scrollWidth") <= width
    assert violations(page.driver) == []


def test_the_keyboard_reaches_everything(page, address):
    from selenium.webdriver.common.keys import Keys

    page.open(f"{address}#query=cannot+log+in&k=3")
    page.settled()
    page.run("document.activeElement.blur()")
    reached = []
    for _ in range(30):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(
            page.run("const one = document.activeElement; return one.id || one.name || one.textContent")
        )
    wanted = ["query", "Search", "diversity", "sharpness", "size", "unit", "objective", "more like this"]
    places = [reached.index(one) for one in [*wanted, "csv", "json", "link"]]
    assert places == sorted(places), reached
