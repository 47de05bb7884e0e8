"""Levels as a user asks for them: ranked, read, ranked again, or drawn.

Owns which concepts go in: those of the funnel, of a list, or of levels that are there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import PurePath

from shardtools.evaluation.cog.funnel import Funnel, eligible_concepts
from shardtools.evaluation.cog.levels import Level, check_levels, cut_again, cut_levels, random_levels
from shardtools.evaluation.cog.levels_file import read_levels
from shardtools.evaluation.cog.options import MEASURES, EligibleOptions, LevelOptions
from shardtools.evaluation.cog.published_files import published_levels
from shardtools.evaluation.cog.ranking import check_measure, corpus_hierarchy, rank_concepts
from shardtools.evaluation.cog.vectors import open_vectors
from shardtools.taxonomy import load_classes


@dataclass(frozen=True, kw_only=True, eq=False)
class MadeLevels:
    """Levels, and how they were made.

    Attributes:
        levels: The first the most similar.
        how: One line.
        funnel: Where the concepts come from; `None` where they were given.
        notes: What else is to be known, a line each.
    """

    levels: tuple[Level, ...]
    how: str
    funnel: Funnel | None = None
    notes: tuple[str, ...] = ()


def make_levels(options: LevelOptions, eligible: EligibleOptions | None = None) -> MadeLevels:
    """The levels of a user's choice.

    Args:
        options: What is made.
        eligible: The seen classes, and the funnel where neither concepts nor levels are given; `None` takes that of
            ImageNet-CoG.

    Raises:
        OptionError: There are fewer concepts than asked for, one is seen, or an option does not fit.
        TaxonomyError: A class is unknown.
        SourceError: A file is no file of levels, of counts or of vectors.
    """
    eligible = eligible or EligibleOptions()
    vectors = None if options.vectors is None else open_vectors(options.vectors)
    check_measure(options.measure, vectors)
    seen = [entry.wnid for entry in load_classes(eligible.seen)]
    given: tuple[Level, ...] = ()
    funnel: Funnel | None = None
    if options.levels is not None:
        given = open_levels(options.levels)
        check_levels(given, seen, where=options.levels)
        if not options.again and options.random is None:
            return MadeLevels(levels=given, how=f"as {options.levels} has them")
        concepts = [wnid for level in given for wnid in level.wnids]
    elif options.concepts is not None:
        concepts = [entry.wnid for entry in load_classes(options.concepts)]
    else:
        funnel = eligible_concepts(eligible)
        concepts = list(funnel.eligible)
    notes = () if funnel is None else _uncounted(funnel)
    if options.random is not None:
        drawn = random_levels(concepts, num_levels=options.random, size=options.size, seed=options.seed)
        check_levels(drawn, seen)
        how = f"drawn from {len(set(concepts)):,} concepts, seed {options.seed}"
        return MadeLevels(levels=drawn, how=how, funnel=funnel, notes=notes)
    hierarchy = None
    if options.measure != "text":
        hierarchy = funnel.hierarchy if funnel is not None and eligible.pool == "imagenet-21k" else None
        hierarchy = hierarchy or corpus_hierarchy(concepts, seen)
    ranked = rank_concepts(concepts, seen, measure=options.measure, hierarchy=hierarchy, vectors=vectors)
    made = (
        cut_again(given, ranked)
        if options.again
        else cut_levels(ranked, num_levels=options.num_levels, size=options.size)
    )
    if options.measure != "lin":
        # So figures of the same model by several measures can stand in one table.
        made = tuple(replace(level, name=f"{options.measure}-{level.name}") for level in made)
    by = vectors.name if vectors is not None else MEASURES[options.measure]
    return MadeLevels(levels=made, how=f"{len(ranked):,} concepts by similarity: {by}", funnel=funnel, notes=notes)


def open_levels(address: str | os.PathLike[str]) -> tuple[Level, ...]:
    """The levels of a .csv, or of the published .pkl.

    Raises:
        SourceError: The file holds none.
    """
    if PurePath(os.fspath(address)).suffix.lower() in (".pkl", ".pickle"):
        return published_levels(address)
    return read_levels(address)


def _uncounted(funnel: Funnel) -> tuple[str, ...]:
    if funnel.counts is not None:
        return ()
    return (
        "images were not counted (--counts): concepts with too few are among the levels, and the 5,146 of the thesis "
        "are not reached",
    )
