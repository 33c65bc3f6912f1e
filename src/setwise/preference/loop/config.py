"""The settings of the on-policy loop."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from setwise import checks, encode
from setwise.encode.models import DTYPES
from setwise.preference.loop.generate import ENGINES
from setwise.preference.responses.request import ResponseRequest
from setwise.request import Certify

#: Settings that a run may go on with after they were changed: they say how long and how fast, not what.
_FREE = ("iterations", "batch_size", "engine_options")

#: Arguments of `PreferenceConfig` that the loop sets itself.
_OURS = ("output_dir", "seed", "chat", "chat_template_kwargs")


@dataclass(frozen=True, kw_only=True)
class OnPolicyConfig:
    """How a policy is trained on its own responses. The defaults of sampling and selection are AMPO's.

    Attributes
    ----------
    iterations : int
        Rounds of generating, scoring, selecting and training. A run that is done goes on if this is raised.
    responses : int
        Responses sampled for a prompt, N.
    temperature : float
        Above 0: at 0 all responses to a prompt would be the same.
    top_p : float
        Above 0, at most 1.
    max_new_tokens : int
    engine : {"transformers", "vllm"}
    engine_options : mapping
        Arguments of ``vllm.LLM``.
    batch_size : int
        Responses that "transformers" generates at once.
    chunk_size : int
        Prompts whose responses (and rewards) are written to disk at once: what a restart may have to repeat.
    dtype : {"float32", "bfloat16", "float16", "auto"}
        Of a model given by name. Steps of usual sizes are lost in weights narrower than float32, unless an
        adapter is trained.
    loading : mapping
        Further arguments of `setwise.preference.load_model` for a model given by name: ``attention``,
        ``quantization``, ``adapter``, ``trust_remote_code``.
    chat : bool, optional
        Whether a prompt that is a text is put into the tokenizer's chat template as the user's message; by
        default where there is a template.
    chat_template_kwargs : mapping
        Variables of the chat template, such as ``{"enable_thinking": False}``.
    encoder : str
        What embeds responses, a name of `setwise.encode.encoder`.
    k : int
        Negatives selected for a prompt.
    method, solver, positives, split, formulation
        As in `setwise.preference.select_responses`.
    reward_weight, near, min_gap
        As in `setwise.preference.PreferenceRows`.
    certify : bool or "full"
        Also compute how far the negatives' coverage cost is from the least possible at most.
    training : mapping
        Arguments of `setwise.preference.PreferenceConfig`, without ``output_dir``, ``seed``, ``chat`` and
        ``chat_template_kwargs``.
        With ``lora=True`` an adapter is trained, and checkpoints are adapters.
    evaluation_responses : int
        Fresh responses sampled for each held-out prompt after every iteration.
    evaluation_temperature : float, optional
        Of those, at least 0 (0: the likeliest token each time); by default ``temperature``.
    seed : int

    Raises
    ------
    TypeError
        A setting is of another type, or JSON cannot hold what is in ``training``.
    ValueError
        A number is out of range, a name is unknown, ``k`` and ``positives`` together are more than
        ``responses``, or ``training`` has a field that the loop sets.
    """

    iterations: int = 3
    responses: int = 32
    temperature: float = 0.8
    top_p: float = 1.0
    max_new_tokens: int = 512
    engine: str = "transformers"
    engine_options: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 32
    chunk_size: int = 64
    dtype: str = "float32"
    loading: Mapping[str, Any] = field(default_factory=dict)
    chat: bool | None = None
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    encoder: str = "auto"
    k: int = 7
    method: str = "opt-select"
    solver: str = "swap"
    positives: int = 1
    split: str = "one-vs-k"
    formulation: str = "appendix-e"
    reward_weight: float = 3.0
    near: float = 0.9
    min_gap: float = 0.0
    certify: Certify = True
    training: Mapping[str, Any] = field(default_factory=dict)
    evaluation_responses: int = 4
    evaluation_temperature: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("iterations", "max_new_tokens", "batch_size", "chunk_size"):
            checks.integer(name, getattr(self, name), least=1)
        checks.integer("responses", self.responses, least=2)
        checks.integer("evaluation_responses", self.evaluation_responses, least=1)
        needed = self.request(self.seed).needed
        for name in ("temperature", "top_p"):
            if checks.nonnegative(name, getattr(self, name)) == 0:
                raise ValueError(f"{name}: {getattr(self, name)} is not above 0")
        if self.top_p > 1:
            raise ValueError(f"top_p: {self.top_p} is not above 0 and at most 1")
        if self.evaluation_temperature is not None:
            checks.nonnegative("evaluation_temperature", self.evaluation_temperature)
        if needed > self.responses:
            raise ValueError(
                f"k: {self.k} negatives and {self.positives} positive(s) are more than the {self.responses} "
                "responses of a prompt; lower k, or raise responses"
            )
        checks.choice("engine", self.engine, ENGINES)
        checks.choice("dtype", self.dtype, DTYPES)
        encode.parse(self.encoder)
        for name in ("engine_options", "training", "chat_template_kwargs", "loading"):
            value = getattr(self, name)
            if not isinstance(value, Mapping):
                raise TypeError(f"{name}: expected a mapping of arguments, got {type(value).__name__}")
        for name in _OURS:
            if name in self.training:
                raise ValueError(f"training: {name} is set by the loop; leave it out")
        for name in ("training", "chat_template_kwargs", "loading"):
            try:
                json.dumps(dict(getattr(self, name)))
            except TypeError as error:
                raise TypeError(f"{name}: only what JSON holds can be kept with a run ({error})") from None

    def request(self, seed: int) -> ResponseRequest:
        """Return what is asked of a choice of responses."""
        names = ("k", "method", "solver", "positives", "split", "certify", "reward_weight", "formulation")
        return ResponseRequest(**{name: getattr(self, name) for name in names}, seed=seed)

    def settings(self) -> dict[str, Any]:
        """Return what a run's rows depend on."""
        return {name: value for name, value in asdict(self).items() if name not in _FREE}
