"""Claims: the file, its mistakes, and each verdict."""

# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis.claims import FAILED, NOT_RUN, REPRODUCED, WEAKER, Claim, judge, judge_all, load_claims
from pipeline.analysis.contrasts import Contrast, NotRun, contrast
from pipeline.analysis.results import Cell, Results, load_results, matrices, per_seed, terms_of
from pipeline.analysis.stats import paired_t, two_way
from pipeline.analysis.summary import analyse
from pipeline.errors import UserError
from tests.synthetic_results import write_results


def claim(expected: str, **more: object) -> Claim:
    sides = {"order": ("a", "b")} if expected == "ordering" else {"of": "a", "minus": "b"}
    return Claim.model_validate(
        {"id": "x", "sentence": "x", "contrast": {"measure": "gap", **sides}, "expected": expected, "figure": "fig1_gap", **more}
    )


@pytest.mark.parametrize(
    ("expected", "differences", "verdict"),
    [
        ("positive", [0.2, 0.25, 0.15], REPRODUCED),
        ("positive", [0.2, -0.05, 0.1], WEAKER),
        ("positive", [-0.2, -0.25, -0.15], FAILED),
        ("positive", [0.3], WEAKER),  # one seed can do no better
        ("positive", [0.0, 0.0, 0.0], FAILED),
        ("negative", [-0.2, -0.25, -0.15], REPRODUCED),
        ("negative", [-0.2, 0.05, -0.1], WEAKER),
        ("negative", [0.1], FAILED),
    ],
)
def test_verdict_on_a_sign(expected: str, differences: list[float], verdict: str) -> None:
    assert judge(paired_t(differences), claim(expected)) == verdict


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [([0.01, -0.01, 0.0], REPRODUCED), ([0.09, -0.09, 0.03], WEAKER), ([0.3, 0.31, 0.29], FAILED), ([0.01], WEAKER)],
)
def test_verdict_on_a_null(differences: list[float], verdict: str) -> None:
    assert judge(paired_t(differences), claim("equivalent", within=0.1)) == verdict


def test_holm_can_take_a_verdict_back() -> None:
    corrected = claim("positive", judged_by="holm", family="headline")
    t = paired_t([0.2, 0.25, 0.15])
    assert judge(t, corrected, p_holm=0.04) == REPRODUCED
    assert judge(t, corrected, p_holm=0.06) == WEAKER
    assert judge(t, corrected) == WEAKER  # no adjusted p, no more than that


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return load_results(write_results(tmp_path_factory.mktemp("runs") / "quick", items_per_cell=12))


def ordering(*arms: str) -> Claim:
    return claim("ordering", contrast={"measure": "ai", "order": arms})


def test_an_ordering_is_as_good_as_its_worst_step(results: Results) -> None:
    good, bad, absent = judge_all(
        results,
        [
            ordering("raw", "upweighted"),
            ordering("misaligned_upweighted", "upweighted", "raw"),
            ordering("raw", "no_such_arm"),
        ],
    )
    assert good.verdict == REPRODUCED
    assert bad.verdict == FAILED
    assert bad.shown is not None
    assert bad.shown.contrast.of == "upweighted"
    assert (absent.verdict, absent.outcomes) == (NOT_RUN, [])
    assert "no_such_arm" in absent.note


def test_contrast_equals_a_calculation_by_hand(results: Results) -> None:
    outcome = contrast(results, Contrast(measure="gap", of="raw", minus="filtered", pool="heldout"), "main")
    items = pd.read_parquet(results.root / "items.parquet")
    items = items[(items.task == "dilemma") & (items.split != "matched") & (items.prefix == "none")]
    p = np.exp(items.ll_bad) / (np.exp(items.ll_good) + np.exp(items.ll_bad))
    means = p.groupby([items.condition, items.seed, items.persona]).mean()
    gap = means[:, :, "ai"] - means[:, :, "human"]
    assert outcome.by_seed.to_numpy() == pytest.approx((gap["raw"] - gap["filtered"]).to_numpy())
    assert outcome.items.estimate == pytest.approx(outcome.t.estimate)  # every item is there in every seed
    assert outcome.families.known


def test_a_gap_pairs_its_items(results: Results) -> None:
    """AI and human items share situation and acts: the gap is one matrix of differences, which drops what they share."""
    parts = matrices(results, Cell("main", "raw"), "gap", "matched")
    assert parts is not None
    [(sign, table)] = parts
    assert (sign, table.shape) == (1.0, (3, 12))
    shared = two_way([(1.0, table.to_numpy())])
    apart = [(t.sign, matrices(results, Cell("main", "raw"), t.persona or "", "matched")) for t in terms_of("gap")]
    unpaired = two_way([(sign, part[0][1].to_numpy()) for sign, part in apart if part])
    assert shared.estimate == pytest.approx(unpaired.estimate)
    assert shared.se < unpaired.se


def test_all_is_the_mean_of_arms(results: Results) -> None:
    outcome = contrast(results, Contrast(measure="realised_gap", of="all"), "main")
    arms = [per_seed(results, Cell("main", arm), "realised_gap") for arm in results.arms("main")]
    assert outcome.t.estimate == pytest.approx(np.mean([arm.mean() for arm in arms if arm is not None]))


def test_missing_items_are_not_run(results: Results) -> None:
    with pytest.raises(NotRun, match="no items for blimp"):
        _evaluate_missing(results)


def _evaluate_missing(results: Results) -> None:
    from pipeline.analysis.contrasts import _side

    _side(results, [Cell("main", "raw")], Contrast.model_construct(measure="blimp", of="raw", minus="", order=(), pool="all"))


def test_one_seed_end_to_end(tmp_path: Path) -> None:
    root = write_results(tmp_path / "natural", arms=("raw", "filtered"), seeds=(1,), items_per_cell=6)
    analyse(root)
    claims = json.loads((root / "claims.json").read_text())
    assert {c["verdict"] for c in claims} <= {WEAKER, FAILED, NOT_RUN}
    assert all(c["low"] is None for c in claims)
    assert {"id", "sentence", "study", "statistic", "estimate", "low", "high", "verdict", "figure"} <= set(claims[0])


def test_the_file_itself_is_valid() -> None:
    claims = load_claims()
    assert {c.expected for c in claims} == {"positive", "negative", "equivalent", "ordering"}


GOOD = "{id: a, sentence: s, contrast: {measure: gap, of: raw}, expected: positive, figure: fig1_gap}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"claims: [{GOOD.replace('figure: fig1_gap', 'figur: fig1_gap')}]", r"claims.*claims\.0\.fig"),
        (f"claims: [{GOOD.replace('gap,', 'gep,')}]", "no measure called 'gep'"),
        (f"claims: [{GOOD}, {GOOD}]", "id 'a' is taken"),
        (f"claims: [{GOOD.replace('fig1_gap', 'fig9_none')}]", "no module pipeline/figures/fig9_none.py"),
        (f"claims: [{GOOD.replace('positive', 'equivalent')}]", "within"),
        (f"claims: [{GOOD.replace('positive', 'ordering')}]", "order"),
        (f"claims: [{GOOD.replace('of: raw', 'of: raw, pool: moon')}]", "no pool called 'moon'"),
    ],
)
def test_a_mistake_names_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load_claims(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
