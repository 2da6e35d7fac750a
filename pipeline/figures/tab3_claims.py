"""Every claim, written down before the results, with what became of it. The estimate is a difference (or the quantity
named in the claim) with its 95 % t interval over seeds; of an ordering, its weakest step. How verdicts are reached is
described in the section on statistics.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.analysis.claims import judge_all, load_claims
from pipeline.analysis.results import Results
from pipeline.analysis.values import interval_text, number
from pipeline.figures import table

SIGNS = {"positive": "> 0", "negative": "< 0", "ordering": "ordered"}


def draw(results: Results, out: Path) -> None:
    """One row per claim."""
    rows = []
    for finding in judge_all(results, load_claims(conditions=results.conditions.values())):
        claim, shown = finding.claim, finding.shown
        expected = SIGNS.get(claim.expected) or f"within ±{claim.within:g}"
        numbers = [number(shown.t.estimate), interval_text(shown.t)] if shown else ["–", "–"]
        rows.append([" ".join(claim.sentence.split()), expected, *numbers, number(finding.p_holm, 3), finding.verdict])
    table.write(out, ["Claim", "Expected", "Estimate", "95 % interval", "Holm p", "Verdict"], rows)
