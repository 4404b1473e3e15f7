"""Style is a test: linters, types, the rooms of the package, sizes, and what no file may say."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
MODULE_LINES = 400
FUNCTION_LINES = 60
LONG_FUNCTION_LINES = 50
LONG_FUNCTION_SHARE = 0.03
# Folders of the machines that run the tests; written in halves, because this file is searched too.
MACHINE_PATHS = ["/" + name + "/" for name in ("work", "farm")]
NOT_OURS = {".git", ".hypothesis", ".venv", "__pycache__"}
NOT_OURS |= {".mypy_cache", ".pytest_cache", ".ruff_cache", ".import_linter_cache"}


class Function(NamedTuple):
    lines: int
    place: str


def run(*argv: str) -> None:
    """Run a tool of the environment; its whole output is the failure."""
    tool = Path(sys.executable).parent / argv[0]
    done = subprocess.run([tool, *argv[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(argv)}\n{done.stdout}{done.stderr}", pytrace=False)


def our_files() -> list[Path]:
    found = []
    for folder, inner, names in os.walk(ROOT):
        inner[:] = [name for name in inner if name not in NOT_OURS]
        found += [Path(folder, name) for name in names if name not in NOT_OURS]
    return found


def functions() -> list[Function]:
    found = []
    for path in sorted((ROOT / "confsync").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno
                lines = node.end_lineno - node.lineno + 1
                place = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
                found.append(Function(lines, place))
    return sorted(found, reverse=True)


def test_ruff_finds_nothing():
    run("ruff", "check", "--quiet", ".")


def test_ruff_would_format_nothing():
    run("ruff", "format", "--check", "--quiet", ".")


def test_mypy_strict_finds_nothing():
    run("mypy", "--strict", "--package", "confsync")


def test_imports_keep_to_their_rooms():
    run("lint-imports", "--no-cache")


def test_modules_are_small():
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in (ROOT / "confsync").rglob("*.py")
    }
    too_long = {name: lines for name, lines in sizes.items() if lines > MODULE_LINES}
    assert {} == too_long


def test_functions_are_small():
    too_long = [function for function in functions() if function.lines > FUNCTION_LINES]
    assert [] == too_long


def test_few_functions_are_long():
    found = functions()
    long = [function for function in found if function.lines > LONG_FUNCTION_LINES]
    assert len(long) <= LONG_FUNCTION_SHARE * len(found), long


def test_no_file_names_a_path_of_one_machine():
    hits = []
    for path in our_files():
        text = path.read_bytes().decode(errors="replace")
        for number, line in enumerate(text.splitlines(), start=1):
            if any(part in line for part in MACHINE_PATHS):
                hits.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert [] == hits


def test_shell_scripts_parse():
    scripts = []
    for path in our_files():
        with path.open("rb") as content:
            first = content.readline(80)
        if path.suffix == ".sh" or (first.startswith(b"#!") and b"sh" in first.split(b"/")[-1]):
            scripts.append(path)
    assert scripts
    for script in scripts:
        done = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
