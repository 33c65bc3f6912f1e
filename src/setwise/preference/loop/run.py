"""On-policy preference optimization: generate, score, select, train, and again (AMPO, Algorithm 1)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from setwise import checks
from setwise.preference.loop.config import OnPolicyConfig
from setwise.preference.loop.rounds import Rounds
from setwise.preference.loop.score import Reward
from setwise.preference.loop.stages import FORMAT, Row
from setwise.preference.prompts import Prompt
from setwise.progress import StepProgress


@dataclass(frozen=True, repr=False)
class OnPolicyResult:
    """A trained policy and how its rewards went.

    Attributes
    ----------
    model : transformers.PreTrainedModel or peft.PeftModel
        The policy after the last iteration.
    tokenizer : transformers.PreTrainedTokenizerBase
    metrics : list of dict
        One an iteration, as in ``metrics.jsonl``; the first is iteration 0, before any training, if prompts
        were held out.
    out : Path
        The run's folder.
    """

    model: Any
    tokenizer: Any
    metrics: list[Row]
    out: Path

    def plot(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Draw rewards by iteration into a .png, .svg or .pdf file (needs matplotlib)."""
        from setwise.preference.loop.curves import draw

        draw(self.metrics, path, force=force)

    def table(self) -> str:
        """Return the figures of every iteration as a table to print."""
        from setwise.preference.loop.evaluate import table

        return table(self.metrics)

    def __repr__(self) -> str:
        last = self.metrics[-1]
        figures = ", ".join(
            f"{name.replace('_', ' ')} {last[name]:.4g}"
            for name in ("mean_reward", "evaluation_reward")
            if last.get(name) is not None
        )
        return f"OnPolicyResult({last['iteration']} iterations, {figures}, out={str(self.out)!r})"


def on_policy(
    model: Any,
    prompts: Sequence[Prompt],
    reward: Reward,
    config: OnPolicyConfig | None = None,
    *,
    out: str | os.PathLike[str],
    tokenizer: Any = None,
    evaluation_prompts: Sequence[Prompt] = (),
    progress: StepProgress | None = None,
) -> OnPolicyResult:
    """Train a policy on responses of its own, selected anew at every iteration.

    An iteration samples N responses a prompt, scores them, selects one positive and k negatives of each
    prompt's, trains on these groups, and samples fresh responses to held-out prompts. Every stage's rows stay
    in ``out``. Called again with the same arguments, a run that was interrupted goes on where it stopped:
    responses are drawn by random numbers of their own, so what is made anew is what it would have been.

    Parameters
    ----------
    model : str, transformers.PreTrainedModel or peft.PeftModel
        What `setwise.preference.load_model` takes, or a model, which is trained in place.
    prompts : sequence of str or of lists of messages
    reward : callable
        Gets a list of prompts and a list of responses of the same length, and returns one finite number each;
        `RewardModel` is one.
    config : OnPolicyConfig, optional
    out : path-like
        A folder: new, empty, or of a run with the same settings.
    tokenizer : transformers.PreTrainedTokenizerBase, optional
        Needed where ``model`` is not a name.
    evaluation_prompts : sequence of prompt
        Held-out prompts; without any, there is no evaluation.
    progress : callable, optional
        Called with the stage, how much of it is done, and how much there is.

    Returns
    -------
    OnPolicyResult

    Raises
    ------
    ImportError
        A package that the settings need is not installed.
    FileExistsError
        ``out`` holds something else than a run.
    FileNotFoundError, NotADirectoryError, PermissionError
        The folder above ``out`` is missing, ``out`` is a file, or it is not writable.
    TypeError
        An argument is of another type, or a reward is no number.
    ValueError
        A prompt is empty or leaves no room for a response, the model cannot be loaded or has been trained
        meanwhile, ``out`` holds a run with other settings or a damaged one, a reward is not finite, no prompt
        has responses enough to choose from, or the training would shard the model.

    References
    ----------
    .. [1] Gupta et al., "AMPO: Active Multi-Preference Optimization for Self-play Preference Selection",
       Algorithm 1 and section 7.
    """
    config = OnPolicyConfig() if config is None else config
    if not isinstance(config, OnPolicyConfig):
        raise TypeError(f"config: expected an OnPolicyConfig, got {type(config).__name__}")
    if not callable(reward):
        raise TypeError(f"reward: expected a callable, got {type(reward).__name__}")
    # What is wrong is said before a model is loaded.
    FORMAT.check_growing(out)
    _check_training(config.training)
    rounds = Rounds(model, prompts, reward, config, out, tokenizer, evaluation_prompts, progress)
    metrics = rounds.run()
    return OnPolicyResult(rounds.model(), rounds.tokenizer, metrics, rounds.folder)


def _check_training(training: Mapping[str, Any]) -> None:
    """Refuse arguments that `PreferenceConfig` does not have, and those that would shard the policy."""
    from setwise.preference.training import PreferenceConfig

    known = [one.name for one in fields(PreferenceConfig)]
    for name in training:
        checks.choice("training", name, known)
        if name in ("fsdp", "fsdp_config", "deepspeed") and training[name]:
            raise ValueError(
                f"training: {name} would shard the policy, which the first process samples from whole; "
                "leave it out, or train on a round's selection.jsonl with setwise.preference.train"
            )
