"""Gradient features: one vector a row, whose inner products are LESS's influence."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.encode.batches import alike_long, tokens_together
from setwise.encode.gradients import adapter
from setwise.encode.gradients.checkpoint import Checkpoint
from setwise.encode.gradients.projection import PROJECTIONS, projector
from setwise.encode.gradients.rows import Row, Tokenizer
from setwise.encode.models import weights_fingerprint
from setwise.extras import require
from setwise.files import check_output
from setwise.files.arrays import UnfinishedArray
from setwise.progress import Progress, tell

KINDS = ("train", "target")

#: Seconds of work that a killed process loses at most; one that raises loses none.
_NOTE_EVERY = 10.0

#: Tokens that the model reads at once on an accelerator; gradients that are held, and their bytes.
_TOGETHER, _MOST, _HELD = 2_048, 64, 1 << 28

#: Keeps a quotient defined where a gradient is 0.
_TINY = np.finfo(np.float64).tiny


class GradientEncoder:
    """What rows would teach a language model, as vectors (LESS).

    A checkpoint's features of a row are the gradient of its loss in the LoRA weights: as Adam would scale it
    for a training row (``kind="train"``), as it is for an example of the target task (``kind="target"``);
    projected to ``dimensions``, at length 1, times the root of the checkpoint's share of the learning rates.
    The checkpoints' features stand side by side. So every row has length 1, and the inner product of a
    training and a target row is LESS's influence, the sum over checkpoints of η · cos, the rates η made to
    sum to 1; their squared distance is 2 - 2 · influence.

    Rows are read twice: once to check them all before any work, once to compute, those of about the same
    length together. Memory: the model, the activations of 2,048 tokens (256 on a CPU), about 24 bytes a LoRA
    weight (four more vectors of them, the sketch's places), and up to three times 256 MiB of gradients;
    with ``projection="rademacher"`` up to 1 GiB and 128 MiB more. A row costs one forward and one backward
    pass a checkpoint.

    Parameters
    ----------
    model : path-like, str or transformers causal language model
        A folder or a name to load (in float32), or the base model, which every call leaves as it was.
    checkpoints : sequence of Checkpoint or path-like
        From `warm_up` or `save_checkpoint`; LESS takes one an epoch, 4 in all.
    tokenizer : transformers tokenizer, optional
        Needed beside a model that is already loaded.
    dimensions : int or None
        Of one checkpoint's projected gradients; LESS uses 8192. None keeps them exact.
    projection : {"count-sketch", "rademacher"}
        Of the same error; rademacher is LESS's and costs ``dimensions`` times as much.
    seed : int
        Of the projection. Features of different seeds do not go together.
    max_tokens : int
        Of a row; what is beyond is left out, with a warning.
    device : optional
        Where the model is moved to. By default one that is loaded already stays where it is, and one that
        is loaded here goes to a GPU if there is one.
    loading : mapping, optional
        Further arguments of `setwise.encode.models.load_model` for a model that is loaded here.

    Raises
    ------
    ImportError
        torch, transformers or peft is not installed.
    FileNotFoundError
        There is no such checkpoint or ``.gguf`` file.
    TypeError
        A model that is already loaded has no tokenizer beside it, or a setting is of another type.
    ValueError
        There is no such model or it has an adapter already, there is no checkpoint or a damaged one, or a
        setting is out of range.

    References
    ----------
    Xia et al., LESS: Selecting influential data for targeted instruction tuning, 2024, sections 3 and 4;
    TSDS, Appendix C, which multiplies by the rates instead of their roots.
    """

    def __init__(
        self,
        model: Any,
        checkpoints: Sequence[Checkpoint | str | os.PathLike[str]],
        *,
        tokenizer: Any = None,
        dimensions: int | None = 8192,
        projection: str = "count-sketch",
        seed: int = 0,
        max_tokens: int = 2048,
        device: Any = None,
        loading: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(checkpoints, str | os.PathLike | Checkpoint):
            checkpoints = [checkpoints]
        if not checkpoints:
            raise ValueError("checkpoints: there is none; make some with warm_up")
        self.dimensions = (
            None if dimensions is None else checks.integer("dimensions", dimensions, least=1, most=2**30)
        )
        self.projection = checks.choice("projection", projection, PROJECTIONS)
        self.seed = checks.integer("seed", seed, least=0, most=2**63 - 1)
        self.checkpoints = [
            given if isinstance(given, Checkpoint) else Checkpoint.load(given) for given in checkpoints
        ]
        checks.integer("max_tokens", max_tokens, least=2)
        self._model, words = adapter.load(model, tokenizer, device, loading)
        self._tokenizer = Tokenizer(words, max_tokens, self._model)
        rates = np.array([checkpoint.learning_rate for checkpoint in self.checkpoints])
        self.weights: NDArray[np.float64] = rates / rates.sum()

    def encode(
        self,
        rows: Sequence[Row],
        out: str | os.PathLike[str] | None = None,
        *,
        kind: str = "train",
        force: bool = False,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Return the features of rows.

        Parameters
        ----------
        rows : sequence of str or of (prompt, completion)
            The loss is about a text's tokens, or about the completion's alone.
        out : path-like, optional
            A .npy file to write to as it goes. An interrupted call leaves ``out.part`` and
            ``out.progress.json``; the same call takes them up where they were left, and the file is the same
            as without the interruption.
        kind : {"train", "target"}
        force : bool
            Replace ``out``.
        progress : callable, optional
            Called with the number of gradients done, and of all: rows times checkpoints.

        Returns
        -------
        ndarray of shape (n, dimensions · checkpoints), float32
            Rows of length 1; a read-only memory map with ``out``. Where a checkpoint has nothing to learn
            from a row (a gradient of 0), there are zeros, with a warning.

        Raises
        ------
        FileExistsError
            ``out`` is there and ``force`` is not given.
        FloatingPointError
            A gradient is not finite.
        TypeError
            A row is neither a text nor a pair of texts.
        ValueError
            There is no row, one has no token to predict, a checkpoint has no moments, ``out`` does not end in
            .npy, or ``out.part`` is of other rows, another model or other settings.
        """
        checks.choice("kind", kind, KINDS)
        if kind == "train":
            for checkpoint in self.checkpoints:
                checkpoint.check_moments()
        tokens = self._tokenizer.check(rows)
        total, begun = len(rows) * len(self.checkpoints), time.monotonic()
        sink = self._sink(rows, tokens, kind, out, force=force)
        done, still = sink.done, 0
        try:
            # Closing takes the adapter out of the model again, however this ends.
            with contextlib.closing(self._blocks(rows, kind, done)) as blocks:
                for row, column, block in blocks:
                    sink.put(row, block, column)
                    still += int((~block.any(axis=1)).sum())
                    done += len(block)
                    if time.monotonic() - begun > _NOTE_EVERY:
                        sink.note(done)
                        begun = time.monotonic()
                    tell(progress, done, total)
        except BaseException:
            sink.note(done)
            raise
        else:
            features = sink.finish()
        finally:
            sink.close()
        if still:
            checks.warn(f"rows: {still:,} gradients are 0, so their features are; those rows teach nothing")
        return features

    def _sink(
        self,
        rows: Sequence[Row],
        tokens: str,
        kind: str,
        out: str | os.PathLike[str] | None,
        *,
        force: bool,
    ) -> _Memory | UnfinishedArray:
        """Return where the features of rows go."""
        shape = (len(rows), sum(self._widths()))
        if out is None:
            return _Memory(shape)
        settings = {
            "model": weights_fingerprint(self._model),
            "checkpoints": [checkpoint.checksum for checkpoint in self.checkpoints],
            "rows": tokens,
            "kind": kind,
            "dimensions": self.dimensions,
            "projection": self.projection if self.dimensions else None,
            "seed": self.seed if self.dimensions else None,
        }
        return UnfinishedArray(check_output(out, force=force, endings=(".npy",)), shape, settings)

    def _widths(self) -> list[int]:
        """Return how many features each checkpoint gives."""
        if self.dimensions is not None:
            return [self.dimensions] * len(self.checkpoints)
        widths = []
        for checkpoint in self.checkpoints:
            with adapter.adapted(self._model, checkpoint.wrap) as wrapped:
                widths.append(sum(weight.numel() for weight in adapter.trainable(wrapped).values()))
        return widths

    def _blocks(
        self, rows: Sequence[Row], kind: str, done: int
    ) -> Generator[tuple[int, int, NDArray[np.float32]]]:
        """Yield features from gradient ``done`` on: the first row, the first column, and a block of them.

        Checkpoints come one after another, so that one adapter and its moments are in memory.
        """
        column = 0
        for number, (checkpoint, width) in enumerate(zip(self.checkpoints, self._widths(), strict=True)):
            first = min(max(done - number * len(rows), 0), len(rows))
            if first < len(rows):
                with adapter.adapted(self._model, checkpoint.wrap) as wrapped:
                    for start, block in self._of_checkpoint(number, wrapped, rows, kind, first):
                        yield start, column, block
            column += width

    def _of_checkpoint(
        self, number: int, wrapped: Any, rows: Sequence[Row], kind: str, first: int
    ) -> Generator[tuple[int, NDArray[np.float32]]]:
        """Yield one checkpoint's features of rows ``first`` and on: the first row, and a block of them."""
        torch = require("torch", "train", "a gradient encoder")
        checkpoint, weights = self.checkpoints[number], adapter.trainable(wrapped)
        length = sum(weight.numel() for weight in weights.values())
        mapped = projector(
            self.projection, length, self.dimensions, seed=self.seed, stream=number, device=wrapped.device
        )
        moments = checkpoint.moments(weights, wrapped.device) if kind == "train" else None
        scale = float(np.sqrt(self.weights[number]))
        count = max(mapped.together, min(_MOST, _HELD // (4 * length)))
        for start in range(first, len(rows), count):
            stop = min(start + count, len(rows))
            tokens = [self._tokenizer(rows[row], row) for row in range(start, stop)]
            gradients: list[Any] = [None] * len(tokens)
            together = tokens_together(wrapped.device, _TOGETHER)
            for places in alike_long([len(row.ids) for row in tokens], together):
                several = adapter.gradients(wrapped, weights, [tokens[place] for place in places])
                for place, found in zip(places, several, strict=True):
                    gradients[place] = found
            for row, found in enumerate(gradients, start):
                if not bool(torch.isfinite(found).all()):
                    raise FloatingPointError(
                        f"rows: the gradient of row {row} is not finite at checkpoint {number}; drop the "
                        "row, or load the model in float32"
                    )
            if moments is not None:
                gradients = [checkpoint.direction(found, *moments) for found in gradients]
            features = mapped.project(torch.stack(gradients)).double()
            lengths = features.norm(dim=1, keepdim=True)
            unit = torch.where(lengths > 0, features / lengths.clamp_min(_TINY), 0) * scale
            yield start, unit.float().cpu().numpy()


class _Memory:
    """Features that stay in memory, put there as into an `UnfinishedArray`."""

    done = 0

    def __init__(self, shape: tuple[int, int]) -> None:
        self._array = np.empty(shape, np.float32)

    def put(self, row: int, block: NDArray[np.float32], column: int) -> None:
        self._array[row : row + block.shape[0], column : column + block.shape[1]] = block

    def note(self, done: int) -> None:
        """Remember nothing: what is in memory is lost with the process."""

    def finish(self) -> NDArray[np.float32]:
        return self._array

    def close(self) -> None:
        """Do nothing."""
