"""A catalog: items clustered once; k of them by quality and spread, as often as quality changes."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import cluster as clustering
from setwise import solvers
from setwise.api import describe
from setwise.catalog import changes, items
from setwise.catalog.items import Items
from setwise.catalog.methods import find
from setwise.catalog.request import CatalogRequest, choose
from setwise.catalog.selection import CatalogSelection
from setwise.constraints import Constraints
from setwise.relevance import Relevance
from setwise.request import Certify
from setwise.selection import Selection
from setwise.solvers.problem import Problem, Solved
from setwise.threads import one_blas_thread, thread_count
from setwise.vectors import Vectors, check_metric

__all__ = ["Catalog"]

#: Held while a catalog is changed, so that of two changes at once neither is lost.
_changing = threading.Lock()


class Catalog:
    """Items with vectors and a quality, partitioned into clusters.

    Make one with `Catalog.build`, or open a saved one with `Catalog.load`. Threads may select from it while
    another changes it: a selection is from what the catalog held when it began.

    Attributes
    ----------
    clusters : Clusters
    quality : ndarray of shape (n,), float64
    ids : ndarray of shape (n,)
    """

    def __init__(self, held: Items) -> None:
        self._items = held

    @property
    def clusters(self) -> clustering.Clusters:
        """What partitions the items."""
        return self._items.clusters

    @property
    def quality(self) -> NDArray[np.float64]:
        """One number an item, higher is better."""
        return self._items.quality

    @property
    def ids(self) -> NDArray[Any]:
        """The items' names."""
        return self._items.ids

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
            Of the sample and of k-means.
        threads : int, optional

        Raises
        ------
        TypeError
            Vectors or qualities are no numbers, or a parameter is of the wrong type.
        ValueError
            A row is not finite, or zero under cosine; a quality is below 0; clusters are more than items; an
            id is named twice.
        ImportError
            FAISS is not installed.

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
        return cls(Items(checked, known, made, named))

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        held = self._items
        vectors, sizes, quality = held.vectors, held.clusters.sizes(), held.quality
        return (
            f"Catalog of {len(held):,} items × {vectors.d:,} ({vectors.raw.dtype}, {vectors.metric}) in "
            f"{len(sizes):,} clusters of {sizes.min():,} to {sizes.max():,}; quality {quality.min():.3g} to "
            f"{quality.max():.3g}"
        )

    def set_quality(self, quality: Any) -> None:
        """Take new qualities, as every hour: clusters stay.

        Parameters
        ----------
        quality : array-like of shape (n,)
            At least 0, in the order of the items.

        Raises
        ------
        TypeError
            They are no numbers.
        ValueError
            Another number of them than items, or one that is below 0 or not finite.
        """
        with _changing:
            self._items = replace(self._items, quality=items.as_quality(quality, len(self)))

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
        TypeError
            Ids or numbers are of another kind than the catalog's.
        ValueError
            Rows are of another width, or not finite; a quality is below 0; an id is there already. The
            catalog is as it was.
        """
        with _changing:
            self._items = changes.grown(self._items, vectors, quality, ids)

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
        TypeError
            Ids of another kind than the catalog's.
        ValueError
            These are all items.
        """
        with _changing:
            self._items = changes.shrunk(self._items, ids)

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
            The folder is there and ``force`` is not given, or it is something else; its parent is missing
            or not writable; it is a file.
        TypeError
            Ids are neither integers nor strings.
        ValueError
            An id is beyond 64 bits, or holds half of a surrogate pair.
        """
        from setwise.catalog import files

        files.write(path, self._items, force=force)

    @classmethod
    def load(cls, path: str | os.PathLike[str], threads: int | None = None) -> Catalog:
        """Open a saved catalog: vectors stay on disk, a few numbers an item are read and checked.

        Parameters
        ----------
        path : path-like
        threads : int, optional

        Raises
        ------
        FileNotFoundError
            There is no such folder.
        ValueError
            It is no saved catalog, of another format version, cut short or altered. Of the vectors the size
            is compared; ``setwise catalog info --verify`` reads them.
        """
        from setwise.catalog import files

        return cls(files.read(path, thread_count(threads)))

    @classmethod
    @contextlib.contextmanager
    def edit(cls, path: str | os.PathLike[str], threads: int | None = None) -> Iterator[Catalog]:
        """Open a saved catalog to change it; it is saved in its place when the context ends without an error.

        Nobody else replaces it meanwhile: of two that change one catalog at once, the second waits for the
        first and changes what that one has saved. (`load` and ``save(force=True)`` put what was loaded in
        place of whatever is there by then.)

        Parameters
        ----------
        path : path-like
        threads : int, optional

        Raises
        ------
        FileNotFoundError, ValueError
            As for `load`.
        TimeoutError
            Another process still changes it after ten minutes.

        Examples
        --------
        >>> import numpy as np, setwise, tempfile
        >>> shop = tempfile.mkdtemp() + "/shop"
        >>> setwise.Catalog.build(np.eye(4), [1, 2, 3, 4], clusters=2).save(shop)
        >>> with setwise.Catalog.edit(shop) as catalog:
        ...     catalog.add([[0, 0, 1, 1]], [5])
        >>> len(setwise.Catalog.load(shop))
        5
        """
        from setwise.catalog import files

        with files.FORMAT.changing(path):
            catalog = cls.load(path, threads)
            before = catalog._items
            yield catalog
            if catalog._items is not before:
                catalog.save(path, force=True)

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
        TypeError
            An argument is of the wrong type.
        ValueError
            k is more than the items; an argument is out of its range or unknown; clusters or items of each
            are more than there are, or yield fewer than k; workers are given to a method without partitions.
        """
        began = time.perf_counter()
        held = self._items
        request = CatalogRequest(
            k=k,
            diversity=diversity,
            metric=held.vectors.metric,
            certify=certify,
            seed=seed,
            threads=threads,
            method=method,
            clusters=clusters,
            per_cluster=per_cluster,
            cluster_diversity=cluster_diversity,
            top_up=top_up,
            final_quality_scale=final_quality_scale,
            criterion=criterion,
            processes=workers,
        )
        reason = ""
        if request.method == "auto":
            taken, reason = choose(
                len(held), request.k, diversity, request.metric, elsewhere=workers is not None
            )
            request = replace(request, method=taken)
        relevance = Relevance(held.quality, held.vectors)
        problem = Problem(held.vectors, relevance, request, Constraints(len(held), request))
        found = find(held, problem, request)
        if certify:
            with one_blas_thread():
                certificate = solvers.certify(problem, Solved(found.chosen)).certificate
            found = replace(found, certificate=certificate)
        sel = describe(problem, found, request.method, began)
        given = {one.name: getattr(sel, one.name) for one in fields(Selection)}
        return CatalogSelection(
            **given,
            ids=held.ids[sel.indices],
            clusters=held.clusters.labels[sel.indices],
            method=request.method,
            reason=reason,
        )
