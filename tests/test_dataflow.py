"""The README's picture of the workflow is that of the workflow."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from pipeline.config import ROOT
from pipeline.dataflow import PICTURE, rule_graph, sections, svg
from pipeline.stages import ORDER


def test_the_committed_picture_shows_every_rule_and_edge() -> None:
    text = PICTURE.read_text()
    names, edges = rule_graph()
    assert set(names) == set(ORDER)
    assert set(re.findall(r'id="rule-(\w+)"', text)) == set(names), "run: python -m pipeline dataflow"
    assert set(re.findall(r"<title>(\w+) → (\w+)</title>", text)) == set(edges)
    assert text == svg(), "run: python -m pipeline dataflow"


def test_every_rule_has_a_section_and_a_description() -> None:
    titles, rules = sections()
    assert " ".join(titles).replace("->", "").split() == ["documents", "condition", "tokens", "model", "answers", "statistics", "paper"]
    assert set(rules) == set(ORDER)
    assert all(len(told) > 10 for _, told in rules.values())


def test_it_is_one_whole_file_for_light_and_dark() -> None:
    root = ElementTree.fromstring(PICTURE.read_text())
    assert root.tag.endswith("svg")
    assert "prefers-color-scheme: dark" in PICTURE.read_text()
    assert "http" not in PICTURE.read_text().replace("http://www.w3.org/2000/svg", "")


def test_the_readme_shows_it() -> None:
    assert "(docs/dataflow.svg)" in (ROOT / "README.md").read_text()
