"""Sets for one query or many: each is printed as soon as it is found, all of them go to one file."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from setwise.cli import output, records, set_output
from setwise.cli.asked import Asked
from setwise.cli.sources import Source
from setwise.cli.streams import reached
from setwise.files import writing
from setwise.files.names import ending
from setwise.retrieval import Passages

#: Queries that are encoded together: memory does not grow with how many there are.
_TOGETHER = 1024


@dataclass(frozen=True, kw_only=True)
class Answers:
    """How sets are found and what becomes of them.

    Attributes
    ----------
    many : bool
        Whether what is printed and written says which query each set is for.
    certify : bool or "full"
    compare : str, optional
        Another solver, whose sets are shown beside.
    offset : int
        How many stand on the pages before.
    why : bool
        Also say why each was chosen.
    as_json : bool
        Print one JSON object a query.
    out : str, optional
        A file for the sets, as it was named.
    target : Path, optional
        The same, checked.
    force : bool
        Replace it.
    full : bool
        Print texts whole.
    any_size : bool
        Whether the size of a set is left to what members are worth.
    """

    many: bool
    solver: str
    certify: Any
    compare: str | None
    objective: str
    offset: int
    why: bool
    as_json: bool
    out: str | None
    target: Path | None
    force: bool
    full: bool = False
    any_size: bool = False

    def give(self, source: Source, asked: Sequence[Asked], before: Callable[[], object]) -> None:
        """Find a set for each query, print it, after what `before` prints, and write all of them."""
        with self._file() as keep:
            for number, (one, hits, compared) in enumerate(self._found(source, asked), 1):
                if number == 1:
                    before()
                if self.as_json or self.target is not None:
                    record = source.record(hits, compared, one.text)
                    record = {"query_id": one.name, **record} if self.many else record
                    if self.why:
                        record["why"] = hits.explain().to_dict()
                    keep(one, record, hits)
                    if self.as_json:
                        output.print_json(record)
                if not self.as_json:
                    if number > 1 and self.compare is None:
                        output.console().print()
                    self._show(source, one, hits, compared)
                    if one is asked[-1]:
                        source.print_origin(hits)
                if self.many:
                    reached(f"after {number:,} of {len(asked):,} queries")
        if self.target is not None and not self.as_json:
            output.note(f"wrote {self.out}")

    def _found(
        self, source: Source, asked: Sequence[Asked]
    ) -> Iterable[tuple[Asked, Passages, Passages | None]]:
        """Yield each query with its set, and with another solver's; a part of the queries is at hand."""
        for start in range(0, len(asked), _TOGETHER):
            some = asked[start : start + _TOGETHER]
            with output.notes_for_warnings(), output.Status() as status:
                status.tell("encoding")
                probes = source.probes(some)
            sets = source.select(probes, self.solver, self.certify)
            others: Iterable[Passages | None] = itertools.repeat(None)
            if self.compare is not None:
                others = source.select(probes, self.compare, False)
            beside = iter(others)
            for one in some:
                with output.notes_for_warnings(), output.Status() as status:
                    status.tell("selecting")
                    hits, compared = next(sets), next(beside)
                yield one, hits, compared

    def _show(self, source: Source, one: Asked, hits: Passages, compared: Passages | None) -> None:
        """Print a set as a table."""
        if len(hits) == 0:
            output.note("nothing to show: the set is empty")
        elif compared is None:
            set_output.print_hits(
                hits,
                source.n,
                self.objective,
                one.heading,
                offset=self.offset,
                pool=source.pool,
                full=self.full,
                any_size=self.any_size,
            )
        else:
            label = "setwise" if self.solver == "auto" else self.solver
            sides = (str(self.compare), compared), (label, hits)
            set_output.print_side_by_side(
                *sides,
                source.n,
                self.objective,
                one.heading,
                pool=source.pool,
                full=self.full,
                meaning=set_output.legend(self.objective, self.any_size).rpartition(" · ")[0],
            )
        if self.why and len(hits):
            set_output.print_reasons(hits)

    @contextlib.contextmanager
    def _file(self) -> Iterator[Callable[[Asked, dict[str, Any], Passages], object]]:
        """Give what takes each set for the file, which appears when all are found; no set is kept for it."""
        target, force = self.target, self.force
        if target is None:
            yield lambda *_: None
        elif not self.many:
            yield lambda _, record, hits: records.write(
                target, record, records.as_columns(hits), hits.rows, force=force
            )
        elif ending(target) == ".json":
            with writing.growing_list(target, force=force) as add:
                yield lambda _, record, hits: add(record)
        else:
            with writing.growing_table(target, force=force) as add:
                yield lambda one, _, hits: add(_of_query(one, hits))


def _of_query(one: Asked, hits: Passages) -> dict[str, list[Any]]:
    """Return a set's members as columns, with the query that they are for."""
    own: dict[str, list[Any]] = {"query_id": [one.name] * len(hits), "query": [one.text] * len(hits)}
    return {**own, **records.as_columns(hits)}
