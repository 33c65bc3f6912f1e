"""The MCP tool: assistants ask an index for a set, or have one made of texts they hold, and are told why."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, InputRequiredResult
from pydantic import BaseModel, Field, Strict, ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from setwise._version import __version__
from setwise.files.names import nearest
from setwise.lazy import documented
from setwise.serve import shapes
from setwise.serve.bodies import told_of
from setwise.serve.errors import Refused, refused_by
from setwise.serve.rerank import rerank
from setwise.serve.retrieve import retrieve
from setwise.serve.schemas import Whole
from setwise.serve.service import Posted, Service
from setwise.serve.work import Solve

#: What an assistant reads of the tools as a whole.
INSTRUCTIONS = (
    "Selects sets of texts that are relevant to a query and do not repeat each other, with a bound on how "
    "far they are from the best possible set. Use `retrieve` for a saved index, `select` to fit texts that "
    "you hold into a number or into a budget of tokens, `explain` to learn why each was chosen or left out."
)

Query = Annotated[str, Field(description="What the texts are to be about, in words.")]
Texts = Annotated[list[str], Field(description="The texts to choose from.", min_length=1)]
Size = Annotated[Whole | None, Field(description="How many to choose; by default 10.", ge=1)]
Diversity = Annotated[
    float,
    Strict(),
    Field(description="0 = the most relevant, however alike; 1 = the most different.", ge=0, le=1),
]
Tokens = Annotated[
    Whole | None,
    Field(description="In place of k, or beside it: the chosen have at most so many tokens.", ge=1),
]
Facets = Annotated[
    list[str] | None,
    Field(description="Sub-questions, each of which the chosen texts should answer.", min_length=1),
]
Name = Annotated[str | None, Field(description="The index's name; may be left out where there is one.")]
Condition = Annotated[
    str | None,
    Field(description="A condition on the index's columns, as in \"year >= 2020 and lang = 'en'\"."),
]


class Member(BaseModel):
    """A chosen text."""

    id: str | int = Field(description="its id in the index, or its place among the texts, from 0")
    text: str | None
    relevance: float | None
    columns: dict[str, Any] = Field(default_factory=dict)


class ChosenTexts(BaseModel):
    """A set, in selection order."""

    members: list[Member]
    proof: str | None = Field(description="how far it is from the best possible set, at most")
    cursor: str | None = Field(default=None, description="of an index: pass it as `after` for the next page")


class Explained(BaseModel):
    """Why a set is what it is."""

    chosen: list[str]
    left_out: list[str] = Field(description="the most relevant of the others")
    proof: str | None


class _Server(MCPServer[Any]):
    """A server that tells in the words of all others which argument cannot be used."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool by name."""
        tools = {tool.name: tool.input_schema["properties"] for tool in await self.list_tools()}
        for one in arguments if name in tools else ():  # by itself the protocol's package drops them
            if one not in tools[name]:
                raise ToolError(f"{one}: {name} takes no such argument{nearest(one, tools[name])}")
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(told_of(error.__cause__, arguments)) from None
            if isinstance(error.__cause__, ToolError):  # without the words before it
                raise error.__cause__ from None
            raise


def mcp_server(service: Service) -> MCPServer[Any]:
    """Return a server with the tools `retrieve`, `select` and `explain`, within a service's limits."""
    server = _Server("setwise", version=__version__, instructions=INSTRUCTIONS, log_level="WARNING")

    async def done(solve: Solve, **body: Any) -> dict[str, Any]:
        """Return the answer to a request's body, as a route would give it."""
        given = {name: value for name, value in body.items() if value is not None}
        if "facets" in given:
            given["objective"] = "facets"
        gone: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            posted = Posted(to_json(given), "application/json", {}, "mcp", shapes.COHERE)
            with service.work.admitted():
                answer: dict[str, Any] = from_json(await service.work.do(solve, posted, gone))
        except PydanticSerializationError:
            raise ToolError("a text holds half of a character, a surrogate alone; send it whole") from None
        except Exception as error:
            raise ToolError(_told(error)) from None
        return answer

    async def of_texts(query: str, texts: list[str], k: int | None, **wishes: Any) -> dict[str, Any]:
        size = k if k is not None or wishes.get("max_tokens") is not None else min(10, len(texts))
        return await done(rerank, query=query, texts=texts, top_n=size, **wishes)

    @server.tool(name="retrieve")
    @documented
    async def retrieve_tool(
        query: Query,
        index: Name = None,
        k: Size = None,
        diversity: Diversity = 0.3,
        filter: Condition = None,
        max_tokens: Tokens = None,
        facets: Facets = None,
        shown: Annotated[list[str | int] | None, Field(description="Ids that are known already.")] = None,
        after: Annotated[str | None, Field(description="The cursor of the page before.")] = None,
    ) -> ChosenTexts:
        """Retrieve texts from a saved index: relevant to a query, and no two saying the same."""
        wishes = {"diversity": diversity, "filter": filter, "max_tokens": max_tokens, "facets": facets}
        found = await done(retrieve, query=query, index=index, k=k, shown=shown, after=after, **wishes)
        members = [
            Member(
                id=one["id"], text=one.get("text"), relevance=one["score"], columns=one.get("columns") or {}
            )
            for one in found["results"]
        ]
        return ChosenTexts(members=members, proof=_proof(found["setwise"]), cursor=found["cursor"])

    @server.tool(name="select")
    @documented
    async def select_tool(
        query: Query,
        texts: Texts,
        k: Size = None,
        diversity: Diversity = 0.3,
        max_tokens: Tokens = None,
        facets: Facets = None,
        shown: Annotated[list[str] | None, Field(description="Texts that are known already.")] = None,
    ) -> ChosenTexts:
        """Select some of the texts: relevant to a query, and no two saying the same."""
        wishes = {"diversity": diversity, "max_tokens": max_tokens, "facets": facets, "shown": shown}
        found = await of_texts(query, texts, k, **wishes)
        told = found["setwise"] or {"selected": [], "relevances": [], "certificate": None}
        members = [
            Member(id=row, text=texts[row], relevance=told["relevances"][row]) for row in told["selected"]
        ]
        return ChosenTexts(members=members, proof=_proof(told))

    @server.tool(name="explain")
    @documented
    async def explain_tool(
        query: Query,
        texts: Annotated[list[str] | None, Field(description="The texts; or name an index.")] = None,
        index: Name = None,
        k: Size = None,
        diversity: Diversity = 0.3,
        filter: Condition = None,
        max_tokens: Tokens = None,
        facets: Facets = None,
    ) -> Explained:
        """Explain, of a set of texts or from an index, why each was chosen and others were left out."""
        wishes = {"diversity": diversity, "max_tokens": max_tokens, "facets": facets, "explain": True}
        if texts is not None:
            if index is not None or filter is not None:
                raise ToolError("texts: an index has its own; leave out texts, or index and filter")
            told = (await of_texts(query, texts, k, **wishes))["setwise"]
        else:
            told = (await done(retrieve, query=query, index=index, k=k, filter=filter, **wishes))["setwise"]
        reasons = (told or {}).get("reasons") or []
        return Explained(
            chosen=[why["words"] for why in reasons if why["chosen"]],
            left_out=[why["words"] for why in reasons if not why["chosen"]],
            proof=_proof(told),
        )

    return server


def _told(error: Exception) -> str:
    """Return what an assistant is told of an error.

    Raises Exception: the error itself, where it is a defect.
    """
    refused: Refused = refused_by(error)
    return refused.message


def _proof(told: dict[str, Any] | None) -> str | None:
    """Return what is proven of a set, in words."""
    proof = (told or {}).get("certificate")
    return proof["words"] if proof else None
