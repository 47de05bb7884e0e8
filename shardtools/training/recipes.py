"""Recipes: short TOML files that say how to train, those of the package and a user's own.

Owns the files' form: keys are the fields of `Recipe`, the comment on top tells people the command, the hardware, the
time and what comes out. The price of one flat table: a recipe does not include another, so it can be read alone.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

from shardtools.errors import OptionError, first_line
from shardtools.training.recipe import Recipe

_SUFFIX = ".toml"
_KEYS = [field.name for field in fields(Recipe) if field.name != "name"]
_TYPES: dict[str, Any] = get_type_hints(Recipe)
_DEFAULTS = {field.name: field.default for field in fields(Recipe) if field.name != "name"}
_WORDS = {True: ("true", "yes", "1"), False: ("false", "no", "0")}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeFile:
    """One recipe as it ships.

    Attributes:
        name: What `load_recipe` takes.
        summary: First line of its comment.
        text: The whole file.
    """

    name: str
    summary: str
    text: str


def list_recipes() -> tuple[RecipeFile, ...]:
    """The recipes of the package, sorted by name."""
    found = []
    for file in resources.files("shardtools.training").joinpath("recipes").iterdir():
        if file.name.endswith(_SUFFIX):
            text = file.read_text(encoding="utf-8")
            summary = text.partition("\n")[0].removeprefix("#").strip()
            found.append(RecipeFile(name=file.name.removesuffix(_SUFFIX), summary=summary, text=text))
    return tuple(sorted(found, key=lambda one: one.name))


def find_recipe(name: str) -> RecipeFile:
    """The shipped recipe called `name`; "-" and "_" are the same.

    Raises:
        OptionError: There is none; the message gives near names.
    """
    recipes = {one.name: one for one in list_recipes()}
    wanted = name.lower().replace("_", "-")
    if wanted in recipes:
        return recipes[wanted]
    raise OptionError(
        f"no recipe is called {name!r}; {_hint(wanted, list(recipes))}, or give a file that ends in {_SUFFIX}"
    )


def load_recipe(name_or_path: str, overrides: Mapping[str, str] | Sequence[str] = ()) -> Recipe:
    """A recipe with some values changed.

    Where `epochs` is changed and `warmup_epochs` is not, the warm-up keeps its share of the epochs; so do the epochs
    between the falls of a schedule of steps.

    Args:
        name_or_path: Of a shipped recipe, or a file that ends in ".toml".
        overrides: Key -> value as text, or "key=value" each: epochs=10, mean=0.5,0.5,0.5, clip_norm=none.

    Raises:
        OptionError: The recipe or a key is unknown, or a value has another type or is out of range.
    """
    if name_or_path.endswith(_SUFFIX):
        name, text = Path(name_or_path).stem, _read(Path(name_or_path))
    else:
        file = find_recipe(name_or_path)
        name, text = file.name, file.text
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise OptionError(
            f"{name_or_path}: expected TOML, found {first_line(error)}: see `shardtools recipes pytorch`"
        ) from None
    values = {key: _of_file(name, key, value) for key, value in content.items()}
    changed = {key: _of_text(name, key, value) for key, value in split_overrides(overrides).items()}
    return Recipe(name=name, **{**values, **_in_proportion(values, changed), **changed})


def _in_proportion(values: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """The lengths in epochs that follow a changed number of epochs."""
    if "epochs" not in changed:
        return {}
    own = {**_DEFAULTS, **values}
    # Where nothing falls in steps their length is left alone: it stands in the run's settings.
    has_steps = changed.get("schedule", own["schedule"]) == "step"
    names = ("warmup_epochs", "step_epochs") if has_steps else ("warmup_epochs",)
    share = changed["epochs"] / own["epochs"]
    found: dict[str, Any] = {name: own[name] / own["epochs"] * changed["epochs"] for name in names}
    if has_steps and own["step_at"]:
        found["step_at"] = tuple(epoch * share for epoch in own["step_at"])
    return found


def split_overrides(overrides: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    """Key -> text out of "key=value" each; a later one wins.

    Raises:
        OptionError: One has no "=".
    """
    if isinstance(overrides, Mapping):
        return dict(overrides)
    pairs = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise OptionError(f"a change of a recipe is key=value, found {override!r}: for instance epochs=10")
        pairs[key.strip()] = value.strip()
    return pairs


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise OptionError(
            f"{path}: expected a recipe, found {reason}; `shardtools recipes` lists those that ship"
        ) from None


def _hint(wanted: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(wanted, known, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"


def _check_key(name: str, key: str) -> None:
    if key not in _KEYS:
        raise OptionError(f"recipe {name}: no key is called {key!r}; {_hint(key, _KEYS)}")


def _of_file(name: str, key: str, value: Any) -> Any:
    """A value of a TOML file as the field's type; a whole number is also a float."""
    _check_key(name, key)
    kind = _kind(key)
    if kind is float and type(value) is int:
        return float(value)
    if kind is tuple and isinstance(value, list) and all(type(one) in (int, float) for one in value):
        return tuple(map(float, value))
    if kind is not tuple and type(value) is kind:
        return value
    raise _wrong(name, key, value)


def _of_text(name: str, key: str, text: str) -> Any:
    """A value of the command line as the field's type."""
    _check_key(name, key)
    kind = _kind(key)
    if text.lower() == "none" and isinstance(_TYPES[key], UnionType):
        return None
    try:
        if kind is bool:
            return next(value for value, words in _WORDS.items() if text.lower() in words)
        if kind is tuple:
            return tuple(_number(part) for part in text.strip("()[]").split(",") if text.strip("()[] "))
        return _number(text) if kind is float else kind(text)
    except (ValueError, StopIteration):
        raise _wrong(name, key, text) from None


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _kind(key: str) -> type:
    """`str`, `int`, `float`, `bool` or `tuple`: what a field holds beside `None`."""
    hint = _TYPES[key]
    if isinstance(hint, UnionType):
        hint = next(part for part in get_args(hint) if part is not type(None))
    return tuple if get_args(hint) else hint


def _wrong(name: str, key: str, value: object) -> OptionError:
    tuples = "three numbers" if _TYPES[key] == tuple[float, float, float] else "numbers"
    wording = {int: "a whole number", float: "a number", bool: "true or false", str: "text", tuple: tuples}
    expected = wording[_kind(key)] + (" or none" if isinstance(_TYPES[key], UnionType) else "")
    return OptionError(f"recipe {name}: {key} is {expected}, found {value!r}")
