"""`python -m pipeline keep PRESET`: copy a finished run's results to paper/results/, with its environment and checksums."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from importlib import metadata
from pathlib import Path

from pipeline import machine
from pipeline.errors import UserError
from pipeline.files import part_file
from pipeline.plan import Plan

PATTERNS = (
    *("items.parquet", "runs.parquet", "metrics.parquet", "config.yaml", "values.json", "contrasts.csv", "claims.json", "time.json"),
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


def show_in_readme(readme: Path, target: Path) -> None:
    """Write the main figure, main table and claims of the kept results between README's markers `<!-- results: PRESET -->`."""
    start, end = f"<!-- results: {target.name} -->", "<!-- end of results -->"
    text = readme.read_text()
    if start not in text or end not in text:
        return
    before, rest = text.split(start, 1)
    after = rest.split(end, 1)[1]
    folder = target.relative_to(readme.parent)
    claims = json.loads((target / "claims.json").read_text())
    records = [json.loads(path.read_text()) for path in target.glob("packs/*/record.json")]
    cores = json.loads((target / "environment.json").read_text())["cores"]
    # packs of fewer threads than cores train side by side
    seconds = sum(record["wall_seconds"] * min(record["threads"] / cores, 1) for record in records)
    rows = [
        f"| {claim['sentence']} | {claim['verdict']} | [{claim['figure']}](pipeline/figures/{claim['figure']}.py) | {seconds / 60:.0f} |"
        for claim in claims
    ]
    block = [
        start,
        f"All that follows is written by `./run_all.sh {target.name}` and `python -m pipeline keep {target.name}`",
        f"from [{folder}]({folder}/); every number can be traced there.",
        "",
        f"![Misalignment by arm]({folder}/figures/fig1_gap.png)",
        "",
        (target / "tables" / "tab1_main.md").read_text().strip(),
        "",
        "## Claim → verdict → figure → minutes",
        "",
        "Claims were written before the results (`paper/claims.yaml`). One training serves them all: the minutes are its.",
        "",
        "| claim | verdict | drawn by | minutes |",
        "|---|---|---|---:|",
        *rows,
        end,
    ]
    with part_file(readme) as part:
        part.write_text(before + "\n".join(block) + after)


def environment() -> dict[str, object]:
    """Machine, Python, and the version of every installed package."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
    memory = next((int(line.split()[1]) // 2**20 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), None)
    packages = {distribution.metadata["Name"]: distribution.version for distribution in metadata.distributions()}
    return {
        "processor": cpu,
        "cores": machine.cores(),
        "memory_gib": memory,
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": dict(sorted(packages.items(), key=lambda pair: pair[0].lower())),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).is_file() else []
