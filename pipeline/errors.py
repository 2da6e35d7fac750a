"""One exception type for everything a user can mend: it prints as one line and exits with status 2."""

from __future__ import annotations

from pathlib import Path


class UserError(Exception):
    """A mistake in the input. The message names the file, the key, what is wrong and the way out."""

    def __init__(self, what: str, *, file: str | Path | None = None, key: str | None = None, fix: str | None = None) -> None:
        place = ": ".join(str(p) for p in (file, key) if p is not None)
        text = f"{place}: {what}" if place else what
        super().__init__(" ".join(f"{text}. {fix}".split()) if fix else text)
