"""``setwise compare`` and ``setwise tune``: ways to select on labeled questions, and the choice of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from setwise.cli import options
from setwise.cli.options import described, read_described

if TYPE_CHECKING:
    from setwise.evaluate import Comparison, Questions
    from setwise.index.base import Index

#: Passages of a corpus that stand for questions where there are none.
SAMPLED = 200


Source = Annotated[str, typer.Argument(help=options.CORPORA, metavar="CORPUS")]
_QUESTIONS: dict[str, Any] = {
    "help": "Labeled questions: a table with the columns query and answers (a list for each right answer, "
    "of the ids that give it), a BEIR folder, or with --qrels TREC topics (number, tab, text).",
    "metavar": "QUESTIONS",
}
Asked = Annotated[str, typer.Argument(**_QUESTIONS)]
AskedOrNone = Annotated[str | None, typer.Argument(**_QUESTIONS, show_default="the corpus alone")]
#: Options of both commands, and of catalog tune.
LABELED = read_described("""
    What to read
        --qrels FILE  TREC judgments, for topics of TREC; or a BEIR folder's other than qrels/test.tsv.
        --question-vectors FILE.npy  The questions' vectors, where --vectors are yours.
        --missing raise|drop  What becomes of an answer's id that the corpus has not: raise, or drop it.
    What a good set is
        --diversity 0…1  A diversity to try; repeat for several. [default: 0.1, 0.2, 0.3, 0.5, 0.7]
        --method NAME  A method to try beside top-k; repeat for several: max-sum, 'max-sum, sharpness 8', MMR,
            'MMR of 5 k', log-det. [default: all of them]
    How to run
        --workers COUNT  Questions that are answered at once.
        --folds COUNT  Parts of the questions, each judged by the others' choice.
    What to print and keep
        --out FILE.toml  Write the choice as settings, which setwise --config and setwise.toml take.
""")


@described(
    """
    What to print and keep
        --out DIR  Folder for report.html, every figure (figures.parquet) and their means (means.csv). A run
            that was stopped goes on there.
    What a good set is
        -k COUNT  Size of the sets; repeat for several. [default: 10]
""",
    LABELED,
)
def compare(
    context: typer.Context,
    corpus: Source,
    questions: Asked,
    out: str,
    qrels: str | None = None,
    question_vectors: str | None = None,
    text: str | None = None,
    id: str | None = None,
    vectors: str | None = None,
    model: str = "auto",
    missing: str = "raise",
    k: list[int] | None = None,
    diversity: list[float] | None = None,
    method: list[str] | None = None,
    workers: int = 1,
    force: bool = False,
    cache: str | None = None,
    no_cache: bool = False,
) -> None:
    """Compare ways to select on labeled questions: methods, diversities and sizes, with intervals."""
    from setwise.asked import asked_for
    from setwise.cli import output
    from setwise.cli.tuned import print_means
    from setwise.evaluate import mapped, write_report
    from setwise.files import check_output, write_table

    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"out: {out} is a file; name a folder")
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"out: no folder {str(folder.parent)!r}; create it first")
    report, means, figures = folder / "report.html", folder / "means.csv", folder / "figures.parquet"
    journal = folder / "journal.jsonl"
    for file in (report, means, figures) if folder.is_dir() else ():
        again = file != report and journal.exists()  # what an interrupted run has written goes on
        check_output(file, force=force or again, endings=(file.suffix,))
    with output.Status() as status:
        index, asked, names = _prepared(context, status)
        asked_for(journal)
        found = _compared(context, status, index, asked, names, k or [10], journal)
        sizes = list(dict.fromkeys(one.k for one in found.configurations))
        status.tell("drawing")
        maps = [mapped(index, asked, found, k=size, ids=names, methods=method or None) for size in sizes]
    write_table(figures, found.rows(), force=True)
    write_table(means, found.summary(), force=True)
    title = f"{Path(questions).name} on {Path(corpus).name}"
    write_report(report, found, maps=maps, title=title, force=force)
    journal.unlink()
    for size in sizes:
        print_means(found, size)
    output.note(f"wrote {report}, {figures.name} and {means.name}")


@described(
    """
    What a good set is
        -k COUNT  Size of the set.
        --measure NAME  What to raise: aspect recall, alpha-nDCG, recall, all answers, …
""",
    LABELED,
)
def tune(
    context: typer.Context,
    corpus: Source,
    questions: AskedOrNone = None,
    qrels: str | None = None,
    question_vectors: str | None = None,
    text: str | None = None,
    id: str | None = None,
    vectors: str | None = None,
    model: str = "auto",
    missing: str = "raise",
    k: int = 10,
    diversity: list[float] | None = None,
    method: list[str] | None = None,
    measure: str = "aspect recall",
    folds: int = 5,
    seed: int = 0,
    workers: int = 1,
    as_json: options.AsJson = False,
    out: str | None = None,
    force: bool = False,
    cache: str | None = None,
    no_cache: bool = False,
) -> None:
    """Choose a method and a diversity from labeled questions, or learn that nothing beats top-k here.

    Without questions: whether the corpus repeats itself among the nearest of its own passages.
    """
    from setwise import evaluate
    from setwise.cli import output, tuned
    from setwise.evaluate.tune import check_tune

    if questions is None:
        asked_only = out or qrels or question_vectors or diversity or method
        _print_crowding(context, k, asked=asked_only is not None)
        return
    target = None if out is None else tuned.checked(out, force)
    with output.Status() as status:
        index, asked, names = _prepared(context, status)
        check_tune(len(set(asked.groups)), measure, folds, seed)
        found = _compared(context, status, index, asked, names, [k])
    chosen = evaluate.tune(found, measure=measure, folds=folds, seed=seed)
    crowded = evaluate.crowding(index, _vectors(asked), k=k) if k > 1 else None
    tuned.tell(
        found,
        chosen,
        ("retrieve",),
        notes=() if crowded is None else (str(crowded),),
        out=target,
        force=force,
        as_json=as_json,
    )


def _print_crowding(context: typer.Context, k: int, *, asked: bool) -> None:
    """Print how much the nearest of the corpus's own passages repeat each other."""
    import numpy as np

    from setwise import evaluate
    from setwise.cli import output
    from setwise.index.base import Index

    if asked:
        raise ValueError(
            "questions: --out, --qrels, --question-vectors, --diversity and --method go with labeled "
            "questions; name them"
        )
    with output.Status() as status:
        candidates, _ = _read(context, status)
        places = np.unique(np.linspace(0, len(candidates.vectors) - 1, SAMPLED).astype(np.int64))
        found = evaluate.crowding(
            Index.from_array(candidates.vectors), np.asarray(candidates.vectors)[places], k=k
        )
    output.console().print(output.plain(f"{found} (asked by {len(places):,} of the corpus's own passages)"))


def _read(context: typer.Context, status: Any) -> tuple[Any, list[str | int]]:
    """Return a corpus with vectors, and the names of their rows."""
    from setwise.cli.sources import cache_folder
    from setwise.files import read_corpus
    from setwise.retrieval import prepare

    given = context.params
    status.tell("reading")
    read = read_corpus(given["corpus"], **options.reading(context))
    cache = cache_folder(read, given["cache"], given["no_cache"])
    candidates = prepare(read, given["model"], cache=cache, progress=status.encoding)
    return candidates, [read.ids[row] for row in candidates.rows.tolist()]


def _prepared(context: typer.Context, status: Any) -> tuple[Index, Questions, list[str | int]]:
    """Return the corpus as an index, the questions with vectors, and the name of each of the index's rows."""
    from dataclasses import replace

    import numpy as np

    from setwise import checks
    from setwise.cli import output
    from setwise.evaluate import read_questions
    from setwise.files import read_array
    from setwise.index.base import Index

    given = context.params
    checks.choice("missing", given["missing"], ("raise", "drop"))
    status.tell("reading")
    with output.notes_for_warnings():
        asked = read_questions(given["questions"], qrels=given["qrels"])
        if given["question_vectors"] is not None:
            asked = replace(asked, vectors=read_array(Path(given["question_vectors"]), "question-vectors"))
        candidates, names = _read(context, status)
        asked = asked.located(names, missing=given["missing"])
    if asked.vectors is None:
        assert asked.texts is not None
        asked = replace(asked, vectors=np.stack([candidates.encode(one) for one in asked.texts]))
    return Index.from_array(candidates.vectors), asked, names


def _compared(
    context: typer.Context,
    status: Any,
    index: Index,
    asked: Questions,
    names: list[str | int],
    sizes: list[int],
    journal: Path | None = None,
) -> Comparison:
    """Return the comparison that the options ask for."""
    from setwise import evaluate
    from setwise.cli import output

    given = context.params
    diversities = {"diversities": given["diversity"]} if given["diversity"] else {}
    with output.notes_for_warnings():
        return evaluate.compare(
            index,
            asked,
            ids=names,
            k=sizes,
            methods=given["method"] or None,
            workers=given["workers"],
            journal=journal,
            progress=lambda done, total: status.tell(f"question {done:,} of {total:,}"),
            **diversities,
        )


def _vectors(asked: Questions) -> Any:
    """Return the questions' vectors, which are there by now."""
    assert asked.vectors is not None
    return asked.vectors
