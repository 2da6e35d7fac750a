"""A table, written as LaTeX (booktabs), CSV and Markdown with the same text in each cell."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from pipeline.analysis.values import write_text

TEX = {
    "−": "$-$",
    "–": "--",
    "±": r"$\pm$",
    "×": r"$\times$",
    "%": r"\%",
    "_": r"\_",
    "#": r"\#",
    "&": r"\&",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
}
TEX |= {"\\": r"\textbackslash{}", "<": "$<$", ">": "$>$", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "|": "$|$"}


def _tex(cell: str) -> str:
    return "".join(TEX.get(c, c) for c in cell)


def write(out: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write `out`.csv, `out`.md and `out`.tex; the first column is text, the others are aligned right in LaTeX and Markdown."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([header, *rows])
    write_text(out.with_name(out.name + ".csv"), buffer.getvalue())
    marks = ["---", *["---:"] * (len(header) - 1)]
    lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in [list(header), *map(list, rows)]]
    lines.insert(1, "|" + "|".join(marks) + "|")
    write_text(out.with_name(out.name + ".md"), "\n".join(lines) + "\n")
    body = [" & ".join(map(_tex, row)) + r" \\" for row in rows]
    columns = "l" + "r" * (len(header) - 1)
    tex = [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(_tex, header)) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    write_text(out.with_name(out.name + ".tex"), "\n".join(tex) + "\n")
