"""Every package's `__init__` is a facade: its `__all__` is sorted, complete, and true."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

import pytest

import shardtools

# The command line is an entry point, not a facade: nobody imports names from it.
NOT_FACADES = {"shardtools.cli", "shardtools.cli.cog", "shardtools.cli.eval", "shardtools.cli.transfer"}

PACKAGES = sorted(
    {"shardtools", *(found.name for found in pkgutil.walk_packages(shardtools.__path__, "shardtools.") if found.ispkg)}
    - NOT_FACADES
)


def _sort_key(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions: the order that ruff (RUF022) writes."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def _public_names(package: ModuleType) -> set[str]:
    """What the package itself offers: no submodules, no name that its code borrows from elsewhere.

    Plain constants do not know where they come from (an `int` has no `__module__`) and count as the package's own.
    """
    return {
        name
        for name, value in vars(package).items()
        if not name.startswith("_")
        and name != "TYPE_CHECKING"
        and not isinstance(value, ModuleType)
        and getattr(value, "__module__", package.__name__).startswith(package.__name__)
    }


def test_the_packages_of_the_architecture_are_found() -> None:
    assert {"shardtools", "shardtools.pipelines", "shardtools.storage", "shardtools.taxonomy"} <= set(PACKAGES)


@pytest.mark.parametrize("name", PACKAGES)
def test_all_is_sorted_complete_and_resolves(name: str) -> None:
    package = importlib.import_module(name)
    exported: list[str] = package.__all__

    assert exported == sorted(set(exported), key=_sort_key)
    assert [missing for missing in exported if not hasattr(package, missing)] == []
    assert sorted(_public_names(package) - set(exported)) == []


@pytest.mark.parametrize("name", PACKAGES)
def test_package_says_what_it_is(name: str) -> None:
    assert (importlib.import_module(name).__doc__ or "").strip()


@pytest.mark.parametrize("name", PACKAGES)
def test_no_name_is_also_a_modules(name: str) -> None:
    """Importing the module would put it in the place of what the facade offers."""
    package = importlib.import_module(name)
    assert {found.name for found in pkgutil.iter_modules(package.__path__)} & set(package.__all__) == set()
