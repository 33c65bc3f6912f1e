"""``setwise prefer generate``, ``score``, ``train`` and ``loop``: the stages around the choice."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from setwise import checks
from setwise.cli import folders, output
from setwise.cli.options import AsJson, described, read_described, run_option, set_option, values_of

#: Options of several stages.
_STAGES = read_described("""
    What to read
        --prompts PATH  Prompts, one a row: .jsonl or .parquet.
        --model NAME  The model: a folder, a name on Hugging Face, a .gguf file, or smollm2.
        --reward WHAT  A service (http://…), a Python function (module:function, file.py:function), or a
            Hugging Face reward model's folder or name.
        --dataset-split NAME  Which split of a saved dataset.
    What a good set is
        -n --responses COUNT  Responses a prompt.
        --temperature NUMBER  0 takes the likeliest token each time.
        --max-new-tokens COUNT  Tokens of a response at most.
""")
#: What is no JSON, and as a text would be true.
_PYTHONS = {"True": True, "False": False, "None": None}

Settings = Annotated[
    list[str],
    set_option(
        "--set NAME=VALUE",
        "A further setting, its value as JSON or a text; A.B=VALUE is B of A; may be given again.",
    ),
]


@described(
    """
    What to print and keep
        --out FILE  A .jsonl file.
    What to read
        --server URL  An OpenAI-compatible endpoint (vLLM, llama.cpp, TGI): http://localhost:8000/v1.
        --model NAME  With --server, what it calls the model; else a model to load: a folder, a name on
            Hugging Face, a .gguf file, or smollm2.
        --prompt COLUMN  Column with the prompts.
    What a good set is
        --top-p SHARE  Draw from the likeliest tokens of this probability.
    How to run
        --concurrency COUNT  Requests at once.
        --batch-size COUNT  Responses a loaded model makes at once.
        --retries COUNT  How often a request that failed is sent again.
""",
    _STAGES,
)
def generate(
    context: typer.Context,
    prompts: str,
    out: str,
    server: str | None = None,
    model: str | None = None,
    prompt: str | None = None,
    dataset_split: str | None = None,
    responses: int = 32,
    temperature: float = 0.8,
    top_p: float = 1.0,
    max_new_tokens: int = 512,
    concurrency: int = 16,
    batch_size: int = 32,
    retries: int = 5,
    api_key: Annotated[
        str,
        run_option(
            "--api-key KEY", "The key that the server asks for.", envvar="SETWISE_API_KEY", show_default=False
        ),
    ] = "none",
    field: Annotated[
        list[str],
        set_option(
            "--field NAME=VALUE",
            "A further field of each request to --server, such as top_k=-1; may be given again.",
        ),
    ] = [],  # noqa: B006 typer makes a new list each time
    setting: Settings = [],  # noqa: B006 typer makes a new list each time
    seed: int = 0,
    as_json: AsJson = False,
    force: bool = False,
) -> None:
    """Sample responses to prompts, by a server or a model; goes on where it was interrupted.

    With --set, of a model that is loaded: loading.dtype=bfloat16, chat_template_kwargs.enable_thinking=false.
    """
    from setwise.preference.stages import generate as make
    from setwise.preference.stages.server import Server

    extra = _pairs(field, "--field")
    if extra and not server:
        raise ValueError("--field: a field of requests to --server; leave it out, or name a server")
    how = _settings(setting, ("chat", "chat_template_kwargs", "loading"))
    if how and server:
        raise ValueError("--set: of a model that is loaded; a server is told by --field")
    asked = Server(server, model or "default", key=api_key, retries=retries, extra=extra) if server else None
    with output.notes_for_warnings(), folders.step_bar() as tell:
        tell("loading", 0, 0)
        rows = make(
            prompts,
            out,
            server=asked,
            model=None if server else model,
            **how,
            **values_of(context, "responses", "temperature", "top_p", "max_new_tokens", "prompt"),
            **values_of(context, "concurrency", "batch_size", "dataset_split", "seed", "force"),
            progress=lambda done, total: tell("prompts", done, total),
        )
    _say(out, rows, f"prompts with {responses} response{'' if responses == 1 else 's'} each", as_json)


@described(
    """
    What to read
        --responses PATH  Prompts with a list of responses each: .jsonl or .parquet.
    What to print and keep
        --out FILE  A .jsonl file.
    How to run
        --concurrency COUNT  Rows a service scores at once.
""",
    _STAGES,
)
def score(
    responses: str,
    reward: str,
    out: str,
    dataset_split: str | None = None,
    concurrency: int = 1,
    as_json: AsJson = False,
    force: bool = False,
) -> None:
    """Score the responses of a file; goes on where it was interrupted."""
    from setwise.preference.stages import score as make

    with output.notes_for_warnings(), folders.step_bar() as tell:
        rows = make(
            responses,
            out,
            reward,
            concurrency=concurrency,
            dataset_split=dataset_split,
            force=force,
            progress=lambda done, total: tell("prompts", done, total),
        )
    _say(out, rows, "prompts with scored responses", as_json)


@described(
    """
    What to read
        --rows PATH  What setwise prefer select has written, or any rows that it reads.
        --eval-rows PATH  Rows to evaluate on.
    What to print and keep
        --out DIR  Folder for the trained model or adapter.
    What a good set is
        --loss refa|swepo|mpo|infonca|nca|listwise-dpo|simpo|dpo  What is minimized.
        --learning-rate RATE  Step size of the optimizer. [default: 1e-6; 1e-4 with --lora]
        --epochs COUNT  Passes over the rows.
        --batch-size COUNT  Prompts an update.
        --lora  Train an adapter, not all weights.
    How to run
        --resume  Go on from the last checkpoint.
""",
    _STAGES,
)
def train(
    rows: str,
    model: str,
    out: str,
    eval_rows: str | None = None,
    dataset_split: str | None = None,
    loss: str = "refa",
    learning_rate: float | None = None,
    epochs: float = 1.0,
    batch_size: int = 16,
    lora: bool = False,
    setting: Settings = [],  # noqa: B006 typer reads the default and makes a new list each time
    resume: bool = False,
    seed: int = 0,
    as_json: AsJson = False,
) -> None:
    """Train a model on preference rows."""
    from setwise.encode.models import quietly
    from setwise.preference import PreferenceConfig
    from setwise.preference import train as run

    options: dict[str, Any] = {
        "loss": loss,
        "learning_rate": (1e-4 if lora else 1e-6) if learning_rate is None else learning_rate,
        "num_train_epochs": epochs,
        "gradient_accumulation_steps": checks.integer("batch_size", batch_size, least=1),
        "lora": lora,
        "seed": seed,
        "dataset_split": dataset_split,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "epoch",
        **_settings(setting, [one.name for one in fields(PreferenceConfig)], ("output_dir",)),
    }
    config = PreferenceConfig(output_dir=out, **options)
    # What transformers prints on the way is for whoever looks on, not for the output; its bars are for none.
    with output.notes_for_warnings(), folders.step_bar() as tell, quietly():
        tell("loading", 0, 0)
        aside = sys.stderr if sys.stderr.isatty() else io.StringIO()
        with contextlib.redirect_stdout(aside):
            trainer = run(
                model,
                rows,
                config,
                eval_rows=eval_rows,
                resume=resume,
                progress=lambda done, total: tell("steps", done, total),
            )
    if not trainer.is_world_process_zero():
        return
    logs = trainer.state.log_history
    last: dict[str, Any] = {}
    for entry in logs:
        last |= {name: value for name, value in entry.items() if isinstance(value, int | float)}
    prompts = None if config.streaming else len(trainer.train_dataset)
    if as_json:
        print(json.dumps({"out": out, "rows": prompts, **last}))
        return
    told = {
        name: last[name] for name in ("train_loss", "eval_loss", "eval_rewards/accuracies") if name in last
    }
    figures = ", ".join(f"{name} {value:.4g}" for name, value in told.items())
    done, unit = (trainer.state.global_step, "step") if prompts is None else (prompts, "prompt")
    several = "" if done == 1 else "s"
    print(f"{Path(out).name}  trained on {done:,} {unit}{several} by {config.loss}: {figures}")


@described(
    """
    What to print and keep
        --out DIR  Folder of the run.
    What to read
        --evaluation-prompts PATH  Prompts held out to measure on.
    What a good set is
        --iterations COUNT  Rounds of all stages.
        -k COUNT  Rejected a prompt.
""",
    _STAGES,
)
def loop(
    context: typer.Context,
    prompts: str,
    model: str,
    reward: str,
    out: str,
    evaluation_prompts: str | None = None,
    iterations: int = 3,
    responses: int = 32,
    k: int = 7,
    temperature: float = 0.8,
    max_new_tokens: int = 512,
    setting: Settings = [],  # noqa: B006 typer reads the default and makes a new list each time
    seed: int = 0,
    as_json: AsJson = False,
) -> None:
    """Generate, score, select and train, again and again; goes on where it was interrupted.

    With --set, a setting of OnPolicyConfig, or of its training: training.lora=true.
    """
    from setwise.encode.models import quietly
    from setwise.preference import OnPolicyConfig, on_policy
    from setwise.preference.loop.team import Team
    from setwise.preference.stages.score import reward_of

    asked = _prompts(prompts, "prompts")
    held_out = [] if evaluation_prompts is None else _prompts(evaluation_prompts, "evaluation_prompts")
    drawn = values_of(context, "iterations", "responses", "k", "temperature", "max_new_tokens", "seed")
    further = _settings(setting, [one.name for one in fields(OnPolicyConfig)], list(drawn))
    config = OnPolicyConfig(**drawn, **further)
    with output.notes_for_warnings(), folders.step_bar() as tell, quietly():
        tell("loading", 0, 0)
        result = on_policy(
            model,
            asked,
            reward_of(reward),
            config,
            out=out,
            evaluation_prompts=held_out,
            progress=lambda stage, done, total: tell(stage, done, total),
        )
    if Team().first:
        print("\n".join(json.dumps(row) for row in result.metrics) if as_json else result.table())


def _prompts(path: str, name: str) -> list[Any]:
    """Return the prompts of a file, called by a name in messages."""
    from setwise.preference.rows.cells import as_prompt
    from setwise.preference.rows.columns import PROMPT_COLUMNS
    from setwise.preference.rows.sources import open_rows

    source = open_rows(path, name=name)
    column = next((name for name in PROMPT_COLUMNS if name in source.columns), "prompt")
    return [as_prompt(row.get(column), column, place) for place, row in source.rows()]


def _settings(given: list[str], known: Sequence[str], own: Sequence[str] = ()) -> dict[str, Any]:
    """Return what --set has set of what is known; a.b is b of a. `own` have options of their own."""
    found: dict[str, Any] = {}
    for name, value in _pairs(given).items():
        above, dot, part = name.partition(".")
        if above in own:
            raise ValueError(f"--set: {above} is said by an option of its own; leave it out")
        checks.choice("--set", above, known)
        if dot:
            found.setdefault(above, {})[part] = value
        else:
            found[above] = value
    return found


def _pairs(settings: list[str], name_of: str = "--set") -> dict[str, Any]:
    """Return NAME=VALUE as names and values, these read as JSON where they are, or as Python's constants."""
    from setwise.files.json_lines import parsed

    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise ValueError(f"{name_of}: {setting!r} is not NAME=VALUE")
        try:
            found[name] = parsed(value, name)
        except ValueError:
            found[name] = _PYTHONS.get(value, value)
    return found


def _say(out: str, rows: int, what: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"out": out, "rows": rows}))
    else:
        print(f"{Path(out).name}  {rows:,} {what}")
