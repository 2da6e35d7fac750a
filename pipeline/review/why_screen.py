"""What `why` shows in a terminal: the chain as a tree, from the thing itself back to the configuration."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from pipeline.review.source import Code
from pipeline.review.why import Chain

SHOWN = 16  # functions and files of one branch; --json has them all


def _line(*parts: str | tuple[str, str]) -> Text:
    """A line that is cut, not wrapped, where the terminal is too narrow."""
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _codes(branch: Tree, codes: Iterable[Code]) -> None:
    codes = list(dict.fromkeys(codes))
    width = max((len(code.place) for code in codes[:SHOWN]), default=0)
    for code in codes[:SHOWN]:
        branch.add(_line((code.place.ljust(width), "cyan"), f"  {code.name}", (f"  {code.says}" if code.says else "", "dim")))
    if len(codes) > SHOWN:
        branch.add(Text(f"and {len(codes) - SHOWN} more (--json lists them)", style="dim"))


def _short(values: list[str]) -> str:
    return ", ".join(values[:SHOWN]) + (f" and {len(values) - SHOWN} more" if len(values) > SHOWN else "")


def _runs(tree: Tree, chain: Chain) -> None:
    """Arms, with device and commit said once where all share them."""
    shared = {(arm.device, arm.commit) for arm in chain.arms}
    device, commit = next(iter(shared))
    said = f"  {len(chain.arms)} arm{'s' * (len(chain.arms) > 1)}, device {device}, commit {commit}" if len(shared) == 1 else ""
    branch = tree.add(Text.assemble(("← runs", "bold"), said))
    width = max(len(arm.runs) for arm in chain.arms)
    for arm in chain.arms:
        own = "" if said else f"  device {arm.device}, commit {arm.commit}"
        branch.add(_line((arm.runs.ljust(width), "cyan"), f"  config {arm.config}", own, (f"  tokens {arm.tokens}", "dim")))
    _codes(branch.add(Text("trained by")), chain.trained_by)


def show(chain: Chain, console: Console | None = None) -> None:
    """Print the chain."""
    console = console or Console()
    tree = Tree(Text.assemble((chain.name, "bold"), f"  ({chain.kind})"), guide_style="dim")
    tree.add(Text(chain.says, style="italic"))
    for name, text in chain.numbers.items():
        tree.add(Text.assemble((f"{name}: ", "dim"), text))
    if chain.shown:
        branch = tree.add(Text("shown in", style="bold"))
        for line in chain.shown[:SHOWN]:
            branch.add(Text(line, style="cyan"))
    if chain.statistics:
        _codes(tree.add(Text("← statistics", style="bold")), chain.statistics)
    if chain.reads:
        tree.add(Text.assemble(("← files of results", "bold"), "  ", _short(chain.reads)))
    if chain.items:
        said = f"  {chain.items:,} of the {chain.items_in_all:,} scores in {chain.items_file}"
        branch = tree.add(Text.assemble(("← items", "bold"), said))
        for name, values in chain.items_of.items():
            if values:
                branch.add(Text.assemble((f"{name}: ", "dim"), _short(values)))
        _codes(branch.add(Text("scored by")), chain.scored_by)
    if chain.arms:
        _runs(tree, chain)
    if chain.configuration:
        branch = tree.add(Text("← configuration", style="bold"))
        for line in chain.configuration:
            branch.add(Text(line, style="cyan"))
    console.print(tree)
