"""Columns for the page: named arrays in one compressed block of base64, which the browser decodes when a view asks for it.

A block is zlib of: length of the header (uint32), header (JSON: name -> kind, place), bytes of the columns. Integers are stored in the
smallest unsigned or signed type; numbers of several bytes lie plane by plane (all low bytes, then all next ones …), which compresses
better; anything that is no array is JSON.
"""

from __future__ import annotations

import base64
import json
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVEL = 6  # of zlib: 9 took three times as long for 2 % less
INTEGERS = (np.uint8, np.int8, np.uint16, np.int16, np.int32)


@dataclass(frozen=True)
class Deltas:
    """Integers that are stored as differences of neighbours: for numbers that nearly count up."""

    values: np.ndarray


@dataclass(frozen=True)
class Sequence:
    """16-bit integers whose runs repeat (tokens): they stay byte by byte, so that a run is found again."""

    values: np.ndarray


def plain(value: Any) -> Any:
    """`value` as strict JSON has it: what is not finite is null, numpy's numbers are Python's."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_json(value: Any) -> str:
    """Compact JSON that may stand inside a script element, whatever its texts hold."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _smallest(values: np.ndarray) -> np.ndarray:
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    for kind in INTEGERS:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return values.astype(kind)
    raise ValueError(f"integers from {low} to {high} do not fit into 32 bits")


def _planes(values: np.ndarray) -> bytes:
    little = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
    return little.view(np.uint8).reshape(-1, values.dtype.itemsize).T.tobytes()


def _column(value: Any) -> tuple[dict[str, Any], bytes]:
    if isinstance(value, Sequence):
        return {"kind": "uint16", "order": "sequence"}, value.values.astype("<u2").tobytes()
    if isinstance(value, Deltas):
        differences = _smallest(np.diff(value.values.astype(np.int64), prepend=0))
        return {"kind": differences.dtype.name, "order": "deltas"}, _planes(differences)
    if isinstance(value, np.ndarray):
        values = value.astype(np.float32) if value.dtype.kind == "f" else _smallest(value)
        return {"kind": values.dtype.name, "order": "planes"}, _planes(values)
    return {"kind": "json"}, json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def block(columns: Mapping[str, Any]) -> str:
    """Columns -> base64 text."""
    header: dict[str, dict[str, Any]] = {}
    parts, at = [], 0
    for name, value in columns.items():
        description, data = _column(value)
        header[name] = {**description, "at": at, "bytes": len(data)}
        parts.append(data)
        at += len(data)
    head = json.dumps(header, ensure_ascii=False).encode()
    return base64.b64encode(zlib.compress(b"".join((struct.pack("<I", len(head)), head, *parts)), LEVEL)).decode()


def category(values: Any) -> tuple[list[str], np.ndarray]:
    """Distinct texts of a column, sorted, and the number of each row's text among them."""
    import pandas as pd

    found = pd.Categorical(values)
    return [str(name) for name in found.categories], np.asarray(found.codes, dtype=np.int32)
