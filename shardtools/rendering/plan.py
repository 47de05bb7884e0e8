"""The plan of a rendered dataset: position -> object and factors, for any position, without the ones before.

Owns the order: object by object, so that a mesh is loaded once for all of its pictures; within an object grid by grid.
The objects go round the classes, so a shard of few objects still holds several classes; the price is that one factor
alone is not one run of bytes. Pure: it knows names, and neither meshes nor pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from shardtools.errors import OptionError, PlanError, ShardError
from shardtools.rendering.factors import FACTORS, FactorValues, as_seen
from shardtools.rendering.grids import Axes, Cell, drawn_cell, spaced, varied_cells
from shardtools.rendering.objects import ObjectName, choose_objects
from shardtools.rendering.options import ALL, CANONICAL, PAIRS, SINGLE, RenderOptions
from shardtools.shards import check_key
from shardtools.words import counted

HOME = "home"
"""Type whose first photograph is the canonical background."""


class PhotoName(NamedTuple):
    """A photograph of a catalogue: "type/name", and its type."""

    name: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedImage:
    """One picture.

    Attributes:
        object_index: Of `RenderPlan.objects`.
        grid: Which of `GRIDS` it is of.
        index: 0-based place among the object's pictures of that grid.
        varied: The factors that the grid varies here, in the order of `FACTORS`.
        values: Of all factors.
        is_canonical: Whether it looks as each factor's canonical value does, whatever varies.
    """

    object_index: int
    grid: str
    index: int
    varied: tuple[str, ...]
    values: FactorValues
    is_canonical: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderPlan:
    """All pictures; `make_plan` makes it.

    Attributes:
        objects: In the order of the pictures.
        wnids: The classes in the order of the labels.
        num_images_of: Grid -> pictures of one object, in order.
        seed: Of the draws.
        single: Values where one factor varies.
        several: Values where more do.
        notes: Lines on what is left out or not held by a grid.
        tables: Grid -> the pictures of an object, of the grids that all objects share.
    """

    objects: tuple[ObjectName, ...]
    wnids: tuple[str, ...]
    num_images_of: Mapping[str, int]
    seed: int
    single: Axes
    several: Axes
    notes: tuple[str, ...] = ()
    tables: Mapping[str, tuple[Cell, ...]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.objects) * self.num_images_an_object

    @property
    def num_images_an_object(self) -> int:
        """Over all grids."""
        return sum(self.num_images_of.values())

    @property
    def counts(self) -> dict[str, int]:
        """Grid -> pictures of all objects."""
        return {grid: len(self.objects) * count for grid, count in self.num_images_of.items()}

    @property
    def photos(self) -> tuple[str, ...]:
        """Names of the photographs that any picture has."""
        cells = (cell for table in self.tables.values() for cell in table)
        drawn = self.several.values["background"] if ALL in self.num_images_of else ()
        named = (self.single.canonical.background, *(cell.values.background for cell in cells), *drawn)
        return tuple(dict.fromkeys(named))

    def images(self, start: int, stop: int) -> Iterator[PlannedImage]:
        """The pictures at 0-based positions `start` to `stop` (exclusive)."""
        for position in range(start, stop):
            yield self[position]

    def __getitem__(self, position: int) -> PlannedImage:
        object_index, index = divmod(position, self.num_images_an_object)
        for grid, count in self.num_images_of.items():
            if index < count:
                cell = self._cell(self.objects[object_index], grid, index)
                return PlannedImage(
                    object_index=object_index,
                    grid=grid,
                    index=index,
                    varied=cell.varied,
                    values=cell.values,
                    is_canonical=as_seen(cell.values) == as_seen(self.single.canonical),
                )
            index -= count
        raise IndexError(position)

    def _cell(self, of: ObjectName, grid: str, index: int) -> Cell:
        if grid == ALL:
            return drawn_cell(self.several, _stream(self.seed, of, grid), index)
        return self.tables[grid][index]


def image_key(of: ObjectName, grid: str, index: int) -> str:
    """The key of a picture."""
    return f"{of.wnid}_{of.object_id}_{grid}_{index:04d}"


def make_plan(names: Iterable[ObjectName], photos: Sequence[PhotoName], options: RenderOptions) -> RenderPlan:
    """The plan of a catalogue's objects before photographs.

    Args:
        names: All objects of the catalogue.
        photos: All photographs, those of a type in order.
        options: What is asked for.

    Raises:
        PlanError: A class has too few objects, or an object's name can be no key.
        OptionError: There is no such photograph, or a type has too few, or fewer combinations than draws.
    """
    choice = choose_objects(names, options)
    canonical = _canonical(photos, options)
    grids = options.ordered_grids
    alone = [photo.name for photo in photos]
    if options.photos is not None and SINGLE in grids:
        alone = _first_photos(photos, options.photos, "--photos")
    single = _axes(canonical, options, options.values, alone)
    of_pairs = [canonical.background]
    if {PAIRS, ALL} & set(grids):
        of_pairs = _first_photos(photos, options.pair_photos, "--pair-photos")
    several = _axes(canonical, options, options.pair_values, of_pairs)
    if ALL in grids and options.draws > several.num_combinations:
        raise OptionError(
            f"--draws is at most the {several.num_combinations} combinations of the grid {ALL}, found {options.draws}: "
            "give more --pair-values, or fewer draws"
        )
    tables: dict[str, tuple[Cell, ...]] = {CANONICAL: (Cell((), canonical),)} if CANONICAL in grids else {}
    tables |= {SINGLE: varied_cells(single, options.ordered_factors, 1)} if SINGLE in grids else {}
    tables |= {PAIRS: varied_cells(several, options.ordered_factors, 2)} if PAIRS in grids else {}
    plan = RenderPlan(
        objects=choice.objects,
        wnids=choice.wnids,
        num_images_of={grid: options.draws if grid == ALL else len(tables[grid]) for grid in grids},
        seed=options.seed,
        single=single,
        several=several,
        notes=choice.notes,
        tables=tables,
    )
    _check_keys(plan)
    return replace(plan, notes=(*plan.notes, *_off_grid(plan)))


def _canonical(photos: Sequence[PhotoName], options: RenderOptions) -> FactorValues:
    names = [photo.name for photo in photos]
    if not names:
        raise OptionError("the catalogue of backgrounds has no photograph: make it with `shardtools backgrounds`")
    background = options.canonical_background
    if background is None:
        background = next((photo.name for photo in photos if photo.type == HOME), None)
        if background is None:
            types = ", ".join(dict.fromkeys(photo.type for photo in photos))
            raise OptionError(
                f"no background of type {HOME}, whose first is canonical, found {types}: give --canonical-background, "
                f"{names[0]} say"
            )
    elif background not in names:
        raise OptionError(
            f"--canonical-background is a photograph of the catalogue, {names[0]} say, found {background!r}"
        )
    return FactorValues(
        pose=options.canonical_pose,
        size=options.canonical_size,
        position=options.canonical_position,
        hue=options.canonical_hue,
        background=background,
    )


def _axes(canonical: FactorValues, options: RenderOptions, count: int, backgrounds: Sequence[str]) -> Axes:
    ranges = (options.pose_range, options.size_range, options.position_range, options.hue_range)
    scalars = [spaced(low, high, count) for low, high in ranges]
    return Axes(canonical=canonical, values=dict(zip(FACTORS, [*scalars, tuple(backgrounds)], strict=True)))


def _first_photos(photos: Sequence[PhotoName], count: int, flag: str) -> list[str]:
    """The first photographs of each type.

    Raises:
        OptionError: A type has fewer.
    """
    by_type: dict[str, list[str]] = {}
    for photo in photos:
        by_type.setdefault(photo.type, []).append(photo.name)
    for name, of_type in by_type.items():
        if len(of_type) < count:
            raise OptionError(
                f"backgrounds of type {name}: {counted(len(of_type), 'photograph')}, expected the {count} of each type "
                f"that {flag} takes: add some, or give {flag} {len(of_type)}"
            )
    return [name for of_type in by_type.values() for name in of_type[:count]]


def _off_grid(plan: RenderPlan) -> Iterator[str]:
    """Lines on canonical values that a grid does not hold, so that no picture of it is canonical there."""
    canonical = plan.single.canonical
    values = {"pose": canonical.pose, "size": canonical.size, "position": canonical.position}
    # White is no hue: that no grid holds it is no accident.
    values |= {} if canonical.hue is None else {"lighting": canonical.hue}
    for flag, axes, grids in (("--values", plan.single, (SINGLE,)), ("--pair-values", plan.several, (PAIRS, ALL))):
        varied = {factor for grid in grids for factor in _varied(plan, grid)}
        for factor, value in values.items():
            if factor in varied and value not in axes.values[factor]:
                count, low, high = len(axes.values[factor]), axes.values[factor][0], axes.values[factor][-1]
                yield (
                    f"the {count} values of {factor} from {low:g} to {high:g} do not hold the canonical {value:g}: "
                    f"another {flag} may"
                )
        if "background" in varied and canonical.background not in axes.values["background"]:
            yield f"the photographs of {flag} do not hold the canonical {canonical.background}"


def _varied(plan: RenderPlan, grid: str) -> set[str]:
    """The factors that a grid of the plan varies."""
    if grid == ALL and ALL in plan.num_images_of:
        return set(FACTORS)
    return {factor for cell in plan.tables.get(grid, ()) for factor in cell.varied}


def _check_keys(plan: RenderPlan) -> None:
    for of in plan.objects:
        for grid, count in plan.num_images_of.items():
            try:
                check_key(image_key(of, grid, count - 1))
            except ShardError as error:
                raise PlanError(f"object {of.object_id!r} of {of.wnid} names no sample: {error}") from None


def _stream(seed: int, of: ObjectName, grid: str) -> int:
    """64 bits that name the order of an object's draws."""
    block = f"{seed}\0{of.wnid}\0{of.object_id}\0{grid}".encode()
    return int.from_bytes(hashlib.blake2b(block, digest_size=8).digest(), "big")
