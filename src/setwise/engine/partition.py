"""What a worker does with one partition: the pure functions that every engine runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.engine.base import opened
from setwise.solvers import multilevel
from setwise.vectors import Vectors

Part = tuple[Any, NDArray[np.int64], NDArray[np.float64], int, str, float, str]


def select_part(part: Part) -> NDArray[np.int64]:
    """Select greedily from some rows of a shared array (MUSS Alg. 2, line 5; DGDS's machines).

    Parameters
    ----------
    part : tuple
        (what `Engine.share` gave, the rows ascending, their qualities, k', the criterion, the diversity,
        the metric).

    Returns
    -------
    ndarray of shape (at most k',), int64
        Rows of the shared array, in selection order.
    """
    shared, rows, quality, per_part, criterion, diversity, metric = part
    held = Vectors(np.asarray(opened(shared)[rows]), metric)
    objective = multilevel.objective_of(criterion, diversity, metric)
    return np.asarray(rows[multilevel.select_greedily(held, quality, None, per_part, objective)])
