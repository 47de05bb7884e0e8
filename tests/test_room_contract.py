"""The contract of the rooms: facades and public modules are doors, everything else is a wall."""

from __future__ import annotations

import pytest
from grimp import ImportGraph

from scripts.room_contract import RoomContract

MODULES = ("p", "p.a", "p.a.door", "p.a.wall", "p.a.inner", "p.a.inner.wall", "p.b", "p.b.one", "p.tool")


def _check(*imports: tuple[str, str], public: tuple[str, ...] = ("p.a.door",)) -> tuple[bool, list[str], list[str]]:
    graph = ImportGraph()
    for name in MODULES:
        graph.add_module(name)
    for importer, imported in imports:
        graph.add_import(importer=importer, imported=imported, line_number=7, line_contents="")
    options = {"houses": ["p"], "rooms": ["p.a.inner"], "public": list(public)}
    contract = RoomContract(name="rooms", session_options={}, contract_options=options)
    found = contract.check(graph, verbose=False)
    return found.kept, [imported for _, imported, _, _ in found.metadata["passed"]], found.metadata["gone"]


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("p.b.one", "p.a"),  # the facade
        ("p.b.one", "p.a.door"),  # a public module
        ("p.b.one", "p.tool"),  # no room at all
        ("p.a.door", "p.a.wall"),  # the room itself
        ("p.a.inner.wall", "p.a.wall"),  # from a room within it
        ("p.a.wall", "p.a.inner"),  # into a room within it, by its facade
    ],
)
def test_doors_are_open(importer: str, imported: str) -> None:
    assert _check((importer, imported)) == (True, [], [])


@pytest.mark.parametrize(
    ("importer", "imported"),
    [("p.b.one", "p.a.wall"), ("p.tool", "p.b.one"), ("p.a.wall", "p.a.inner.wall"), ("p.b", "p.a.inner.wall")],
)
def test_walls_are_closed(importer: str, imported: str) -> None:
    assert _check((importer, imported)) == (False, [imported], [])


def test_what_is_declared_is_there() -> None:
    assert _check(public=("p.a.door", "p.a.gone")) == (False, [], ["p.a.gone"])
