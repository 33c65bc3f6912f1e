"""``setwise serve``: sets over HTTP, in the shapes that rerank clients know."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from setwise.cli.options import described, read_described

#: The environment variable that holds the token.
TOKEN = "SETWISE_TOKEN"

#: Options of this command and of mcp.
SERVED = read_described("""
    What to read
        --index [NAME=]DIR  A folder made by setwise index build that may be asked, under its own name or
            another. Repeat for several.
        --model NAME  What turns texts into vectors: auto (static), ngrams, sentence, sentence:FOLDER, or
            none.
""")


@described(
    """
    How to run
        --host ADDRESS  Address to listen on; 0.0.0.0 for all.
        --port NUMBER  Port to listen on; 0 for a free one.
        --workers COUNT  Processes that share the port and the indexes.
        --threads COUNT  Requests that each process works on at a time. [default: processors / workers]
        --token-file FILE  File with a token that every request has to bring; else SETWISE_TOKEN in the
            environment. [default: no token]
        --allow-host NAME  Name that requests may call the service by; on loopback beside loopback's own.
            Repeat for several. [default: any, unless on loopback]
        --allow-origin ORIGIN  Origin of web pages that may read answers, as in https://app.example. Repeat
            for several. [default: none]
    How much may be asked
        --max-body MB  Megabytes of a request's body.
        --max-documents COUNT  Documents or vectors of one request.
        --max-waiting COUNT  Requests that a process works on or lets wait; further ones are answered 429.
        --timeout SECONDS  Seconds that a request may take; then 504.
""",
    SERVED,
)
def serve(
    index: list[str] | None = None,
    model: str = "auto",
    host: str = "127.0.0.1",
    port: int = 8765,
    workers: int = 1,
    threads: int | None = None,
    token_file: str | None = None,
    allow_host: list[str] | None = None,
    allow_origin: list[str] | None = None,
    max_body: int = 32,
    max_documents: int = 2000,
    max_waiting: int = 64,
    timeout: float = 30.0,
) -> None:
    """Serve reranking, selection and retrieval over HTTP, until Ctrl-C or SIGTERM."""
    from setwise import checks
    from setwise.cli.output import note
    from setwise.extras import needs

    with needs("serve", "the service"):
        from setwise.serve import Limits, Settings
        from setwise.serve.run import allowed_hosts, is_loopback, run
        from setwise.serve.settings import named_indexes

    checks.integer("port", port, least=0, most=65535)
    settings = Settings(
        indexes=named_indexes(index or []),
        model=model,
        token=_token(token_file),
        hosts=allowed_hosts(host, tuple(allow_host or ())),
        origins=tuple(allow_origin or ()),
        limits=Limits(
            body=checks.integer("max-body", max_body, least=1) << 20,
            documents=checks.integer("max-documents", max_documents, least=1),
            seconds=checks.positive("timeout", timeout),
            waiting=checks.integer("max-waiting", max_waiting, least=1),
            threads=0 if threads is None else checks.integer("threads", threads, least=1),
        ),
    )
    if settings.token is None and not is_loopback(host):
        note(f"{host} can be reached from elsewhere and there is no token; pass --token-file")
    workers = checks.integer("workers", workers, least=1)
    run(settings, host, port, workers=workers, listening=lambda at: typer.echo(f"serving {at}", err=True))


def _token(file: str | None) -> str | None:
    """Return the token of a file, or of the environment.

    Raises FileNotFoundError: there is no such file; ValueError: it is blank.
    """
    if file is None:
        return None if TOKEN not in os.environ else os.environ[TOKEN].strip()
    from setwise.files.names import existing

    return existing(Path(file), "token-file").read_text(encoding="utf-8").strip()
