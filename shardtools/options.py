"""What an option says of itself beside its type and default: help, flag, choices, bounds.

Owns the declaration that the command line and the checks read. It stands in the field's metadata, so that an options
dataclass is the only place where an option is named:

    guidance_scale: float = field(default=2.0, metadata=option("2: diverse; 7.5: typical images.", bounds=(0, 1000)))

A field without a declaration cannot be typed on the command line. The price: a flag's words live in the library.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any

from shardtools.errors import OptionError

_METADATA_KEY = "option"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A declaration.

    Attributes:
        help: One line for people who type it.
        flag: What is typed; `None` makes it of the field's name: "guidance_scale" is --guidance-scale. Of a field that
            is true unless told otherwise, a flag of its own ("--full") turns it off.
        metavar: Stands for the value in the help; `None` for the type's name.
        choices: The values there are; empty for any.
        bounds: Least and greatest value that `check_options` lets through; `None` for any.
        unset: What `None`, or nothing, stands for: "the model's".
        commas: Whether a tuple is typed as one text with commas; else the flag is repeated.
        unit: What is typed is multiplied by this: 10**9 for bytes that are typed in GB.
        late: Whether the option came after the first plans were written: at its default it is left out of a plan, so
            that the plans of earlier releases stay what they are.
    """

    help: str
    flag: str | None = None
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None
    unset: str | None = None
    commas: bool = False
    unit: int | None = None
    late: bool = False


def option(
    help_line: str = "",
    *,
    flag: str | None = None,
    metavar: str | None = None,
    choices: Collection[str] = (),
    bounds: tuple[float, float] | None = None,
    unset: str | None = None,
    commas: bool = False,
    unit: int | None = None,
    late: bool = False,
) -> dict[str, Option]:
    """Metadata of a field that can be typed on the command line; see `Option` for what the arguments say."""
    declared = Option(
        help=help_line,
        flag=flag,
        metavar=metavar,
        choices=tuple(choices),
        bounds=bounds,
        unset=unset,
        commas=commas,
        unit=unit,
        late=late,
    )
    return {_METADATA_KEY: declared}


def option_of(of: Field[Any]) -> Option | None:
    """What a field says of itself; `None` where it cannot be typed."""
    found = of.metadata.get(_METADATA_KEY)
    assert found is None or isinstance(found, Option)
    return found


def flag_of(of: Field[Any]) -> str:
    """What is typed for a field: "--guidance-scale"."""
    declared = option_of(of)
    return declared.flag if declared is not None and declared.flag else f"--{of.name.replace('_', '-')}"


def default_of(kind: type, name: str) -> Any:
    """Default of a field of an options dataclass; with slots it is not an attribute of the class."""
    return next(one.default for one in fields(kind) if one.name == name)


def same(kind: type, name: str, **changes: Any) -> Any:
    """A field as another options dataclass declares it, with its default, so that what two share is typed once.

    Args:
        kind: The other dataclass.
        name: Of its field, which has a default and is an option.
        changes: What this option says otherwise: arguments of `option`, `help` among them.
    """
    found = next(one for one in fields(kind) if one.name == name)
    declared = option_of(found)
    assert declared is not None
    return field(default=found.default, metadata={_METADATA_KEY: replace(declared, **changes)})


def check_options(options: Any) -> None:
    """Holds the values of an options dataclass against the choices and bounds that its fields declare.

    Raises:
        OptionError: One is outside.
    """
    for one in fields(options):
        declared, value = option_of(one), getattr(options, one.name)
        if declared is None or value is None:
            continue
        if declared.choices and value not in declared.choices:
            raise OptionError(f"{flag_of(one)} is one of {', '.join(declared.choices)}, found {value!r}")
        # The order of the comparison refuses NaN too.
        if declared.bounds is not None and not declared.bounds[0] <= value <= declared.bounds[1]:
            low, high = declared.bounds
            raise OptionError(f"{flag_of(one)} is {low} to {high}, found {value}")
