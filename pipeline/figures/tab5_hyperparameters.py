"""Every setting of these runs, defaults included, as in the resolved configuration (config.yaml)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.analysis.results import Results
from pipeline.figures import table
from pipeline.figures.registry import NothingToShow

LEFT_OUT = ("description", "expect", "colour", "order", "presets", "question", "title", "label", "figures")  # no influence on a result


def flatten(node: Any, trail: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Dotted keys and values; a named list entry goes by its name."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            if key not in LEFT_OUT:
                yield from flatten(value, (*trail, str(key)))
    elif isinstance(node, list) and node and all(isinstance(entry, dict) and "name" in entry for entry in node):
        for entry in node:
            yield from flatten({k: v for k, v in entry.items() if k != "name"}, (*trail, str(entry["name"])))
    else:
        yield ".".join(trail), node if isinstance(node, str) else json.dumps(node, ensure_ascii=False)


def draw(results: Results, out: Path) -> None:
    """One row per setting."""
    rows = [[key, value or '""'] for key, value in flatten(results.config)]
    if not results.config or not rows:
        raise NothingToShow("no config.yaml")
    table.write(out, ["Setting", "Value"], rows)
