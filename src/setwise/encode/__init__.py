"""Texts to vectors: a few encoders behind one name."""

from __future__ import annotations

import re
from typing import Any

from setwise import checks
from setwise.encode.base import Encoder, FittedEncoder, known_rows, unit_rows
from setwise.progress import Progress

NAMES = ("auto", "lsa", "static", "sentence", "hidden", "gradients", "ngrams")

#: Kinds that take the name of a model after a colon, and those that cannot do without.
OF_MODELS, _NEED_MODELS = ("sentence", "hidden", "gradients"), ("hidden", "gradients")

#: What may follow a language model's name, as in ``hidden:FOLDER,dtype=bfloat16,max_tokens=512``.
_OF_HIDDEN = {"dtype": str, "device": str, "max_tokens": int}
SETTINGS = {"hidden": _OF_HIDDEN, "gradients": {**_OF_HIDDEN, "dimensions": int, "rank": int}}

__all__ = ["NAMES", "Encoder", "FittedEncoder", "Progress", "encoder", "known_rows", "parse", "unit_rows"]


def encoder(name: str = "auto", *, seed: int = 0) -> Encoder:
    """Return an encoder.

    Parameters
    ----------
    name : str
        "static" (word vectors that ship inside the wordllama package), "auto" (the same), "lsa" (learned
        from the corpus itself), "sentence" (a transformer; ``sentence:FOLDER`` or ``sentence:NAME`` picks
        the model), ``hidden:NAME`` (the last hidden states of a causal language model, a folder or a name;
        ``hidden:smollm2`` is the packaged one), ``gradients:NAME`` (what a text would teach such a model),
        or "ngrams" (hashed words and pairs of words: alike means alike in wording). A language model's name
        may be followed by `SETTINGS`, as in ``hidden:smollm2,dtype=bfloat16,max_tokens=512``.
    seed : int
        For what an encoder draws at random while it learns.

    Raises
    ------
    ValueError
        The name is unknown; the message has the nearest one.
    ImportError
        The package behind it is not installed; the message says how to install it.
    """
    kind, model = parse(name)
    if kind == "lsa":
        from setwise.encode.lsa import LSA

        return LSA(seed=seed)
    if kind in ("auto", "static"):
        from setwise.encode.static import Static

        return Static()
    if kind == "ngrams":
        from setwise.encode.ngrams import Ngrams

        return Ngrams(seed=seed)
    if kind == "hidden":
        from setwise.encode.hidden import Hidden

        bare, settings = _parted(kind, model)
        return Hidden(bare, **settings)
    if kind == "gradients":
        from setwise.encode.gradients.texts import Gradients

        bare, settings = _parted(kind, model)
        return Gradients(bare, seed=seed, **settings)
    from setwise.encode.sentence import Sentence

    return Sentence(model or None)


def parse(name: str) -> tuple[str, str]:
    """Return the kind of encoder that a name asks for, and what stands after the colon, if anything.

    Raises
    ------
    TypeError, ValueError
        The name or a setting is unknown, or it takes no model, or lacks one.
    """
    kind, colon, model = name.partition(":") if isinstance(name, str) else (name, "", "")
    checks.choice("model", kind, NAMES)
    if kind in _NEED_MODELS and not model:
        raise ValueError(f"model: name the language model, as in {kind}:FOLDER or {kind}:smollm2")
    if colon and (kind not in OF_MODELS or not model):
        raise ValueError(f"model: {name!r} is not understood; a model is named as in sentence:FOLDER")
    if kind in SETTINGS:
        _parted(kind, model)
    return kind, model


def _parted(kind: str, model: str) -> tuple[str, dict[str, Any]]:
    """Return a language model's name, and the settings that follow it.

    Raises ValueError: a setting is unknown, or no whole number where it has to be one.
    """
    found: dict[str, Any] = {}
    while match := re.fullmatch(r"(.+),(\w+)=([^,=]*)", model):
        model, name, value = match.groups()
        made = SETTINGS[kind][checks.choice(f"model: setting of {kind}", name, SETTINGS[kind])]
        if made is int and not re.fullmatch("[0-9]+", value):
            raise ValueError(f"model: {name}={value} is no whole number")
        found[name] = made(value)
    return model, found
