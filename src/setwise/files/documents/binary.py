"""PDF and DOCX as lines; their packages are the extra ``documents``."""

from __future__ import annotations

from pathlib import Path

from setwise.extras import require
from setwise.files.documents.lines import Line


def pdf(path: Path, name: str) -> list[Line]:
    """Return the lines of a PDF's pages, each with its page's number.

    Raises ImportError: pypdf is not installed; ValueError: the file is encrypted or damaged.
    """
    pypdf = require("pypdf", "documents", f"reading {name}")
    lines: list[Line] = []
    try:
        for number, page in enumerate(pypdf.PdfReader(path).pages, 1):
            lines += [Line(text, number) for text in page.extract_text().splitlines()]
            lines.append(Line("", number))
    except Exception as error:  # a damaged file makes the package raise nearly anything
        raise _unreadable(path, name, "PDF", error) from None
    return lines


def docx(path: Path, name: str) -> list[Line]:
    """Return the paragraphs and tables' rows of a DOCX file, each with its number; headings by their style.

    Raises ImportError: python-docx is not installed; ValueError: the file is damaged, or no DOCX file.
    """
    package = require("docx", "documents", f"reading {name}")
    lines: list[Line] = []
    try:
        for number, block in enumerate(package.Document(str(path)).iter_inner_content(), 1):
            if hasattr(block, "rows"):
                rows = (" ".join(dict.fromkeys(cell.text for cell in row.cells)) for row in block.rows)
                lines += [Line(row, number) for row in rows]
            else:
                style = (block.style.name or "") if block.style is not None else ""
                level = int(style[8:]) if style.startswith("Heading ") and style[8:].isdecimal() else 0
                level = 1 if style == "Title" else level
                lines.append(Line(block.text, number, level, block.text.strip() if level else ""))
            lines.append(Line("", number))
    except Exception as error:  # of zipfile, lxml and the package, on a damaged file
        raise _unreadable(path, name, "DOCX", error) from None
    return lines


def _unreadable(path: Path, name: str, kind: str, error: Exception) -> ValueError:
    reason = " ".join(str(error).replace(str(path), name).split())[:120].rstrip(". ")
    return ValueError(f"corpus: {name} is no {kind} that can be read ({reason}); leave it out")
