"""Figures and tables. The folder is the registry: a module `fig*.py` or `tab*.py` with `draw(results, out)` is one of them.

The first paragraph of its docstring is its caption; `out` is a path without suffix. A module that finds nothing to show
raises `NothingToShow`, and the paper leaves it out.
"""

from __future__ import annotations

from pipeline.figures.registry import captions, draw_all, modules

__all__ = ["captions", "draw_all", "modules"]
