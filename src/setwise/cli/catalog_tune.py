"""``setwise catalog tune``: the choice of a method and a diversity from what users took later."""

from __future__ import annotations

from typing import Annotated

import typer

from setwise.cli.catalog_select import Folder
from setwise.cli.compare import LABELED
from setwise.cli.options import AsJson, described


@described(
    """
    What a good set is
        --diversity 0…1  A diversity to try; repeat for several. [default: 0.05, 0.1, 0.3, 0.5]
        --method NAME  A method to try beside top-k; repeat for several: frank-wolfe, greedy, muss, …
            [default: these three]
        --measure NAME  What to raise: recall (the share of a user's items that is in the set), precision, …
""",
    LABELED,
)
def tune(
    path: Folder,
    taken: Annotated[
        str,
        typer.Argument(
            help="A table with a row a user, and the column items: a list of the ids that the user took "
            "after what qualities and vectors were made of.",
            metavar="TABLE",
        ),
    ],
    k: int = 500,
    diversity: list[float] | None = None,
    method: list[str] | None = None,
    measure: str = "recall",
    folds: int = 5,
    seed: int = 0,
    as_json: AsJson = False,
    out: str | None = None,
    force: bool = False,
) -> None:
    """Choose a method and a diversity by what users took later, or learn that quality alone is best."""
    from setwise import checks, evaluate
    from setwise.catalog import METHODS, Catalog
    from setwise.cli import output, tuned
    from setwise.evaluate.tune import check_tune
    from setwise.files import column_types, read_table
    from setwise.files.names import column, existing

    target = None if out is None else tuned.checked(out, force)
    names = [checks.choice("method", one, METHODS) for one in method or ("frank-wolfe", "greedy", "muss")]
    methods = {evaluate.TOP: {"method": "top-k"}, **{one: {"method": one} for one in names}}
    source = existing(taken, "taken")
    column(column_types(source, "taken"), "items", "taken", str(source))
    table = read_table(source, ["items"], "taken")
    users = []
    for row, items in enumerate(table.values("items")):
        if isinstance(items, str) or not hasattr(items, "__iter__") or not list(items):
            raise ValueError(
                f"taken: {table.source}, {table.place(row)}: items are no list of ids: {items!r}"
            )
        users.append(list(items))
    check_tune(len(users), measure, folds, seed)
    with output.Status() as status:
        status.tell("reading")
        catalog = Catalog.load(path)
        with output.notes_for_warnings():
            found = evaluate.compare_catalog(
                catalog,
                users,
                k=k,
                methods=methods,
                seed=seed,
                progress=lambda done, total: status.tell(f"set {done:,} of {total:,}"),
                **({"diversities": diversity} if diversity else {}),
            )
    chosen = evaluate.tune(found, measure=measure, methods=methods, folds=folds, seed=seed)
    tuned.tell(found, chosen, ("catalog", "select"), notes=(), out=target, force=force, as_json=as_json)
