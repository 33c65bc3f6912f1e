"""Clients that others wrote, each in an environment of its own, ask `setwise serve` instead of their service.

Environments are kept in ``.venv-clients``; made anew, each takes up to a few minutes and some 100 MB.
"""

import json
import subprocess
import venv
from pathlib import Path

import pytest
from asking import serving

from optional import needs

pytestmark = [pytest.mark.slow, needs("fastapi", "uvicorn", "prometheus_client", "wordllama", "typer")]

FOLDER = Path(__file__).resolve().parents[2] / ".venv-clients"
QUERY = "how long do apples keep"

#: What each program begins with: the address, the query, documents. It prints places in the end.
BEGIN = "import json, sys\nURL, QUERY, TEXTS = sys.argv[1], sys.argv[2], json.load(open(sys.argv[3]))\n"

_RERANKERS = """
from rerankers.models.api_rankers import APIRanker
found = APIRanker("m", "key", {provider!r}, verbose=0, url=URL + {path!r}).rank(QUERY, TEXTS)
print([one.document.doc_id for one in found.results])
"""

_LITELLM = """
import litellm
options = {{"return_documents": False}} if {provider!r} == "infinity" else {{}}
found = litellm.rerank(
    model="{provider}/m", api_base=URL, api_key="key", query=QUERY, documents=TEXTS, top_n=3, **options
)
print([one["index"] for one in found.results])
"""

_HAYSTACK = """
from haystack import Document
from haystack.utils import Secret
{made}
found = ranker.run(query=QUERY, documents=[Document(content=text) for text in TEXTS])["documents"]
print([TEXTS.index(one.content) for one in found])
"""

_LANGCHAIN = """
from langchain_core.documents import Document
{made}
found = ranker.compress_documents([Document(page_content=text) for text in TEXTS], QUERY)
print([TEXTS.index(one.page_content) for one in found])
"""

_LLAMA_INDEX = """
from llama_index.core.schema import NodeWithScore, TextNode
{made}
found = ranker.postprocess_nodes([NodeWithScore(node=TextNode(text=text)) for text in TEXTS], query_str=QUERY)
print([TEXTS.index(one.node.get_content()) for one in found])
"""

#: By client: the environment's packages, the program, and the size of the set that three or all (None) are
#: taken of.
CLIENTS = {
    "cohere, version 2": (
        "cohere",
        "import cohere\n"
        "client = cohere.ClientV2('key', base_url=URL)\n"
        "found = client.rerank(model='m', query=QUERY, documents=TEXTS, top_n=3)\n"
        "print([one.index for one in found.results])",
        3,
    ),
    "cohere, version 1": (
        "cohere",
        "import cohere\n"
        "client = cohere.Client('key', base_url=URL)\n"
        "found = client.rerank(model='m', query=QUERY, documents=TEXTS, top_n=3, return_documents=True)\n"
        "assert all(one.document.text == TEXTS[one.index] for one in found.results)\n"
        "print([one.index for one in found.results])",
        3,
    ),
    "LangChain's CohereRerank": (
        "langchain-cohere",
        _LANGCHAIN.format(
            made="from langchain_cohere import CohereRerank\n"
            "ranker = CohereRerank(cohere_api_key='key', base_url=URL, model='m', top_n=3)"
        ),
        3,
    ),
    "LangChain's JinaRerank": (
        "langchain-community",
        _LANGCHAIN.format(
            made="from langchain_community.document_compressors import jina_rerank\n"
            "jina_rerank.JINA_API_URL = URL + '/v1/rerank'\n"
            "ranker = jina_rerank.JinaRerank(jina_api_key='key', model='m', top_n=3)"
        ),
        3,
    ),
    "LlamaIndex's TextEmbeddingInference": (
        "llama-index-postprocessor-tei-rerank",
        _LLAMA_INDEX.format(
            made="from llama_index.postprocessor.tei_rerank import TextEmbeddingInference\n"
            "ranker = TextEmbeddingInference(base_url=URL, top_n=3, model_name='m', auth_token='Bearer key')"
        ),
        10,
    ),
    "LlamaIndex's JinaRerank": (
        "llama-index-postprocessor-jinaai-rerank",
        _LLAMA_INDEX.format(
            made="from llama_index.postprocessor.jinaai_rerank import JinaRerank\n"
            "ranker = JinaRerank(base_url=URL + '/v1', api_key='key', model='m', top_n=3)"
        ),
        3,
    ),
    "Haystack's CohereRanker": (
        "haystack-ai cohere-haystack jina-haystack",
        _HAYSTACK.format(
            made="from haystack_integrations.components.rankers.cohere import CohereRanker\n"
            "ranker = CohereRanker(model='m', top_k=3, api_key=Secret.from_token('key'), api_base_url=URL)"
        ),
        3,
    ),
    "Haystack's JinaRanker": (
        "haystack-ai cohere-haystack jina-haystack",
        _HAYSTACK.format(
            made="from haystack_integrations.components.rankers.jina import JinaRanker\n"
            "key, url = Secret.from_token('key'), URL + '/v1/rerank'\n"
            "ranker = JinaRanker(api_key=key, model='m', top_k=3, base_url=url)"
        ),
        3,
    ),
    "Haystack's HuggingFaceTEIRanker": (
        "haystack-ai huggingface-api-haystack",
        _HAYSTACK.format(
            made="from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker\n"
            "ranker = HuggingFaceTEIRanker(url=URL, top_k=3, token=Secret.from_token('key'))"
        ),
        10,
    ),
    "voyageai": (
        "voyageai",
        "import voyageai\n"
        "client = voyageai.Client(api_key='key', base_url=URL + '/v1')\n"
        "print([one.index for one in client.rerank(QUERY, TEXTS, 'm', top_k=3).results])",
        3,
    ),
    "mixedbread": (
        "mixedbread",
        "import mixedbread\n"
        "client = mixedbread.Mixedbread(api_key='key', base_url=URL)\n"
        "print([one.index for one in client.rerank(model='m', query=QUERY, input=TEXTS, top_k=3).data])",
        3,
    ),
    **{
        f"rerankers for {provider}": ("rerankers[api]", _RERANKERS.format(provider=provider, path=path), size)
        for provider, path, size in [
            ("cohere", "/v1/rerank", None),
            ("jina", "/v1/rerank", None),
            ("voyage", "/v1/rerank", None),
            ("mixedbread.ai", "/v1/reranking", None),
            ("text-embeddings-inference", "/rerank", 10),
        ]
    },
    **{
        f"LiteLLM for {provider}": ("litellm", _LITELLM.format(provider=provider), 3)
        for provider in ("cohere", "jina_ai", "hosted_vllm", "voyage", "infinity")
    },
}


def environment(packages):
    """The Python of an environment that has some packages, made where there is none."""
    place = FOLDER / packages.split()[-1].partition("[")[0]
    python = place / "bin" / "python"
    if not (place / "whole").exists():
        venv.create(place, clear=True, with_pip=True)
        install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages.split()]
        subprocess.run(install, check=True)
        (place / "whole").touch()
    return python


@pytest.fixture(scope="module")
def at():
    with serving(SETWISE_TOKEN="key") as (_, place):
        yield place


@pytest.fixture(scope="module")
def texts(notes, tmp_path_factory):
    place = tmp_path_factory.mktemp("clients") / "texts.json"
    place.write_text(json.dumps(notes))
    return place


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_finds_the_set(name, at, texts, notes):
    import setwise
    from setwise.encode import encoder

    packages, program, size = CLIENTS[name]
    rows = encoder("static").encode([QUERY, *notes])
    asked = size or len(notes)
    expected = setwise.diversify(
        range(len(notes)), asked, relevance=rows[1:] @ rows[0], vectors=rows[1:], relevance_scale="none"
    ).ids.tolist()
    command = [environment(packages), "-c", BEGIN + program, at, QUERY, texts]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(ran.stdout.splitlines()[-1])
    first = 3 if size else 10
    assert found[:first] == expected[:first]
