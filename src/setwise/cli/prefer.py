"""``setwise prefer``: sampled responses in, rows of chosen and rejected responses out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

from setwise.cli import folders
from setwise.cli.options import CERTIFY, AsJson, Seed, Threads, at_most, option

_INPUT, _SET, _OUTPUT = "What to read", "What a good set is", "What to print and keep"


def prefer(
    responses: Annotated[
        str,
        option(
            "--responses",
            help="Prompts with their responses and rewards: a .jsonl, .jsonl.gz or .parquet file, or the "
            "folder of a saved Hugging Face dataset; one row a prompt, or one a response.",
            panel=_INPUT,
            metavar="PATH",
        ),
    ],
    out: Annotated[
        str, option("--out", help="Where the rows go: .jsonl or .parquet.", panel=_OUTPUT, metavar="FILE")
    ],
    prompt: Annotated[
        str | None,
        option(
            "--prompt",
            help="The prompts: texts, or lists of messages. By default prompt, instruction, …",
            panel=_INPUT,
            metavar="COLUMN",
        ),
    ] = None,
    prompt_id: Annotated[
        str | None,
        option(
            "--prompt-id",
            help="Of rows of one response: which belong together. By default prompt_id, else the prompt.",
            panel=_INPUT,
            metavar="COLUMN",
        ),
    ] = None,
    responses_column: Annotated[
        str | None,
        option(
            "--responses-column",
            help="The responses. By default responses, all_generated_responses, …; response, …",
            panel=_INPUT,
            metavar="COLUMN",
        ),
    ] = None,
    rewards: Annotated[
        str | None,
        option(
            "--rewards",
            help="Higher is better. By default rewards, all_rm_scores, all_reward_scores, …; reward, …",
            panel=_INPUT,
            metavar="COLUMN",
        ),
    ] = None,
    embeddings: Annotated[
        str | None,
        option(
            "--embeddings",
            help="Your own vectors; no response is encoded. By default embeddings, …; embedding, …",
            panel=_INPUT,
            metavar="COLUMN",
        ),
    ] = None,
    model: Annotated[
        str,
        option(
            "--model",
            help="What encodes responses without vectors: auto (static), lsa, ngrams, sentence or "
            "sentence:FOLDER.",
            panel=_INPUT,
        ),
    ] = "auto",
    duplicates: Annotated[
        str,
        option(
            "--duplicates",
            help="Responses that repeat another of their prompt: drop or keep.",
            panel=_INPUT,
            metavar="drop|keep",
        ),
    ] = "drop",
    ties: Annotated[
        str,
        option(
            "--ties",
            help="Responses as good as a chosen one that are not chosen: drop, or keep as rejectable.",
            panel=_INPUT,
            metavar="drop|keep",
        ),
    ] = "drop",
    too_few: Annotated[
        str,
        option(
            "--too-few",
            help="Prompts with too few responses: refuse the file, or skip and count them.",
            panel=_INPUT,
            metavar="refuse|skip",
        ),
    ] = "refuse",
    k: Annotated[int, option("-k", help="Rejected responses a prompt.", panel=_SET)] = 7,
    method: Annotated[
        str, option("--method", help="opt-select, coreset, bottom-k or random.", panel=_SET)
    ] = "opt-select",
    solver: Annotated[
        str, option("--solver", help="Of opt-select: swap, exact or greedy.", panel=_SET)
    ] = "swap",
    positives: Annotated[
        int, option("--positives", help="Chosen responses a prompt: the best.", panel=_SET)
    ] = 1,
    split: Annotated[
        str,
        option("--split", help="Chosen are the best (one-vs-k), or all above the mean.", panel=_SET),
    ] = "one-vs-k",
    certify: Annotated[
        str,
        option(
            "--certify",
            help="How hard to prove what no choice can cost less than: none, bounded or full.",
            panel=_SET,
        ),
    ] = "bounded",
    seed: Seed = 0,
    threads: Threads = None,
    format: Annotated[
        str,
        option(
            "--format",
            help="groups: a row a prompt. For TRL: pairs of chosen and rejected, or unpaired with labels.",
            panel=_OUTPUT,
        ),
    ] = "groups",
    as_json: AsJson = False,
    force: Annotated[bool, option("--force", help="Replace an existing FILE.", panel=_OUTPUT)] = False,
) -> None:
    """Choose one positive and k informative negatives of each prompt's responses, as rows to train on."""
    from setwise import checks
    from setwise._version import __version__
    from setwise.cli import output
    from setwise.cli.prefer_output import print_summary, tell_notes
    from setwise.preference.rows.rows import PreferenceRows, check_target

    check_target(out, force=force)
    checks.choice("certify", certify, CERTIFY)
    settings: dict[str, Any] = {
        "k": k,
        "method": method,
        "solver": solver,
        "positives": positives,
        "split": split,
        "format": format,
        "model": model,
        "duplicates": duplicates,
        "ties": ties,
        "too_few": too_few,
        "seed": seed,
        "threads": threads,
    }
    began = time.perf_counter()
    with folders.step_bar() as tell, at_most(threads), output.notes_for_warnings():
        made = PreferenceRows(
            responses,
            prompt=prompt,
            prompt_id=prompt_id,
            responses_column=responses_column,
            rewards=rewards,
            embeddings=embeddings,
            certify=CERTIFY[certify],
            progress=lambda done, total: tell("rows", done, total),
            **settings,
        )
        tell("reading", 0, 0)
        summary = made.write(out, force=force)
    seconds = time.perf_counter() - began
    tell_notes(made)
    if as_json:
        record = {
            "setwise": __version__,
            "source": responses,
            "out": out,
            "settings": {**settings, "certify": certify},
            "columns": made.columns.to_dict(),
            "encoder": made.encoder,
            **summary.to_dict(),
            "seconds": seconds,
        }
        output.print_json(record)
        return
    print_summary(Path(out).name, made, seconds)
