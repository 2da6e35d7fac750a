"""Keeping a finished run: what is copied, its checksums, and the block in the README."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.analysis import analyse
from pipeline.errors import UserError
from pipeline.figures import draw_all
from pipeline.keep import keep, show_in_readme
from pipeline.plan import make_plan
from tests.synthetic_results import write_results


def test_results_are_kept_with_checksums_and_shown(tmp_path: Path) -> None:
    plan = replace(make_plan("quick", tmp_path), root=tmp_path / "quick")
    with pytest.raises(UserError, match=r"quick: the run is not finished\. Run `\./run_all\.sh quick` first"):
        keep(plan, tmp_path / "results")
    write_results(plan.root)
    analyse(plan.root)
    draw_all(plan.root)
    (plan.root / "paper.pdf").write_bytes(b"%PDF")
    pack = plan.root / "packs" / "pack1"
    pack.mkdir(parents=True)
    (pack / "record.json").write_text('{"wall_seconds": 600, "threads": 64}')
    target = keep(plan, tmp_path / "results")
    sums = dict(line.split("  ")[::-1] for line in (target / "SHA256SUMS").read_text().splitlines())
    assert {"items.parquet", "runs.parquet", "claims.json", "environment.json", "config.yaml"} <= set(sums)
    for name, digest in sums.items():
        assert hashlib.sha256((target / name).read_bytes()).hexdigest() == digest
    assert "torch" in json.loads((target / "environment.json").read_text())["packages"]
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results: quick -->\nSTALE TEXT\n<!-- end of results -->\nafter\n")
    show_in_readme(readme, target)
    text = readme.read_text()
    assert text.startswith("before\n<!-- results: quick -->")
    assert text.endswith("<!-- end of results -->\nafter\n")
    assert "STALE" not in text
    claims = json.loads((target / "claims.json").read_text())
    assert all(claim["sentence"] in text for claim in claims)
    assert "| Raw |" in text
