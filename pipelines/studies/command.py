"""What the commands of studies share: arguments, lines on the standard error, one line for an error.

Owns how a study is asked for and how it ends. The price: every study has `--out`, `--short` and `--processes`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from shardtools.errors import ShardtoolsError
from shardtools.extras import require


def study_parser(name: str, description: str, *, out: str, short: str) -> argparse.ArgumentParser:
    """A parser with the arguments of every study.

    Args:
        name: Of the study's package.
        description: One sentence.
        out: Name of the folder where none is given; that of the short form ends in "-short".
        short: What the short form is.
    """
    parser = argparse.ArgumentParser(prog=f"python -m shardtools.pipelines.studies.{name}", description=description)
    parser.add_argument("--out", help=f"folder for everything ({out}, or {out}-short)")
    parser.add_argument("--short", action="store_true", help=short)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), help="processes of each job")
    parser.set_defaults(standard_out=out)
    return parser


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Adds where objects and photographs come from, to a study that renders."""
    parser.add_argument("--meshes", help="source of objects, as `shardtools meshes` takes it")
    parser.add_argument("--backgrounds", help="source of photographs, as `shardtools backgrounds` takes it")


def given_options(given: argparse.Namespace, short: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Options of a study: the folder and the processes, what the short form changes, and what was asked for.

    Args:
        given: The arguments of a `study_parser`.
        short: What `--short` changes.
        names: Arguments that are options by the same name; one that was not given changes nothing.
    """
    out = given.out or (f"{given.standard_out}-short" if given.short else given.standard_out)
    asked = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
    # Arguments that may be repeated are lists, options are not.
    asked = {name: tuple(value) if isinstance(value, list) else value for name, value in asked.items()}
    return {"out": out, "processes": given.processes, **(dict(short) if given.short else {}), **asked}


def require_rendering_and_training() -> None:
    """Refuses early what a study that renders and trains could not do.

    Raises:
        RunError: A library is not installed.
    """
    require("the study", ("moderngl", "trimesh"), extra="render")
    require("the study", ("torch", "matplotlib"), extra="train")


def show_line(line: str) -> None:
    """Shows what is done."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def told_errors() -> Iterator[None]:
    """Ends the process on an error, with one line and its exit code."""
    try:
        yield
    except ShardtoolsError as error:
        print(f"study: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
