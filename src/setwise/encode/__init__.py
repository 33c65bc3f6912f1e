"""Texts to vectors: a few encoders behind one name."""

from __future__ import annotations

from setwise import checks
from setwise.encode.base import Encoder, FittedEncoder, known_rows, unit_rows
from setwise.progress import Progress

NAMES = ("auto", "lsa", "static", "sentence", "hidden", "gradients", "ngrams")

#: Kinds that take the name of a model after a colon, and those that cannot do without.
OF_MODELS, _NEED_MODELS = ("sentence", "hidden", "gradients"), ("hidden", "gradients")

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
        or "ngrams" (hashed words and pairs of words: alike means alike in wording).
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

        return Hidden(model)
    if kind == "gradients":
        from setwise.encode.gradients.texts import Gradients

        return Gradients(model, seed=seed)
    from setwise.encode.sentence import Sentence

    return Sentence(model or None)


def parse(name: str) -> tuple[str, str]:
    """Return the kind of encoder that a name asks for, and the model after the colon, if any.

    Raises
    ------
    TypeError, ValueError
        The name is unknown, takes no model, or lacks one.
    """
    kind, colon, model = name.partition(":") if isinstance(name, str) else (name, "", "")
    checks.choice("model", kind, NAMES)
    if kind in _NEED_MODELS and not model:
        raise ValueError(f"model: name the language model, as in {kind}:FOLDER or {kind}:smollm2")
    if colon and (kind not in OF_MODELS or not model):
        raise ValueError(f"model: {name!r} is not understood; a model is named as in sentence:FOLDER")
    return kind, model
