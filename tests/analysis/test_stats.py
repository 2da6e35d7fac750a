"""Intervals cover what they say; Holm and the sign-flip test match known values; few seeds are flagged."""

# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from pipeline.analysis.stats import equivalence_p, group_columns, holm, paired_t, sign_flip, two_way

TRIALS = 3000  # standard error of a coverage of .95: .004


@pytest.mark.parametrize("seeds", [3, 5, 6])
def test_t_interval_covers(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    intervals = [paired_t(rng.normal(0.2, 0.1, seeds)) for _ in range(TRIALS)]
    assert np.mean([t.low <= 0.2 <= t.high for t in intervals]) == pytest.approx(0.95, abs=0.013)


def test_percentile_bootstrap_covers_less() -> None:
    """Why the t interval is the primary one."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(1000):
        d = rng.normal(0.2, 0.1, 5)
        low, high = np.quantile(rng.choice(d, (400, 5)).mean(axis=1), [0.025, 0.975])
        inside.append(low <= 0.2 <= high)
    assert np.mean(inside) < 0.88


@pytest.mark.parametrize(
    ("seeds", "items", "seed_sd", "item_sd"), [(3, 40, 0.1, 0.3), (6, 40, 0.1, 0.3), (6, 12, 0.02, 0.3), (5, 40, 0.1, 0.0)]
)
def test_two_way_covers_new_seeds_and_new_items(seeds: int, items: int, seed_sd: float, item_sd: float) -> None:
    """A persona gap: two strata of items, each stratum with seed effects of its own."""
    rng = np.random.default_rng(items + seeds)
    inside = []
    for _ in range(TRIALS):
        strata = []
        for sign, mean in ((1.0, 0.5), (-1.0, 0.3)):
            noise = rng.normal(0, 0.2, (seeds, items))
            strata.append((sign, mean + rng.normal(0, seed_sd, (seeds, 1)) + rng.normal(0, item_sd, (1, items)) + noise))
        interval = two_way(strata)
        inside.append(interval.low <= 0.2 <= interval.high)
    assert 0.937 <= np.mean(inside) <= 0.985  # the variance is never taken below that of seeds or of items alone: conservative


def test_seeds_alone_do_not_cover_new_items() -> None:
    """What the two-way interval is for."""
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(1000):
        y = 0.2 + rng.normal(0, 0.02, (6, 1)) + rng.normal(0, 0.5, (1, 30)) + rng.normal(0, 0.1, (6, 30))
        t = paired_t(y.mean(axis=1))
        inside.append(t.low <= 0.2 <= t.high)
    assert np.mean(inside) < 0.6


def test_t_interval_equals_scipy() -> None:
    d = np.array([0.2, 0.26, 0.13, 0.31])
    t, reference = paired_t(d), scipy_stats.ttest_1samp(d, 0)
    low, high = reference.confidence_interval(0.95)
    assert (t.estimate, t.low, t.high, t.p) == pytest.approx((d.mean(), low, high, reference.pvalue))


def test_two_way_without_item_effects_is_the_t_interval() -> None:
    by_seed = np.array([0.1, 0.3, 0.2, 0.25])
    same, t = two_way([(1.0, np.repeat(by_seed[:, None], 10, axis=1))]), paired_t(by_seed)
    assert (same.low, same.high, same.df) == pytest.approx((t.low, t.high, t.df))


def test_one_seed_has_no_interval() -> None:
    t, both = paired_t([0.3]), two_way([(1.0, np.full((1, 5), 0.3))])
    for interval in (t, both):
        assert interval.estimate == pytest.approx(0.3)
        assert math.isnan(interval.low)
        assert math.isnan(interval.p)
        assert "one seed" in interval.note
    assert math.isnan(equivalence_p(t, 0.1))


def test_two_seeds_are_flagged() -> None:
    t = paired_t([0.3, 0.32])
    assert t.known
    assert "two seeds" in t.note


def test_no_seed_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        paired_t([])


def test_holm_known_values() -> None:
    # p.adjust(c(.01, .04, .03, .005), "holm") in R
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]


def test_holm_ignores_what_was_not_tested() -> None:
    adjusted = holm([0.01, math.nan, 0.03])
    assert adjusted[[0, 2]].tolist() == pytest.approx([0.02, 0.03])
    assert math.isnan(adjusted[1])


def test_sign_flip_is_exact() -> None:
    assert sign_flip([1, 1, 1, 1, 1]) == 2 / 32  # five seeds cannot reach .05
    assert sign_flip([1, 1, 1, 1, 1, 1]) == 2 / 64
    assert sign_flip([1, -1]) == 1.0
    d = np.array([0.3, -0.1, 0.2, 0.25])
    reference = scipy_stats.permutation_test((d, np.zeros(4)), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(d) == pytest.approx(reference.pvalue)


def test_equivalence_is_two_one_sided_tests() -> None:
    d = np.array([0.01, -0.02, 0.0, 0.03, -0.01])
    t = paired_t(d)
    greater = scipy_stats.ttest_1samp(d, -0.05, alternative="greater").pvalue
    less = scipy_stats.ttest_1samp(d, 0.05, alternative="less").pvalue
    assert equivalence_p(t, 0.05) == pytest.approx(max(greater, less))


def test_group_columns_means_by_family() -> None:
    assert group_columns(np.array([[1.0, 3.0, 5.0]]), ["a", "b", "a"]).tolist() == [[3.0, 3.0]]
