"""STUDY.toml: a study as a file that people write.

Owns what a file says and where it is wrong: an unknown key, a value of another type, a name that comes twice are one
line with the place in the file and the nearest right key. Its tables are the dataclasses of `study.py`, so a key is
named once; `changes` is a table of keys of a recipe. Paths are seen from where the command runs, as everywhere.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shardtools.documents import FieldError, build
from shardtools.errors import OptionError, first_line
from shardtools.transfer.study import Augmentation, Grid, Study, StudyModel, StudySet, keys_of

_CHANGES = "changes"
_LISTS = {"models": StudyModel, "sets": StudySet, "augmentations": Augmentation}


def read_study(path: str) -> Study:
    """The study that a file describes.

    Args:
        path: A .toml file.

    Raises:
        OptionError: It cannot be read, or says something that no study can be.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise OptionError(f"{path}: expected a study, found {reason}: docs/study_transfer.md has one to copy") from None
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"{path}: expected TOML, found {first_line(error)}") from None
    try:
        return study_of(content)
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from None


def study_of(content: Mapping[str, Any]) -> Study:
    """The study that a table of TOML describes.

    Raises:
        OptionError: A key or a value is wrong; the message has its place.
    """
    _check_keys(content, Study, "")
    table = {**content}
    for name, kind in _LISTS.items():
        if name in table:
            table[name] = [_entry(one, kind, name, number) for number, one in enumerate(_tables(table[name], name))]
    if "grid" in table:
        _check_keys(_table(table["grid"], "grid"), Grid, "grid.")
    if _CHANGES in table:
        table[_CHANGES] = _changes(table[_CHANGES], _CHANGES)
    try:
        return build(Study, table)
    except FieldError as error:
        raise OptionError(str(error)) from None


def _entry(entry: Any, kind: type, name: str, number: int) -> dict[str, Any]:
    place = f"{name}[{number}]"
    table = {**_table(entry, place)}
    if isinstance(table.get("name"), str):
        # People know an entry by its name, not by its number.
        place = f"{name}[{number}] ({table['name']})"
    _check_keys(table, kind, f"{place}.")
    if _CHANGES in table:
        table[_CHANGES] = _changes(table[_CHANGES], f"{place}.{_CHANGES}")
    return table


def _tables(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise OptionError(f"{place} is a list of tables, found {value!r}: write [[{place}]]")
    return value


def _table(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise OptionError(f"{place} is a table, found {value!r}")
    return value


def _check_keys(table: Mapping[str, Any], kind: type, prefix: str) -> None:
    known = keys_of(kind)
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise OptionError(f"no key is called {prefix}{key}; {hint}")


def _changes(value: Any, place: str) -> list[list[str]]:
    """A table of keys of a recipe as pairs of texts; which keys there are is the recipe's to say."""
    return [[key, _as_text(one, f"{place}.{key}")] for key, one in _table(value, place).items()]


def _as_text(value: Any, place: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(_as_text(one, place) for one in value)
    if isinstance(value, str | int | float):
        return str(value)
    raise OptionError(f"{place} is a number, a text, true, false or a list of numbers, found {value!r}")
