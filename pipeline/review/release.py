"""`python -m pipeline release`: one archive of what a commit holds, for a DOI.

It holds every tracked file (code, kept results, paper), the paper of each kept preset, SHA256SUMS and manifest.json, and is the same to the
byte whenever it is made from the same commit with the same packages. Beside it: its checksum, the manifest, and the
metadata that Zenodo asks for, all derived from CITATION.cff and the results. A checkout that is not clean, and results
that `verify` does not confirm, are refused.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import subprocess
import tarfile
import tempfile
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.config import ROOT, load_yaml
from pipeline.errors import UserError
from pipeline.files import part_file
from pipeline.keep import SUMS
from pipeline.review.verify import Check, verify


def _git(root: Path, *arguments: str) -> str:
    result = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True)
    if result.returncode:
        said = result.stderr.strip().splitlines()
        raise UserError(f"git: {said[0] if said else 'failed'}", file=root, fix="A release is made from a clone of the repository.")
    return result.stdout


def _refuse_unclean(root: Path) -> None:
    changed = [line for line in _git(root, "status", "--porcelain").splitlines() if line]
    if changed:
        what = f"the checkout is not clean: {changed[0][3:]}" + (f" and {len(changed) - 1} more" if changed[1:] else "")
        raise UserError(what, file=root, fix="Commit or stash first: a release holds what the commit holds.")


def _citation(root: Path) -> dict[str, Any]:
    """CITATION.cff, whose version must be the package's; with the package's name as `name`."""
    citation, project = load_yaml(root / "CITATION.cff"), (root / "pyproject.toml").read_text(encoding="utf-8")
    found = {key: re.search(rf'^{key} = "(.+)"', project, re.MULTILINE) for key in ("name", "version")}
    stated = {key: match.group(1) for key, match in found.items() if match}
    if stated.get("version") != str(citation.get("version")):
        what = f"version {citation.get('version')}, but pyproject.toml says {stated.get('version')}"
        raise UserError(what, file=root / "CITATION.cff", key="version", fix="Give both the same.")
    return {**citation, "name": stated["name"]}


def _claims(check: Check) -> dict[str, Any]:
    counts = Counter(claim["recomputed"]["verdict"] for claim in check.claims)
    keys = ("estimate", "low", "high", "verdict")
    claims = [{"id": c["id"], "sentence": c["sentence"], **{key: c["recomputed"][key] for key in keys}} for c in check.claims]
    return {"verdicts": dict(sorted(counts.items())), "compared": check.compared, "claims": claims}


def _manifest(root: Path, citation: dict[str, Any], checks: list[Check], files: dict[str, bytes]) -> dict[str, Any]:
    results = {check.preset: root / "paper" / "results" / check.preset for check in checks}
    environments = {name: json.loads((folder / "environment.json").read_text()) for name, folder in results.items()}
    used = ("numpy", "scipy", "pandas", "matplotlib", "typst")
    return {
        **{key: citation.get(key) for key in ("name", "title", "version", "license", "authors", "keywords")},
        "date_released": str(citation.get("date-released")),
        "commit": _git(root, "rev-parse", "HEAD").strip(),
        "verified_with": {name: metadata.version(name) for name in used},
        "presets": {check.preset: {**_claims(check), "environment": environments[check.preset]} for check in checks},
        "files": [{"path": n, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for n, data in sorted(files.items())],
    }


def zenodo(citation: dict[str, Any]) -> dict[str, Any]:
    """CITATION.cff as Zenodo's deposit metadata (developers.zenodo.org)."""
    names = [a["name"] if "name" in a else f"{a['family-names']}, {a['given-names']}" for a in citation["authors"]]
    return {
        "upload_type": "software",
        "title": citation["title"],
        "creators": [{"name": name} for name in names],
        "description": citation["message"],
        "license": citation["license"],
        "version": str(citation["version"]),
        "publication_date": str(citation["date-released"]),
        "keywords": citation.get("keywords", []),
    }


def _archive(path: Path, folder: str, files: dict[str, bytes], executable: set[str], when: int) -> None:
    """A gzipped tar in which nothing depends on the machine: sorted, one owner, the commit's time."""
    with (
        part_file(path) as part,
        part.open("wb") as raw,
        gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mtime, entry.mode = len(data), when, 0o755 if name in executable else 0o644
            tar.addfile(entry, io.BytesIO(data))


def release(out: Path, root: Path = ROOT) -> Path:
    """Write `<name>-<version>.tar.gz` with its checksum, manifest and Zenodo metadata to `out`; returns the archive."""
    _refuse_unclean(root)
    citation = _citation(root)
    name = f"{citation['name']}-{citation['version']}"
    tracked = [path for path in _git(root, "ls-files", "-z").split("\0") if path]
    with tempfile.TemporaryDirectory() as papers:
        checks = verify(results=root / "paper" / "results", root=root, papers=Path(papers))
        wrong = [difference for check in checks for difference in check.differences]
        if wrong:
            first = f"{wrong[0].file}, {wrong[0].key}: reported {wrong[0].reported}, recomputed {wrong[0].recomputed}"
            raise UserError(f"verify finds {len(wrong)} not as reported ({first})", fix="See `python -m pipeline verify`.")
        files = {path: (root / path).read_bytes() for path in tracked}
        files |= {f"papers/{path.name}": path.read_bytes() for path in sorted(Path(papers).iterdir())}
    manifest = json.dumps(_manifest(root, citation, checks, files), indent=1, ensure_ascii=False) + "\n"
    files["manifest.json"] = manifest.encode()
    files[SUMS] = "".join(f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in sorted(files.items())).encode()
    executable = {path for path in tracked if (root / path).stat().st_mode & 0o100}
    archive = out / f"{name}.tar.gz"
    _archive(archive, name, files, executable, int(_git(root, "log", "-1", "--format=%ct")))
    beside = {
        f"{archive.name}.sha256": f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  {archive.name}\n",
        f"{name}.manifest.json": manifest,
        f"{name}.zenodo.json": json.dumps({"metadata": zenodo(citation)}, indent=1, ensure_ascii=False) + "\n",
    }
    for file, text in beside.items():
        with part_file(out / file) as part:
            part.write_text(text, encoding="utf-8")
    return archive
