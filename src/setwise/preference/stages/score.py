"""Rewards of responses: a file of prompts with responses in, the same with a reward a response out."""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any

from setwise import checks
from setwise.extras import require
from setwise.preference.loop.score import Reward, RewardModel, reward_name
from setwise.preference.loop.score import score as scores_of
from setwise.preference.prompts import Prompt
from setwise.preference.rows.answers import as_answer
from setwise.preference.rows.cells import as_list, as_prompt, check_context
from setwise.preference.rows.columns import find_columns
from setwise.preference.stages.partial import Partial, at_once, digest_of, rows_of
from setwise.progress import Progress


def score(
    responses: Any,
    out: str | os.PathLike[str],
    reward: Reward | str,
    *,
    concurrency: int = 1,
    dataset_split: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> int:
    """Score the responses of a file, and write its rows with ``rewards``.

    A row that is done is kept at once; called again with the same arguments, what is missing is scored.

    Parameters
    ----------
    responses : path-like, datasets.Dataset or iterable of mappings
        Rows with a prompt and a list of responses each; other columns are handed through.
    out : path-like
        A .jsonl file.
    reward : callable or str
        Gets a list of prompts and a list of responses of the same length, and returns one finite number each.
        Or what `reward_of` takes.
    concurrency : int
        Rows that are scored at once, for a service; a model takes one at a time.
    dataset_split : str, optional
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
        There is no such file or reward, the output cannot be written, an unfinished run has other settings,
        or a reward is no finite number.
    """
    checks.integer("concurrency", concurrency, least=1)
    asked = reward_of(reward) if isinstance(reward, str) else reward
    if not callable(asked):
        raise TypeError(f"reward: expected a callable or a text, got {type(reward).__name__}")
    source, rows = rows_of(responses, dataset_split)
    columns = find_columns(source, scored=False)
    if columns.kind != "pool" or columns.prompt is None:
        raise ValueError(f"responses: a row of {source.name} is no prompt with a list of responses")
    name = columns.prompt
    prompts = [as_prompt(row.get(name), name, place) for place, row in rows]
    for (place, row), prompt in zip(rows, prompts, strict=True):
        check_context(row, prompt, columns.context, place)
    settings = {
        "reward": reward if isinstance(reward, str) else reward_name(reward),
        "rows": digest_of(rows),
    }

    def work(number: int) -> dict[str, Any]:
        place, row = rows[number]
        cells = as_list(row, columns.responses, "responses", place)
        texts = [as_answer(cell, "responses", f"{place}, response {at}")[1] for at, cell in enumerate(cells)]
        return {**row, "rewards": scores_of(asked, [prompts[number]], [texts], first=number)[0]}

    with Partial(out, settings, force=force) as partial:
        at_once(work, partial, len(rows), threads=concurrency, progress=progress)
        partial.finish()
    return len(rows)


def reward_of(text: str) -> Reward:
    """Return the reward that a text names.

    ``http://…`` or ``https://…`` is a service (see `HttpReward`); ``module:function`` or ``file.py:function``
    a function; else it is the folder or the name of a Hugging Face reward model.

    Raises FileNotFoundError, ImportError, ValueError: there is no such file, module, function or model.
    """
    if text.startswith(("http://", "https://")):
        return HttpReward(text)
    place, colon, function = text.rpartition(":")
    if colon and function.isidentifier():
        if place.endswith(".py"):
            if not Path(place).is_file():
                raise FileNotFoundError(f"reward: no file {place!r}")
            spec = importlib.util.spec_from_file_location(Path(place).stem, place)
            if spec is None or spec.loader is None:
                raise ImportError(f"reward: {place!r} is no module")
            module = importlib.util.module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
            except SyntaxError as error:
                raise ValueError(f"reward: {place!r} is no Python ({error})") from None
        else:
            try:
                module = importlib.import_module(place)
            except ModuleNotFoundError as error:
                raise ModuleNotFoundError(f"reward: {place!r} cannot be imported ({error})") from None
        found: Reward | None = getattr(module, function, None)
        if not callable(found):
            raise ValueError(f"reward: {place!r} has no function {function!r}")
        return found
    return RewardModel(text)


class HttpReward:
    """A service that scores: gets ``{"prompts": […], "responses": […]}``, sends a list of numbers.

    Parameters
    ----------
    url : str
    retries : int
        Of a request that failed on the way or met an error of the server's, with growing pauses.
    timeout : float
        Seconds.

    Raises
    ------
    ImportError
        The openai package, whose client sends the requests, is not installed.
    """

    def __init__(self, url: str, *, retries: int = 5, timeout: float = 600.0) -> None:
        openai = require("openai", "server", "asking a service")
        self.name = f"HttpReward({url})"
        self._url = url
        self._client: Any = openai.OpenAI(base_url=url, api_key="none", max_retries=retries, timeout=timeout)

    def __call__(self, prompts: list[Prompt], responses: list[str]) -> list[float]:
        """Return one number a response; ``{"rewards": […]}`` is read too."""
        openai = require("openai", "server", "asking a service")
        try:
            found = self._client.post(
                self._url, cast_to=object, body={"prompts": list(prompts), "responses": list(responses)}
            )
        except (openai.OpenAIError, ValueError) as error:  # the second: what was sent is no JSON
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"reward: {self._url} did not answer ({type(error).__name__}: {reason})"
            ) from None
        rewards: list[float] = found.get("rewards", found) if isinstance(found, dict) else found
        return rewards


class PipelineReward:
    """A text-classification pipeline of transformers with one label, as a reward.

    Parameters
    ----------
    pipeline : transformers.Pipeline
        Its raw score is taken.
    """

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self.name = f"PipelineReward({getattr(pipeline.model, 'name_or_path', '')})"

    def __call__(self, prompts: list[Prompt], responses: list[str]) -> list[float]:
        """Return one number a response."""
        pairs = []
        for prompt, response in zip(prompts, responses, strict=True):
            asked = prompt if isinstance(prompt, str) else "\n".join(str(one["content"]) for one in prompt)
            pairs.append({"text": asked, "text_pair": response})
        return [float(one["score"]) for one in self._pipeline(pairs, function_to_apply="none")]
