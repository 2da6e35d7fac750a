"""From per-item scores to numbers, contrasts and verdicts.

from pipeline.analysis import Contrast, contrast, load_results
outcome = contrast(load_results(Path("runs/quick")), Contrast(measure="gap", of="raw", minus="filtered"), study="main")
"""

from __future__ import annotations

from pipeline.analysis.claims import judge_all, load_claims
from pipeline.analysis.contrasts import Contrast, contrast
from pipeline.analysis.results import Cell, Results, load_items, load_metrics, load_results, load_runs, per_seed
from pipeline.analysis.stats import holm, paired_t, sign_flip, two_way
from pipeline.analysis.summary import analyse, summary

__all__ = [
    "Cell",
    "Contrast",
    "Results",
    "analyse",
    "contrast",
    "holm",
    "judge_all",
    "load_claims",
    "load_items",
    "load_metrics",
    "load_results",
    "load_runs",
    "paired_t",
    "per_seed",
    "sign_flip",
    "summary",
    "two_way",
]
