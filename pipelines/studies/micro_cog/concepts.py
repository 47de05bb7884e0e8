"""Which classes are seen, which unseen, and which pictures a level learns from and is tested on.

Owns the choice: as in ImageNet-CoG (thesis, section 3.3.2), a class above a seen one is no unseen concept, nor is one
above another unseen one, nor a person. Objects are held out, not pictures: two pictures of one chair are no test. The
price: as many folds as there are repetitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from shardtools.errors import PlanError
from shardtools.evaluation.cog import Level, corpus_hierarchy, cut_levels, random_levels, rank_concepts
from shardtools.evaluation.variation import Split, World, open_world, read_twins, split_objects
from shardtools.overlays import write_overlay
from shardtools.pipelines.studies.micro_cog.plan import FURNISHING, PERSON, WORLD, StudyOptions, overlay_name
from shardtools.taxonomy import load_classes

MADE_BY = "shardtools micro_cog"
LIN, WU_PALMER = "lin", "wu-palmer"
_SEED = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Concepts:
    """The classes of a study.

    Attributes:
        seen: wnids of rendered classes that own networks are trained on, sorted.
        photographed: wnids of the classes of Fashion-MNIST, which they are trained on, too.
        seen_sets: Sets of seen classes as large as a level, "seen-1", ...
        levels: Unseen classes by Lin's similarity, "L1" the nearest.
        again: The same ones by Wu and Palmer's, "wu-palmer-L1", ...
        drawn: "R1", ...: drawn among the unseen.
    """

    seen: tuple[str, ...]
    photographed: tuple[str, ...]
    seen_sets: tuple[Level, ...]
    levels: tuple[Level, ...]
    again: tuple[Level, ...]
    drawn: tuple[Level, ...]

    @property
    def sets(self) -> tuple[Level, ...]:
        """All that is measured."""
        return (*self.seen_sets, *self.levels, *self.again, *self.drawn)


def choose_concepts(options: StudyOptions, wnids: Sequence[str]) -> Concepts:
    """Divides the classes of a world.

    Args:
        options: The study's.
        wnids: Classes that have enough objects.

    Raises:
        PlanError: Too few are seen or unseen for the sizes of the study.
    """
    photographed = tuple(one.wnid for one in load_classes("fashion")) if options.fashion else ()
    hierarchy = corpus_hierarchy(wnids, photographed)
    seen = sorted(wnid for wnid in wnids if hierarchy.is_under(wnid, FURNISHING))
    others = [
        wnid
        for wnid in sorted(wnids)
        if wnid not in seen and not hierarchy.is_under(wnid, PERSON) and wnid not in photographed
    ]
    above_seen = hierarchy.ancestors([*seen, *photographed])
    unseen = [wnid for wnid in others if wnid not in above_seen]
    above_unseen = hierarchy.ancestors(unseen)
    unseen = [wnid for wnid in unseen if wnid not in above_unseen]
    needed = options.levels * options.size
    if len(seen) < options.size or len(unseen) < needed:
        raise PlanError(
            f"{options.levels} levels of {options.size} need {needed} unseen classes and {options.size} seen ones, "
            f"found {len(unseen)} and {len(seen)} with objects enough: give fewer --levels, or a smaller --size"
        )
    sizes = {"num_levels": options.levels, "size": options.size}
    ranked = rank_concepts(unseen, [*seen, *photographed], measure=LIN, hierarchy=hierarchy)
    levels = cut_levels(ranked, **sizes)
    taken = [concept.wnid for level in levels for concept in level.concepts]
    again = rank_concepts(taken, [*seen, *photographed], measure=WU_PALMER, hierarchy=hierarchy)
    return Concepts(
        seen=tuple(seen),
        photographed=photographed,
        seen_sets=_named("seen-", random_levels(seen, num_levels=options.seen_sets, size=options.size, seed=_SEED)),
        levels=levels,
        again=_named("wu-palmer-L", cut_levels(again, **sizes)),
        drawn=random_levels(taken, num_levels=options.random, size=options.size, seed=_SEED),
    )


def _named(prefix: str, levels: Sequence[Level]) -> tuple[Level, ...]:
    return tuple(replace(level, name=f"{prefix}{number}") for number, level in enumerate(levels, start=1))


def open_split(options: StudyOptions) -> tuple[World, Split]:
    """The pictures, and which objects each fold holds out; near-duplicates stay on one side."""
    world = open_world((options.dataset(WORLD),))
    twins = read_twins(options.catalogues[0], world)
    return world, split_objects(world, held_out=None, num_folds=options.folds, seed=_SEED, twins=twins)


def held_out_objects(world: World, split: Split, fold: int, wnids: Sequence[str]) -> list[str]:
    """Objects of some classes that a fold may not learn from, as "wnid/object"."""
    known = zip(world.objects, split.trained(fold), strict=True)
    lost = [one for one, is_trained in known if not is_trained and one.wnid in wnids]
    return [f"{one.wnid}/{one.object_id}" for one in lost]


def write_parts(options: StudyOptions, concepts: Concepts, fold: int) -> None:
    """Writes the overlay of a fold, in the form of `shardtools cog levels --from`."""
    world, split = open_split(options)
    is_trained, is_tested = split.trained(fold)[world.object_of], split.held_out(fold)[world.object_of]
    wnid_of = np.array(world.wnids)[world.class_of[world.object_of]]
    tables = []
    for level in concepts.sets:
        places = {wnid: place for place, wnid in enumerate(level.wnids)}
        rows = np.flatnonzero(np.isin(wnid_of, level.wnids) & (is_trained | is_tested))
        tables.append(
            pa.table(
                {
                    "key": world.keys.take(pa.array(rows)).cast(pa.string()),
                    "level": pa.array([level.name] * len(rows), pa.string()),
                    "class_index": pa.array([places[one] for one in wnid_of[rows].tolist()], pa.int32()),
                    "wnid": pa.array(wnid_of[rows].tolist(), pa.string()),
                    "part": pa.array(np.where(is_tested[rows], "test", "train").tolist(), pa.string()),
                }
            )
        )
    write_overlay(
        options.dataset(WORLD),
        overlay_name(fold),
        tables,
        made_by=MADE_BY,
        settings={"fold": fold, "levels": {level.name: list(level.wnids) for level in concepts.sets}},
        unique=("key", "level"),
        replace=True,
    )
