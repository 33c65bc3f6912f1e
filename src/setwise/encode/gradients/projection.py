"""Random projections of very long vectors, made as they are needed: no matrix is kept, no block matters."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.extras import require

PROJECTIONS = ("count-sketch", "rademacher")

#: Coordinates whose random words are drawn at once; no result depends on it.
_BLOCK = 1 << 20

#: Bytes of random signs, as float32, that are held at once; no result depends on it but by rounding.
_SIGNS = 32 << 20

#: Bytes of vectors that are projected at once where that saves drawing the signs again.
_TOGETHER = 1 << 30


class Projection(Protocol):
    """A linear map that keeps inner products, in expectation and closely."""

    #: Coordinates of what is projected, and of what comes out.
    length: int
    dimensions: int
    #: Vectors that are best projected together.
    together: int

    def project(self, vectors: Any) -> Any:
        """Return the projections, shape (b, dimensions), of a float32 tensor of shape (b, length)."""
        ...


def projector(
    name: str, length: int, dimensions: int | None, *, seed: int, stream: int, device: Any
) -> Projection:
    """Return a projection.

    Both have the same mean (the inner product <x, y>) and the same variance,
    (|x|²|y|² + <x, y>² - 2 Σ x_i² y_i²) / dimensions.

    Parameters
    ----------
    name : {"count-sketch", "rademacher"}
        Adds each coordinate, with a random sign, to one random place (length operations a vector); or
        multiplies by a matrix of random signs (length · dimensions operations a vector).
    dimensions : int or None
        None keeps vectors as they are.
    seed, stream : int
        Each pair gives another projection, the same on every machine.
    device : torch.device
        Where vectors are.
    """
    checks.choice("projection", name, PROJECTIONS)
    if dimensions is None:
        return Identity(length)
    kind = CountSketch if name == "count-sketch" else Rademacher
    return kind(length, dimensions, seed=seed, stream=stream, device=device)


class Identity:
    """Vectors as they are."""

    together = 1

    def __init__(self, length: int) -> None:
        self.length = self.dimensions = length

    def project(self, vectors: Any) -> Any:
        """Return the vectors."""
        return vectors


class CountSketch:
    """Every coordinate is added, with a random sign, to one random place.

    Keeps 4 bytes a coordinate.

    References
    ----------
    Charikar, Chen and Farach-Colton, Finding frequent items in data streams, 2002; Weinberger et al.,
    Feature hashing for large scale multitask learning, 2009.
    """

    together = 1

    def __init__(self, length: int, dimensions: int, *, seed: int, stream: int, device: Any) -> None:
        self._torch = torch = require("torch", "train", "a projection of gradients")
        self.length, self.dimensions = length, dimensions
        places = np.empty(length, np.int32)
        for start in range(0, length, _BLOCK):
            words = _words(seed, stream, start, min(_BLOCK, length - start))
            # A place and a sign together: a word's upper half, scaled to [0, 2 · dimensions).
            places[start : start + _BLOCK] = (
                (words >> np.uint64(32)) * np.uint64(2 * dimensions)
            ) >> np.uint64(32)
        self._places = torch.from_numpy(places).to(device)

    def project(self, vectors: Any) -> Any:
        """Return the sketches, shape (b, dimensions)."""
        sums = self._torch.zeros((len(vectors), 2 * self.dimensions), device=vectors.device)
        for row, vector in zip(sums, vectors, strict=True):
            row.index_add_(0, self._places, vector)
        return sums[:, 0::2] - sums[:, 1::2]


class Rademacher:
    """A dense matrix of random signs over the root of the dimensions, as LESS uses.

    Signs are drawn anew for each batch of vectors; 32 MiB of them are held at once.

    References
    ----------
    Achlioptas, Database-friendly random projections, 2003; Xia et al., LESS, 2024, section 4.1.
    """

    def __init__(self, length: int, dimensions: int, *, seed: int, stream: int, device: Any) -> None:
        self._torch = require("torch", "train", "a projection of gradients")
        self.length, self.dimensions = length, dimensions
        self.together = max(1, min(16, _TOGETHER // (4 * length)))
        self._seed, self._stream, self._device = seed, stream, device

    def project(self, vectors: Any) -> Any:
        """Return the projections, shape (b, dimensions)."""
        torch, words = self._torch, -(-self.dimensions // 64)
        block = max(1, _SIGNS // (4 * self.dimensions))
        sums = torch.zeros((len(vectors), self.dimensions), device=vectors.device)
        for start in range(0, self.length, block):
            rows = min(block, self.length - start)
            drawn = _words(self._seed, self._stream, start * words, rows * words)
            bits = np.unpackbits(drawn.astype("<u8", copy=False).view(np.uint8).reshape(rows, -1), axis=1)
            signs = torch.from_numpy(bits[:, : self.dimensions]).to(vectors.device, torch.float32)
            sums += vectors[:, start : start + rows] @ signs.mul_(2).sub_(1)
        return sums / self.dimensions**0.5


def _words(seed: int, stream: int, start: int, number: int) -> NDArray[np.uint64]:
    """Return random 64-bit words ``start`` to ``start + number - 1`` of a stream, whichever came before."""
    step, skip = divmod(start, 4)  # Philox counts in steps of four words
    generator = np.random.Philox(key=np.array([seed, stream], np.uint64), counter=step)
    return np.asarray(generator.random_raw(skip + number)[skip:])
