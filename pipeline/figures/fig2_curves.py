"""Training loss. Left: nats per token, mean over seeds, logarithmic axes. Right: difference from the first arm of the
same seed, averaged over windows of a tenth of the run; thin lines are seeds, thick lines their means. Arms differ in
their documents, so that a lower loss means easier text, not a better model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from pipeline.analysis.results import Results
from pipeline.figures.registry import NothingToShow
from pipeline.figures.style import GREY, WIDTH, save

WINDOWS = 10


def _curves(results: Results) -> Any:
    """Loss of the main study: index step, columns (condition, axis, seed)."""
    rows = results.metrics[results.metrics["study"] == results.main]
    if rows.empty:
        raise NothingToShow("no training curves")
    return rows.pivot_table(index="step", columns=["condition", "axis", "seed"], values="loss")


def draw(results: Results, out: Path) -> None:
    """Loss of each arm, and its difference from the reference arm."""
    curves = _curves(results)
    present = set(curves.columns.get_level_values("condition"))
    arms = sorted((arm for arm in results.conditions if arm in present), key=lambda arm: (results.conditions[arm].order, arm))
    reference = arms[0]
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.5))
    for arm in arms:
        condition = results.conditions[arm]
        left.plot(curves[arm].mean(axis=1), color=condition.colour, lw=1.0, label=condition.label)
        if arm == reference:
            continue
        difference = curves[arm] - curves[reference].reindex(columns=curves[arm].columns)
        steps = difference.index.to_numpy()
        bins = np.minimum(np.arange(len(steps)) * WINDOWS // len(steps), WINDOWS - 1)
        smooth = difference.groupby(bins).mean()
        smooth.index = [steps[bins == window].mean() for window in smooth.index]
        right.plot(smooth, color=condition.colour, lw=0.5, alpha=0.4)
        right.plot(smooth.mean(axis=1), color=condition.colour, lw=1.6)
    left.set(xscale="log", yscale="log", xlabel="step", ylabel="training loss (nats per token)", title="a  Loss")
    left.xaxis.set_major_formatter("{x:g}")
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_formatter("{x:g}")
    left.tick_params(axis="y", which="minor", labelsize=6.5)
    right.axhline(0, color=GREY, ls="--", lw=0.8)
    right.set(xlabel="step", ylabel="difference in loss", title=f"b  Difference from {results.conditions[reference].label}")
    handles, names = left.get_legend_handles_labels()
    figure.tight_layout(w_pad=2)
    figure.legend(handles, names, loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=min(4, len(arms)))
    save(figure, out)
