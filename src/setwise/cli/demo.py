"""``setwise demo``: the main job on texts that repeat themselves, as texts of one's own do."""

from __future__ import annotations

import time
from importlib.resources import files
from typing import TYPE_CHECKING

from setwise.cli.options import described

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from setwise.cli.output import Status
    from setwise.files import Corpus
    from setwise.retrieval import PreparedCorpus

#: Asked one after the other where no query is given.
QUERIES = (
    "my parcel has not arrived",
    "cannot log in to my account",
    "get my money back for a return",
    "the app crashes or freezes",
)

#: What is asked of Python's documentation.
LIBRARY_QUERIES = ("read bytes from a stream", "parse a date and time", "parse XML")

#: What has less than this part of the best relevance is not shown, however much it differs.
FLOOR = 0.3


@described("""
    What to read
        --query -q TEXT  What to look for, instead of the demo's own questions.
        --library  Search the thousands of docstrings of this Python's standard library instead of the inbox.
""")
def demo(
    query: str | None = None,
    k: int = 5,
    diversity: float = 0.6,
    library: bool = False,
    model: str = "auto",
    no_cache: bool = False,
) -> None:
    """Search a shop's inbox twice: the k most relevant messages, and the best set of k."""
    from setwise import checks, encode
    from setwise.cli import output, set_output
    from setwise.encode.places import folder_for
    from setwise.retrieval import prepare

    checks.integer("k", k, least=1)
    checks.fraction("diversity", diversity)
    encode.parse(model)
    with output.Status() as status:
        corpus, noun = _library(status) if library else (inbox(), "messages to a shop")
        if k > len(corpus):
            raise ValueError(
                f"k: {k} is more than the {len(corpus):,} {noun}; ask for at most {len(corpus):,}"
            )
        began = time.perf_counter()
        cache = None if no_cache or not library else folder_for(None)
        candidates = prepare(corpus, model, cache=cache, progress=status.encoding)
        encoding = time.perf_counter() - began
    set_output.print_introduction(candidates, noun, encoding, k, diversity)
    for each in (LIBRARY_QUERIES if library else QUERIES) if query is None else (query,):
        probe = candidates.encode(each)
        low = beside_the_point(candidates, probe, k)
        ranked = candidates.select(probe, k, diversity=diversity, exclude=low, solver="top-k", certify=False)
        hits = candidates.select(probe, k, diversity=diversity, exclude=low, certify="full")
        set_output.print_side_by_side(
            ("top-k", ranked), ("setwise", hits), len(candidates) - len(low), "max-sum", f"“{each}”"
        )
    set_output.print_next_step()


def inbox() -> Corpus:
    """Return messages to a shop, some of which say the same in other words."""
    from setwise.files import Corpus

    texts = files("setwise.cli").joinpath("inbox.txt").read_text(encoding="utf-8").splitlines()
    return Corpus(None, [f"m{number}" for number in range(1, len(texts) + 1)], texts)


def beside_the_point(candidates: PreparedCorpus, probe: NDArray[np.float32], k: int) -> list[str | int]:
    """Return the ids of what is less than `FLOOR` of the best relevance, but never of the k most relevant."""
    import numpy as np

    relevance = np.asarray(candidates.vectors, np.float64) @ probe
    floor = min(FLOOR * relevance.max(), np.sort(relevance)[-k])
    return [candidates.corpus.ids[candidates.rows[row]] for row in np.flatnonzero(relevance < floor)]


def _library(status: Status) -> tuple[Corpus, str]:
    """Return the docstrings of the standard library, and what they are called."""
    from setwise.cli.docstrings import standard_library

    noun = "docstrings of Python's standard library"
    return standard_library(lambda count: status.tell(f"{count:,} {noun}")), noun
