"""Responses from an OpenAI-compatible server: vLLM, llama.cpp, TGI and others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from setwise import checks
from setwise.extras import require
from setwise.preference.loop.generate import Sampling
from setwise.preference.prompts import Prompt, asked_and_begun

#: What vLLM and llama.cpp go on with an answer by. `echo` makes vLLM repeat what it has begun with,
#: as llama.cpp always does: else the words of a response that happen to be those would be taken for them.
_CONTINUED = {"add_generation_prompt": False, "continue_final_message": True, "echo": True}

#: What servers say of a response that ended by itself; all but the first are TGI's.
_ENDED = ("stop", "eos_token", "stop_sequence")


@dataclass(frozen=True)
class Answer:
    """One response of a server.

    Attributes
    ----------
    tokens : int
        How many, by the server's count; 0 where it does not tell.
    finished : bool
        Whether it ended by itself.
    """

    text: str
    tokens: int
    finished: bool


@dataclass(frozen=True)
class Server:
    """A chat endpoint: ``url`` + "/chat/completions".

    Attributes
    ----------
    url : str
        Such as ``http://localhost:8000/v1``.
    model : str
        What the server calls the model.
    key : str
        Sent as the bearer's token; servers of one's own take anything.
    retries : int
        Of a request that failed on the way, was refused for now or met an error of the server's, with growing
        pauses.
    timeout : float
        Seconds a response may take.
    extra : mapping
        Further fields of every request, such as ``{"chat_template_kwargs": {"enable_thinking": False}}``. A
        server draws by settings of its own where a request has none: llama.cpp by ``top_k`` 40,
        ``min_p`` 0.05, vLLM by the model's generation_config. ``{"top_k": -1, "min_p": 0.0,
        "repetition_penalty": 1.0}``
        draws from the whole distribution, as a model that is loaded does.

    Raises
    ------
    ImportError
        The openai package is not installed.
    ValueError
        The address is none, or `retries` is below 0.
    """

    url: str
    model: str = "default"
    key: str = "none"
    retries: int = 5
    timeout: float = 600.0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not str(self.url).startswith(("http://", "https://")):
            raise ValueError(f"server: {self.url!r} is no address; it begins with http:// or https://")
        checks.integer("retries", self.retries, least=0)

    def client(self) -> Any:
        """Return a client of the openai package, which several threads may use."""
        openai = require("openai", "server", "asking a server")
        return openai.OpenAI(
            base_url=self.url, api_key=self.key, max_retries=self.retries, timeout=self.timeout
        )

    def answer(self, client: Any, prompt: Prompt, sampling: Sampling, key: tuple[int, ...]) -> Answer:
        """Return one response to a prompt, drawn with a seed that a key of integers makes.

        An answer that has begun is gone on with; its words are no part of the response.

        Raises
        ------
        ValueError
            The server refuses the request, cannot be reached, or sends something else than a response.
        """
        openai = require("openai", "server", "asking a server")
        said, begun = asked_and_begun(prompt)
        if begun:
            said.append({"role": "assistant", "content": begun})
        asked = {
            "model": self.model,
            "messages": said,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
            "seed": int(np.random.SeedSequence(list(key)).generate_state(1)[0] >> 1),
            "extra_body": {**(_CONTINUED if begun else {}), **self.extra},
        }
        try:
            try:
                found = client.chat.completions.create(**asked)
            except openai.UnprocessableEntityError as error:
                if sampling.top_p < 1 or "top_p" not in str(error):
                    raise
                # TGI takes no 1, and nothing for it; for nothing, others take a default of their own.
                found = client.chat.completions.create(**{**asked, "top_p": None})
        except (openai.OpenAIError, ValueError) as error:  # the second: what was sent is no JSON
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"server: {self.url} did not answer ({type(error).__name__}: {reason})"
            ) from None
        try:
            choice = found.choices[0]
            # A character may be cut in half where the tokens end.
            halves = (choice.message.content or "").encode("utf-16", "surrogatepass")
            text = halves.decode("utf-16", "replace")
            finished = choice.finish_reason in _ENDED
            count = int(getattr(getattr(found, "usage", None), "completion_tokens", 0) or 0)
            return Answer(text.removeprefix(begun), count, finished)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            sent = " ".join(str(found).split())[:120]
            raise ValueError(f"server: {self.url} sent no response but {sent!r}") from None
