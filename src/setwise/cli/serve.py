"""``setwise serve``: sets over HTTP, in the shapes that rerank clients know."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from setwise.cli.options import option, read_option, run_option

_limit = partial(option, panel="How much may be asked")

#: The environment variable that holds the token.
TOKEN = "SETWISE_TOKEN"

Served = Annotated[
    list[str] | None,
    read_option(
        "--index [NAME=]DIR",
        "A folder made by setwise index build that may be asked, under its own name or another. Repeat "
        "for several.",
    ),
]
Encoding = Annotated[
    str,
    read_option(
        "--model NAME",
        "What turns texts into vectors: auto (static), ngrams, sentence, sentence:FOLDER, or none.",
    ),
]
TokenFile = Annotated[
    str | None,
    run_option(
        "--token-file FILE",
        f"File with a token that every request has to bring; else {TOKEN} in the environment.",
        show_default="no token",
    ),
]


def serve(
    index: Served = None,
    model: Encoding = "auto",
    host: Annotated[
        str, run_option("--host ADDRESS", "Address to listen on; 0.0.0.0 for all.")
    ] = "127.0.0.1",
    port: Annotated[int, run_option("--port NUMBER", "Port to listen on; 0 for a free one.")] = 8765,
    workers: Annotated[
        int, run_option("--workers COUNT", "Processes that share the port and the indexes.")
    ] = 1,
    threads: Annotated[
        int | None,
        run_option(
            "--threads COUNT",
            "Requests that each process works on at a time.",
            show_default="processors / workers",
        ),
    ] = None,
    token_file: TokenFile = None,
    allow_host: Annotated[
        list[str] | None,
        run_option(
            "--allow-host NAME",
            "Name that requests may call the service by; on loopback beside loopback's own. Repeat for "
            "several.",
            show_default="any, unless on loopback",
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        run_option(
            "--allow-origin ORIGIN",
            "Origin of web pages that may read answers, as in https://app.example. Repeat for several.",
            show_default="none",
        ),
    ] = None,
    max_body: Annotated[int, _limit("--max-body MB", "Megabytes of a request's body.")] = 32,
    max_documents: Annotated[
        int, _limit("--max-documents COUNT", "Documents or vectors of one request.")
    ] = 2000,
    max_waiting: Annotated[
        int,
        _limit(
            "--max-waiting COUNT",
            "Requests that a process works on or lets wait; further ones are answered 429.",
        ),
    ] = 64,
    timeout: Annotated[
        float, _limit("--timeout SECONDS", "Seconds that a request may take; then 504.")
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
        return None if TOKEN not in os.environ else os.environ[TOKEN].strip()
    from setwise.files.names import existing

    return existing(Path(file), "token-file").read_text(encoding="utf-8").strip()
