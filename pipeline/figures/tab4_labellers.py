"""Labellers against the generator's own labels (oracle): precision and recall, mean over seeds. Which labeller an arm
used is part of its condition file.
"""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportReturnType=false, reportCallIssue=false, reportGeneralTypeIssues=false
# pandas ships no type stubs: what pyright infers of a frame's columns from its source is wrong more often than not
from __future__ import annotations

from pathlib import Path

from pipeline.analysis.results import Results, labellers
from pipeline.analysis.values import number
from pipeline.figures import table
from pipeline.figures.registry import NothingToShow


def draw(results: Results, out: Path) -> None:
    """One row per labeller and label."""
    found = labellers(results.root)
    if found.empty:
        raise NothingToShow("no corpus/seed*/labellers.json")
    rows = []
    for key, part in found.groupby(["labeller", "label"], sort=False):
        labeller, label = map(str, tuple(key))
        means = [number(float(part[what].mean()), 3) for what in ("precision", "recall")]
        rows.append([labeller, label.replace("_", " ").replace(" ai", " AI") or "all", *means, str(part["seed"].nunique())])
    table.write(out, ["Labeller", "Label", "Precision", "Recall", "Seeds"], rows)
