"""HTML as lines: what a reader sees, a block a line, headings told by their tags."""

from __future__ import annotations

from html.parser import HTMLParser

from setwise.files.documents.lines import Line

#: What no reader sees, and what is told in another place.
_HIDDEN = {"script", "style", "template", "noscript", "svg", "math", "nav", "select", "iframe", "title"}

#: What stands inside a line; every other element begins and ends one.
_INLINE = {
    *("a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font"),
    *("i", "img", "input", "ins", "kbd", "label", "mark"),
    *("q", "s", "samp", "small", "span", "strike", "strong"),
    *("sub", "sup", "time", "tt", "u", "var", "wbr", "td", "th"),
}

_HEADINGS = {f"h{level}": level for level in range(1, 7)}


class _PageReader(HTMLParser):
    """Collects the lines of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[Line] = []
        self.title = ""
        self._words: list[str] = []
        self._place = 0
        self._open: list[str] = []  # hidden elements
        self._level = self._verbatim = 0
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title":
            self._in_title = True
        if tag in _HIDDEN:
            self._open.append(tag)
        if self._open:
            return
        if tag not in _INLINE:
            self.flush()
            self._verbatim += tag == "pre"
            self._level = _HEADINGS.get(tag, self._level)
        elif tag in ("td", "th") and self._words:
            self._words.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        if tag in self._open:
            while self._open.pop() != tag:
                pass
            return
        if not self._open and tag not in _INLINE:
            self.flush()
            if tag in _HEADINGS:
                self._level = 0
            self._verbatim = max(0, self._verbatim - (tag == "pre"))

    def handle_data(self, data: str) -> None:
        if self._in_title and not self.title:
            self.title = " ".join(data.split())
        if self._open:
            return
        if not self._words:
            lead = "" if self._verbatim else data[: len(data) - len(data.lstrip())]
            self._place = self.getpos()[0] + lead.count("\n")
        self._words.append(data)

    def flush(self) -> None:
        """End a line, and leave one blank after it."""
        text = "".join(self._words)
        self._words.clear()
        if self._verbatim:
            self.lines += [Line(line, self._place + row) for row, line in enumerate(f"{text}\n".split("\n"))]
        elif text := " ".join(text.split()):
            title = text if self._level else ""
            self.lines += [Line(text, self._place, self._level, title), Line("", self._place)]


def html(text: str) -> list[Line]:
    """Return what a page shows, without scripts, styles and navigation.

    Where there is no heading of the first level, the page's title is that of all its parts.
    """
    reader = _PageReader()
    reader.feed(text)
    reader.close()
    reader.flush()
    lines = reader.lines
    if reader.title and not any(line.level == 1 for line in lines):
        lines.insert(0, Line("", 1, 1, reader.title))
    return lines
