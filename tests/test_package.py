"""The wheel: built from a copy of the checkout, installed into an empty folder, run from there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("LICENSE", "README.md", "pipelines", "pyproject.toml", "queries", "shardtools")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of a copy: building in the checkout would leave `build/`, and stale files of it in the next wheel."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, checkout / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, checkout / name)
    target = tmp_path_factory.mktemp("wheel")
    build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", build, str(target)], cwd=checkout, check=True, capture_output=True)
    (found,) = target.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the wheel's content and nothing else."""
    target = tmp_path_factory.mktemp("installed")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    return target


def _tracked(folder: str, pattern: str) -> set[str]:
    """Files below `ROOT/folder` by their path in the package."""
    found = (ROOT / "shardtools" / folder).rglob(pattern)
    return {path.relative_to(ROOT).as_posix() for path in found if path.is_file() and "__pycache__" not in path.parts}


def test_wheel_holds_only_the_package(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}

    assert tops == {"shardtools", "shardtools-0.1.0.dist-info"}


def test_wheel_holds_every_module(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "shardtools").rglob("*.py")}
    modules |= {f"shardtools/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "pipelines").rglob("*.py")}

    assert modules <= names
    assert "shardtools/pipelines/generate/job.py" in names


@pytest.mark.parametrize("folder", ["evaluation", "models", "queries", "taxonomy", "prompts", "rendering", "training"])
def test_wheel_holds_every_data_file(wheel: Path, folder: str) -> None:
    expected = _tracked(folder, "*")

    assert expected
    assert expected - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_wheel_is_typed_and_licensed(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())

    assert {"shardtools/py.typed", "shardtools-0.1.0.dist-info/licenses/LICENSE"} <= names


def test_installed_package_runs_on_its_own(installed: Path, tmp_path: Path) -> None:
    program = (
        "import importlib.util, pathlib, shardtools\n"
        "print(pathlib.Path(shardtools.__file__).parents[1])\n"
        "print(importlib.util.find_spec('shardtools.pipelines.generate.job').origin)\n"
        "print(importlib.util.find_spec('pipelines'), importlib.util.find_spec('queries'))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(installed)}
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    classes = subprocess.run(
        [sys.executable, "-m", "shardtools", "classes", "sneaker"],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )

    assert ran.stdout.split("\n")[:3] == [
        str(installed),
        str(installed / "shardtools/pipelines/generate/job.py"),
        "None None",
    ]
    assert "n03472535" in classes.stdout
