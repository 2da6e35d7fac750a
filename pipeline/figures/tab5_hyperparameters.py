"""Every setting of these runs, defaults included, as in the resolved configuration (config.yaml)."""

from __future__ import annotations

from pathlib import Path

from pipeline.analysis.results import Results, flatten
from pipeline.figures import table
from pipeline.figures.registry import NothingToShow


def draw(results: Results, out: Path) -> None:
    """One row per setting."""
    rows = [[key, value or '""'] for key, value in flatten(results.config)]
    if not results.config or not rows:
        raise NothingToShow("no config.yaml")
    table.write(out, ["Setting", "Value"], rows)
