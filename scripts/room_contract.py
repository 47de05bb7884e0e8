"""Import-linter's contract of the rooms: who is outside of a room enters by its facade or by a public module.

Owns one rule for all rooms, also for those that are yet to come. Import-linter's own `protected` contract says the same
of one room; forty of them would be a page of `pyproject.toml`, and a new room would stand open until somebody adds one.
"""

from __future__ import annotations

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class RoomContract(Contract):
    """Modules of a room are imported by the room itself; its `__init__` and its public modules by everybody.

    Options in `pyproject.toml`:
        houses: Packages whose packages are rooms.
        rooms: Further rooms, within others: closed to the outer room, too, which is open to them.
        public: Modules that may be imported from outside, beside the facades.
    """

    type_name = "rooms"

    houses = fields.ListField(subfield=fields.StringField())
    rooms = fields.ListField(subfield=fields.StringField())
    public = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        houses, public = set(self.houses), set(self.public)  # type: ignore[call-overload]
        # Squashed modules are other people's packages.
        packages = {name for name in graph.modules if not graph.is_module_squashed(name) and graph.find_children(name)}
        rooms = {name for name in packages if name.rpartition(".")[0] in houses} | set(self.rooms)  # type: ignore[call-overload]
        # What is declared and not there would let a module of that name in unseen, once there is one.
        gone = sorted(name for name in public | rooms if name not in graph.modules)
        passed = []
        for imported in sorted(graph.modules - public - rooms):
            room = _room_of(imported, rooms)
            if room is None:
                continue
            for importer in sorted(graph.find_modules_that_directly_import(imported)):
                if not f"{importer}.".startswith(f"{room}."):
                    lines = {
                        detail["line_number"]
                        for detail in graph.get_import_details(importer=importer, imported=imported)
                    }
                    passed.append((importer, imported, room, tuple(sorted(lines))))
        return ContractCheck(kept=not passed and not gone, metadata={"passed": passed, "gone": gone})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for importer, imported, room, lines in check.metadata["passed"]:
            where = ", ".join(f"l.{line}" for line in lines)
            output.print_error(f"{importer} imports {imported} ({where}): import {room}, or declare the module public")
        for name in check.metadata["gone"]:
            output.print_error(f"{name} is declared in pyproject.toml and not there: remove it")


def _room_of(module: str, rooms: set[str]) -> str | None:
    """The innermost room that a module stands in."""
    while module:
        if module in rooms:
            return module
        module = module.rpartition(".")[0]
    return None
