"""`python -m pipeline keep PRESET`: copy a finished run's results to paper/results/, with its environment and checksums."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

from pipeline.errors import UserError
from pipeline.files import part_file
from pipeline.plan import Plan

PATTERNS = (
    *("items.parquet", "runs.parquet", "metrics.parquet", "config.yaml", "values.json", "contrasts.csv", "claims.json"),
    *("corpus/seed*/labellers.json", "corpus/seed*/audit.json", "packs/*/record.json", "figures/fig*.png", "tables/*.md"),
)


def keep(plan: Plan, results: Path) -> Path:
    """Copy per-item scores, run records, curves, statistics and figures of `plan` to `results/<preset>`; returns that folder."""
    if not (plan.root / "paper.pdf").is_file():
        raise UserError("the run is not finished", file=plan.root, fix=f"Run `./run_all.sh {plan.preset.name}` first.")
    target = results / plan.preset.name
    shutil.rmtree(target, ignore_errors=True)
    for pattern in PATTERNS:
        for source in sorted(plan.root.glob(pattern)):
            place = target / source.relative_to(plan.root)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
    with part_file(target / "environment.json") as part:
        part.write_text(json.dumps(environment(), indent=1) + "\n")
    files = sorted(path for path in target.rglob("*") if path.is_file())
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(target)}\n" for path in files]
    with part_file(target / "SHA256SUMS") as part:
        part.write_text("".join(sums))
    return target


def environment() -> dict[str, object]:
    """Machine, Python, and the version of every installed package."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
    memory = next((int(line.split()[1]) // 2**20 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), None)
    packages = {distribution.metadata["Name"]: distribution.version for distribution in metadata.distributions()}
    return {
        "processor": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": memory,
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": dict(sorted(packages.items(), key=lambda pair: pair[0].lower())),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).is_file() else []
