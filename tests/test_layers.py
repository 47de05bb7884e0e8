"""Arrows that import-linter cannot see: modules named by strings. Its own contracts are in pyproject.toml."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
while not (ROOT / "pyproject.toml").exists():
    ROOT = ROOT.parent

JOBS = {
    ("evaluation", "shardtools.pipelines.evaluate.attack_job"),
    ("evaluation", "shardtools.pipelines.evaluate.job"),
    ("evaluation", "shardtools.pipelines.probes.job"),
    ("features", "shardtools.pipelines.features.job"),
    ("generation", "shardtools.pipelines.generate.job"),
    ("training", "shardtools.pipelines.train.job"),
    ("verify", "shardtools.pipelines.generate.regenerate"),
}
"""What rooms start as processes, since only pipelines/ may load torch: the one way up, by the interpreter's `-m`."""


def layers() -> dict[str, int]:
    """Room -> its height."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [contract] = [one for one in settings if one["type"] == "layers" and one["containers"] == ["shardtools"]]
    from_below = reversed(contract["layers"])
    return {
        room.strip(): height for height, line in enumerate(from_below) for room in line.replace("|", ":").split(":")
    }


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Room and syntax of every module of the package."""
    for folder in ("shardtools", "pipelines"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).parts
            if parts[1] in ("pipelines", "queries"):
                continue
            room = "pipelines" if folder == "pipelines" else parts[1].removesuffix(".py")
            if room not in ("__init__", "__main__"):
                yield room, ast.parse(path.read_text())


def named_modules(tree: ast.Module) -> Iterator[str]:
    """Modules of ours in strings: alone, or as the beginning of an f-string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("shardtools."):
            words = node.value.rstrip(".").split(".")
            if all(word.isidentifier() for word in words) and (ROOT / "shardtools" / words[1]).exists():
                yield ".".join(words)


def test_no_module_is_named_by_a_string_from_below() -> None:
    heights = layers()
    found = {(room, name) for room, tree in modules() for name in named_modules(tree)}
    up = {(room, name) for room, name in found if heights[name.split(".")[1]] > heights[room]}
    assert up == JOBS


def test_strings_are_found_where_they_are_imported() -> None:
    """The walk sees what it is for."""
    tree = ast.parse('importlib.import_module("shardtools.cli.train"); import_module(f"shardtools.pipelines.{name}")')
    assert list(named_modules(tree)) == ["shardtools.cli.train", "shardtools.pipelines"]


def test_the_layers_name_every_room() -> None:
    rooms = {room for room, _ in modules()}
    assert rooms <= layers().keys()
