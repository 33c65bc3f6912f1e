"""A catalog: items clustered once; k of them by quality and spread, as often as quality changes."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise import cluster as clustering
from setwise.api import describe
from setwise.catalog import changes, items
from setwise.catalog import select as selecting
from setwise.catalog.methods import METHODS, CatalogSelection, choose
from setwise.certificate import Certificate
from setwise.constraints import Constraints
from setwise.objectives import MaxSum
from setwise.relevance import Relevance
from setwise.request import Certify, Request
from setwise.selection import Selection
from setwise.solvers import max_sum
from setwise.solvers.problem import Problem
from setwise.threads import one_blas_thread, thread_count
from setwise.vectors import Vectors, check_metric

__all__ = ["Catalog"]


class Catalog:
    """Items with vectors and a quality, partitioned into clusters.

    Make one with `Catalog.build`, or open a saved one with `Catalog.load`.

    Attributes
    ----------
    clusters : Clusters
    quality : ndarray of shape (n,), float64
    ids : ndarray of shape (n,)
    """

    def __init__(
        self,
        vectors: Vectors,
        quality: NDArray[np.float64],
        clusters: clustering.Clusters,
        ids: NDArray[Any],
    ) -> None:
        self._vectors = vectors
        self.quality = quality
        self.clusters = clusters
        self.ids = ids

    @classmethod
    def build(
        cls,
        vectors: Any,
        quality: Any,
        *,
        clusters: int = 200,
        ids: Sequence[Any] | NDArray[Any] | None = None,
        metric: str = "cosine",
        quality_weight: float = 0.0,
        seed: int = 0,
        threads: int | None = None,
    ) -> Catalog:
        """Check items and partition them: once, or as often as they change much.

        Parameters
        ----------
        vectors : array-like of shape (n, d)
            As for `setwise.select`; a memory map is read in blocks.
        quality : array-like of shape (n,)
            One number an item, at least 0, higher is better: a predicted click rate, a rating.
        clusters : int
            l of the paper, at most n.
        ids : sequence of length n, optional
            None twice; row numbers by default.
        metric : {"cosine", "euclidean"}
        quality_weight : float
            With a weight w above 0, clusters are made of [x, sqrt(w) · quality], and items that are added
            later are assigned by both.
        seed : int
        threads : int, optional

        Raises
        ------
        TypeError, ValueError
            Bad input: the argument, the row and the mend.

        Examples
        --------
        >>> import numpy as np, setwise
        >>> rng = np.random.default_rng(0)
        >>> catalog = setwise.Catalog.build(rng.standard_normal((2000, 16)), rng.random(2000), clusters=20)
        >>> len(catalog.select(50, diversity=0.1, method="muss", clusters=10))
        50
        """
        checked = Vectors(vectors, check_metric(metric), workers=thread_count(threads))
        known = items.as_quality(quality, checked.n)
        named = np.arange(checked.n) if ids is None else items.as_names(ids, checked.n)
        with one_blas_thread():
            made = clustering.k_means(
                checked, clusters, quality=known, quality_weight=quality_weight, seed=seed
            )
        return cls(checked, known, made, named)

    def __len__(self) -> int:
        return int(self._vectors.n)

    def set_quality(self, quality: Any) -> None:
        """Take new qualities, as every hour: clusters stay.

        Parameters
        ----------
        quality : array-like of shape (n,)
            At least 0, in the order of the items.
        """
        self.quality = items.as_quality(quality, len(self))

    def add(self, vectors: Any, quality: Any, ids: Sequence[Any] | NDArray[Any] | None = None) -> None:
        """Take new items, each into the nearest cluster; centroids stay, radii grow.

        The nearest by its vector; by vector and quality where the catalog was built with a quality weight.
        All vectors are copied once: after `load`, a memory map becomes an array in memory.

        Parameters
        ----------
        vectors : array-like of shape (m, d)
            Stored in the type that the catalog's vectors have.
        quality : array-like of shape (m,)
        ids : sequence of length m, optional
            None twice, none in the catalog; by default the integers after the largest id.

        Raises
        ------
        TypeError, ValueError
            Bad input: the argument, the row and the mend. The catalog is as it was.
        """
        grown, made, known = changes.grown(self._vectors, self.clusters, vectors, quality)
        count = len(known)
        named = items.following(self.ids, count) if ids is None else items.as_names(ids, count)
        names = items.joined(self.ids, named)
        self._vectors, self.clusters, self.ids = grown, made, names
        self.quality = np.concatenate([self.quality, known])

    def remove(self, ids: Sequence[Any] | NDArray[Any]) -> None:
        """Drop items; clusters that become empty go, and the others are numbered anew.

        The vectors that stay are copied once: after `load`, a memory map becomes an array in memory.

        Parameters
        ----------
        ids : sequence

        Raises
        ------
        KeyError
            An id is not there. The catalog is as it was.
        TypeError, ValueError
            Ids of another kind than the catalog's, or all of them.
        """
        rows = items.rows_of(ids, self.ids)
        if len(rows) == len(self):
            raise ValueError("ids: these are all items; a catalog keeps at least one")
        if len(rows):
            kept = np.ones(len(self), np.bool_)
            kept[rows] = False
            self._vectors, self.clusters = changes.shrunk(self._vectors, self.clusters, kept)
            self.quality, self.ids = self.quality[kept], self.ids[kept]

    def save(self, path: str | os.PathLike[str], force: bool = False) -> None:
        """Save everything as a folder, which appears whole or not at all.

        Parameters
        ----------
        path : path-like
        force : bool
            Replace a saved catalog that is there. A folder that is something else is never replaced.

        Raises
        ------
        FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError
            The folder cannot be written.
        TypeError, ValueError
            Ids that are neither integers nor strings.
        """
        from setwise.catalog import files

        files.write(path, self._vectors, self.quality, self.clusters, self.ids, force=force)

    @classmethod
    def load(cls, path: str | os.PathLike[str], threads: int | None = None) -> Catalog:
        """Open a saved catalog: vectors stay on disk, a few numbers an item are read and checked.

        Parameters
        ----------
        path : path-like
        threads : int, optional

        Raises
        ------
        FileNotFoundError, ValueError
            There is no such folder, it is no saved catalog, of another format version, cut short or
            altered. Of the vectors the size is compared; ``setwise catalog info --verify`` reads them.
        """
        from setwise.catalog import files

        return cls(*files.read(path, thread_count(threads)))

    def select(
        self,
        k: int = 500,
        *,
        diversity: float = 0.1,
        method: str = "auto",
        clusters: int | None = None,
        per_cluster: int | None = None,
        cluster_diversity: float = 0.5,
        top_up: bool = True,
        final_quality_scale: float = 1.0,
        criterion: str = "sum",
        certify: Certify = False,
        seed: int = 0,
        threads: int | None = None,
        workers: int | str | None = None,
    ) -> CatalogSelection:
        """Select k items by quality and spread.

        Parameters
        ----------
        k : int
            At most n.
        diversity : float
            1 - λ of the paper, in [0, 1].
        method : str
            One of `METHODS`.
        clusters : int, optional
            m, the clusters to keep, at most the catalog's; half of them by default. For ``dgds`` the
            parts of the random partition (the catalog's number of clusters by default).
        per_cluster : int, optional
            k', items selected inside each, at most the largest part's size; by default k/10, and at
            least enough for k (all of a smaller cluster).
        cluster_diversity : float
            1 - λ_c, of the selection of clusters.
        top_up : bool
            Whether the k best by quality join the last step (the paper's second version; False: the first).
        final_quality_scale : float
            Quality's factor in the last step, above 0 (0.5 in the first version).
        criterion : {"sum", "min"}
            Greedy's distance to the chosen: the mean one, or the least one.
        certify : False, True or "full"
            Bound the best possible value, over all items: a few passes more.
        seed : int
        threads : int, optional
        workers : int or str, optional
            Where the partitions of muss, dgds and their ablations run: so many local processes (the vectors
            in shared memory, or mapped by each), "ray", or the address of a Ray cluster. By default
            threads of this process. The result is the same.

        Returns
        -------
        CatalogSelection
            ``value``, ``relevance`` (mean quality) and ``diversity`` (mean distance) are max-sum's (MUSS
            Eq. 2), whatever the method.

        Raises
        ------
        TypeError, ValueError
            Bad input: the argument and the mend.
        """
        began = time.perf_counter()
        name = checks.choice("method", method, METHODS)
        checks.choice("criterion", criterion, ("sum", "min"))
        checks.fraction("cluster_diversity", cluster_diversity)
        if not 0.0 < final_quality_scale <= 1.0:
            raise ValueError(f"final_quality_scale: {final_quality_scale} is outside (0, 1]")
        goal = MaxSum(diversity, metric=self._vectors.metric)
        request = Request(k=k, objective=goal, certify=certify, seed=seed, threads=threads)
        if request.k > len(self):
            raise ValueError(f"k: {request.k} is more than the {len(self)} items; ask for at most that")
        relevance = Relevance(self.quality, self._vectors)
        problem = Problem(self._vectors, relevance, request, Constraints(len(self), request))
        reason = ""
        if name == "auto":
            name, reason = choose(
                len(self), request.k, goal.diversity, goal.metric, elsewhere=workers is not None
            )
        bound: float | None = None
        if name in selecting.LEVELS:
            asked = selecting.Settings(
                method=name,
                k=request.k,
                goal=goal,
                clusters=clusters,
                per_cluster=per_cluster,
                cluster_diversity=cluster_diversity,
                top_up=top_up,
                final_quality_scale=final_quality_scale,
                criterion=criterion,
                seed=request.seed,
                threads=request.workers,
                workers=workers,
            )
            levels, bound = selecting.by_levels(self._vectors, self.quality, self.clusters, asked)
            chosen, ordered = levels.chosen, True
            problem.stats.update({f"seconds_{stage}": taken for stage, taken in levels.seconds.items()})
            problem.stats.update(partitions=len(levels.partitions), union=levels.union)
        else:
            if workers is not None:
                raise ValueError(f"workers: {name} looks at all items at once; use muss or dgds, or threads=")
            with one_blas_thread():
                chosen, ordered = selecting.over_all(name, problem, self.quality, criterion)
        certificate: Certificate | None = None
        if certify:
            with one_blas_thread():
                certificate = max_sum.certified(
                    problem, chosen, None, bool(certify) if certify != "full" else "full", name
                ).certificate
        found = describe(problem, chosen, ordered, certificate, name, began)
        given = {one.name: getattr(found, one.name) for one in fields(Selection)}
        return CatalogSelection(
            **given,
            ids=self.ids[found.indices],
            clusters=self.clusters.labels[found.indices],
            method=name,
            reason=reason,
            bound=bound,
        )
