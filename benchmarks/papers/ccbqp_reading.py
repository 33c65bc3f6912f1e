"""CCBQP's Tables 1 and 2: what a small reader makes of what was retrieved."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np
from benchmarks.papers import ccbqp_paper as paper
from benchmarks.papers import sets
from benchmarks.papers.ccbqp_ways import METHODS, chosen_by
from benchmarks.papers.record import Record, Row, paired, told
from numpy.typing import NDArray

from setwise import metrics

#: What the reader is given: it is slow.
READ = (("top-k", 1.0), ("MMR", 0.9), ("Frank-Wolfe", 0.9))


def lists(keep: Record) -> None:
    """Which books did an author write: precision, recall and F1 of the reader's list."""
    from benchmarks.papers.reader import Reader

    texts, asked = _books(keep)
    rows = sets.encoded([*texts, *(one.text for one in asked)])
    kept, queries = rows[: len(texts)], rows[len(texts) :]
    k = 5 if keep.options.tiny else 25
    reader = None if keep.options.tiny else Reader()
    step = max(1, len(asked) // keep.options.readers)
    ways = [("top-k", 1.0)] + [(method, theta) for theta in (0.7, 0.9) for method in METHODS]
    lines: list[Row] = []
    scores: dict[tuple[str, float], list[float]] = {}
    for method, theta in ways:
        ceilings, read = [], []
        for place, (one, query) in enumerate(zip(asked, queries, strict=True)):
            chosen = np.sort(chosen_by("MMR" if method == "top-k" else method, kept, query, k, theta))
            shown = [texts[row] for row in chosen]
            ceilings.append(metrics.answer_recall(shown, one.answers))
            if reader is not None and place % step == 0 and (method, theta) in READ:
                read.append(metrics.list_scores(_listed(reader, one.text, shown), one.answers))
        theirs = paper.TABLE_1.get((method, theta if theta < 1 else None))
        line: Row = {"method": method, "θ": None if theta == 1 else theta}
        line["answers in context"] = float(np.mean(ceilings))
        for place, label in enumerate(("P", "R", "F1")):
            line[label] = float(np.mean([one[place] for one in read])) if read else None
        for place, label in enumerate(("P", "R", "F1")):
            line[f"paper {label}"] = None if theirs is None else theirs[place]
        lines.append(line)
        scores[method, theta] = ceilings
    keep.table(
        f"CCBQP, Table 1's shape: lists, k = {k}",
        lines,
        f"{len(asked)} questions “Which books did X write?” over {len(texts):,} titles with their authors "
        "(goodbooks), "
        "X with 8 to 25 books. Answers in context is the ceiling of any reader; P, R and F1 are those of "
        "the packaged "
        f"SmolLM2-135M on {len(asked[::step])} of them, by QAMPARI's rules. The paper's are QAMPARI with "
        "Llama-3.1-8B.",
    )
    best = max(ways, key=lambda way: float(np.mean(scores[way])))
    gain = paired(scores["Frank-Wolfe", 0.9], scores["top-k", 1.0])
    keep.claim(
        "A modest diversity (Frank-Wolfe, θ = 0.9) finds more of a list's answers than top-k.",
        gain[1] > 0,
        f"Answers in context {told(gain)}; the highest mean is that of {best[0]}"
        + (f" at θ = {best[1]}." if best[1] < 1 else "."),
    )
    own = paired(scores["setwise, sharpness 8", 0.9], scores["top-k", 1.0])
    keep.claim(
        "On lists, setwise's sharpness 8 at θ = 0.9 finds at least as much as top-k.",
        own[2] >= 0,
        f"Answers in context {told(own)}.",
        ours=True,
    )


def _books(keep: Record) -> tuple[list[str], list[sets.Asked]]:
    """Return passages, a book each, and questions on their authors."""
    if keep.options.tiny:
        books = [
            (f"{word} {place}", f"Author{place % 6}")
            for place, word in enumerate(["Sea", "Moor", "Fen"] * 20)
        ]
    else:
        path = keep.options.data / "goodbooks" / "books.csv"
        with path.open(encoding="utf-8", newline="") as source:
            books = [(row["title"].partition(" (")[0], row["authors"]) for row in csv.DictReader(source)]
    by: dict[str, list[int]] = {}
    for row, (_, author) in enumerate(books):
        by.setdefault(author, []).append(row)
    writers = [author for author, rows in by.items() if 8 <= len(rows) <= 25]
    places = sets.spread_evenly(len(writers), keep.options.questions)
    texts = [f"{title} by {author}" for title, author in books]
    asked = []
    for place in places:
        rows = by[writers[place]]
        answers = tuple((books[row][0],) for row in rows)
        aspects = tuple(np.array([row]) for row in rows)
        asked.append(sets.Asked(f"Which books did {writers[place]} write?", answers, aspects))
    return texts, asked


def _listed(reader: Any, question: str, shown: list[str]) -> list[str]:
    """Return the reader's list."""
    said = reader.answer(
        "\n".join(shown) + f"\n\n{question} Answer with titles from the list above alone, one a line.",
        most=80,
    )
    return [
        line.strip(" -*•\t0123456789.\"'").partition(" by ")[0] for line in said.splitlines() if line.strip()
    ]


def hops(keep: Record) -> None:
    """Questions of two hops: the answer in context, the passages it rests on, and the reader's answer."""
    from benchmarks.papers.reader import Reader

    texts, asked = sets.hops(None if keep.options.tiny else keep.options.data, "hotpotqa")
    places = sets.spread_evenly(len(asked), keep.options.questions)
    asked = [asked[place] for place in places]
    rows = sets.encoded([*texts, *(one.text for one in asked)])
    reader, k, lines = None if keep.options.tiny else Reader(), 5, []
    step = max(1, len(asked) // keep.options.readers)
    found: dict[tuple[str, float], NDArray[np.float64]] = {}
    labels = ("exact match", "F1", "recall")
    for method, theta in [("top-k", 1.0), *((method, theta) for theta in (0.7, 0.9) for method in METHODS)]:
        held, read = [], []
        for place, (one, query) in enumerate(zip(asked, rows[len(texts) :], strict=True)):
            way = "MMR" if method == "top-k" else method
            chosen = np.sort(chosen_by(way, rows[: len(texts)], query, k, theta))
            shown = [texts[row] for row in chosen]
            context = metrics.answer_recall(shown, one.answers), metrics.aspect_recall(chosen, one.aspects, k)
            held.append(context)
            if reader is not None and place % step == 0 and (method, theta) in READ:
                (right,) = one.answers
                said = reader.answer("\n".join(shown) + f"\n\n{one.text} Answer in a few words.", most=16)
                score = float(metrics.exact_match(said, right)), metrics.token_f1(said, right)
                read.append([*score, metrics.answer_recall([said], one.answers)])
        found[method, theta] = np.array(held)
        theirs = paper.TABLE_2.get((method, theta if theta < 1 else None))
        row: Row = {"method": method, "θ": None if theta == 1 else theta}
        row["answer in context"], row["support recall"] = found[method, theta].mean(axis=0).tolist()
        row |= dict(zip(labels, np.mean(read, axis=0).tolist() if read else [None] * 3, strict=True))
        lines.append(row | {"paper recall (ASQA, k = 25)": theirs})
    keep.table(
        f"CCBQP, Table 2's shape: answers of several hops, k = {k}",
        lines,
        f"{len(asked)} questions of HotpotQA over {len(texts):,} passages (vectors of wordllama); the "
        "answer in "
        f"context is the ceiling of any reader, SmolLM2-135M reads for {len(asked[::step])} of them. The "
        "paper's recall "
        "is ASQA's with Llama-3.1-8B at k = 25.",
    )
    gain, rests = (
        paired(found["Frank-Wolfe", 0.9][:, side], found["top-k", 1.0][:, side]) for side in (0, 1)
    )
    keep.claim(
        "Frank-Wolfe at θ = 0.9 has more answers in context than top-k, so that a reader finds more (Table "
        "2).",
        gain[1] > 0,
        f"Answers in context {told(gain)}, passages that they rest on {told(rests)}"
        + f", over {len(asked)} questions.",
    )
