"""Commands where optional libraries cannot be imported, in a process of their own and in all that it starts.

    python -m tests.helpers.blocked_libraries       (a list of command lines as JSON on the standard input)

A folder with a `sitecustomize.py` on PYTHONPATH puts `None` for each library into `sys.modules`, which is what Python
takes for "not there"; a grandchild inherits the variable.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shardtools import cli

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Printed:
    """What a command came to."""

    code: int
    out: str
    err: str
    changed: list[str]
    """Files that were made, changed or removed."""


def environment(folder: Path, modules: Iterable[str]) -> dict[str, str]:
    """Variables of a process without these libraries."""
    folder.mkdir(exist_ok=True)
    lines = ["import sys", f"sys.modules.update(dict.fromkeys({sorted(modules)!r}))"]
    (folder / "sitecustomize.py").write_text("\n".join(lines) + "\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(REPOSITORY)))}


def run_blocked(
    commands: Sequence[Sequence[str]],
    modules: Iterable[str],
    *,
    cwd: Path,
    folder: Path,
    variables: Mapping[str, str] | None = None,
) -> dict[tuple[str, ...], Printed]:
    """Runs commands one after the other in one process, in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.blocked_libraries"],
        input=json.dumps(list(commands)),
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment(folder, modules) | dict(variables or {}),
    )
    assert done.returncode == 0, done.stderr
    return {tuple(one): Printed(*found) for one, found in zip(commands, json.loads(done.stdout), strict=True)}


def _files() -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in Path().rglob("*") if not path.is_dir()}


def _run(words: list[str]) -> tuple[int, str, str, list[str]]:
    before = _files()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main(words)
        except SystemExit as stopped:
            code = int(stopped.code or 0)
    after = _files()
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return code, out.getvalue(), err.getvalue(), changed


if __name__ == "__main__":
    print(json.dumps([_run(words) for words in json.load(sys.stdin)]))
