"""Plain formats as lines: which of them are headings, and where each stands."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple


class Line(NamedTuple):
    """A line, or what a format has in its place.

    Attributes
    ----------
    place : int
        Where a person would look for it, from 1: the line of a file, the page of a PDF, the paragraph of a
        DOCX file.
    level : int
        Of a heading, from 1; 0 for what is none.
    title : str
        What a heading says.
    """

    text: str
    place: int
    level: int = 0
    title: str = ""


#: Markdown's headings of one line, and what opens or closes a block of code.
_ATX, _FENCE = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$"), re.compile(r" {0,3}(`{3,}|~{3,})")

#: A line that underlines a heading in Markdown, and in reStructuredText.
_SETEXT, _RULE = re.compile(r" {0,3}(=+|-+)[ \t]*$"), re.compile(r"([^\w\s])\1+\s*$")

#: What begins a definition at the margin of a line of code, in most languages that name it by a word.
_DEFINITION = re.compile(
    r"(?:(?:export|default|public|private|protected|internal|static|abstract|final|pub(?:\([a-z]+\))?|async|"
    r"unsafe|extern|inline|const)\s+)*"
    r"(?:def|class|fn|func|function|fun|struct|enum|trait|impl|interface|type|module|namespace|protocol|object|"
    r"record|sub)\s+(?:\([^)]*\)\s*)?[^\s{:(=]+"
)

#: What begins a line that belongs to the definition under it: decorators and comments.
_ABOVE = ("@", "#", "//", "/*", " *", "--")


def plain(text: str) -> list[Line]:
    """Return the lines of a text without headings."""
    return [Line(line, number) for number, line in enumerate(text.splitlines(), 1)]


def markdown(text: str) -> list[Line]:
    """Return the lines of a Markdown text; a heading starts with #, or the rule under it is left out."""
    lines: list[Line] = []
    fence = ""
    for line in plain(text):
        mark = _FENCE.match(line.text)
        if fence:
            if mark and mark[1].startswith(fence) and not line.text.strip(" `~"):
                fence = ""
        elif mark:
            fence = mark[1]
        elif atx := _ATX.match(line.text):
            line = line._replace(level=len(atx[1]), title=atx[2])
        elif (rule := _SETEXT.match(line.text)) and _may_be_title(lines):
            lines[-1] = lines[-1]._replace(level=1 if rule[1][0] == "=" else 2, title=lines[-1].text.strip())
            continue
        lines.append(line)
    return lines


def restructured(text: str) -> list[Line]:
    """Return the lines of a reStructuredText text without the rules of headings.

    A heading's level is told by when a rule like its own was met first.
    """
    lines: list[Line] = []
    levels: dict[str, int] = {}
    for line in plain(text):
        over = lines[-2].text.rstrip() if len(lines) > 1 and _RULE.match(lines[-2].text) else ""
        title = lines[-1].text.rstrip() if lines else ""
        rule = (
            line.text.rstrip() if _RULE.match(line.text) and len(line.text.rstrip()) >= len(title) > 0 else ""
        )
        if len(rule) >= len(title) > 0 and not _RULE.match(title) and (rule == over or _may_be_title(lines)):
            level = levels.setdefault(rule[0] * (2 if rule == over else 1), len(levels) + 1)
            lines[-1] = lines[-1]._replace(level=level, title=title.strip())
            if rule == over:
                del lines[-2]
        else:
            lines.append(line)
    return lines


def code(text: str) -> list[Line]:
    """Return the lines of a program; definitions at the margin are headings, with the comments above them."""
    lines = plain(text)
    for row, line in enumerate(lines):
        if found := _DEFINITION.match(line.text):
            start = row
            while start and lines[start - 1].text.startswith(_ABOVE) and not lines[start - 1].level:
                start -= 1
            lines[start] = lines[start]._replace(level=1, title=found[0])
    return lines


def titles_of(lines: Iterable[Line]) -> list[str]:
    """Return the title of each line: the headings that it stands under, the outermost first."""
    path: list[tuple[int, str]] = []
    titles = []
    for line in lines:
        if line.level:
            path = [(level, title) for level, title in path if level < line.level]
            path.append((line.level, line.title))
        titles.append(" › ".join(title for _, title in path if title))
    return titles


def _may_be_title(lines: list[Line]) -> bool:
    """Return whether the last line may be a heading's: it says something at the margin, and stands alone."""
    if not lines or not lines[-1].text.strip() or lines[-1].level or lines[-1].text[0].isspace():
        return False
    return len(lines) == 1 or not lines[-2].text.strip() or lines[-2].level > 0
