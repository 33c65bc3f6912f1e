"""``setwise serve``: sets over HTTP, in the shapes that rerank clients know."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from setwise.cli.options import READ, RUN, option

_read, _run, _limit = (partial(option, panel=panel) for panel in (READ, RUN, "How much may be asked"))

#: The environment variable that holds the token.
TOKEN = "SETWISE_TOKEN"

Served = Annotated[
    list[str] | None,
    _read(
        "--index",
        help="A folder made by setwise index build that may be asked, under its own name or another. Repeat "
        "for several.",
        metavar="[NAME=]DIR",
    ),
]
Encoding = Annotated[
    str,
    _read(
        "--model",
        help="What turns texts into vectors: auto (static), ngrams, sentence, sentence:FOLDER, or none.",
        metavar="NAME",
    ),
]
TokenFile = Annotated[
    str | None,
    _run(
        "--token-file",
        help=f"File with a token that every request has to bring; else {TOKEN} in the environment.",
        metavar="FILE",
        show_default="no token",
    ),
]


def serve(
    index: Served = None,
    model: Encoding = "auto",
    host: Annotated[
        str, _run("--host", help="Address to listen on; 0.0.0.0 for all.", metavar="ADDRESS")
    ] = "127.0.0.1",
    port: Annotated[
        int, _run("--port", help="Port to listen on; 0 for a free one.", metavar="NUMBER")
    ] = 8765,
    workers: Annotated[
        int, _run("--workers", help="Processes that share the port and the indexes.", metavar="COUNT")
    ] = 1,
    threads: Annotated[
        int | None,
        _run(
            "--threads",
            help="Requests that each process works on at a time.",
            metavar="COUNT",
            show_default="processors / workers",
        ),
    ] = None,
    token_file: TokenFile = None,
    allow_host: Annotated[
        list[str] | None,
        _run(
            "--allow-host",
            help="Name that requests may call the service by; on loopback beside loopback's own. Repeat for "
            "several.",
            metavar="NAME",
            show_default="any, unless on loopback",
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        _run(
            "--allow-origin",
            help="Origin of web pages that may read answers, as in https://app.example. Repeat for several.",
            metavar="ORIGIN",
            show_default="none",
        ),
    ] = None,
    max_body: Annotated[int, _limit("--max-body", help="Megabytes of a request's body.", metavar="MB")] = 32,
    max_documents: Annotated[
        int, _limit("--max-documents", help="Documents or vectors of one request.", metavar="COUNT")
    ] = 2000,
    max_waiting: Annotated[
        int,
        _limit(
            "--max-waiting",
            help="Requests that a process works on or lets wait; further ones are answered 429.",
            metavar="COUNT",
        ),
    ] = 64,
    timeout: Annotated[
        float, _limit("--timeout", help="Seconds that a request may take; then 504.", metavar="SECONDS")
    ] = 30.0,
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
        return os.environ.get(TOKEN)
    from setwise.files.names import existing

    return existing(Path(file), "token-file").read_text(encoding="utf-8").strip()
