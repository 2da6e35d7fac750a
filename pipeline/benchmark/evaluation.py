"""Requests per second of lm-eval's own `hf` model and of `sfm-ensemble`, on the same exported models and items, with equal numbers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

SAMPLE = 400  # requests that `hf` scores per round, drawn evenly from all


@dataclass(frozen=True)
class EvaluationRow:
    """Requests/s over all models; `largest_difference` of a log-likelihood from `hf`'s, in nats."""

    name: str
    members: int
    requests: int
    requests_per_s: float
    ratio: float  # ours ÷ this
    largest_difference: float


def requests_of(items_file: Path) -> list[Instance]:
    """Every option of every item, as lm-eval's tasks make them."""
    import pandas as pd
    from lm_eval.api.instance import Instance

    items = pd.read_parquet(items_file)
    pairs = [
        (prompt, option) for prompt, good, bad in zip(items["prompt"], items["good"], items["bad"], strict=True) for option in (good, bad)
    ]
    return [Instance("loglikelihood", {}, pair, 0, ("task", number, 1)) for number, pair in enumerate(pairs)]


def compare_evaluation(folders: Sequence[Path], items_file: Path, rounds: int) -> list[EvaluationRow]:
    """Rows of `hf` unbatched (lm-eval's default), `hf` in batches of 64, and ours, in turns."""
    import torch
    from lm_eval.models import huggingface

    from pipeline.evaluation.adapter import EnsembleLM

    hf: Any = huggingface.HFLM
    device = "cuda" if torch.cuda.is_available() else "cpu"
    requests = requests_of(items_file)
    sample = list(range(0, len(requests), max(1, len(requests) // SAMPLE)))
    names = {"lm-eval hf, batch size 1 (its default)": 1, "lm-eval hf, batch size 64": 64}
    theirs = {name: hf(pretrained=str(folders[0]), device=device, dtype="float32", batch_size=size) for name, size in names.items()}
    ours = EnsembleLM(folders)
    speeds: dict[str, list[float]] = {}
    differences: dict[str, float] = {}
    for _ in range(rounds):
        start = time.perf_counter()
        ours.loglikelihood(requests)
        speeds.setdefault("ours", []).append(len(folders) * len(requests) / (time.perf_counter() - start))
        scores = ours.results["loglikelihood"].values[0]
        for name, model in theirs.items():
            start = time.perf_counter()
            found = model.loglikelihood([requests[index] for index in sample], disable_tqdm=True)
            speeds.setdefault(name, []).append(len(sample) / (time.perf_counter() - start))
            differences[name] = float(np.abs(scores[sample] - np.array([value for value, _ in found])).max())
    medians = {name: float(np.median(values)) for name, values in speeds.items()}
    return [
        EvaluationRow(
            name=name,
            members=len(folders) if name == "ours" else 1,
            requests=len(requests) if name == "ours" else len(sample),
            requests_per_s=round(median, 1),
            ratio=round(medians["ours"] / median, 1),
            largest_difference=differences.get(name, 0.0),
        )
        for name, median in medians.items()
    ]
