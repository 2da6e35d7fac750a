"""The text of a PDF, page by page and line by line, and the preset that a paper was built from."""

from __future__ import annotations

import re
from pathlib import Path

import pypdfium2


def texts(path: Path) -> list[list[str]]:
    """Lines of every page of the PDF at `path`."""
    document = pypdfium2.PdfDocument(path)
    try:
        return [page.get_textpage().get_text_range().splitlines() for page in document]
    finally:
        document.close()


def preset_of(path: Path) -> str | None:
    """The preset that the first page of a paper names."""
    first = re.search(r"preset (\w+)", " ".join(texts(path)[0]))
    return first.group(1) if first else None
