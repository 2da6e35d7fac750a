"""The benchmark runs tools through their own loops and reports every field; it is never timed here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.benchmark import compare as module
from pipeline.benchmark import report
from pipeline.benchmark.contenders import CPU_SHAPES, SHAPES, contenders
from pipeline.errors import UserError


def test_shapes_are_of_their_size_and_every_peer_is_shipped_and_tuned(tmp_path: Path) -> None:
    for name, millions in (("0.8M", 0.84), ("5M", 5.1), ("30M", 29.9), ("124M", 123.6)):
        shape = SHAPES[name]
        assert shape.model.parameters(shape.vocabulary) == pytest.approx(millions * 1e6, rel=0.01)
        assert shape.flops_per_token > 6 * shape.model.parameters(shape.vocabulary)
    for name in CPU_SHAPES:
        found = contenders(SHAPES[name], "cpu", tmp_path)
        assert len({contender.name for contender in found}) == len(found)
        for tool in ("hf", "litgpt", "nanogpt"):
            names = [contender.name for contender in found if contender.tool == tool]
            assert sum("as shipped" in name for name in names) == 1
            assert sum("bf16" in name or "bfloat16" in name for name in names) >= 1
    assert {c.members for c in contenders(SHAPES["0.8M"], "cpu", None) if c.tool == "ours"} == {1, 18}


def test_tools_are_timed_in_turns_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "SLICE_FLOPS", {"cpu": 1.0, "cuda": 1.0})
    some = [c for c in contenders(SHAPES["0.8M"], "cpu", None) if c.name in ("ours, 1 member", "HF Trainer, as shipped")]
    some[0] = replace(some[0], options={"parallelism": {"compile": "off"}})
    monkeypatch.setattr(module, "contenders", lambda *_: some)
    report.training(("0.8M",), None, "", 2, tmp_path, True)
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["ours, 1 member", "HF Trainer, as shipped"]
    for row in rows:
        assert {"name", "shape", "members", "tokens_per_s", "ratio_to_best_peer", "share_of_peak"} <= set(row)
        assert row["low"] <= row["tokens_per_s"] <= row["high"]
    assert rows[1]["ratio_to_best_peer"] == 1.0
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".md", ".tex", ".json", ".pdf", ".png"}


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no shape called '1B'"):
        module.compare(["1B"], "cpu", None, "", 1)
    with pytest.raises(UserError, match="no checkout of nanoGPT"):
        module.compare(["0.8M"], "cpu", tmp_path, "", 1)
