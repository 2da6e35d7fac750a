"""The pages of the Python interface build without a warning and hold the public names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import pipeline.analysis
from pipeline.config import ROOT


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the command that the lesson gives."""
    command = re.search(r"^\$ python -m (pdoc -o runs/api .+)$", (ROOT / "docs" / "extending.md").read_text(), re.MULTILINE)
    assert command
    out = tmp_path_factory.mktemp("api")
    arguments = command[1].replace("runs/api", str(out)).split()
    result = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return out / "pipeline"


def test_every_public_name_is_on_the_page(pages: Path) -> None:
    page = (pages / "analysis.html").read_text()
    for name in pipeline.analysis.__all__:
        assert f'id="{name}"' in page, name


def test_every_public_name_has_a_docstring_and_types() -> None:
    for name in pipeline.analysis.__all__:
        thing = getattr(pipeline.analysis, name)
        assert (thing.__doc__ or "").strip(), name
        assert callable(thing), name
        assert "return" in getattr(thing, "__annotations__", {"return": None}) or isinstance(thing, type), name


def test_operations_and_labellers_are_there(pages: Path) -> None:
    assert 'id="drop"' in (pages / "conditions.html").read_text()
    assert 'id="classifier"' in (pages / "corpus" / "labels.html").read_text()
