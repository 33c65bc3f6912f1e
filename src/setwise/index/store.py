"""What indexes over databases share: an adapter says how its database is asked, the rest stands here."""

from __future__ import annotations

import uuid
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.index.answers import Answers, Reply
from setwise.index.base import Found, Ids, Index
from setwise.index.checking import optional
from setwise.missing import check_missing
from setwise.queries import as_queries
from setwise.vectors import check_metric

#: What ids may be.
KINDS = ("integers", "strings", "UUIDs")

#: Ids that are looked up in one request, and vectors that are drawn in one: each is sent afresh.
TOGETHER = 1000


class StoreIndex(Answers, Index):
    """An index over a table of a database; an adapter answers three questions, or four.

    ``count`` the rows, ``find`` the best for some queries, ``read`` rows by their ids; and, if the database
    can, ``draw`` some of them. Queries and ids are checked before the database is asked, answers after it.

    Under cosine the database is asked about the direction of a query, which it may rank by cosine or
    by inner product, and the query's length is put back here. ``fetch`` computes scores from the fetched
    vectors in float64, so that a quantized index or half precision changes which rows are found but never
    what they are said to score. Nothing that the database holds is kept from one call to the next.

    Parameters
    ----------
    place : str
        What messages call the store: ``collection 'articles'``.
    dim : int
        Width of the vectors.
    metric : {"cosine", "euclidean"}
    ids : {"integers", "strings", "UUIDs"}
        What ids are: of 64 bits with or without a sign, or strings; UUIDs are strings in their plain form.
    exact : bool
        Whether the database compares a query with every row. A database that ranks by inner product, which
        is the cosine of vectors of length 1 alone, is not exact: a shorter vector might never be found.
    unit : bool
        Whether a vector whose length is not 1 is refused, since the database ranks by inner product.
    missing : {"drop", "raise"}
        What becomes of a found vector that cannot be used: one of zeros under cosine, with NaN or Inf, or of
        another width. Left out, with a warning that names the first, or refused.
    timeout : float, optional
        Seconds that a call may take; the adapter passes it on.

    Raises
    ------
    TypeError
        A parameter is of another type.
    ValueError
        The metric or the kind of ids is unknown; the width is below 1; the timeout is not above 0.
    """

    def __init__(
        self,
        place: str,
        *,
        dim: int,
        metric: str = "cosine",
        ids: str = "integers",
        exact: bool = True,
        unit: bool = False,
        missing: str = "drop",
        timeout: float | None = None,
    ) -> None:
        self.place = place
        self.missing = check_missing(missing, ("drop", "raise"))
        self.dim = checks.integer("dim", dim, least=1)
        self.metric = check_metric(metric)
        self.ids = checks.choice("ids", ids, KINDS)
        self.exact = checks.flag("exact", exact)
        self.unit = unit
        self.timeout = optional(checks.positive, "timeout", timeout)

    #: Whether the database leaves out vectors without a direction by itself, without a word.
    silent = False

    def __getstate__(self) -> Any:
        raise TypeError(f"{self.place}: an open connection cannot be copied; open the index where it is used")

    # ------------------------------------------------------------------ what an adapter answers

    @abstractmethod
    def count(self, most: int) -> int:
        """Count the stored vectors; may stop at ``most``."""

    @abstractmethod
    def find(
        self, queries: NDArray[np.float64], k: int, filter: Any, exclude: list[Any], vectors: bool
    ) -> list[Reply]:
        """Search for the k best of each query, with their vectors if those are wanted.

        Parameters
        ----------
        queries : ndarray of shape (m, d), float64
            Of unit length under cosine.
        k : int
            Fewer are returned where there are no more.
        filter
            As the caller gave it, or None.
        exclude : list of int or str
            Ids that may not be found.
        vectors : bool
        """

    @abstractmethod
    def read(self, ids: list[Any], field: str | None) -> Iterable[tuple[Any, Any]]:
        """Return (id, vector), or (id, field's value), of those ids that are stored, in any order.

        At most `TOGETHER` ids are asked for at a time. A row without a vector counts as not stored where
        vectors are asked for. A field that the store does not have is a ValueError.
        """

    def draw(self, count: int) -> tuple[list[Any], Any] | None:
        """Return ids and vectors of about ``count`` rows drawn over the whole store, or None.

        The same rows, as long as the store does not change.
        """
        return None

    # ------------------------------------------------------------------ the protocol

    @property
    def size(self) -> int:
        """Number of stored vectors, counted now."""
        return self.count(2**62)

    def counted(self, most: int) -> int:
        """Return the number of stored vectors, or ``most`` where there are more."""
        return min(self.count(most), most)

    def search(
        self, queries: NDArray[Any], k: int, *, filter: Any = None, exclude: Sequence[Any] | Ids = ()
    ) -> tuple[NDArray[np.float64], Ids]:
        """Find the k best for each query; see `Index.search`.

        Raises
        ------
        TypeError
            An excluded id, or the filter, cannot be one of this store.
        ValueError
            A query is not finite, zero under cosine or of another width; k is below 1; the database refuses
            the filter; a found row has no id, or another's; one is zero under cosine.
        ConnectionError, TimeoutError
            The database does not answer, or not in time.
        """
        rows, lengths = self._directions(queries)
        k = checks.integer("k", k, least=1)
        answers = self.find(rows, k, filter, self.ids_of(exclude), False)
        found = []
        for answer, length in zip(answers, lengths, strict=True):
            self._check_ids(answer.ids)
            fine = np.isfinite(answer.scores)
            if self.missing == "raise" and not fine.all():
                raise ValueError(f"{self.place}: {self._no_direction(answer.ids[int(fine.argmin())])}")
            order = np.flatnonzero(fine)[np.argsort(-answer.scores[fine], kind="stable")]
            found.append((self._array(answer.ids)[order], answer.scores[order] * length))
        return self._padded(found, k)

    def fetch(
        self, queries: NDArray[Any], k: int, *, filter: Any = None, exclude: Sequence[Any] | Ids = ()
    ) -> list[Found]:
        """Search, and fetch the vectors of what is found, in one round trip; see `Index.fetch`.

        Raises
        ------
        TypeError
            As for ``search``.
        ValueError
            As for ``search``; or a found vector is of another width, not finite, or not of length 1 where
            the database ranks by inner product. The message names its id.
        ConnectionError, TimeoutError
            The database does not answer, or not in time.
        """
        rows, _ = self._directions(queries)
        k = checks.integer("k", k, least=1)
        barred = self.ids_of(exclude)
        lost: dict[Any, str] = {}
        while True:
            answers = self.find(rows, k, filter, [*barred, *lost], True)
            try:
                found = self._finish(queries, answers)
            except ValueError:
                more = self._unusable(answers)
                if more.keys() <= lost.keys():  # none, or the database has not left out what it was told to
                    raise
                lost |= more
            else:
                break
        self._tell_of(lost)
        return [replace(one, left_out=len(lost) + self._silently(one, k, filter, barred)) for one in found]

    def _silently(self, found: Found, k: int, filter: Any, barred: list[Any]) -> int:
        """Return how many vectors without a direction the database has left out by itself; warn of them."""
        if not self.silent or self.metric != "cosine" or filter is not None or len(found) >= k:
            return 0
        left = self.count(k + len(barred)) - len(found) - len(barred)
        if left > 0:
            checks.warn(f"{self.place}: {left} vectors have no direction (all zero) and are left out")
        return max(0, left)

    def vectors(self, ids: Sequence[Any] | Ids) -> NDArray[Any]:
        """Return stored vectors, float32 or float64 of shape (m, d), in the order of the ids.

        Raises
        ------
        KeyError
            An id is not stored, or has no vector; the message names it.
        ValueError
            The store holds an id twice; a vector is of another width, not finite, zero under cosine, or not
            of length 1 where the database ranks by inner product.
        ConnectionError, TimeoutError
            The database does not answer, or not in time.
        """
        wanted, known = self._look_up(ids, None)
        return self._matrix(wanted, [known[one] for one in wanted])

    def values(self, ids: Sequence[Any] | Ids, field: str) -> list[Any]:
        """Return a stored field of some vectors, in the order of the ids.

        Raises
        ------
        KeyError
            An id is not stored; the message names it.
        ValueError
            The store has no such field.
        ConnectionError, TimeoutError
            The database does not answer, or not in time.
        """
        wanted, known = self._look_up(ids, field)
        return [known[one] for one in wanted]

    def sample(self, count: int = 4096) -> Found | None:
        """Return about ``count`` vectors, at most 1000, drawn over the whole store as it is now, scores 0."""
        drawn = self.draw(min(count, TOGETHER))
        if drawn is None or len(drawn[0]) == 0:
            return None
        ids, rows = drawn
        self._check_ids(ids)
        if lost := self._unusable([Reply(ids, np.zeros(len(ids)), rows)]):
            kept = [place for place, one in enumerate(ids) if one not in lost]
            ids, rows = [ids[place] for place in kept], [rows[place] for place in kept]
        return Found(self._array(ids), np.zeros(len(ids)), self._matrix(ids, rows))

    # ------------------------------------------------------------------ questions

    def ids_of(self, ids: Sequence[Any] | Ids, name: str = "exclude") -> list[Any]:
        """Return ids as the store's own kind: ints, or strings.

        Raises
        ------
        TypeError
            An id cannot be one of this store.
        """
        return [self.own_id(one, name) for one in (ids.tolist() if isinstance(ids, np.ndarray) else ids)]

    def own_id(self, one: Any, name: str = "ids") -> Any:
        """Return an id as this index writes it: an int, or a string.

        Raises
        ------
        TypeError
            It cannot be an id of this store.
        """
        if self.ids == "integers":
            if isinstance(one, int | np.integer) and not isinstance(one, bool) and -(2**63) <= one < 2**64:
                return int(one)
        elif self.ids == "strings":
            if isinstance(one, str):
                return str(one)
        elif isinstance(one, str | uuid.UUID):
            try:
                return str(one if isinstance(one, uuid.UUID) else uuid.UUID(one))
            except ValueError:
                pass
        raise TypeError(f"{name}: {one!r} is no id of {self.place}, whose ids are {self.ids}")

    def _directions(self, queries: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Check queries; return them divided by their lengths under cosine, and those lengths (else 1)."""
        rows = as_queries(queries, self.dim, "query")
        if self.metric != "cosine":
            return rows, np.ones(len(rows))
        unit = as_queries(rows, self.dim, "query", metric="cosine")
        return unit, np.vecdot(rows, unit)

    def _look_up(self, ids: Sequence[Any] | Ids, field: str | None) -> tuple[list[Any], dict[Any, Any]]:
        """Return the ids, and what the store holds for each."""
        try:
            wanted = self.ids_of(ids, "ids")
        except TypeError as error:
            raise KeyError(str(error)) from None
        known: dict[Any, Any] = {}
        asked = list(dict.fromkeys(wanted))
        for start in range(0, len(asked), TOGETHER):
            for one, value in self.read(asked[start : start + TOGETHER], field):
                if one in known:
                    self._check_ids([one, one])
                known[one] = value
        for one in wanted:
            if one not in known:
                raise KeyError(f"ids: {one!r} is not stored in {self.place}, or has no vector")
        return wanted, known
