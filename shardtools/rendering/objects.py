"""Which objects are rendered: the first of each class in an order that the seed draws.

Owns the choice, and the words on what it leaves out. An object's place depends on the seed, its class and its name
alone, so a class more changes no other, and one object more moves at most the last one out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shardtools.errors import PlanError
from shardtools.rendering.options import RenderOptions
from shardtools.taxonomy import load_classes
from shardtools.words import counted

_NAMED = 5
"""Classes that a line names."""


class ObjectName(NamedTuple):
    """An object of a catalogue: the wnid of its class, its name."""

    wnid: str
    object_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The objects of a plan.

    Attributes:
        objects: In the order of plans: the first of each class, then the second of each.
        wnids: Their classes in sorted order, which gives the labels.
        notes: Lines on what is left out.
    """

    objects: tuple[ObjectName, ...]
    wnids: tuple[str, ...]
    notes: tuple[str, ...]


def choose_objects(names: Iterable[ObjectName], options: RenderOptions) -> Choice:
    """The objects that the options ask for.

    Raises:
        PlanError: A class has too few objects, or the catalogue has not a class that was named.
        TaxonomyError: `classes` names none.
    """
    by_class: dict[str, list[ObjectName]] = {}
    for name in names:
        by_class.setdefault(name.wnid, []).append(name)
    if not by_class:
        raise PlanError("the catalogue has no object: make it with `shardtools meshes`")
    if options.classes is not None:
        by_class = _only(by_class, options.classes)
    sizes = {wnid: len(by_class[wnid]) for wnid in sorted(by_class)}
    small = [wnid for wnid, size in sizes.items() if size < (options.at_least or options.objects)]
    if small and (options.at_least is None or len(small) == len(sizes)):
        raise PlanError(_too_few(sizes, small, options))
    wnids = tuple(wnid for wnid in sizes if wnid not in small)
    ordered = [sorted(by_class[wnid], key=lambda name: _place(options.seed, name)) for wnid in wnids]
    chosen = tuple(of_class[rank] for rank in range(options.objects) for of_class in ordered if rank < len(of_class))
    return Choice(objects=chosen, wnids=wnids, notes=tuple(_notes(sizes, wnids, small, options)))


def _only(by_class: Mapping[str, list[ObjectName]], classes: str) -> dict[str, list[ObjectName]]:
    wanted = [one.wnid for one in load_classes(classes)]
    missing = [wnid for wnid in wanted if wnid not in by_class]
    if missing:
        raise PlanError(
            f"--classes names {counted(len(missing), 'class', 'classes')} that the catalogue has no object of "
            f"({_listed(missing)}): it has {_listed(sorted(by_class))}"
        )
    return {wnid: by_class[wnid] for wnid in wanted}


def _place(seed: int, name: ObjectName) -> bytes:
    # Neither has a zero byte in it, so no two objects make one text.
    block = f"{seed}\0{name.wnid}\0{name.object_id}".encode()
    return hashlib.blake2b(block, digest_size=16).digest()


def _too_few(sizes: Mapping[str, int], small: Sequence[str], options: RenderOptions) -> str:
    wanted = options.at_least or options.objects
    flag = "--objects" if options.at_least is None else "--at-least"
    least, most = min(sizes.values()), max(sizes.values())
    if len(small) == len(sizes):
        best = max(sizes, key=lambda wnid: sizes[wnid])
        return (
            f"{flag} {wanted}: no class has so many objects, the largest is {best} with {most}: give --objects "
            f"{least} for all {counted(len(sizes), 'class', 'classes')}, or --objects {most} --at-least "
            f"{max(most // 2, 1)} for the larger ones"
        )
    return (
        f"--objects {wanted}: {len(small)} of {counted(len(sizes), 'class', 'classes')} have fewer "
        f"({_sized(small, sizes)}): give --objects {least} for all of them, or --at-least {wanted} to leave those out"
    )


def _notes(
    sizes: Mapping[str, int], wnids: Sequence[str], small: Sequence[str], options: RenderOptions
) -> Iterable[str]:
    if small:
        yield (
            f"left out: {counted(len(small), 'class', 'classes')} with fewer than "
            f"{counted(options.at_least or 0, 'object')} ({_sized(small, sizes)})"
        )
    short = [wnid for wnid in wnids if sizes[wnid] < options.objects]
    if short:
        yield (
            f"{counted(len(short), 'class has', 'classes have')} fewer than --objects {options.objects} "
            f"({_sized(short, sizes)})"
        )
    spare = sum(max(sizes[wnid] - options.objects, 0) for wnid in wnids)
    if spare:
        whole = sum(sizes[wnid] for wnid in wnids)
        yield f"left out: {spare} of {counted(whole, 'object')} of these classes, by --objects {options.objects}"


def _sized(wnids: Sequence[str], sizes: Mapping[str, int]) -> str:
    return _listed([f"{wnid} {sizes[wnid]}" for wnid in wnids])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
