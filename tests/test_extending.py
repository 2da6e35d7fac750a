"""docs/extending.md does what it says: its files are written and its commands run in a copy of the checkout, in order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.config import ROOT

LESSON = ROOT / "docs" / "extending.md"
FAILS = "# exits with status 2"


@dataclass(frozen=True)
class Block:
    """A fenced block of the lesson."""

    line: int
    language: str
    text: str


def blocks(text: str) -> Iterator[Block]:
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(text.count("\n", 0, match.start()) + 1, match[1], match[2])


def commands(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Each command of a console block with the lines it should print."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, *expected = part.splitlines()
        yield command, expected


def write(block: Block, folder: Path) -> None:
    """A block whose first line names a file: the whole of it, or what comes at its end."""
    head, body = block.text.split("\n", 1)
    name = re.fullmatch(r"# ([\w./]+)(, at the end)?", head)
    assert name, f"{LESSON.name}:{block.line}: the first line names no file: {head}"
    path = folder / name[1]
    assert path.is_file() or not name[2], f"{LESSON.name}:{block.line}: nothing to append to"
    path.write_text(path.read_text() + "\n\n" + body if name[2] else body)


def missing(expected: list[str], output: str) -> str | None:
    """The first expected fragment that does not come, in order, in what was printed (spaces, frames and line breaks do not count)."""
    at, flat = 0, " ".join(re.sub(r"[│╭╮╰╯─]", " ", output).split())
    for line in expected:
        for fragment in line.split("..."):
            wanted = " ".join(fragment.split())
            place = flat.find(wanted, at)
            if place < 0:
                return wanted
            at = place + len(wanted)
    return None


def checkout(folder: Path) -> Path:
    """The checkout's tracked files, as they are now; a checkout without git is copied without what runs leave behind."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "runs", "__pycache__"))
        return folder
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.fixture
def environment() -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    # PYTHONPATH: the copy's package, also where another checkout is installed
    return {**os.environ, "PATH": path, "COLUMNS": "120", "HF_HUB_OFFLINE": "1", "PYTHONPATH": "."}


def test_the_lesson_does_what_it_says(tmp_path: Path, environment: dict[str, str]) -> None:
    folder, ran = checkout(tmp_path / "copy"), 0
    for block in blocks(LESSON.read_text()):
        if block.language != "console":
            write(block, folder)
            continue
        for command, expected in commands(block):
            result = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
            output = result.stdout + result.stderr
            where = f"{LESSON.name}:{block.line}: $ {command}\n{output[-3000:]}"
            assert result.returncode == (2 if FAILS in command else 0), where
            assert missing(expected, result.stdout if FAILS not in command else result.stderr + result.stdout) is None, (
                f"{where}\nlacks: {missing(expected, output)}"
            )
            ran += 1
    assert ran > 15


def test_every_part_is_there_and_every_block_is_used() -> None:
    text = LESSON.read_text()
    assert re.findall(r"^## \((\w)\)", text, re.MULTILINE) == list("abcdefg")
    assert {block.language for block in blocks(text)} == {"console", "yaml", "python"}
    assert text.count("```") == 2 * len(list(blocks(text)))


def test_a_fragment_that_does_not_come_is_found() -> None:
    assert missing(["a ... c", "d"], "a\n  b\nc d") is None
    assert missing(["c", "a"], "a\nb\nc") == "a"
    assert missing(["x"], "a") == "x"
