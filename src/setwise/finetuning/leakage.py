"""Examples that are rows of the repository: found, told, and left out where that is asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from setwise.files.arrays import write_rows
from setwise.files.parts import scratch
from setwise.finetuning.parameters import MatchParameters, width_of
from setwise.finetuning.repository_vectors import RepositoryVectors, offset_of
from setwise.finetuning.search import EXACT, check_examples
from setwise.progress import StepProgress, tell

if TYPE_CHECKING:
    from setwise.finetuning.pipeline import Pipeline
    from setwise.finetuning.sources import OpenSources

#: Part of the rows' length that encoding a text once more, beside other texts, may move it.
_SAME = 1e-5

#: Distances that are held at once.
_HELD = 1 << 24


@dataclass(frozen=True, eq=False)
class Leaked:
    """Rows of a repository that are examples, or nearly.

    Attributes
    ----------
    exact : ndarray, int64
        Ascending: rows with the vector, or the text, of an example.
    near : ndarray, int64
        Ascending: the others that are nearer to an example than near-duplicates are to each other.
    width : float
        How near that is; 0 where texts were compared.
    """

    exact: NDArray[np.int64]
    near: NDArray[np.int64]
    width: float

    @property
    def rows(self) -> NDArray[np.int64]:
        """Both, ascending."""
        return np.sort(np.concatenate([self.exact, self.near]))

    def __len__(self) -> int:
        return len(self.exact) + len(self.near)

    def told(self, excluded: bool) -> str:
        """Return in words what was found, and what became of it; empty where nothing was."""
        if not len(self):
            return ""
        parts = [f"{len(self.exact):,} the same"] if len(self.exact) else []
        parts += [f"{len(self.near):,} within {self.width:.3g}"] if len(self.near) else []
        what = "left out" if excluded else "--exclude-examples leaves them out"
        count = len(self)
        are = "row is an example" if count == 1 else "rows are examples"
        return f"{count:,} {are}, or nearly ({', '.join(parts)}): {what}"


def leaked(candidates: Any, examples: Any, width: float) -> Leaked:
    """Find the candidates that are examples, or nearer to one than ``width``.

    Parameters
    ----------
    candidates : array-like of shape (N, d), or a sequence of shards
        As for `match`.
    examples : array-like of shape (M, d)
    width : float
        At least 0, in the vectors' units; such as `Match.kernel_width`.

    Raises TypeError, ValueError: as for `match`, of vectors.
    """
    rows = candidates if isinstance(candidates, RepositoryVectors) else RepositoryVectors(candidates)
    probes = np.asarray(check_examples(examples, rows), np.float64)
    shift = offset_of(rows)
    origin: Any = 0.0 if shift is None else shift
    moved = np.asarray(probes - origin, np.float32)
    squares = np.vecdot(moved, moved)
    same = _SAME * float(np.sqrt(np.vecdot(probes, probes).mean()))
    reach = max(width, same)
    exact, near = [], []
    for first, block in rows.blocks(max(1, min(8_192, _HELD // len(probes)))):
        low = np.asarray(block - origin, np.float32)
        lengths = np.vecdot(low, low)
        apart = lengths[:, None] + squares - 2.0 * (low @ moved.T)
        slack = 1e-5 * float(lengths.max() + squares.max())  # what float32 may lose
        some = np.flatnonzero(apart.min(axis=1) <= reach**2 + slack)
        if len(some):
            distances = cdist(block[some].astype(np.float64), probes).min(axis=1)
            exact.append(first + some[distances <= same])
            near.append(first + some[(distances > same) & (distances < width)])
    none = np.empty(0, np.int64)
    return Leaked(np.concatenate([none, *exact]), np.concatenate([none, *near]), width)


@contextlib.contextmanager
def examined(
    pipeline: Pipeline, sources: OpenSources, progress: StepProgress | None
) -> Iterator[OpenSources]:
    """Look for examples among the candidates, and yield sources without them where that is asked for."""
    found = _found(pipeline, sources, progress)
    if found is None:
        yield sources
        return
    told = found.told(pipeline.exclude_examples)
    notes = (*sources.notes, *([told] if told else []))
    sources = replace(sources, leaked=found, notes=notes)
    if not len(found) or not pipeline.exclude_examples:
        yield sources
        return
    kept = np.setdiff1d(np.arange(sources.m), found.rows, assume_unique=True)
    if not len(kept):
        raise ValueError("exclude_examples: every row is an example, or nearly, so that none is left")
    own = sources.rows_of(kept)
    if sources.candidates is None:
        yield replace(sources, rows=own)
        return
    vectors = sources.candidates
    with scratch() as folder:
        file = folder / "vectors.npy"
        write_rows(file, len(kept), (vectors[kept[at : at + 8_192]] for at in range(0, len(kept), 8_192)))
        left: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
        yield replace(sources, rows=own, candidates=left)


def _found(pipeline: Pipeline, sources: OpenSources, progress: StepProgress | None) -> Leaked | None:
    """Return what leaks; None where nothing is known of the examples, or looking would take long."""
    tell(progress, "looking for examples", 0, 0)
    if sources.candidates is None:
        texts = sources.example_texts() if sources.repository is not None else None
        if not texts:
            return None
        known = {_bare(text) for text in texts}
        same = [row for row, text in enumerate(sources.candidate_texts()) if _bare(text) in known]
        return Leaked(np.asarray(same, np.int64), np.empty(0, np.int64), 0.0)
    assert sources.examples is not None
    work = sources.candidates.size * len(sources.examples)
    if work > EXACT and not pipeline.exclude_examples:
        return None
    rows = RepositoryVectors(sources.candidates)
    try:
        width = width_of(rows, MatchParameters(kernel_width=pipeline.kernel_width, seed=pipeline.seed))
    except ValueError:  # all rows are alike, so that none is nearer than others
        width = 0.0
    return leaked(rows, sources.examples, width)


def _bare(text: str) -> str:
    """Return a text without what does not make it another: case and white space."""
    return " ".join(text.casefold().split())
