"""Sets for one query or many: each is printed as soon as it is found, all of them go to one file."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from setwise.cli import output, records, set_output
from setwise.cli.asked import Asked
from setwise.cli.sources import Source
from setwise.cli.streams import reached
from setwise.retrieval import Passages


@dataclass(frozen=True, kw_only=True)
class Answers:
    """How sets are found and what becomes of them.

    Attributes
    ----------
    many : bool
        Whether what is printed and written says which query each set is for.
    solver : str
    certify : bool or "full"
    compare : str, optional
        Another solver, whose sets are shown beside.
    objective : str
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

    def give(self, source: Source, asked: Sequence[Asked], before: Callable[[], object]) -> None:
        """Find a set for each query, print it, and write all of them.

        Parameters
        ----------
        source : Source
        asked : sequence of Asked
        before : callable
            Prints what comes before the first set.
        """
        kept: list[tuple[Asked, dict[str, Any], Passages]] = []
        for number, (one, hits, compared) in enumerate(self._found(source, asked), 1):
            if number == 1:
                before()
            if self.as_json or self.target is not None:
                record = source.record(hits, compared, one.text)
                record = {"query_id": one.name, **record} if self.many else record
                if self.why:
                    record["why"] = hits.explain().to_dict()
                if self.target is not None:
                    kept.append((one, record, hits))
                    if not self.many:
                        self._write(self.target, kept)
                if self.as_json:
                    output.print_json(record)
            if not self.as_json:
                self._show(source, one, hits, compared)
                if one is asked[-1]:
                    source.print_origin(hits)
            if self.many:
                reached(f"after {number:,} of {len(asked):,} queries")
        if self.target is not None and self.many:
            self._write(self.target, kept)
        if self.target is not None and not self.as_json:
            output.note(f"wrote {self.out}")

    def _found(
        self, source: Source, asked: Sequence[Asked]
    ) -> Iterable[tuple[Asked, Passages, Passages | None]]:
        """Yield each query with its set, and with another solver's."""
        with output.notes_for_warnings(), output.Status() as status:
            status.tell("encoding")
            probes = source.probes(asked)
        sets = source.select(probes, self.solver, self.certify)
        others: Iterable[Passages | None] = itertools.repeat(None)
        if self.compare is not None:
            others = source.select(probes, self.compare, False)
        beside = iter(others)
        for one in asked:
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
            )
            if self.why:
                set_output.print_reasons(hits)
        else:
            label = "setwise" if self.solver == "auto" else self.solver
            sides = (str(self.compare), compared), (label, hits)
            set_output.print_side_by_side(
                *sides, source.n, self.objective, one.heading, pool=source.pool, full=self.full
            )

    def _write(self, target: Path, kept: list[tuple[Asked, dict[str, Any], Passages]]) -> None:
        """Write the sets to a file."""
        if not self.many:
            _, record, hits = kept[0]
            records.write(target, record, records.as_columns(hits), hits.rows, force=self.force)
            return
        columns: dict[str, list[Any]] = {}
        for one, _, hits in kept:
            own: dict[str, list[Any]] = {"query_id": [one.name] * len(hits), "query": [one.text] * len(hits)}
            for name, values in {**own, **records.as_columns(hits)}.items():
                columns.setdefault(name, []).extend(values)
        records.write(target, [record for _, record, _ in kept], columns, None, force=self.force)
