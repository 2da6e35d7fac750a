"""What `verify` shows in a terminal: per preset the claims, what was compared, and everything that is not as reported."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.analysis.summary import COLOURS
from pipeline.analysis.values import number
from pipeline.review.verify import Check

WIDE = 100  # columns in which a claim fits on one line
SHOWN = 12  # differences of one file; --json lists them all


def where(place: dict[str, Any]) -> str:
    """`3.1 Fig. 1`: section of the paper that speaks of a claim, and the figure or table that shows it."""
    kind = "Fig." if place["figure"].startswith("fig") else "Tab."
    return " ".join(filter(None, [place["section"], f"{kind} {place['number']}" if place["number"] else place["figure"]]))


def _claims(check: Check, width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)  # the box sets columns one space apart
    table.add_column("claim", overflow="fold", min_width=14)
    table.add_column("where", no_wrap=True)
    for name in ("reported", "recomputed", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", min_width=10)
    table.add_column("min", justify="right", no_wrap=True)
    for claim in check.claims:
        old, new = claim["reported"] or {}, claim["recomputed"] or {}
        interval = "–" if new.get("low") is None else f"[{number(new['low'])}, {number(new['high'])}]"
        estimates = ["–" if side.get("estimate") is None else number(side["estimate"]) for side in (old, new)]
        estimates[1] = estimates[1] if claim["agrees"] else f"✗ {estimates[1]}"
        verdict = Text(new.get("verdict") or old.get("verdict") or "–", style=COLOURS.get(new.get("verdict", ""), ""))
        if old and new and old["verdict"] != new["verdict"]:
            verdict = Text(f"{old['verdict']} → {new['verdict']}", style="bold red")
        minutes = "–" if claim["minutes"] is None else f"{claim['minutes']:.0f}"
        style = "" if claim["agrees"] else "bold red"
        name = claim["id"] if width >= WIDE else claim["id"].replace("_", " ")
        table.add_row(name, where(claim["where"]), *estimates, Text(interval), verdict, minutes, style=style)
    return table


def _differences(check: Check) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("not as reported: file, key", overflow="fold", ratio=2)
    for name in ("reported", "recomputed"):
        table.add_column(name, overflow="fold", ratio=1)
    by_file: dict[str, list[Any]] = {}
    for difference in check.differences:
        by_file.setdefault(difference.file, []).append(difference)
    for file, found in by_file.items():
        table.add_row(Text(file, style="bold"), "", "")
        for difference in found[:SHOWN]:
            table.add_row(Text(f"  {difference.key}"), Text(difference.reported), Text(difference.recomputed))
        if len(found) > SHOWN:
            table.add_row(Text(f"  and {len(found) - SHOWN:,} more (--json lists them)", style="dim"), "", "")
    return table


def show(checks: list[Check], console: Console | None = None) -> None:
    """Print every check, and in one last line whether everything agrees."""
    console = console or Console()
    for check in checks:
        console.print(Text(check.preset, style="bold"), Text("  recomputed from the kept per-item scores"), end="\n\n", sep="")
        console.print(_claims(check, console.width))
        if check.machine:
            console.print(
                Text(
                    f"where: section of the paper, and the figure or table. min: of training on {check.machine}, once for all claims",
                    style="dim",
                )
            )
        compared = ", ".join(f"{count:,} {what}" for what, count in check.compared.items() if count)
        console.print(f"compared: {compared}", highlight=False)
        for note in check.notes:
            console.print(f"note: {escape(note)}", style="yellow", highlight=False)
        if check.differences:
            console.print()
            console.print(_differences(check))
        console.print()
    for check in checks:
        said = "everything agrees" if check.agrees else f"{len(check.differences):,} not as reported"
        console.print(Text(f"{check.preset}: {said} ({check.seconds:.0f} s)", style="green" if check.agrees else "bold red"))
