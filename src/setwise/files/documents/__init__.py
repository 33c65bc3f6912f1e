"""Documents in: text, Markdown, reStructuredText, HTML, code, PDF and DOCX, cut into passages."""

from __future__ import annotations

from setwise.files.documents.passages import CHUNK, DOCUMENTS, KINDS, Passage, read_passages, split_text

__all__ = ["CHUNK", "DOCUMENTS", "KINDS", "Passage", "read_passages", "split_text"]
