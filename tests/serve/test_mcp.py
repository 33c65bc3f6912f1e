"""The MCP tool, asked by the protocol's own client: in this process, and over stdio."""

import asyncio
import os
import sys

import pytest

import setwise
from optional import lazily, needs

pytestmark = needs("mcp", "fastapi", "prometheus_client", "wordllama", "pyarrow")

Client = lazily("mcp.client", "Client")

QUERY = "how long do apples keep"


async def ask(server, name, **arguments):
    async with Client(server) as client:
        told = await client.call_tool(name, arguments)
        return told.is_error, told.structured_content, told.content[0].text


@pytest.fixture
def call(app):
    """Calls a tool of a server in this process."""
    from setwise.serve.mcp import mcp_server

    return lambda name, **arguments: asyncio.run(ask(mcp_server(app.state.service), name, **arguments))


def test_an_index_is_asked_page_by_page(call, folder, notes):
    index = setwise.open_index(folder)
    failed, told, _ = call("retrieve", query=QUERY, k=3, diversity=0.5, filter="length > 40")
    found = setwise.retrieve(QUERY, index, 3, diversity=0.5, filter="length > 40")
    assert not failed
    assert [one["id"] for one in told["members"]] == found.ids.tolist()
    assert told["members"][0]["text"] == notes[int(found.ids[0][1:])]
    assert told["proof"] == str(found.certificate)
    _, page, _ = call("retrieve", query=QUERY, k=3, diversity=0.5, filter="length > 40", after=told["cursor"])
    assert [one["id"] for one in page["members"]] == found.next().ids.tolist()


def test_texts_go_in_and_a_set_within_a_budget_comes_out(call, notes):
    from setwise.files.lengths import lengths

    _, told, _ = call("select", query=QUERY, texts=notes, max_tokens=40, shown=notes[:1])
    rows = [one["id"] for one in told["members"]]
    assert 0 < sum(lengths([notes[row] for row in rows])) <= 40
    assert [one["text"] for one in told["members"]] == [notes[row] for row in rows]
    assert 0 not in rows  # it says what was shown
    _, told, _ = call("select", query=QUERY, texts=notes[:3])
    assert len(told["members"]) == 3


def test_an_argument_that_there_is_not_is_refused(call):
    failed, _, told = call("retrieve", query=QUERY, diversty=0.9)
    assert failed
    assert told == "diversty: retrieve takes no such argument; did you mean 'diversity'?"


def test_sub_questions_are_facets(call, folder):
    parts = ["pears", "how to store fruit"]
    found = setwise.retrieve(
        QUERY, setwise.open_index(folder), 4, diversity=0.3, objective="facets", facets=parts, shown=["n2"]
    )
    _, told, _ = call("retrieve", query=QUERY, k=4, facets=parts, shown=["n2"])
    assert [one["id"] for one in told["members"]] == found.ids.tolist()


def test_why_is_told_of_texts_and_of_an_index(call, folder, notes):
    found = setwise.retrieve(QUERY, setwise.open_index(folder), 3, diversity=0.3)
    _, told, _ = call("explain", query=QUERY, k=3, index="notes")
    assert told["chosen"] == [str(why) for why in found.explain(10).chosen]
    assert told["left_out"] == [str(why) for why in found.explain(10).left_out]
    _, told, _ = call("explain", query=QUERY, texts=notes, k=2)
    assert len(told["chosen"]) == 2
    assert told["proof"].endswith("the best possible set")


@pytest.mark.parametrize(
    ("tool", "wrong", "said"),
    [
        ("retrieve", {"index": "note"}, "index: there is no 'note'; did you mean 'notes'?"),
        ("retrieve", {"filter": "year >"}, "filter: "),
        ("select", {"texts": ["a"], "query": "?!"}, "query: static"),
        ("select", {"texts": []}, "texts: expected a list of at least 1, got an empty list"),
        ("select", {"texts": ["a", None]}, "texts: row 1: expected a text, got null"),
        ("select", {"texts": ["a"] * 2001}, "texts: 2,001 are more than the 2,000"),
        ("select", {"texts": ["a"], "diversity": 3}, "diversity: expected at most 1.0, got 3"),
        ("select", {"texts": ["a"], "k": True}, "k: expected a whole number, got true"),
        ("select", {}, "texts: needed"),
        ("retrieve", {"max_tokens": 2**60}, "max_tokens: expected at most"),
        ("retrieve", {"facets": ["a"] * 2001}, "facets: 2,001 are more than the 2,000"),
        ("retrieve", {"query": "half \ud800"}, "a text holds half of a character"),
        ("explain", {"texts": ["a"], "index": "notes"}, "texts: an index has its own"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(call, tool, wrong, said):
    failed, _, text = call(tool, **{"query": QUERY, **wrong})
    assert failed
    assert text.startswith(said)
    assert "\n" not in text


def test_the_command_speaks_the_protocol_over_stdio(folder):
    from mcp.client.stdio import StdioServerParameters, stdio_client

    async def scene():
        command = ["-m", "setwise", "mcp", "--index", f"own={folder}"]
        start = StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ))
        async with Client(stdio_client(start)) as client:
            tools = (await client.list_tools()).tools
            told = await client.call_tool("retrieve", {"query": QUERY, "k": 2})
            return tools, told.structured_content

    tools, told = asyncio.run(scene())
    assert {tool.name for tool in tools} == {"retrieve", "select", "explain"}
    assert all(tool.description and tool.input_schema["properties"]["query"]["description"] for tool in tools)
    assert [one["id"] for one in told["members"]] == setwise.retrieve(
        QUERY, setwise.open_index(folder), 2
    ).ids.tolist()
