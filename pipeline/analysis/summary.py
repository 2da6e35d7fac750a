"""What the terminal shows at the end: the main table, the claims with their verdicts, and where the paper is."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from pipeline.analysis.claims import FAILED, NOT_RUN, REPRODUCED, WEAKER
from pipeline.analysis.values import number
from pipeline.errors import UserError

COLOURS = {REPRODUCED: "green", WEAKER: "yellow", FAILED: "red", NOT_RUN: "dim"}


def _main_table(path: Path) -> Table:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    table = Table(title="Main results: P(misaligned act), mean over seeds", box=box.SIMPLE_HEAD, title_justify="left")
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=i == 0)
    for row in rows:
        table.add_row(*row)
    return table


def _claims_table(path: Path) -> Table:
    table = Table(title="Claims, written down before the results", box=box.SIMPLE_HEAD, title_justify="left")
    for name in ("claim", "estimate", "95 % interval", "verdict"):
        table.add_column(name, justify="right" if name in ("estimate", "95 % interval") else "left")
    for claim in json.loads(path.read_text(encoding="utf-8")):
        estimate, low, high = (claim[key] for key in ("estimate", "low", "high"))
        interval = "–" if low is None else f"[{number(low)}, {number(high)}]"
        verdict = f"[{COLOURS[claim['verdict']]}]{claim['verdict']}[/]"
        table.add_row(claim["sentence"], "–" if estimate is None else number(estimate), interval, verdict)
    return table


def summary(run_root: Path, console: Console | None = None) -> None:
    """Print the main table, the claims and the place of the paper of `run_root`."""
    claims = run_root / "claims.json"
    if not claims.is_file():
        raise UserError("no such file", file=claims, fix="Run the analyse stage first.")
    console = console or Console()
    main = run_root / "tables" / "tab1_main.csv"
    if main.is_file():
        console.print(_main_table(main))
    console.print(_claims_table(claims))
    for name in ("paper.pdf", "paper.html"):
        if (run_root / name).is_file():
            console.print(f"{name}: {run_root / name}", soft_wrap=True)
