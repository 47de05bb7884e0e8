"""Light facades: what a package offers is imported when it is asked for.

Owns how a package's `__init__` puts off its imports. It writes them under `if TYPE_CHECKING:`, where mypy, editors and
import-linter read them, and

    else:
        __getattr__, __dir__ = on_demand(__name__)

under that; the same lines are read here when a name is missing, so that each name stands in one import and no string.
So the command line takes its options from the library without loading what works with them (pyarrow, NumPy, DuckDB).
The price: a package may not offer a name that one of its modules has too, because the import system binds that to the
module (`tests/test_facades.py` refuses it), and the source must be there as a file, as it is in a wheel.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import cache
from typing import Any


def on_demand(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package whose imports stand under `if TYPE_CHECKING:`."""

    def get(name: str) -> Any:
        if name not in (places := _places(package)):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, its_name = places[name]
        value = getattr(importlib.import_module(module), its_name)
        # From now on it is found without coming here.
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *_places(package)})

    return get, names


@cache
def _places(package: str) -> dict[str, tuple[str, str]]:
    """Name that a package offers -> module, and the name there; of the imports under its first `if`."""
    import ast  # a few milliseconds that the start of the command line does without

    with open(str(sys.modules[package].__file__), encoding="utf-8") as file:
        block = next(statement for statement in ast.parse(file.read()).body if isinstance(statement, ast.If))
    return {
        alias.asname or alias.name: (statement.module or "", alias.name)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
