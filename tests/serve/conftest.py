"""One application for the tests of routes: it encodes with the static encoder and has an index."""

import json
from pathlib import Path

import pytest
from asking import Asked, closing

NOTES = Path(__file__).resolve().parents[2] / "docs" / "notes.jsonl"


@pytest.fixture(scope="session")
def notes():
    """Texts, several of which say the same."""
    return [json.loads(line)["text"] for line in NOTES.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def folder(notes, tmp_path_factory):
    """A saved index of them, with a column."""
    from setwise.encode import encoder
    from setwise.index.saving import save

    static = encoder("static")
    static.fit(notes)
    place = tmp_path_factory.mktemp("indexes") / "notes"
    save(
        place,
        static.encode(notes),
        ids=[f"n{row}" for row in range(len(notes))],
        texts=notes,
        columns={
            "length": [len(text) for text in notes],
            "kind": ["ab"[row % 2] for row in range(len(notes))],
        },
        encoder=static,
        model="static",
    )
    return place


@pytest.fixture(scope="session")
def app(folder):
    from setwise.serve import Settings, create_app

    with closing(create_app(Settings(indexes={"notes": folder}))) as made:
        yield made


@pytest.fixture
def ask(app):
    return Asked(app)


@pytest.fixture
def made():
    """Makes applications that encode nothing, and lets go of them."""
    from setwise.serve import Settings, create_app

    opened = []

    def make(**settings):
        app = create_app(Settings(**{"model": "none", **settings}))
        opened.append(app)
        return app

    yield make
    for app in opened:
        with closing(app):
            pass
