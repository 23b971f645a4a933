"""What is compiled is compiled all or nothing, and means the same (docs/decisions/0012)."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import gateway

ROOT = Path(__file__).parents[2]


def modules() -> list[Path]:
    """Return the sources that setup.py has compiled."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    names = next(node for node in ast.walk(tree) if isinstance(node, ast.Tuple) and len(node.elts) > 10)
    return [ROOT / f"{name}.py" for name in ast.literal_eval(names)]


def caught(function: ast.AST) -> dict[str, set[str]]:
    """Return the exceptions that a function catches under each name."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.ExceptHandler) and node.name:
            found.setdefault(node.name, set()).add(ast.unparse(node.type))
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_name_catches_one_kind_of_exception_in_a_function(path: Path):
    """Mypyc gives a name one type in a function: another kind caught under it would be a TypeError when it is raised."""
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert functions
    twice = {f.name: found for f in functions for found in caught(f).items() if len(found[1]) > 1}
    assert twice == {}


def test_it_says_how_it_runs():
    """The sources as they stand are interpreted; where an extension is found instead, it is compiled."""
    import gateway.turns.habit

    assert gateway.build() == ("interpreted" if gateway.turns.habit.__file__.endswith(".py") else "compiled")


@pytest.mark.slow
def test_a_machine_without_a_compiler_gets_a_package_all_the_same(tmp_path):
    """Nothing of it is compiled then, everything is there; where compiling was asked for, the build fails."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(source(tmp_path))]
    without = {**os.environ, "CC": "/bin/false"}
    subprocess.run(command, env=without, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "gateway/turns/habit.py" in names
    assert not [name for name in names if re.search(r"\.so$|\.pyd$", name)]
    assert subprocess.run(
        command, env=without | {"MINIOGW_COMPILE": "must"}, check=False, capture_output=True
    ).returncode


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no compiler here")
def test_a_machine_with_a_compiler_gets_it_compiled(tmp_path):
    """Each of the modules is an extension beside its source, and what starts says so."""
    hasty = tmp_path / "cc"  # that it runs is what `make test-compiled` tests, of one that was optimized
    hasty.write_text('#!/bin/sh\nexec gcc "$@" -O0\n')
    hasty.chmod(0o700)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--target",
        str(tmp_path / "site"),
        str(source(tmp_path)),
    ]
    subprocess.run(
        command, env={**os.environ, "MINIOGW_COMPILE": "must", "CC": str(hasty)}, check=True, capture_output=True
    )
    site = tmp_path / "site"
    built = {
        str(path.relative_to(site)).partition(".")[0]
        for part in ("gateway", "iam", "sts")
        for path in (site / part).rglob("*.so")
    }
    assert built == {*(str(path.relative_to(ROOT).with_suffix("")) for path in modules()), "gateway/signing/_lanes"}
    said = subprocess.run(
        [sys.executable, "-P", "-m", "gateway.cli", "--version"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert said.stdout == f"minio-gw {gateway.__version__} (compiled)\n"


def copied() -> list[str]:
    """Return what the image's Dockerfile copies from its context, in order: the package is built from that."""
    text = (ROOT / "deploy/Dockerfile").read_text()
    lines = [line.split()[1:] for line in text.splitlines() if line.startswith("COPY ") and "--from=" not in line]
    return [name for *names, _ in lines for name in names]


def test_the_image_is_built_from_what_its_context_has():
    """Everything stays out of the context but what .dockerignore lets in by name."""
    first, *rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in {"", "#"}]
    assert first == "*"
    assert {"setup.py", "pyproject.toml", "gateway"} < set(copied())
    assert [name for name in copied() if f"!{name}" not in rules] == []


def source(folder: Path) -> Path:
    """Return a copy of what the package is built from: setuptools leaves things beside it."""
    copy = folder / "source"
    copy.mkdir()
    subprocess.run(["cp", "-R", *[str(ROOT / name) for name in copied()], copy], check=True)
    return copy
