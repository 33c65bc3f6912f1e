"""Responses to prompts: a file of prompts in, a file of prompts with N responses each out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from setwise import checks
from setwise.encode.models import weights_fingerprint, with_tokenizer
from setwise.preference.loop.generate import Sampled, Sampling, TransformersEngine
from setwise.preference.prompts import Prompt, all_tokens, end_of_turn, uses_chat
from setwise.preference.rows.cells import as_prompt, check_context
from setwise.preference.rows.columns import PROMPT_COLUMNS, context_of
from setwise.preference.stages.partial import Partial, Row, at_once, digest_of, rows_of
from setwise.preference.stages.server import Server
from setwise.progress import Progress, tell


def generate(
    prompts: Any,
    out: str | os.PathLike[str],
    *,
    server: Server | None = None,
    model: Any = None,
    tokenizer: Any = None,
    loading: Mapping[str, Any] | None = None,
    responses: int = 32,
    temperature: float = 0.8,
    top_p: float = 1.0,
    max_new_tokens: int = 512,
    batch_size: int = 32,
    concurrency: int = 16,
    prompt: str | None = None,
    dataset_split: str | None = None,
    chat: bool | None = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    seed: int = 0,
    force: bool = False,
    progress: Progress | None = None,
) -> int:
    """Sample N responses to each prompt of a file, by a server or a model, and write them as rows.

    A row that is done is kept at once; called again with the same arguments, what is missing is made. With a
    model, and with servers that heed the seed, the rows are those of an uninterrupted run.

    Parameters
    ----------
    prompts : path-like, datasets.Dataset or iterable of mappings
        Rows with a prompt each, a text or messages; other columns are handed through.
    out : path-like
        A .jsonl file: ``prompt``, ``responses``, ``tokens`` (how many), ``finished`` and, of a model,
        ``token_ids``.
    server : Server, optional
    model, tokenizer, loading
        In place of a server: what `setwise.preference.load_model` takes, or a model with its tokenizer.
    responses : int
        N.
    temperature, top_p, max_new_tokens
        How responses are drawn; temperature at least 0.
    batch_size : int
        Responses that a model generates at once.
    concurrency : int
        Requests that a server gets at once.
    prompt : str, optional
        The column of the prompts; by default "prompt" or another usual name.
    dataset_split : str, optional
    chat, chat_template_kwargs
        With a model, as in `setwise.preference.OnPolicyConfig`.
    seed : int
    force : bool
        Replace an existing output.
    progress : callable, optional
        Called with the rows done and all rows.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    FileExistsError, FileNotFoundError, ImportError, PermissionError, TypeError, ValueError
        An argument is out of range, there is no such file or model, the output cannot be written, an
        unfinished run has other settings, or the server does not answer.
    """
    if (server is None) == (model is None):
        raise ValueError("server: give either a server or a model")
    checks.integer("concurrency", concurrency, least=1)
    checks.integer("batch_size", batch_size, least=1)
    checks.integer("seed", seed, least=0)
    sampling = Sampling(
        checks.integer("responses", responses, least=1),
        checks.nonnegative("temperature", temperature),
        checks.nonnegative("top_p", top_p),
        checks.integer("max_new_tokens", max_new_tokens, least=1),
        batch_size,
    )
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p: {top_p} is not above 0 and at most 1")
    source, rows = rows_of(prompts, dataset_split, "prompts")
    column = prompt or next((name for name in PROMPT_COLUMNS if name in source.columns), "prompt")
    asked = [as_prompt(row.get(column), column, place) for place, row in rows]
    context = context_of(source.columns, prompt)
    for (place, row), one in zip(rows, asked, strict=True):
        check_context(row, one, context, place)
        if row.get("tools"):
            raise ValueError(
                f"prompt: {place} has 'tools', which it would be asked without; give those that all prompts "
                "share by chat_template_kwargs (of a server, by a field), and drop the column"
            )
    named = isinstance(model, str | os.PathLike)
    if server is None and not named:
        with_tokenizer(model, tokenizer, loading=loading)  # says what is wrong with them
    who = server.model if server is not None else os.fspath(model) if named else weights_fingerprint(model)
    settings = {
        "model": who,
        "loading": dict((server.extra if server is not None else loading) or {}),
        "chat": chat,
        "chat_template_kwargs": dict(chat_template_kwargs or {}),
        "prompts": digest_of(rows),
        "responses": responses,
        "temperature": temperature,
        "top_p": top_p,
        "max_new_tokens": max_new_tokens,
        "seed": seed,
    }
    others = [{name: cell for name, cell in row.items() if name != column} for _, row in rows]

    def row_of(number: int, found: Sampled) -> Row:
        made: Row = {**others[number], "prompt": asked[number], "responses": found.texts}
        made |= {"tokens": found.tokens, "finished": found.finished}
        return made if found.token_ids is None else {**made, "token_ids": found.token_ids}

    with Partial(out, settings, force=force) as partial:
        if server is not None:
            _from_server(server, asked, sampling, seed, concurrency, partial, row_of, progress)
        else:
            _from_model(
                with_tokenizer(model, tokenizer, dtype="auto", loading=loading),
                asked,
                sampling,
                seed,
                chat,
                chat_template_kwargs,
                partial,
                row_of,
                progress,
            )
        partial.finish()
    return len(rows)


def _from_server(
    server: Server,
    asked: Sequence[Prompt],
    sampling: Sampling,
    seed: int,
    concurrency: int,
    partial: Partial,
    row_of: Any,
    progress: Progress | None,
) -> None:
    """Ask a server for the rows that are missing."""
    client = server.client()
    with ThreadPoolExecutor(concurrency) as requests:

        def work(number: int) -> Row:
            answers = list(
                requests.map(
                    lambda one: server.answer(client, asked[number], sampling, (seed, number, one)),
                    range(sampling.responses),
                )
            )
            texts, tokens, finished = zip(
                *((one.text, one.tokens, one.finished) for one in answers), strict=True
            )
            return dict(row_of(number, Sampled(list(texts), list(tokens), list(finished))))

        # Rows wait for their requests, whose number at a time `requests` bounds.
        at_once(work, partial, len(asked), threads=concurrency, progress=progress)


def _from_model(
    loaded: tuple[Any, Any],
    asked: Sequence[Prompt],
    sampling: Sampling,
    seed: int,
    chat: bool | None,
    template: Mapping[str, Any] | None,
    partial: Partial,
    row_of: Any,
    progress: Progress | None,
) -> None:
    """Let a model answer the prompts that are missing."""
    model, tokenizer = loaded
    chat = uses_chat(asked, tokenizer, chat)
    talks = chat or not isinstance(asked[0], str)
    tokens = all_tokens(
        asked,
        tokenizer,
        chat=chat,
        room=sampling.max_new_tokens,
        limit=getattr(model.config, "max_position_embeddings", None),
        name="prompts",
        template=template,
    )
    end = end_of_turn(tokenizer, chat=talks, template=template)
    engine = TransformersEngine(model, tokenizer, sampling, end)
    missing = partial.missing(len(asked))
    together = max(1, sampling.batch_size // sampling.responses)
    for start in range(0, len(missing), together):
        tell(progress, len(partial), len(asked))
        part = missing[start : start + together]
        found = engine.generate([tokens[row] for row in part], [(seed, row) for row in part])
        for number, one in zip(part, found, strict=True):
            partial.add(number, row_of(number, one))
    tell(progress, len(partial), len(asked))
