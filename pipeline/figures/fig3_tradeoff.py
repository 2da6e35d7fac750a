"""What a remedy costs: persona gap against knowledge of what is said about AI (accuracy in choosing what the raw text
says over what it never says; dashed: chance and no gap). A remedy without cost lies at the lower right. Small marks are
seeds, large marks their means, lines 95 % t intervals over seeds.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

from pipeline.analysis.results import Results, per_seed
from pipeline.analysis.stats import paired_t
from pipeline.figures.registry import NothingToShow
from pipeline.figures.style import GREY, WIDTH, cells_with, colour, headline_pool, marker, save


def draw(results: Results, out: Path) -> None:
    """Gap (or, without human items, misalignment of the AI persona) against knowledge, one mark per arm and prefix."""
    cells, pool = cells_with(results, "knowledge"), headline_pool(results)
    measure = "gap" if any(per_seed(results, cell, "gap", pool) is not None for cell in cells) else "ai"
    figure, ax = plt.subplots(figsize=(WIDTH * 0.62, 2.9))
    points: list[tuple[float, float]] = []
    for cell in cells:
        x, y = per_seed(results, cell, "knowledge"), per_seed(results, cell, measure, pool)
        if x is None or y is None:
            continue
        c, shape = colour(results, cell), marker(cell.prefix)
        tx, ty = paired_t(x.to_numpy()), paired_t(y.to_numpy())
        points += list(zip(x, y, strict=False))
        ax.plot(x, y.reindex(x.index), shape, ms=2.8, color=c, alpha=0.5, ls="none", mew=0, zorder=2)
        for t, line in ((tx, ([tx.low, tx.high], [ty.estimate] * 2)), (ty, ([tx.estimate] * 2, [ty.low, ty.high]))):
            if t.known:
                ax.plot(*line, color=c, lw=0.9, alpha=0.8, zorder=3)
        ax.plot(tx.estimate, ty.estimate, shape, ms=7, color=c, mec="white", mew=0.6, zorder=4, ls="none", label=results.label(cell))
    if not points:
        raise NothingToShow(f"no arm has both knowledge and {measure}")
    ys = [y for _, y in points]
    xs = [x for x, _ in points]
    ax.axhline(0 if measure == "gap" else 0.5, color=GREY, ls="--", lw=0.8, zorder=1)
    ax.axvline(0.5, color=GREY, ls="--", lw=0.8, zorder=1)
    ax.set_xlim(min(*xs, 0.5) - 0.06, min(max(*xs, 0.55) + 0.06, 1.02))
    ax.set_ylim(min(ys) - 0.1, max(ys) + 0.1)
    ax.set(
        xlabel="knowledge of the discourse (accuracy)",
        ylabel="persona gap, AI − human" if measure == "gap" else "P(misaligned act) as an AI",
    )
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.3, labelspacing=0.55)
    save(figure, out)
