"""``setwise prefer select``: sampled responses in, rows of chosen and rejected responses out; its group."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from setwise.cli import folders, options
from setwise.cli.options import described
from setwise.cli.prefer_stages import generate, loop, score, train


class _SelectByDefault(TyperGroup):
    """A group whose first option, in place of a command, means select."""

    def parse_args(self, context: Any, words: list[str]) -> list[str]:
        if words and words[0].startswith("-") and words[0] not in context.help_option_names:
            words = ["select", *words]
        return super().parse_args(context, words)


app = typer.Typer(
    cls=_SelectByDefault,
    help="Preference data and training: generate, score, select (where no command is named), train, loop.",
    no_args_is_help=True,
)
for _stage in (generate, score, train, loop):
    app.command()(_stage)


#: Options that say where things are read, and those that a record of the run has.
COLUMNS = ("prompt", "prompt_id", "responses_column", "rewards", "embeddings", "dataset_split")
SETTINGS = (
    *("reward_weight", "formulation", "near", "min_gap", "method", "solver", "positives", "split", "format"),
    *("model", "duplicates", "ties", "unscored", "too_few", "seed", "threads"),
)


@app.command()
@described("""
    What to read
        --responses PATH  Prompts with several responses each, and a reward a response: a .jsonl, .jsonl.gz or
            .parquet file, or the folder of a saved Hugging Face dataset. A row is a prompt with all its
            responses, or one response, or has chosen and rejected ones.
        --prompt COLUMN  Column with the prompts: texts, or chats as lists of messages. [default: prompt,
            instruction or another usual name]
        --prompt-id COLUMN  Where a row is one response: the column that tells which rows have the same
            prompt. [default: prompt_id, else the prompt itself]
        --responses-column COLUMN  Column with the responses: a list of texts a row, or one text. [default:
            responses, response or another usual name]
        --rewards COLUMN  Column with the rewards, a number a response; higher is better. Of responses that
            are records, such as UltraFeedback's, also a path in them: annotations.helpfulness.Rating.
            [default: rewards, reward or another usual name]
        --embeddings COLUMN  Column with vectors of your own, one a response; then no text is encoded.
            [default: embeddings, embedding or another usual name, if there is one]
        --dataset-split NAME  Which split of a saved dataset that has several.
        --duplicates drop|keep  Responses that repeat an earlier one of their prompt word for word: leave them
            out, or keep them.
        --near SHARE  Keep only the best of the responses with this share of their words in common, and this
            cosine of their vectors; above 1, keep all.
        --min-gap REWARD  How much lower than the chosen's the reward of a rejected response has to be.
        --ties drop|keep  Responses with the same reward as the chosen one: leave them out, or let them be
            rejected.
        --unscored drop|refuse  Responses without a score (null, NaN, N/A): leave them out and say how many,
            or stop with an error.
        --too-few refuse|skip  Prompts with fewer responses than are asked for: stop with an error, or leave
            them out and say how many.
    What to print and keep
        --out FILE  File for the rows to train on: .jsonl or .parquet.
        --format groups|pairs|unpaired|llama-factory|openrlhf|axolotl  What a row is: a prompt with its chosen
            and its rejected (groups); or, as TRL reads them, a pair of chosen and rejected (pairs) or one
            response with a label (unpaired); or a pair as LLaMA-Factory, OpenRLHF or axolotl read it.
    What a good set is
        -k COUNT  How many responses a prompt to reject. [default: 7; 1 with best-vs-worst]
        --reward-weight NUMBER  How much more bad responses count than good ones in the distance: 0 not at
            all, 1 as AMPO.
        --formulation appendix-e|equation-8  The distance as AMPO's own code has it (appendix-e), or its main
            text (equation-8).
        --method NAME  How the rejected are picked: those that stand for all the others at the least distance,
            bad ones counting more (opt-select); the worst of each of k clusters (coreset); the k worst
            (bottom-k); the k nearest to two deviations below the mean (sigma); the worst alone
            (best-vs-worst); or any (random).
        --solver swap|exact|greedy  With opt-select: improve a first set by exchanges (swap), find the proven
            best one (exact), or take the first (greedy).
        --positives COUNT  How many of a prompt's best responses to take out as chosen.
        --split one-vs-k|mean  Which of the responses taken are chosen: the best (one-vs-k), or all above
            their mean reward (mean).
        --certify none|bounded|full  Work spent on proving how far the rejected are from the best possible
            choice.
""")
def select(
    context: typer.Context,
    responses: str,
    out: str,
    prompt: str | None = None,
    prompt_id: str | None = None,
    responses_column: str | None = None,
    rewards: str | None = None,
    embeddings: str | None = None,
    dataset_split: str | None = None,
    model: str = "auto",
    duplicates: str = "drop",
    near: float = 0.9,
    min_gap: float = 0.0,
    ties: str = "drop",
    unscored: str = "drop",
    too_few: str = "refuse",
    k: int | None = None,
    reward_weight: float = 3.0,
    formulation: str = "appendix-e",
    method: str = "opt-select",
    solver: str = "swap",
    positives: int = 1,
    split: str = "one-vs-k",
    certify: str = "bounded",
    time_limit: float = 60.0,
    seed: int = 0,
    threads: int | None = None,
    format: str = "groups",
    as_json: options.AsJson = False,
    force: bool = False,
) -> None:
    """Choose which responses of each prompt to train a model toward, and which to train it away from."""
    from setwise import checks
    from setwise._version import __version__
    from setwise.cli import output
    from setwise.cli.prefer_output import print_summary, tell_notes
    from setwise.files import check_output
    from setwise.preference.rows.rows import OUTPUTS, PreferenceRows

    check_output(out, force=force, endings=OUTPUTS)
    checks.choice("certify", certify, options.CERTIFY)
    # Options have the names of the parameters.
    settings: dict[str, Any] = {"k": (1 if method == "best-vs-worst" else 7) if k is None else k}
    settings |= options.values_of(context, *SETTINGS)
    began = time.perf_counter()
    with output.notes_for_warnings(), folders.step_bar() as tell, options.at_most(threads):
        made = PreferenceRows(
            responses,
            **options.values_of(context, *COLUMNS, "time_limit"),
            certify=options.CERTIFY[certify],
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
