"""Options of commands out of the fields of the library's options dataclasses.

Owns how a field becomes a flag: its type, choices, default and help are taken from where the library declares them
(`shardtools.options`), so that no command types a default. The price: the dataclass is imported when the command's help
is shown, so its module, and the package's facade, must be light (`tests/cli/test_cli.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any

import click

from shardtools.options import Option, flag_of, option_of

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_TYPES: dict[str, Any] = {"int": click.INT, "float": click.FLOAT, "str": click.STRING}


class FieldOption(click.Option):
    """An option that stands for a field of an options dataclass.

    Attributes:
        kind: The dataclass.
        field: The field; `name` is its name.
    """

    def __init__(self, *flags: Any, kind: type, field: Field[Any], **settings: Any) -> None:
        super().__init__(*flags, **settings)
        self.kind = kind
        self.field = field


def options_of(
    kind: type,
    *,
    first: Collection[str] = (),
    only: Collection[str] | None = None,
    without: Collection[str] = (),
    changes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Decorator:
    """A decorator that gives a command the options that a dataclass declares, in the order of its fields.

    Args:
        kind: The dataclass.
        first: Names of fields whose options stand before the others, in this order.
        only: Names of the fields that are taken, in this order; `None` takes all.
        without: Names of fields that are not taken.
        changes: Field name -> what the option says otherwise here: arguments of `click.option`, and "flag". A default
            may only be taken away (`None`), where the command finds it out.
    """
    known = {one.name: one for one in fields(kind) if option_of(one) is not None}
    names = [*first, *(name for name in known if name not in first)] if only is None else list(only)
    changes = changes or {}
    assert {*names, *without, *changes} <= set(known)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        # A decorator puts its option before those that are there.
        for name in reversed(names):
            if name not in without:
                function = _option(kind, known[name], dict(changes.get(name, {})))(function)
        return function

    return decorate


def values_of(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the typed values that are fields of a dataclass."""
    names = [one.name for one in fields(kind)]
    return {name: given[name] for name in names if name in given}


def _option(kind: type, of: Field[Any], changes: dict[str, Any]) -> Decorator:
    declared = option_of(of)
    assert declared is not None and changes.get("default") is None
    flag = changes.pop("flag", None) or flag_of(of)
    settings: dict[str, Any] = {"help": _help(declared), "metavar": declared.metavar, **_value(of, declared)}
    if "default" in changes:
        # The command finds out the default: it is said here all the same.
        changes |= {"show_default": False, "help": changes.get("help", f"{declared.help}  [default: {of.default}]")}
    if settings.pop("is_switch", False):
        flag = f"{flag}/--no-{flag.removeprefix('--')}"
    return click.option(flag, of.name, cls=FieldOption, kind=kind, field=of, **{**settings, **changes})


def _help(declared: Option) -> str | None:
    unset = f"[default: {declared.unset}]" if declared.unset else ""
    return "  ".join(filter(None, (declared.help, unset))) or None


def _value(of: Field[Any], declared: Option) -> dict[str, Any]:
    """What click is told of a field's type and default."""
    annotation, default = str(of.type), of.default
    bare = annotation.removesuffix(" | None")
    if bare == "bool":
        return _flag(declared, default, is_open=annotation != bare)
    found: dict[str, Any] = {"show_default": bool(default is not MISSING and default not in (None, "", ()))}
    # A default of `None` or () is not given to click, which would print it.
    if default is MISSING:
        found["required"] = True
    elif not (default is None or default == ()):
        found["default"] = default
    if declared.choices and not declared.commas:
        return {**found, "type": click.Choice(declared.choices)}
    if bare.startswith("tuple["):
        inner = bare[len("tuple[") :].partition(",")[0]
        if not declared.commas:
            return {**found, "type": _TYPES[inner], "multiple": True}
        parts = () if default is MISSING else default
        text = ",".join(f"{one:g}" if inner == "float" else str(one) for one in parts)
        split = {"int": _split_integers, "float": _split_numbers}.get(inner, _split)
        return {**found, "type": str, "default": text, "show_default": bool(text), "callback": split}
    if declared.unit is not None:
        return {**found, "type": float, **_scaled(default, declared.unit)}
    return {**found, "type": _TYPES[bare]}


def _split(ctx: click.Context, param: click.Parameter, text: str) -> tuple[str, ...]:
    """A tuple out of "exact, mirrored"; what comes twice is taken once."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _split_integers(ctx: click.Context, param: click.Parameter, text: str) -> tuple[int, ...]:
    """As `_split`, of whole numbers."""
    try:
        return tuple(map(int, _split(ctx, param, text)))
    except ValueError:
        raise click.BadParameter(f"expected whole numbers with commas between them, found {text!r}") from None


def _split_numbers(ctx: click.Context, param: click.Parameter, text: str) -> tuple[float, ...]:
    """As `_split`, of numbers; one that comes twice stays."""
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise click.BadParameter(f"expected numbers with commas between them, found {text!r}") from None


def _scaled(default: Any, unit: int) -> dict[str, Any]:
    """A number that is typed in a larger unit than the library takes, and its default in that unit."""

    def in_full(ctx: click.Context, param: click.Parameter, value: float | None) -> int | None:
        return None if value is None else round(value * unit)

    if default is MISSING or default is None:
        return {"callback": in_full}
    return {"callback": in_full, "default": default // unit if default % unit == 0 else default / unit}


def _flag(declared: Option, default: Any, *, is_open: bool) -> dict[str, Any]:
    """A switch: on, on and off, or, with a flag of its own where the default is on, off."""
    if is_open:
        return {"default": None, "is_switch": True}
    # Off is what click has flags for.
    if default is False:
        return {"is_flag": True, "default": False}
    if declared.flag is None or "/" in declared.flag:
        return {"default": True, "show_default": True, "is_switch": declared.flag is None}
    # "--full" of a field that is true: what is typed is turned round.
    return {"is_flag": True, "default": False, "callback": lambda ctx, param, value: not value}
