"""Documents cut into passages: at headings first, then at paragraphs, sentences and words."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from setwise import checks
from setwise.extras import require
from setwise.files.documents import binary, lines, markup
from setwise.files.documents.lines import Line
from setwise.files.names import ending

#: Tokens of a passage, at most, where nothing is said.
CHUNK = 256

_CODE = (
    *(".py", ".pyi", ".js", ".jsx", ".ts", ".tsx", ".java"),
    *(".kt", ".scala", ".c", ".h", ".cc", ".cpp", ".hpp"),
    *(".cs", ".go", ".rs", ".rb", ".php", ".swift", ".r", ".jl", ".lua", ".sh", ".sql"),
)

_TEXT: dict[str, Callable[[str], list[Line]]] = {
    ".txt": lines.plain,
    ".md": lines.markdown,
    ".markdown": lines.markdown,
    ".rst": lines.restructured,
    ".html": markup.html,
    ".htm": markup.html,
    **dict.fromkeys(_CODE, lines.code),
}
_BINARY: dict[str, Callable[[Path, str], list[Line]]] = {".pdf": binary.pdf, ".docx": binary.docx}

#: Endings of documents, and what they are in words.
KINDS = (*_TEXT, *_BINARY)
DOCUMENTS = ".txt, .md, .rst, .html, .pdf, .docx, or code"

#: Scripts that put no space between words (Thai, Lao, Burmese, Khmer, Japanese, Chinese), and Korean, whose
#: words are phrases.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s]")


@dataclass(frozen=True)
class Passage:
    """A part of a document.

    Attributes
    ----------
    text : str
    title : str
        The headings it stands under, the outermost first: ``Guide › Install``.
    position : int
        Where it begins, from 1: the line, the page of a PDF, the paragraph of a DOCX file.
    """

    text: str
    title: str
    position: int


def read_passages(
    path: Path, name: str | None = None, *, chunk: int | str = CHUNK, overlap: int = 0
) -> list[Passage]:
    """Return the passages of a document.

    Parameters
    ----------
    path : Path
        A file with one of the endings in `KINDS`.
    name : str, optional
        What it is called in messages; by default its name.
    chunk, overlap
        As for `split_text`.

    Raises
    ------
    ImportError
        The file is a PDF or DOCX file, or a section is longer than a passage, and the package for it is not
        installed.
    ValueError
        The ending is unknown; a text is not UTF-8; the file is damaged; ``chunk`` or ``overlap`` is out of
        its range.
    """
    kind, name = ending(path), name or path.name
    if kind in _BINARY:
        return _passages(_BINARY[kind](path, name), kind, chunk, overlap)
    if kind not in _TEXT:
        raise ValueError(f"corpus: {name!r} ends in none of {', '.join(KINDS)}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"corpus: {name} is not UTF-8 (byte {error.start}); save it as UTF-8 or leave it out"
        ) from None
    return split_text(text, kind, chunk=chunk, overlap=overlap)


def split_text(text: str, kind: str = ".txt", *, chunk: int | str = CHUNK, overlap: int = 0) -> list[Passage]:
    """Cut a text into passages: no passage has parts of two sections, and none is longer than ``chunk``.

    Within a section as many paragraphs as fit are one passage; a paragraph that does not fit is cut between
    sentences, then between words.

    Parameters
    ----------
    text : str
    kind : str
        The ending of a file of its kind: ".txt", ".md", ".rst", ".html", ".py", …
    chunk : int, "paragraph" or "file"
        Tokens of a passage, at most; or every paragraph, or the whole text, is one. A token is a word, a
        mark, or a character of a script that parts words by no space.
    overlap : int
        Tokens at the end of a passage that the next one of the section begins with, at most; less than
        ``chunk``.

    Raises
    ------
    ImportError
        A section is longer than a passage, and semantic-text-splitter is not installed.
    ValueError
        The kind is unknown; ``chunk`` or ``overlap`` is out of its range.

    Examples
    --------
    >>> text = "# Fruit\\n\\nApples are red.\\n\\n## Pears\\n\\nPears are green."
    >>> [(passage.position, passage.title) for passage in split_text(text, ".md")]
    [(1, 'Fruit'), (5, 'Fruit › Pears')]
    """
    return _passages(_TEXT[checks.choice("kind", kind, tuple(_TEXT))](text), kind, chunk, overlap)


def check_chunk(chunk: int | str, overlap: int) -> None:
    """Refuse sizes that no passage can have.

    Raises TypeError, ValueError: ``chunk`` is neither a number of at least 8 nor "paragraph" or "file";
    ``overlap`` is not below it, or above 0 where passages are not cut by size.
    """
    if isinstance(chunk, str):
        checks.choice("chunk", chunk, ("paragraph", "file"))
        if overlap:
            raise ValueError(f"overlap: passages are not cut by size (chunk {chunk!r}); leave it out")
        return
    checks.integer("chunk", chunk, least=8)
    checks.integer("overlap", overlap, least=0, most=chunk - 1)


def count_tokens(text: str) -> int:
    """Return how many words, marks and characters of unspaced scripts a text has."""
    return len(_TOKEN.findall(text))


def first_tokens(text: str, most: int) -> str:
    """Return a text up to the end of as many of its tokens; see `count_tokens`."""
    last = next(islice(_TOKEN.finditer(text), most - 1, None), None)
    return text if last is None else text[: last.end()]


def _passages(found: list[Line], kind: str, chunk: int | str, overlap: int) -> list[Passage]:
    """Cut lines into passages."""
    check_chunk(chunk, overlap)
    titles = lines.titles_of(found)
    made = []
    for start, stop in _parts(found, chunk):
        # A section without words of its own is part of the next; the innermost heading is the title.
        words = (row for row in range(start, stop) if not found[row].level and _speaks(found[row]))
        first = next(words, stop - 1)
        for offset, text in _cut([line.text for line in found[start:stop]], kind, chunk, overlap):
            row = start + offset
            made.append(Passage(text, titles[max(row, first)], found[row].place))
    return made


def _parts(found: list[Line], chunk: int | str) -> Iterator[tuple[int, int]]:
    """Yield where sections, paragraphs, or the whole begin and end, in lines."""
    start, said = 0, False
    for row, line in enumerate(found):
        blank = not line.text.strip()
        ends = blank if chunk == "paragraph" else line.level > 0 and chunk != "file"
        if ends and said:
            yield start, row
            start, said = row, False
        said = said or (not line.level and _speaks(line))
    if any(line.text.strip() for line in found[start:]):
        yield start, len(found)


def _speaks(line: Line) -> bool:
    """Return whether a line has a letter or digit."""
    return any(map(str.isalnum, line.text))


def _cut(texts: list[str], kind: str, chunk: int | str, overlap: int) -> Iterator[tuple[int, str]]:
    """Yield the passages of a part, each with the line of the part that it begins on."""
    whole = "\n".join(texts)
    starts = [0]
    for text in texts:
        starts.append(starts[-1] + len(text) + 1)
    if isinstance(chunk, str) or count_tokens(whole) <= chunk:
        pieces = [(len(whole) - len(whole.lstrip()), whole.strip())] if whole.strip() else []
    else:
        pieces = _splitter(kind, chunk, overlap).chunk_indices(whole)
    for offset, text in pieces:
        yield bisect_right(starts, offset) - 1, text


def _splitter(kind: str, chunk: int, overlap: int) -> Any:
    """Return what cuts a section into as few passages as have its paragraphs, sentences or words whole."""
    package = require("semantic_text_splitter", "text", "cutting long texts into passages")
    of = package.MarkdownSplitter if kind in (".md", ".markdown") else package.TextSplitter
    return of.from_callback(count_tokens, chunk, overlap)
