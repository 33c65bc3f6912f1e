"""The rounds of the on-policy loop: generate, score, select, train, evaluate, each done once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from setwise.preference.loop import evaluate as evaluating
from setwise.preference.loop import generate as generating
from setwise.preference.loop.config import OnPolicyConfig
from setwise.preference.loop.policy import Policy
from setwise.preference.loop.score import Reward, reward_name, score
from setwise.preference.loop.stages import Iteration, Make, Row, Run
from setwise.preference.loop.team import Team
from setwise.preference.prompts import Prompt, all_tokens, end_of_turn, uses_chat
from setwise.progress import StepProgress

#: What seeds the responses to train on, and those to measure by: the latter are the same at every iteration.
_TRAINING, _EVALUATION = 0, 1


class Rounds:
    """The stages of a run, each of which is skipped where its rows are on disk.

    Parameters and errors are those of `setwise.preference.on_policy`.
    """

    def __init__(
        self,
        model: Any,
        prompts: Sequence[Prompt],
        reward: Reward,
        config: OnPolicyConfig,
        out: str | os.PathLike[str],
        tokenizer: Any,
        held_out: Sequence[Prompt],
        progress: StepProgress | None,
    ) -> None:
        self._config, self._reward, self._progress = config, reward, progress
        if config.engine == "vllm":
            generating.import_vllm()
        self._policy = Policy(model, tokenizer, dtype=config.dtype, loading=config.loading)
        self.tokenizer = self._policy.tokenizer
        self._chat = uses_chat(prompts, self.tokenizer, config.chat)
        talks = self._chat or not isinstance(prompts[0], str)
        self._end = end_of_turn(self.tokenizer, chat=talks, template=config.chat_template_kwargs)
        self._prompts = _Prompts(list(prompts), self._tokens("prompts", prompts))
        self._held_out = _Prompts([], [])
        if len(held_out):
            uses_chat(held_out, self.tokenizer, config.chat, "evaluation_prompts")
            self._held_out = _Prompts(list(held_out), self._tokens("evaluation_prompts", held_out))
        self._team = Team()
        self._policy.settle(self._settings_to_train(Path(os.fspath(out)), 0).device)
        settings = {
            "config": config.settings(),
            "model": self._policy.architecture,
            "prompts": _digest(self._prompts.given),
            "evaluation_prompts": _digest(self._held_out.given),
            "reward": reward_name(reward),
        }
        # The first process makes the run, the others read what it has made.
        if self._team.first:
            self._run = Run(out, settings)
        self._team.wait()
        if not self._team.first:
            self._run = Run(out, settings)
        self.folder = self._run.folder

    def run(self) -> list[Row]:
        """Go through all iterations; returns the metrics."""
        start = self._run.iteration(0)
        known = start.facts("start")
        if known is None:
            known = {"weights": self._policy.weights}
            if self._team.first:
                start.finish("start", (), known)
            self._meet()
        self._policy.expect(known["weights"])
        metrics: list[Row] = []
        if self._held_out.given:
            metrics.append({"iteration": 0, **self._stage(start, "evaluate", lambda: self._evaluate(0))})
            self._keep(metrics)
        for number in range(1, self._config.iterations + 1):
            metrics.append(self._iterate(number))
            self._keep(metrics)
        return metrics

    def model(self) -> Any:
        """Return the policy after the last iteration."""
        return self._at(self._config.iterations)

    def _iterate(self, number: int) -> Row:
        """Do what is left of an iteration; returns its line of the metrics."""
        iteration = self._run.iteration(number)
        stages: list[tuple[str, Callable[[], tuple[list[str], Row]]]] = [
            ("generate", lambda: self._generate(iteration, number)),
            ("score", lambda: self._score(iteration)),
            ("select", lambda: self._select(iteration, number)),
            ("train", lambda: self._train(iteration, number)),
        ]
        if self._held_out.given:
            stages.append(("evaluate", lambda: self._evaluate(number)))
        row: Row = {"iteration": number}
        for name, work in stages:
            row |= self._stage(iteration, name, work)
        return row

    def _stage(self, iteration: Iteration, name: str, work: Callable[[], tuple[list[str], Row]]) -> Row:
        """Do a stage, or return the figures of one that is done."""
        facts = iteration.facts(name)
        if facts is None:
            began = time.perf_counter()
            if self._team.first or name == "train":
                files, facts = work()
            if self._team.first and facts is not None:
                facts[f"{name}_seconds"] = round(time.perf_counter() - began, 3)
                iteration.finish(name, files, facts)
                for file in files:
                    iteration.drop_chunks(file)
            self._meet()
            facts = iteration.facts(name) or {}
        return facts

    def _meet(self) -> None:
        """Wait for all processes, and let the others see what the first has written."""
        self._team.wait()
        if not self._team.first:
            self._run.reload()

    def _keep(self, metrics: list[Row]) -> None:
        """Write the metrics so far."""
        if self._team.first:
            self._run.write_metrics(metrics)

    def _generate(self, iteration: Iteration, number: int) -> tuple[list[str], Row]:
        """Sample N responses a prompt."""
        rows = self._sample(
            iteration,
            "responses.jsonl",
            self._prompts,
            self._config.responses,
            number - 1,
            (_TRAINING, number),
        )
        counts = [count for row in rows for count in row["tokens"]]
        ended = [one for row in rows for one in row["finished"]]
        return ["responses.jsonl"], {
            "response_tokens": float(np.mean(counts)),
            "finished": float(np.mean(ended)),
            "distinct": float(np.mean([len(set(row["responses"])) / len(row["responses"]) for row in rows])),
        }

    def _score(self, iteration: Iteration) -> tuple[list[str], Row]:
        """Ask the reward for one number a response."""
        drawn = iteration.rows("responses.jsonl")

        def make(start: int, stop: int) -> list[Row]:
            texts = [row["responses"] for row in drawn[start:stop]]
            rewards = score(self._reward, self._prompts.given[start:stop], texts, first=start)
            kept = ("prompt_id", "prompt", "responses", "token_ids", "finished")
            return [
                {**{name: row[name] for name in kept if name in row}, "rewards": values}
                for row, values in zip(drawn[start:stop], rewards, strict=True)
            ]

        rows = self._in_chunks(iteration, "scores.jsonl", len(drawn), make)
        rewards = np.asarray([row["rewards"] for row in rows])
        return ["scores.jsonl"], {
            "mean_reward": float(rewards.mean()),
            "best_reward": float(rewards.max(axis=1).mean()),
            "worst_reward": float(rewards.min(axis=1).mean()),
            "reward_deviation": float(rewards.std(axis=1).mean()),
        }

    def _select(self, iteration: Iteration, number: int) -> tuple[list[str], Row]:
        """Embed the responses and choose the groups to train on."""
        from setwise.preference.rows.rows import PreferenceRows

        config = self._config
        groups = PreferenceRows(
            iteration.folder / "scores.jsonl",
            **vars(config.request(self._seed(number))),
            model=config.encoder,
            duplicates="drop",
            near=config.near,
            min_gap=config.min_gap,
            too_few="skip",
            progress=lambda done, total: self._tell(iteration, "select", done, total),
        )
        try:
            rows = list(groups)
        except ValueError as error:
            if groups.summary.prompts or not groups.summary.skipped:
                raise
            raise ValueError(
                f"k: at iteration {number} no prompt has {config.k} different responses worse than its best "
                f"({error}); lower k, raise responses or temperature, or stop before it"
            ) from None
        iteration.write_rows("selection.jsonl", rows)
        found = groups.summary.to_dict()
        return ["selection.jsonl"], {
            "groups": len(rows),
            "skipped": found["skipped"],
            "coverage_cost": found["cost"],
            "coverage_gap": found["gap"],
            "chosen_reward": found["chosen_reward"],
            "rejected_reward": found["rejected_reward"],
        }

    def _train(self, iteration: Iteration, number: int) -> tuple[list[str], Row]:
        """Train the policy on the groups and keep it."""
        work = iteration.folder / ".training"
        settings = self._settings_to_train(work, number)
        self._at(number - 1)
        facts = self._policy.train(
            iteration.rows("selection.jsonl"),
            settings,
            lambda done, total: self._tell(iteration, "train", done, total),
        )
        if self._team.first:
            iteration.write_folder("checkpoint", self._policy.save)
            shutil.rmtree(work, ignore_errors=True)
        return ["checkpoint"], facts

    def _settings_to_train(self, work: Path, number: int) -> Any:
        """Return the `PreferenceConfig` of an iteration, which says what is wrong with an argument of it."""
        from setwise.preference.training import PreferenceConfig

        longest = max(map(len, self._prompts.tokens)) + self._config.max_new_tokens
        given = {
            "report_to": "none",
            "save_strategy": "no",
            "disable_tqdm": True,
            "dataloader_pin_memory": self._policy.on_gpu(),
            # The other processes wait for as long as the first samples and scores.
            "ddp_timeout": 7 * 24 * 3600,
            # With a token for the end of what an engine has ended without one.
            "max_length": max(longest + 1, 64),
            **self._config.training,
        }
        ours: dict[str, Any] = {
            "chat": self._chat,
            "chat_template_kwargs": dict(self._config.chat_template_kwargs),
        }
        return PreferenceConfig(output_dir=str(work), seed=self._seed(number), **ours, **given)

    def _evaluate(self, number: int) -> tuple[list[str], Row]:
        """Sample responses to the held-out prompts by the same random numbers every time, and score them."""
        iteration, count = self._run.iteration(number), self._config.evaluation_responses
        rows = self._sample(
            iteration, "evaluation-responses.jsonl", self._held_out, count, number, (_EVALUATION, 0)
        )
        rewards = score(self._reward, self._held_out.given, [row["responses"] for row in rows])
        scored = [{**row, "rewards": values} for row, values in zip(rows, rewards, strict=True)]
        found = evaluating.summarize(scored)
        if number > 0:
            found |= evaluating.compare(scored, self._run.iteration(0).rows("evaluation.jsonl"))
        found |= self._divergence(number, scored)
        iteration.write_rows("evaluation.jsonl", scored)
        iteration.drop_chunks("evaluation-responses.jsonl")
        (iteration.folder / "evaluation-responses.jsonl").unlink()
        return ["evaluation.jsonl"], found

    def _divergence(self, number: int, scored: list[Row]) -> Row:
        """Return how far the policy is from the start, on the responses that the start gave."""
        if self._config.engine != "transformers":
            return {}
        start = scored if number == 0 else self._run.iteration(0).rows("evaluation.jsonl")
        found = evaluating.logps_of(self._at(number), self._held_out.tokens, start, self._config.batch_size)
        if number == 0:
            for row, logps in zip(scored, found, strict=True):
                row["logps"] = logps
            return {}
        fallen = [
            was - now
            for row, logps in zip(start, found, strict=True)
            for was, now in zip(row["logps"], logps, strict=True)
        ]
        return {"kl_from_start": float(np.mean(fallen))}

    def _sample(
        self,
        iteration: Iteration,
        name: str,
        prompts: _Prompts,
        count: int,
        trainings: int,
        key: tuple[int, int],
    ) -> list[Row]:
        """Sample responses with the policy as it is after so many trainings, and write them in chunks."""
        config = self._config
        temperature = config.temperature
        if key[0] == _EVALUATION and config.evaluation_temperature is not None:
            temperature = config.evaluation_temperature
        sampling = generating.Sampling(
            count, temperature, config.top_p, config.max_new_tokens, config.batch_size
        )
        engine: generating.TextGenerator | None = None
        stage = name.removesuffix(".jsonl")

        def told(start: int, stop: int, done: int, of: int) -> None:
            if done < of:  # what is whole is told once it is written
                self._tell(iteration, stage, start + (stop - start) * done // of, len(prompts.given))

        def make(start: int, stop: int) -> list[Row]:
            nonlocal engine
            if engine is None:
                engine = self._engine(trainings, sampling)
            keys = [(config.seed, *key, row) for row in range(start, stop)]
            found = engine.generate(prompts.tokens[start:stop], keys, partial(told, start, stop))
            return [
                {
                    "prompt_id": row,
                    "prompt": prompts.given[row],
                    "responses": one.texts,
                    "tokens": one.tokens,
                    "finished": one.finished,
                    **({} if one.token_ids is None else {"token_ids": one.token_ids}),
                }
                for row, one in zip(range(start, stop), found, strict=True)
            ]

        try:
            return self._in_chunks(iteration, name, len(prompts.given), make)
        finally:
            if isinstance(engine, generating.VLLMEngine):
                engine.close()
                self._policy.return_to_gpu()

    def _engine(self, trainings: int, sampling: generating.Sampling) -> generating.TextGenerator:
        """Return what generates with the policy as it is after so many trainings."""
        if self._config.engine == "transformers":
            return generating.TransformersEngine(self._at(trainings), self.tokenizer, sampling, self._end)
        place, adapter = self._policy.on_disk(self._checkpoint(trainings), self._run.iteration(0))
        self._policy.leave_gpu()
        return generating.VLLMEngine(
            place, sampling, adapter=adapter, options=self._config.engine_options, end=self._end
        )

    def _at(self, trainings: int) -> Any:
        """Return the policy as it is after so many trainings."""
        return self._policy.at(trainings, self._checkpoint(trainings))

    def _checkpoint(self, trainings: int) -> Path | None:
        return None if trainings == 0 else self._run.iteration(trainings).folder / "checkpoint"

    def _in_chunks(self, iteration: Iteration, name: str, count: int, make: Make) -> list[Row]:
        stage = name.removesuffix(".jsonl")
        self._tell(iteration, stage, 0, count)
        return iteration.in_chunks(
            name, count, self._config.chunk_size, make, lambda done: self._tell(iteration, stage, done, count)
        )

    def _tell(self, iteration: Iteration, stage: str, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(f"{iteration.folder.name}: {stage}", done, total)

    def _tokens(self, name: str, prompts: Sequence[Prompt]) -> list[list[int]]:
        limit = getattr(self._policy.model.config, "max_position_embeddings", None)
        return all_tokens(
            prompts,
            self.tokenizer,
            chat=self._chat,
            room=self._config.max_new_tokens,
            limit=limit,
            name=name,
            template=self._config.chat_template_kwargs,
        )

    def _seed(self, number: int) -> int:
        """Return the seed of an iteration's selection and training."""
        return int(np.random.SeedSequence([self._config.seed, number]).generate_state(1)[0] >> 1)


@dataclass(frozen=True)
class _Prompts:
    """Prompts as they were given, and as the policy reads them."""

    given: list[Prompt]
    tokens: list[list[int]]


def _digest(prompts: Sequence[Prompt]) -> str:
    """Return how many prompts there are, and a hash of them."""
    data = json.dumps(list(prompts), ensure_ascii=False).encode("utf-8", "surrogatepass")
    return f"{len(prompts)} prompts, {hashlib.blake2b(data, digest_size=8).hexdigest()}"
