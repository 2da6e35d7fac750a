"""What training costs: seconds against members, tokens and parameters, one axis at a time around `quick`'s model."""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.benchmark.compare import Process, say
from pipeline.benchmark.contenders import ours
from pipeline.benchmark.worker import Shape

CENTRE = Shape("0.6M", hidden=96, intermediate=256, layers=4, heads=2, vocabulary=1536, batch=24, length=96)
WIDTHS = {64: (176, 4), 96: (256, 4), 128: (352, 4), 192: (512, 4), 256: (704, 6), 384: (1024, 6)}  # hidden -> intermediate, layers
MEMBERS = {"cpu": (1, 2, 4, 8, 16), "cuda": (1, 2, 4, 8, 16, 32, 64)}
SLICES = 6


@dataclass(frozen=True)
class Point:
    """`seconds` of training on an axis: `x` members, million tokens of a model, or million parameters."""

    axis: str
    x: float
    seconds: float  # of a million tokens of each member; on the axis `tokens`, of that many
    proportional: float  # seconds, were time proportional to the axis' FLOPs from its cheapest point per FLOP on
    compile_seconds: float


def cost_curve(device: str, cores: int) -> list[Point]:
    """Points of the three axes. On a CPU, members are spread over one process a core, and one member a core is the smallest full load."""
    points = []
    found = [(count, *_measure(CENTRE, count, device, cores)) for count in MEMBERS[device]]
    points += points_of("members", [(count, count, _per_million(slices, count), ready) for count, slices, ready in found])
    count, slices, ready = found[1]
    grown = [(sum(t for t, _ in slices[: i + 1]), sum(s for _, s in slices[: i + 1])) for i in range(len(slices))]
    points += points_of("tokens", [(tokens / count / 1e6, tokens, seconds, ready) for tokens, seconds in grown])
    sizes = []
    for width, (inner, layers) in WIDTHS.items():
        shape = replace(CENTRE, hidden=width, intermediate=inner, layers=layers, heads=width // 32)
        slices, ready = _measure(shape, cores if device == "cpu" else 1, device, cores)
        millions = shape.model.parameters(shape.vocabulary) / 1e6
        sizes.append((round(millions, 2), shape.flops_per_token, _per_million(slices, cores if device == "cpu" else 1), ready))
    return points + points_of("parameters", sizes)


def points_of(axis: str, rows: list[tuple[float, float, float, float]]) -> list[Point]:
    """From (x, work, seconds, compile seconds): proportional time takes the least seconds per work of all rows."""
    rate = min(seconds / work for _, work, seconds, _ in rows)
    return [Point(axis, x, round(seconds, 3), round(work * rate, 3), round(ready, 1)) for x, work, seconds, ready in rows]


def _per_million(slices: list[tuple[float, float]], members: int) -> float:
    return statistics.median(seconds / tokens for tokens, seconds in slices) * 1e6 * members


def _measure(shape: Shape, members: int, device: str, cores: int) -> tuple[list[tuple[float, float]], float]:
    """(tokens of all members, seconds) of each slice, and the seconds until the first."""
    with tempfile.TemporaryDirectory() as folder:
        process = Process(ours(members, device, cores), shape, device, Path(folder))
        try:
            ready = process.hear("ready")
            slices = [(float(process.tokens), process.tokens / process.slice()) for _ in range(SLICES)]
        finally:
            process.close()
    millions = shape.model.parameters(shape.vocabulary) / 1e6
    say(f"{members} members of {millions:.2f} M parameters: {_per_million(slices, members):.1f} s a million tokens of each")
    return slices, ready
