"""From all concepts to those that a model trained on the seen ones may be asked about (thesis, section 3.3.2).

Owns the steps and their order. Each is a set operation on WordNet's graph, so the counts are exact and are printed:
21,841 concepts of ImageNet-21K, 20,842 of them not seen, 20,081 above none of these, 17,254 no persons, 14,248 leaves.
Numbers of images are not published as a list; whoever has the images counts them. The price: without counts the funnel
lacks that step, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from shardtools.errors import OptionError
from shardtools.evaluation.cog.counts import image_counts
from shardtools.evaluation.cog.hierarchy import Hierarchy, open_hierarchy
from shardtools.evaluation.cog.options import EXCLUDED_70, NO_EXCLUSION, EligibleOptions
from shardtools.evaluation.published import read_rows
from shardtools.taxonomy import load_classes, load_synset
from shardtools.words import counted

WORDNET_NOUNS = 82_115
"""Noun synsets of WordNet 3.0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of the funnel.

    Attributes:
        what: What remains after it.
        num_left: How many concepts.
        note: What else is to be known of it; "" for nothing.
    """

    what: str
    num_left: int
    note: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Funnel:
    """What the steps left.

    Attributes:
        steps: From the pool on.
        eligible: wnids that are left, sorted.
        seen: wnids of the seen classes, sorted.
        counts: Images of each concept that is left; `None` where they were not counted.
        hierarchy: The graph of pool and seen concepts.
    """

    steps: tuple[Step, ...]
    eligible: tuple[str, ...]
    seen: tuple[str, ...]
    counts: Mapping[str, int] | None
    hierarchy: Hierarchy


def eligible_concepts(options: EligibleOptions | None = None) -> Funnel:
    """The funnel of a user's choice.

    Args:
        options: `None` takes those of ImageNet-CoG, without numbers of images.

    Raises:
        TaxonomyError: Unknown classes.
        OptionError: The counts lack a concept or are no counts, or nothing is left.
        DatasetError: The dataset to count cannot be read.
    """
    options = options or EligibleOptions()
    pool = [entry.wnid for entry in load_classes(options.pool)]
    seen = [entry.wnid for entry in load_classes(options.seen)]
    return narrow(
        open_hierarchy([*pool, *seen, *options.without]),
        pool,
        seen,
        without=options.without,
        leaves=options.leaves,
        counts=None if options.counts is None else partial(image_counts, options.counts),
        least=options.least,
        exclude=excluded_concepts(options.exclude),
    )


def excluded_concepts(spec: str) -> frozenset[str]:
    """The concepts to leave out by hand: "cog", "none", or classes."""
    if spec == NO_EXCLUSION:
        return frozenset()
    if spec == EXCLUDED_70:
        return frozenset(row["wnid"] for row in read_rows("cog_excluded"))
    return frozenset(entry.wnid for entry in load_classes(spec))


def narrow(
    hierarchy: Hierarchy,
    pool: Iterable[str],
    seen: Iterable[str],
    *,
    without: Iterable[str] = (),
    leaves: str = "ancestors",
    counts: Callable[[frozenset[str]], Mapping[str, int]] | None = None,
    least: int = 0,
    exclude: frozenset[str] = frozenset(),
) -> Funnel:
    """The steps, one after another.

    Args:
        hierarchy: A graph that holds pool, seen and `without`.
        pool: wnids to choose from.
        seen: wnids that were seen.
        without: wnids left out with all that is below them.
        leaves: A name of `LEAVES`.
        counts: Gives the images of each concept that is asked for; `None` skips the step.
        least: Images that a concept has at least.
        exclude: wnids left out at the end.

    Raises:
        OptionError: Nothing is left, or a concept is not in the graph.
    """
    known, were_seen = frozenset(pool), frozenset(seen)
    steps = [Step(what="concepts to choose from", num_left=len(known))]
    left = known - were_seen
    strange = len(were_seen - known)
    note = f"{counted(strange, 'seen concept')} not among them" if strange else ""
    steps.append(Step(what="not seen", num_left=len(left), note=note))
    left -= hierarchy.ancestors(were_seen)
    steps.append(Step(what="above no seen concept", num_left=len(left)))
    roots = tuple(without)
    if roots:
        left = frozenset(wnid for wnid in left if not any(hierarchy.is_under(wnid, root) for root in roots))
        steps.append(Step(what=f"not under {', '.join(map(_named, roots))}", num_left=len(left)))
    left, note = _leaves(hierarchy, left, leaves)
    steps.append(Step(what="leaves of what remains", num_left=len(left), note=note))
    numbers: Mapping[str, int] | None = None
    if counts is not None:
        numbers = counts(left)
        left = frozenset(wnid for wnid in left if numbers[wnid] >= least)
        steps.append(Step(what=f"of {least:,} images or more", num_left=len(left)))
    if exclude:
        gone = len(exclude & left)
        left -= exclude
        steps.append(Step(what="not left out by hand", num_left=len(left), note=f"{gone} of {len(exclude)} were left"))
    if not left:
        emptied = next(step.what for step in steps if not step.num_left)
        raise OptionError(f"no concept is left of {len(known):,}: the step {emptied!r} took the last")
    return Funnel(
        steps=tuple(steps),
        eligible=tuple(sorted(left)),
        seen=tuple(sorted(were_seen)),
        counts=None if numbers is None else {wnid: numbers[wnid] for wnid in sorted(left)},
        hierarchy=hierarchy,
    )


def _leaves(hierarchy: Hierarchy, left: frozenset[str], reading: str) -> tuple[frozenset[str], str]:
    """The leaves by one reading, and how many there are by the other, in words."""
    found = {"ancestors": left - hierarchy.ancestors(left), "parents": left - hierarchy.direct_parents(left)}
    other = next(name for name in found if name != reading)
    return found[reading], f"{len(found[other]):,} by {'direct parents' if other == 'parents' else 'all ancestors'}"


def _named(wnid: str) -> str:
    return f"{wnid} ({load_synset(wnid).lemmas[0]})"
