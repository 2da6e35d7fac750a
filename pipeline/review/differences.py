"""What is reported against what comes out: numbers to a relative 1e-9, everything printed exactly, figures by their pixels."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RELATIVE = 1e-9  # other processors and other versions of numpy and scipy round differently
ABSOLUTE = 1e-12  # of numbers that should be zero
STEP = 64  # of 255: what a pixel may differ by where another processor draws an edge
PIXELS = 16  # so many may differ by more; the smallest dot of a figure has 40


@dataclass(frozen=True)
class Difference:
    """One thing that is not as reported: in which file, under which key (a value, a claim's field, a table's cell)."""

    file: str
    key: str
    reported: str
    recomputed: str


def same(a: Any, b: Any) -> bool:
    """Whether two values agree: numbers within the tolerance, all else exactly."""
    if isinstance(a, bool) or isinstance(b, bool) or not isinstance(a, (int, float, list)) or not isinstance(b, (int, float, list)):
        return type(a) is type(b) and a == b
    if isinstance(a, list) or isinstance(b, list):
        return isinstance(a, list) and isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE) or (math.isnan(a) and math.isnan(b))


def _show(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _values(text: str) -> Iterator[tuple[str, Any]]:
    """`values.json`: value, text and source of each name."""
    for name, entry in json.loads(text).items():
        yield from ((f"{name}: {part}", content) for part, content in entry.items())


def _claims(text: str) -> Iterator[tuple[str, Any]]:
    for claim in json.loads(text):
        yield from ((f"{claim['id']}.{part}", content) for part, content in claim.items())


def _contrasts(text: str) -> Iterator[tuple[str, Any]]:
    for row in csv.DictReader(io.StringIO(text)):
        name = f"{row['claim']} ({row['contrast']})"
        yield from ((f"{name}.{column}", _number(content or "")) for column, content in row.items())


def _table(text: str) -> Iterator[tuple[str, Any]]:
    """A Markdown table: one entry per cell, named by its row's first cell and its column."""
    rows = [[cell.strip() for cell in line.strip().strip("|").replace(r"\|", "¦").split("|")] for line in text.splitlines() if line.strip()]
    for column, name in enumerate(rows[0] if rows else ()):
        yield f"column {column + 1}", name
    for i, row in enumerate(rows[2:], start=1):
        for column, cell in enumerate(row):
            yield f"row {i} ({row[0]}), {rows[0][column] if column < len(rows[0]) else column + 1}", cell


READERS = {"values.json": _values, "claims.json": _claims, "contrasts.csv": _contrasts}


def differences_of_file(reported: Path, recomputed: Path, place: str) -> tuple[int, list[Difference]]:
    """Entries of a file of numbers that differ; first: how many values, claims, rows or tables it holds."""
    read = READERS.get(reported.name, _table)
    new = dict(read(recomputed.read_text(encoding="utf-8")))
    try:
        old = dict(read(reported.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return 0, [Difference(place, "", f"not readable: {error}", f"{len(new)} entries")]
    found = []
    for key in {**old, **new}:
        if key not in old or key not in new:
            found.append(Difference(place, key, *(_show(side[key]) if key in side else "not there" for side in (old, new))))
        elif not same(old[key], new[key]):
            found.append(Difference(place, key, _show(old[key]), _show(new[key])))
    if read is _table:
        return 1, found
    return len({key.rpartition(":" if read is _values else ".")[0] for key in new}), found


def differences_of_figure(reported: Path, recomputed: Path, place: str) -> tuple[int, list[Difference]]:
    """Whether two pictures show the same."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    if reported.read_bytes() == recomputed.read_bytes():
        return 1, []
    try:
        with Image.open(reported) as a, Image.open(recomputed) as b:
            old, new = (np.asarray(picture.convert("RGB"), dtype=np.int16) for picture in (a, b))
    except (UnidentifiedImageError, OSError):
        return 1, [Difference(place, "", "not a picture", "a picture")]
    if old.shape != new.shape:
        return 1, [Difference(place, "pixels", *(f"{shape[1]} x {shape[0]}" for shape in (old.shape, new.shape)))]
    changed = int((np.abs(old - new).max(axis=-1) > STEP).sum())
    return 1, [Difference(place, "pixels", "as drawn from the scores", f"{changed:,} differ")] if changed > PIXELS else []
