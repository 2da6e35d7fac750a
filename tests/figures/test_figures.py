"""Every figure and table is drawn, for any set of arms, with parts missing, and the same each time."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from pipeline.errors import UserError
from pipeline.figures import captions, draw_all, modules
from pipeline.figures.registry import SUFFIXES, kind
from tests.synthetic_results import ARMS, write_results


def first_column(root: Path, table: str) -> list[str]:
    with (root / "tables" / f"{table}.csv").open(newline="") as file:
        return [row[0] for row in csv.reader(file)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All arms, and one that no file describes."""
    root = write_results(tmp_path_factory.mktemp("runs") / "quick", arms=(*ARMS, "brand_new"), items_per_cell=6)
    assert draw_all(root) == modules()
    return root


def test_every_module_writes_its_files(root: Path) -> None:
    for name in modules():
        for suffix in SUFFIXES[kind(name)]:
            assert (root / kind(name) / f"{name}{suffix}").stat().st_size > 100, name + suffix
    assert not list(root.rglob("*.part*"))


def test_figures_are_pictures_of_a_readable_size(root: Path) -> None:
    for path in root.glob("figures/*.png"):
        with Image.open(path) as image:
            assert image.width > 800
            assert len(set(image.convert("L").resize((64, 64)).tobytes())) > 8, f"{path.name} is blank"


def test_a_new_condition_shows_up(root: Path) -> None:
    assert "brand new" in first_column(root, "tab1_main")
    assert "brand new" in first_column(root, "tab2_capability")


def test_equal_results_give_equal_files(root: Path) -> None:
    before = {path: path.read_bytes() for path in root.glob("figures/fig3*")}
    draw_all(root, only=["fig3_tradeoff"])
    assert before
    assert before == {path: path.read_bytes() for path in root.glob("figures/fig3*")}


def test_every_module_has_a_caption() -> None:
    assert all(len(text) > 40 and text.endswith(".") for text in captions().values())


def test_parts_may_be_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One seed, one arm without tags, no human persona, no curves, no labeller report, no config."""
    root = write_results(tmp_path / "tiny", arms=("raw",), seeds=(1,), personas={}, items_per_cell=4)
    for path in (root / "metrics.parquet", root / "config.yaml", *root.glob("corpus/*/labellers.json")):
        path.unlink()
    (root / "figures").mkdir()
    (root / "figures" / "fig2_curves.pdf").write_text("stale")
    drawn = draw_all(root)
    assert set(modules()) - set(drawn) == {"fig2_curves", "tab4_labellers", "tab5_hyperparameters"}
    assert not (root / "figures" / "fig2_curves.pdf").exists()
    assert "fig2_curves: left out" in capsys.readouterr().out
    with (root / "tables" / "tab1_main.csv").open(newline="") as file:
        assert "Human" not in next(csv.reader(file))


def test_unknown_figure(root: Path) -> None:
    with pytest.raises(UserError, match="no figure or table called 'fig99'"):
        draw_all(root, only=["fig99"])
