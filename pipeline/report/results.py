"""Claims, figures, tables, runs and item scores of a preset's folder, as the page shows them. Leaves out what the folder lacks."""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false
# pandas ships no type stubs: what pyright infers of a frame's columns from its source is wrong more often than not
from __future__ import annotations

import base64
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from pipeline.config import load_conditions
from pipeline.report.columns import category

RUN = ["study", "condition", "axis", "seed"]
DESCRIPTION = ("task", "persona", "split", "family", "setting", "group")
TEXTS = ("prompt", "good", "bad")


def conditions(config: dict[str, Any], names: list[str]) -> list[dict[str, Any]]:
    """Name, label, description, colour and prefixes of each condition, in the order of the figures."""
    stored = {entry["name"]: entry for entry in config.get("conditions", [])}
    known = {condition.name: condition.model_dump(mode="json") for condition in load_conditions()} | stored
    rows = [known.get(name, {"name": name, "label": name, "colour": "#555555", "order": 1000}) for name in names]
    shown = ("name", "label", "description", "colour", "order", "prefixes", "operations")
    return sorted(({key: row[key] for key in shown if key in row} for row in rows), key=lambda row: (row["order"], row["name"]))


def claims(root: Path) -> list[dict[str, Any]]:
    """Rows of claims.json, each with its contrasts per seed and with the items that its measure is computed from."""
    from pipeline.analysis.claims import load_claims
    from pipeline.analysis.results import POOLS, terms_of

    path = root / "contrasts.csv"
    rows: dict[str, list[dict[str, Any]]] = {}
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                kept = {key: row[key] for key in ("contrast", "items", "per_seed", "seed_item_low", "seed_item_high", "p_t", "p_holm")}
                rows.setdefault(row["claim"], []).append(kept)
    contrasts = {claim.id: claim.contrast for claim in load_claims()}
    out = []
    for claim in json.loads((root / "claims.json").read_text(encoding="utf-8")):
        contrast, items = contrasts.get(claim["id"]), {}
        if contrast:
            terms = terms_of(contrast.measure)
            items = {
                "task": sorted({term.task for term in terms}),
                "persona": [term.persona for term in terms if term.persona],
                "group": [term.group for term in terms if term.group],
                "split": list(POOLS[contrast.pool]),
            }
        out.append({**claim, "contrasts": rows.get(claim["id"], []), "items": {k: v for k, v in items.items() if v}})
    return out


def tables(root: Path) -> dict[str, list[list[str]]]:
    """Cells of every table, its header first, by name."""
    out = {}
    for path in sorted(root.glob("tables/*.md")):
        lines = [line.strip().strip("|").split(" | ") for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
        out[path.stem] = [[cell.strip() for cell in line] for i, line in enumerate(lines) if i != 1]
    return out


def figures(root: Path) -> dict[str, str]:
    """Every figure as base64 of its PNG, by name."""
    return {path.stem: base64.b64encode(path.read_bytes()).decode() for path in sorted(root.glob("figures/*.png"))}


def runs(root: Path) -> list[dict[str, Any]]:
    """Record and curve of every run."""
    records = pd.read_parquet(root / "runs.parquet")
    path = root / "metrics.parquet"
    curves = dict(iter(pd.read_parquet(path).groupby(RUN))) if path.is_file() else {}
    out = []
    for record in records.to_dict("records"):
        curve = curves.get(tuple(record[key] for key in RUN))
        shown = {name: curve[name].tolist() for name in ("step", "loss", "lr", "grad_norm") if curve is not None and name in curve}
        out.append({"record": {key: value for key, value in record.items() if not _missing(value)}, "curve": shown})
    return out


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def config_texts(config: dict[str, Any]) -> dict[str, str]:
    """The resolved configuration as YAML: of the trainer, of the corpus, and of each condition."""

    def text(data: Any) -> str:
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)

    preset = config.get("preset", {})
    parts = {"trainer": config.get("trainer"), "corpus": {key: preset[key] for key in ("corpus", "tokenizer", "labeller") if key in preset}}
    parts |= {f"condition {entry['name']}": entry for entry in config.get("conditions", [])}
    return {name: text(data) for name, data in parts.items() if data}


def items(root: Path) -> dict[str, Any]:
    """Columns of the block of items: one row per seed and item, and for each cell (arm, prefix) both log-likelihoods of every row.

    Texts come from the seeds' corpora; where those are not in the folder, or do not hold an item (of another benchmark), it has none.
    """
    scores = pd.read_parquet(root / "items.parquet")
    for name in ("study", "condition", "axis", "prefix", *DESCRIPTION):
        scores[name] = scores[name].astype(object).where(scores[name].notna(), "").astype(str).astype("category")
    rows = scores[["seed", "item", *DESCRIPTION]].drop_duplicates(["seed", "item"], ignore_index=True)
    number = pd.MultiIndex.from_frame(rows[["seed", "item"]]).get_indexer(pd.MultiIndex.from_frame(scores[["seed", "item"]]))
    cells = scores.groupby(["study", "condition", "axis", "prefix"], observed=True, sort=False)
    scores["cell"] = cells.ngroup()
    out: dict[str, Any] = {
        "cells": [dict(zip(("study", "condition", "axis", "prefix"), map(str, key), strict=True)) for key, _ in cells],
        "seed": rows["seed"].to_numpy(),
    }
    for name in ("ll_good", "ll_bad"):
        matrix = np.full((len(out["cells"]), len(rows)), np.nan, dtype=np.float32)
        matrix[scores["cell"], number] = scores[name]
        out[name] = matrix.reshape(-1)
    for name in ("item", *DESCRIPTION):
        out[f"{name}.values"], out[name] = category(rows[name])
    return out | _texts(root, rows)


def _texts(root: Path, rows: pd.DataFrame) -> dict[str, Any]:
    """Texts of all items, each once; numbers of a row's texts, 0 for none."""
    paths = {int(seed): root / "corpus" / f"seed{seed}" / "items.parquet" for seed in rows["seed"].unique()}
    found = [pd.read_parquet(path, columns=["item", *TEXTS]).assign(seed=seed) for seed, path in paths.items() if path.is_file()]
    if not found:
        return {}
    merged = rows[["seed", "item"]].merge(pd.concat(found), on=["seed", "item"], how="left")
    texts, codes = ["", *pd.unique(merged[list(TEXTS)].to_numpy().reshape(-1))], {}
    texts = list(dict.fromkeys(text for text in texts if isinstance(text, str)))
    codes = {text: i for i, text in enumerate(texts)}
    numbers = {name: merged[name].map(codes).fillna(0).to_numpy(dtype=np.int64) for name in TEXTS}
    return {"texts": texts, **numbers}


def audits(root: Path) -> dict[str, Any]:
    """The leakage audit's report of each seed."""
    paths = sorted(root.glob("corpus/seed*/audit.json"), key=lambda path: int(path.parent.name.removeprefix("seed")))
    return {path.parent.name.removeprefix("seed"): json.loads(path.read_text(encoding="utf-8")) for path in paths}
