"""How the prompts of a causal language model read: as text, and as tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from setwise import checks
from setwise.encode.words import text_tokens
from setwise.extras import require

#: A prompt: a text, or the messages of a chat, each with a role and a content.
Prompt = str | Sequence[Mapping[str, str]]

#: A response that no template takes for anything else.
_SAID = "setwise"

#: What is no variable of a template, but an argument of its call that each prompt sets.
_ARGUMENTS = frozenset(
    {
        *("add_generation_prompt", "continue_final_message", "conversation", "conversations", "messages"),
        *("return_assistant_tokens_mask", "sanitize_control_tokens", "tokenize"),
    }
)


def asked_and_begun(prompt: Prompt) -> tuple[list[dict[str, Any]], str]:
    """Return a prompt's messages without an answer that has begun, their last, and the words of that."""
    asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [*map(dict, prompt)]
    return asked, asked.pop()["content"] if asked[-1]["role"] == "assistant" else ""


def as_text(prompt: Prompt, tokenizer: Any, *, chat: bool, template: Mapping[str, Any] | None = None) -> str:
    """Return the text that a model continues.

    Parameters
    ----------
    prompt : str or sequence of mapping
    tokenizer : transformers.PreTrainedTokenizerBase
    chat : bool
        Whether a text is a user's message, to be put into the tokenizer's chat template. Messages always are.
    template : mapping, optional
        Variables of the chat template, such as ``{"enable_thinking": False}``.

    Raises ValueError: the template refuses the messages, as some do a system's, or changes an answer that has
    begun.
    """
    if isinstance(prompt, str):
        if not chat:
            return prompt
        _refuse_templated(prompt, tokenizer, template)
        prompt = [{"role": "user", "content": prompt}]
    messages = [dict(message) for message in prompt]
    if messages[-1]["role"] == "assistant":  # what the answer has begun with is gone on with
        return _continued(messages, tokenizer, template)
    asked = templated(messages, tokenizer, template)
    opened = templated(messages, tokenizer, template, add_generation_prompt=True)
    if opened != asked:
        return opened
    # The template does not look at add_generation_prompt: what it writes before an answer is its header.
    answered = templated([*messages, {"role": "assistant", "content": _SAID}], tokenizer, template)
    header = answered.rpartition(_SAID)[0]
    return header if header.startswith(opened) and header[len(opened) :].strip() else opened


def _refuse_templated(prompt: str, tokenizer: Any, template: Mapping[str, Any] | None) -> None:
    """Refuse a text that begins as what the chat template has written does: it would go through it twice."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    marks = {*tokenizer.all_special_tokens, *(token.content for token in added if token.special)}
    begun = next((mark for mark in marks if mark and prompt.lstrip().startswith(mark)), None)
    if begun and templated([{"role": "user", "content": "a"}], tokenizer, template).startswith(begun):
        raise ValueError(
            f"prompt: begins with {begun!r}, as what the chat template has written; pass chat=False, or take "
            "the template's marks out"
        )


def _continued(messages: list[dict[str, Any]], tokenizer: Any, template: Mapping[str, Any] | None) -> str:
    """Return what a chat template makes of messages up to the end of the last, which goes on."""
    templated(messages, tokenizer, template)  # says what else is wrong
    words = messages[-1]["content"].strip()
    try:
        text = templated(messages, tokenizer, template, continue_final_message=True)
    except ValueError:
        text = ""
    if not text or not text.rstrip().endswith(words):
        raise ValueError(
            f"prompt: the chat template changes the answer that has begun ({words!r:.60}), as some cut its "
            "thoughts; begin it with words that stay, or leave it out"
        )
    return text


def opening(tokenizer: Any, template: Mapping[str, Any] | None = None) -> str:
    """Return what a chat template writes between the prompt of an answer and its first word.

    DeepSeek's and Mistral's prompts end in ``Assistant:`` and ``[/INST]``, and their answers begin with a
    space; Qwen 3 begins those without thoughts by empty ones, gpt-oss by the channel that they are for. Most
    templates write nothing.

    Warns
    -----
    UserWarning
        A prompt ends in what the template does not write before an answer, as DeepSeek-R1's does in
        ``<think>``.
    """
    asked: list[Mapping[str, str]] = [{"role": "user", "content": "a"}]
    opened = as_text(asked, tokenizer, chat=True, template=template)
    whole = templated([*map(dict, asked), {"role": "assistant", "content": _SAID}], tokenizer, template)
    if not whole.startswith(opened):
        checks.warn(
            f"chat template: prompts end in {opened[-24:]!r}, of which it does not write all before answers; "
            "responses are read as going on from there, so give such as do"
        )
        return ""
    return whole[len(opened) :].partition(_SAID)[0]


def templated(
    messages: list[dict[str, Any]],
    tokenizer: Any,
    template: Mapping[str, Any] | None = None,
    **options: bool,
) -> str:
    """Return what a chat template makes of messages; the parameters are those of `as_text`.

    Raises ValueError: the template refuses them, or a variable has the name of an argument of its call.
    """
    if taken := sorted(_ARGUMENTS.intersection(template or ())):
        raise ValueError(f"chat_template_kwargs: {taken[0]} is set for each prompt; leave it out")
    refused = require("jinja2", "train", "a chat template").TemplateError
    try:
        text: str = tokenizer.apply_chat_template(messages, tokenize=False, **options, **(template or {}))
    except refused as error:
        raise ValueError(f"prompt: the chat template refuses it ({error}); change its messages") from None
    return text


def as_tokens(
    prompt: Prompt, tokenizer: Any, *, chat: bool, template: Mapping[str, Any] | None = None
) -> list[int]:
    """Return the tokens that a model continues; the parameters are those of `as_text`."""
    text = as_text(prompt, tokenizer, chat=chat, template=template)
    if isinstance(prompt, str) and not chat:
        return text_tokens(text, tokenizer)
    # A template has written the special tokens already.
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def special_tokens(tokenizer: Any) -> frozenset[int]:
    """Return the tokens that are no part of a text."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return frozenset(tokenizer.all_special_ids) | {place for place, token in added.items() if token.special}


def end_of_turn(tokenizer: Any, *, chat: bool, template: Mapping[str, Any] | None = None) -> int:
    """Return the token that ends a response: in a chat, the special one that the template writes after it.

    It need not be the tokenizer's end of sequence: Gemma's turns end in ``<end_of_turn>``, Phi's in
    ``<|end|>``.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
    chat, template
        As in `as_text`.

    Raises ValueError: the template writes none, and the tokenizer has no end of sequence.
    """
    if chat:
        said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": _SAID}]
        text = templated(said, tokenizer, template)
        special = special_tokens(tokenizer)
        after = tokenizer(text.rpartition(_SAID)[2], add_special_tokens=False)["input_ids"]
        found = next((int(token) for token in after if token in special), None)
        if found is not None:
            return found
    if tokenizer.eos_token_id is None:
        raise ValueError("tokenizer: it has no end-of-sequence token; set tokenizer.eos_token")
    return int(tokenizer.eos_token_id)


def all_tokens(
    prompts: Sequence[Prompt],
    tokenizer: Any,
    *,
    chat: bool,
    room: int,
    limit: int | None,
    name: str,
    template: Mapping[str, Any] | None = None,
) -> list[list[int]]:
    """Return the tokens of every prompt, having checked that each leaves room for a response.

    Raises ValueError: a prompt has no token, or with ``room`` more ones it has more than ``limit``.
    """
    found = []
    for row, prompt in enumerate(prompts):
        try:
            tokens = as_tokens(prompt, tokenizer, chat=chat, template=template)
        except ValueError as error:
            raise ValueError(str(error).replace("prompt:", f"{name}: row {row}:", 1)) from None
        if not tokens:
            raise ValueError(f"{name}: row {row} has no token; leave it out")
        if limit is not None and len(tokens) + room > limit:
            raise ValueError(
                f"{name}: row {row} has {len(tokens):,} tokens, and with {room:,} new ones that is above the "
                f"model's {limit:,}; shorten it, or lower max_new_tokens"
            )
        found.append(tokens)
    return found


def uses_chat(prompts: Sequence[Prompt], tokenizer: Any, chat: bool | None, name: str = "prompts") -> bool:
    """Return whether prompts go through the chat template, having checked that they can.

    Raises TypeError: a prompt is neither a text nor messages; ValueError: there are none, one is empty, or a
    chat template is needed and the tokenizer has none.
    """
    if isinstance(prompts, str) or not isinstance(prompts, Sequence):
        raise TypeError(f"{name}: expected a list of prompts, got {type(prompts).__name__}")
    if not prompts:
        raise ValueError(f"{name}: there are none; give at least one")
    template = bool(getattr(tokenizer, "chat_template", None))
    if chat and not template:
        raise ValueError("chat: the tokenizer has no chat template; pass chat=False, or set the template")
    for row, prompt in enumerate(prompts):
        if isinstance(prompt, str):
            if not prompt.strip():
                raise ValueError(f"{name}: row {row} is empty; leave it out")
            continue
        messages = list(prompt) if isinstance(prompt, Sequence) else []
        if not messages or not all(
            isinstance(one, Mapping)
            and isinstance(one.get("role"), str)
            and isinstance(one.get("content"), str)
            for one in messages
        ):
            raise TypeError(
                f"{name}: row {row} is neither a text nor a list of messages with a role and a content each"
            )
        if not template:
            raise ValueError(
                f"{name}: row {row} holds messages, and the tokenizer has no chat template; give texts"
            )
    return template if chat is None else chat
