"""Where code stands and what it does when it runs: `path:line` found by inspection and by watching calls, never written down."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from pipeline.analysis import results as results_module
from pipeline.analysis import values
from pipeline.analysis.results import Results
from pipeline.config import ROOT


@dataclass(frozen=True)
class Code:
    """A function (or a rule of the workflow) with its place and the first line of its docstring."""

    name: str
    place: str  # path:line
    says: str = ""


def place(path: Path, line: int | None = None) -> str:
    """`path:line`, the path relative to the repository where it lies in it."""
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    return str(shown) if line is None else f"{shown}:{line}"


def code_of(function: Callable[..., Any]) -> Code:
    """Place of a function that is loaded."""
    path, line = inspect.getsourcefile(function), inspect.getsourcelines(function)[1]
    assert path is not None
    return Code(function.__name__, place(Path(path), line), (inspect.getdoc(function) or "").split("\n")[0])


def code_in(module: str, name: str) -> Code | None:
    """Place of the function `name` in a module of the package, without loading it (some need torch)."""
    base = ROOT.joinpath(*module.split("."))
    path = base.with_suffix(".py") if base.with_suffix(".py").is_file() else base / "__init__.py"
    if not path.is_file():
        return None
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return Code(name, place(path, node.lineno), (ast.get_docstring(node) or "").split("\n")[0])
    for node in tree.body:  # a package that hands on what another module defines
        if isinstance(node, ast.ImportFrom) and node.module and any((alias.asname or alias.name) == name for alias in node.names):
            return code_in(node.module, name)
    return None


def stage(name: str) -> list[Code]:
    """A stage: its rule in the workflow, its function, and the functions of other modules that this one calls."""
    from pipeline import stages

    snakefile = ROOT / "pipeline" / "Snakefile"
    lines = snakefile.read_text(encoding="utf-8").splitlines()
    found = [Code(f"rule {name}", place(snakefile, i + 1)) for i, line in enumerate(lines) if re.match(rf"rule {name}:", line)]
    function = getattr(stages, name)
    found.append(code_of(function))
    tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(function)))
    helpers = ("pipeline.files", "pipeline.tokens", "pipeline.config", "pipeline.corpus.document", "pipeline.keep")  # reading and writing
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pipeline") and node.module not in helpers:
            found += [code for alias in node.names if (code := code_in(node.module, alias.name)) is not None]
    return found


@dataclass
class Watched:
    """What ran: public functions of `pipeline/analysis` in the order of their first calls, and the items that were averaged."""

    functions: list[Code] = field(default_factory=list)
    rows: set[int] = field(default_factory=set)  # places of items
    terms: dict[str, None] = field(default_factory=dict)  # task and persona (and group), in order
    pools: dict[str, None] = field(default_factory=dict)
    reads: dict[Path, None] = field(default_factory=dict)  # files of the results


def _noting(results: Results, seen: Watched) -> Results:
    """A copy of `results` that notes which of its files is looked into."""
    files = {"items": "items.parquet", "runs": "runs.parquet", "metrics": "metrics.parquet", "config": "config.yaml"}

    class Noting(Results):
        def __getattribute__(self, name: str) -> Any:
            if name in files:
                seen.reads[results.root / files[name]] = None
            return super().__getattribute__(name)

    return Noting(**{entry.name: getattr(results, entry.name) for entry in fields(results)})


def watch(call: Callable[[Results], Any], results: Results) -> Watched:
    """Run `call` on `results` and note which functions of the analysis it went through, which files and which items it used."""
    analysis, seen, codes = str(ROOT / "pipeline" / "analysis"), Watched(), set[CodeType]()
    formatting = values.__file__
    term, noting = results_module._term.__code__, _noting(results, seen)

    def profile(frame: FrameType, event: str, value: Any) -> None:
        code = frame.f_code
        if code is term and event == "return" and value is not None:
            asked, pool = frame.f_locals["term"], frame.f_locals["pool"]
            seen.rows.update(value.tolist())
            seen.terms[" ".join(part for part in (asked.task, asked.persona, asked.group) if part)] = None
            seen.pools[pool if isinstance(pool, str) else ", ".join(pool)] = None
        if event == "call" and code.co_name in ("read_text", "read_bytes") and isinstance(path := frame.f_locals.get("self"), Path):
            seen.reads |= {path: None} if path.is_relative_to(results.root) else {}
        if event == "call" and code not in codes and code.co_filename.startswith(analysis) and code.co_filename != formatting:
            codes.add(code)
            if not code.co_name.startswith(("_", "<")):
                seen.functions += _public(code, frame)

    sys.setprofile(profile)
    try:
        call(noting)
    finally:
        sys.setprofile(None)
    return seen


def _public(code: CodeType, frame: FrameType) -> Iterator[Code]:
    """The function behind `code` if it stands at the top of its module."""
    function = frame.f_globals.get(code.co_name)
    if inspect.isfunction(function) and function.__code__ is code:
        yield Code(code.co_name, place(Path(code.co_filename), code.co_firstlineno), (inspect.getdoc(function) or "").split("\n")[0])


def lines_with(path: Path, patterns: list[str]) -> list[str]:
    """`path:line` of every line of a text file that one of the regular expressions matches."""
    compiled = [re.compile(pattern) for pattern in patterns]
    text = path.read_text(encoding="utf-8").splitlines()
    return [place(path, i + 1) for i, line in enumerate(text) if any(pattern.search(line) for pattern in compiled)]
