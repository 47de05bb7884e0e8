"""Every option of every command against the library: what is asked where nothing is typed is the library's default."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import click
import pytest
from click.testing import CliRunner

from shardtools.cli import COMMANDS, cli
from shardtools.cli.options import FieldOption, options_of, values_of
from shardtools.curation import diff_datasets
from shardtools.encoding import plan_bytes
from shardtools.errors import OptionError
from shardtools.features.neighbors.graph import neighbor_graph
from shardtools.options import check_options, option, option_of, same
from shardtools.readbench import ReadBenchOptions
from shardtools.shards.layouts import IMAGEFOLDER, LAYOUT_NAMES, LAYOUTS
from shardtools.taxonomy import DEFAULT_CLASSES


def commands(group: click.Group = cli, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """All commands, those of groups among them, as they are typed."""
    for name in group.list_commands(click.Context(group)):
        found = group.get_command(click.Context(group), name)
        assert found is not None
        typed = f"{path} {name}".strip()
        if isinstance(found, click.Group):
            yield from commands(found, typed)
        else:
            yield typed, found


ALL = dict(commands())


def of_signature(function: Callable[..., Any], name: str) -> Any:
    return inspect.signature(function).parameters[name].default


# Defaults that stand in no options dataclass: those of a function of the library, or the command's own.
OTHERS: dict[tuple[str, str], Any] = {
    ("bench read", "crop"): ReadBenchOptions(dataset="photos").crop.size,  # type: ignore[union-attr]
    ("diff", "num_examples"): of_signature(diff_datasets, "num_examples"),
    ("index graph", "kind"): of_signature(neighbor_graph, "kind"),
    ("plan-bytes", "num_samples"): of_signature(plan_bytes, "num_samples"),
    ("plan-bytes", "seed"): of_signature(plan_bytes, "seed"),
    ("prompts", "classes"): DEFAULT_CLASSES,
    # How much is printed, what a picture is called: nothing that the library has a default for.
    ("curves", "out"): "curves.png",
    ("index graph", "k"): 20,
    ("index search", "k"): 10,
    ("prompts", "limit"): 1,
    ("report", "out"): "report.html",
}


def typed_nothing(command: click.Command) -> dict[str, Any]:
    """What a command gets where no option is given; what must be given is `None`."""
    return command.make_context("x", [], resilient_parsing=True).params


def default(kind: type, name: str) -> Any:
    found = next(one for one in fields(kind) if one.name == name)
    return None if found.default is MISSING else found.default


def test_the_commands_are_found() -> None:
    assert {name.split()[0] for name in ALL} == set(COMMANDS)
    assert sum(isinstance(one, FieldOption) for command in ALL.values() for one in command.params) > 150


@pytest.mark.parametrize("name", ALL)
def test_what_is_not_typed_is_the_librarys_default(name: str) -> None:
    found = typed_nothing(ALL[name])
    # `None` leaves the choice to the command, which looks at the machine or at other options.
    left_open = {"features": (), "train": ("split",), "bench read": ("num_threads",)}.get(name, ())
    for one in ALL[name].params:
        if isinstance(one, FieldOption):
            wanted = None if one.name in left_open else default(one.kind, one.field.name)
            assert (one.name, found[str(one.name)]) == (one.field.name, wanted)


def test_no_command_types_a_default_of_its_own() -> None:
    typed = {}
    for name, command in ALL.items():
        found = typed_nothing(command)
        own = [str(one.name) for one in command.params if not isinstance(one, FieldOption | click.Argument)]
        # A flag that is off, or nothing; by identity, because 0 is a default and equals False.
        typed |= {
            (name, one): found[one] for one in own if found.get(one) not in (None, ()) and found[one] is not False
        }
    assert typed == OTHERS


def test_the_names_of_formats_are_the_formats() -> None:
    assert (*LAYOUTS, IMAGEFOLDER) == LAYOUT_NAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class Painted:
    """Options of every kind."""

    color: str = field(metadata=option("What is painted with.", choices=("red", "blue")))
    layers: int = field(default=2, metadata=option("Coats.", bounds=(1, 9)))
    thinner: float | None = field(default=None, metadata=option(unset="none", bounds=(0, 1)))
    dry: bool = field(default=False, metadata=option())
    shiny: bool = field(default=True, metadata=option("Leave it matt.", flag="--matt"))
    primer: bool = field(default=True, metadata=option())
    sanded: bool | None = field(default=None, metadata=option(unset="if it is rough"))
    brushes: tuple[str, ...] = field(default=(), metadata=option(flag="--brush"))
    sides: tuple[str, ...] = field(default=("front", "back"), metadata=option(commas=True))
    volume: int = field(default=1500, metadata=option(flag="--litres", unit=1000))
    secret: int = 3

    def __post_init__(self) -> None:
        check_options(self)


@click.command("paint")
@options_of(Painted)
def paint(**given: Any) -> None:
    """Paint."""
    click.echo(Painted(**values_of(Painted, given)))


def painted(*words: str) -> Painted:
    with paint.make_context("paint", list(words)) as context:
        return Painted(**context.params)


def test_an_option_of_each_kind_is_what_was_typed() -> None:
    assert painted("--color", "red") == Painted(color="red")
    words = "--color blue --layers 3 --thinner 0.5 --dry --matt --no-primer --no-sanded --brush a --brush b"
    assert painted(*words.split(), "--sides", "left, top,left", "--litres", "0.25") == Painted(
        color="blue",
        layers=3,
        thinner=0.5,
        dry=True,
        shiny=False,
        primer=False,
        sanded=False,
        brushes=("a", "b"),
        sides=("left", "top"),
        volume=250,
    )


def test_the_help_of_each_kind() -> None:
    text = " ".join(CliRunner().invoke(paint, ["--help"]).output.split())
    for line in (
        "--color [red|blue] What is painted with. [required]",
        "--layers INTEGER Coats. [default: 2]",
        "--thinner FLOAT [default: none]",
        "--dry --matt Leave it matt. --primer / --no-primer [default: primer]",
        "--sanded / --no-sanded [default: if it is rough]",
        "--sides TEXT [default: front,back]",
        "--litres FLOAT [default: 1.5]",
    ):
        assert line in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"color": "green"}, "--color is one of red, blue, found 'green'"),
        ({"layers": 0}, "--layers is 1 to 9, found 0"),
        ({"thinner": float("nan")}, "--thinner is 0 to 1, found nan"),
    ],
)
def test_values_outside_of_what_is_declared(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Painted(**{"color": "red", **changes})


def test_an_option_of_another_dataclass_is_taken_with_its_default() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Varnished:
        coats: int = same(Painted, "layers", help="Of varnish.")

    (coats,) = fields(Varnished)
    declared = option_of(coats)
    assert Varnished().coats == 2 and declared is not None
    assert (declared.help, declared.bounds) == ("Of varnish.", (1, 9))


def test_options_in_another_order_and_otherwise() -> None:
    @click.command()
    @options_of(Painted, first=("dry",), without=("layers",), changes={"color": {"required": False, "help": "Any."}})
    def command() -> None:
        pass

    assert [one.name for one in command.params][:3] == ["dry", "color", "thinner"]
    assert command.make_context("x", []).params["color"] is None
    with pytest.raises(AssertionError):
        options_of(Painted, changes={"layers": {"default": 5}})(lambda: None)
