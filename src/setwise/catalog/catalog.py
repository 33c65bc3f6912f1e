"""A catalog: items clustered once; k of them by quality and spread, as often as quality changes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, Unpack, cast

import numpy as np
from numpy.typing import NDArray

from setwise import cluster as clustering
from setwise import frames
from setwise.catalog import items
from setwise.catalog.fields import as_fields
from setwise.catalog.held import Held
from setwise.catalog.items import Items
from setwise.catalog.many import selected_for_each
from setwise.catalog.methods import selected
from setwise.catalog.request import DIVERSITY, CatalogOptions, CatalogRequest, ManyOptions
from setwise.catalog.selection import CatalogSelection
from setwise.ids import in_rows_of, same_rows
from setwise.request import takes
from setwise.threads import one_blas_thread, thread_count
from setwise.vectors import Vectors, check_metric


class Catalog(Held):
    """Items with vectors and a quality, partitioned into clusters.

    Make one with `Catalog.build`, or open a saved one with `Catalog.load`. Threads may select from it while
    another changes it: a selection is from what the catalog held when it began.

    Attributes
    ----------
    clusters : Clusters
    quality : ndarray of shape (n,), float64
    ids : ndarray of shape (n,)
    fields : pyarrow.Table or None
        Columns kept beside: names, categories.
    """

    @classmethod
    def build(
        cls,
        vectors: Any,
        quality: Any,
        *,
        clusters: int | None = None,
        ids: Sequence[Any] | NDArray[Any] | None = None,
        fields: Any = None,
        metric: str = "cosine",
        quality_weight: float = 0.0,
        seed: int = 0,
        threads: int | None = None,
    ) -> Catalog:
        """Check items and partition them: once, or as often as they change much.

        Parameters
        ----------
        vectors : array-like of shape (n, d), or frame
            As for `setwise.select`; a memory map is read in blocks. Of a frame, `quality` and `ids` may name
            columns.
        quality : array-like of shape (n,), mapping, pandas Series or frame
            One number an item, at least 0, higher is better: a predicted click rate, a rating; -inf for what
            is never selected (sold out). Where ids are given, what has ids of its own (a mapping, the index
            of a Series, a frame's column of ids) is joined by them; a column beside a frame, or beside a
            column of ids, whose index has the same labels, by those.
        clusters : int, optional
            l of the paper, at most n; by default 200, or a fifth of the items where that is fewer.
        ids : sequence of length n, optional
            None twice; by default the column of a frame that is called ``id`` or the like, else row numbers.
        fields : mapping of names to sequences, DataFrame or pyarrow.Table, optional
            A row an item: what is kept beside, shown with a selection and filtered by.
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
        if frames.kind_of(vectors, "vectors") is not None:
            quality, ids = items.of_frame(vectors, quality, ids)
        elif same_rows(quality, beside := cast(Any, ids)):
            quality = in_rows_of(quality, beside, "quality").to_numpy()
        checked = Vectors(vectors, check_metric(metric), workers=thread_count(threads), stored=True)
        named = np.arange(checked.n) if ids is None else items.as_names(ids, checked.n)
        if ids is not None and items.is_by_id(quality, named, "quality"):
            values, given = items.by_id(quality, named, "quality")
            if not given.all():
                lacking = named[~given].tolist()
                raise ValueError(
                    f"quality: {len(lacking):,} items have none, such as {lacking[0]!r}; give each one"
                )
            quality = values
        known = items.as_quality(quality, checked.n)
        columns = as_fields(fields, checked.n)
        with one_blas_thread():
            made = clustering.k_means(
                checked, clusters, quality=items.spread(known), quality_weight=quality_weight, seed=seed
            )
        return cls(Items(checked, known, made, named, columns))

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

    @takes(CatalogOptions, CatalogRequest, diversity=DIVERSITY, certify=False)
    def select(
        self,
        k: int | None = 500,
        *,
        relevance: Any = None,
        query: Any = None,
        filter: Any = None,
        sharpness: int = 1,
        workers: int | str | None = None,
        **options: Unpack[CatalogOptions],
    ) -> CatalogSelection:
        """Select k items by quality and spread.

        Parameters
        ----------
        k : int or None
            At most n. With `budget` or `min_gain` the most there may be; with a budget None leaves that open.
        relevance : array-like of shape (n,), mapping or pandas Series, optional
            For this call in place of the quality: any finite numbers, -inf for never; in the order of the
            items, or by id (every item has one then).
        query : array-like of shape (d,), optional
            For this call in place of the quality: the similarity to a vector.
        include : sequence of ids
            Must be in the set, whatever the filter; they come first.
        exclude : sequence of ids
            Must not; those that are not in the catalog are no error.
        filter : str, array-like of shape (n,), bool, or pyarrow.compute.Expression, optional
            Which items may be selected: a condition on `fields`, ``id`` and ``quality``, such as
            ``"year >= 2010 and brand <> 'x'"``, a mask, or an Arrow expression. What is given for each item
            here and below as a pandas column or frame whose index has all ids is joined by them.
        groups, max_per_group, limits, shares
            As for `setwise.select`: labels are a kept column's name, by id, or one an item; a name that
            `groups` does not have is a kept column. ``frank-wolfe+swap`` and ``greedy`` keep them, and the
            wishes that follow.
        costs, budget, min_gain, max_similarity
            As for `setwise.select`; costs are a kept column's name, by id, or one an item.
        shown : sequence of ids, or array-like of shape (h, d), optional
            Items, or vectors, that were shown before: they count as members, and are not selected.
        shown_weight : float
            As for `setwise.select`.
        facets : optional
            As for `setwise.select`, for objective="facets"; also names of kept columns.
        diversity : float
            1 - λ of the paper, in [0, 1].
        objective : {"max-sum", "mmr", "log-det", "coverage", "max-min", "facets"} or Objective
        sharpness : int
            As for `setwise.select`.
        method : str
            One of `METHODS`; for another objective than max-sum "auto", or one of the core's solvers for it.
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
        time_limit : float
            Seconds that certify="full" may take.
        seed : int
        threads : int, optional
        workers : int or str, optional
            Where the partitions of muss, dgds and their ablations run: so many local processes (the vectors
            in shared memory, or mapped by each), "ray", or the address of a Ray cluster. By default
            threads of this process. The result is the same.

        Returns
        -------
        CatalogSelection
            ``value``, ``relevance`` and ``diversity`` are the objective's: of max-sum MUSS Eq. 2, mean
            quality and mean distance, whatever the method.

        Raises
        ------
        KeyError
            A must-have id is not in the catalog.
        TypeError
            An argument is of the wrong type.
        ValueError
            k is more than the items that may be selected; relevance, query or filter is not as it should be;
            the method cannot honor must-have items; an argument is out of its range or unknown; clusters or
            items of each are more than there are, or yield fewer than k; workers are given to a method
            without partitions.

        Warns
        -----
        UserWarning
            An option is given that the method does not look at.
        """
        request = CatalogRequest.of(
            Catalog.select,
            options,
            k=k,
            sharpness=sharpness,
            metric=self._items.vectors.metric,
            processes=workers,
        )
        return selected(self._items, request, relevance=relevance, query=query, filter=filter)

    @takes(ManyOptions, CatalogRequest, diversity=DIVERSITY, certify=False)
    def select_many(
        self,
        k: int | None = 10,
        *,
        relevance: Any = None,
        queries: Any = None,
        filter: Any = None,
        sharpness: int = 1,
        **options: Unpack[ManyOptions],
    ) -> list[CatalogSelection]:
        """Select k items for each of many users: as `select` for each, in passes that serve all of them.

        Parameters
        ----------
        k : int or None
        relevance : array-like of shape (m, n), optional
            In place of the quality, a row a user, in the order of the items; -inf for never. Or `queries`.
        queries : array-like of shape (m, d), optional
        include, exclude : sequence of ids, or one of them (or None) a user
            As for `select`: what each user has bought, say.
        groups, max_per_group
            As for `select`; with `max_per_group`, `groups` may have a row of labels a user.
        filter, limits, shares, costs, budget, min_gain, max_similarity, shown, shown_weight, facets
            As for `select`; each is one for all users.
        diversity, objective, sharpness, method, time_limit, seed, threads
            As for `select`.
        certify : False, True or "full"
            As for `setwise.select_many`.

        Returns
        -------
        list of CatalogSelection, one a user

        Raises
        ------
        KeyError, TypeError, ValueError
            As for `select`; or there are not as many lists of ids as users.
        """
        request = CatalogRequest.of(
            Catalog.select_many, options, k=k, sharpness=sharpness, metric=self._items.vectors.metric
        )
        return selected_for_each(self._items, request, relevance, queries, filter)
