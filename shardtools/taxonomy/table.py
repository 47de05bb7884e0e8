"""The shipped table of synsets: `classes.tsv.gz`, and the class sets it holds.

Owns the table's format: gzip, UTF-8, one synset a line sorted by wnid, tab-separated `COLUMNS`, several values joined
by `|`. The table is closed under hypernyms, so that every row's parents are rows too. The price of one text file:
opening any set decompresses all of it (about 30 ms); only the lines asked for are parsed.
`scripts/build_class_table.py` writes it.
"""

from __future__ import annotations

import functools
import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

from shardtools.errors import TaxonomyError
from shardtools.taxonomy.image_class import ImageClass

CLASS_SETS: dict[str, str] = {
    "imagenet-1k": "the 1,000 classes of ILSVRC 2012, in label order",
    "imagenet-100": "the 100 classes of Tian et al.'s CMC, in the order of its imagenet100.txt (not sorted by wnid)",
    "imagenet-a": "the 200 classes of ImageNet-A (Hendrycks et al.), in its own label order",
    "imagenet-r": "the 200 classes of ImageNet-R (Hendrycks et al.), in its own label order",
    "imagenet-21k": "the 21,841 synsets of ImageNet's fall 2011 release, sorted by wnid",
    "fashion": "the 10 classes of Fashion-MNIST as WordNet synsets, in label order",
}
"""Class set -> one line of description."""

DEFAULT_CLASSES = "fashion"
"""Those of the embedded generator."""

TABLE_FILE = "classes.tsv.gz"
COLUMNS = ("wnid", "synset", "lemmas", "hypernym_wnids", "definition", "class_sets")


@dataclass(frozen=True, slots=True, kw_only=True)
class Synset:
    """One WordNet 3.0 noun synset.

    Attributes:
        wnid: "n" and the 8-digit offset.
        name: WordNet's short name, such as "jersey.n.03".
        lemmas: Names in WordNet's order, underscores already spaces.
        definition: The gloss without quoted examples.
        hypernym_wnids: Direct parents (hypernyms and instance hypernyms) in WordNet's order; empty for entity.n.01
            only.
        class_sets: Class set -> the synset's class index there; empty where it is only a parent of others.
    """

    wnid: str
    name: str
    lemmas: tuple[str, ...]
    definition: str
    hypernym_wnids: tuple[str, ...]
    class_sets: Mapping[str, int] = field(default_factory=dict)


def format_row(synset: Synset) -> str:
    """One line of the table, without its newline; `parse_row` is its inverse.

    Raises:
        TaxonomyError: A value holds a character that the format gives a meaning.
    """
    values = (*synset.lemmas, *synset.hypernym_wnids, synset.name, synset.definition)
    if any(character in value for value in values for character in "\t\n\r") or any(
        "|" in name for name in synset.lemmas
    ):
        raise TaxonomyError(
            f"synset {synset.wnid}: a tab, a line break or a '|' in a name cannot be stored in the table"
        )
    memberships = " ".join(f"{name}:{index}" for name, index in synset.class_sets.items())
    lemmas, parents = "|".join(synset.lemmas), "|".join(synset.hypernym_wnids)
    return "\t".join((synset.wnid, synset.name, lemmas, parents, synset.definition, memberships))


def parse_row(line: str) -> Synset:
    """The synset that a line of the table holds."""
    wnid, name, lemmas, parents, definition, memberships = line.split("\t")
    class_sets = {}
    for membership in memberships.split():
        set_name, _, index = membership.partition(":")
        class_sets[set_name] = int(index)
    return Synset(
        wnid=wnid,
        name=name,
        lemmas=tuple(lemmas.split("|")),
        definition=definition,
        hypernym_wnids=tuple(parents.split("|")) if parents else (),
        class_sets=class_sets,
    )


@functools.cache
def _lines() -> dict[str, str]:
    packed = resources.files("shardtools.taxonomy").joinpath(TABLE_FILE).read_bytes()
    header, *lines = gzip.decompress(packed).decode("utf-8").splitlines()
    if tuple(header.split("\t")) != COLUMNS:
        raise TaxonomyError(
            f"{TABLE_FILE}: expected the columns {', '.join(COLUMNS)}, found {header!r}; install shardtools again"
        )
    return {line.partition("\t")[0]: line for line in lines}


@functools.cache
def _name_to_wnid() -> dict[str, str]:
    return {line.split("\t", 2)[1]: wnid for wnid, line in _lines().items()}


def find_synset(wnid: str) -> Synset | None:
    """The table's row for a wnid, or `None`."""
    line = _lines().get(wnid)
    return None if line is None else parse_row(line)


def find_synset_by_name(name: str) -> Synset | None:
    """The table's row for a synset name ("jersey.n.03"), or `None`."""
    wnid = _name_to_wnid().get(name)
    return None if wnid is None else find_synset(wnid)


def synset_names() -> list[str]:
    """The names of all synsets in the table."""
    return list(_name_to_wnid())


def lemma_columns() -> list[tuple[str, str]]:
    """(wnid, lemmas joined by "|") of all synsets, sorted by wnid; for searching without parsing whole rows."""
    return [(wnid, line.split("\t", 3)[2]) for wnid, line in _lines().items()]


def lemmas_of(wnid: str) -> tuple[str, ...]:
    """The lemmas of a synset that the table holds."""
    return tuple(_lines()[wnid].split("\t", 3)[2].split("|"))


def make_class(synset: Synset, class_index: int) -> ImageClass:
    """A synset of the table as a class."""
    return ImageClass(
        wnid=synset.wnid,
        class_index=class_index,
        lemmas=synset.lemmas,
        definition=synset.definition or None,
        hypernyms=tuple(lemmas_of(parent) for parent in synset.hypernym_wnids),
        hypernym_wnids=synset.hypernym_wnids,
    )


def load_class_set(name: str) -> list[ImageClass]:
    """The classes of a named set, by class index from 0.

    Raises:
        TaxonomyError: No such set.
    """
    if name not in CLASS_SETS:
        raise TaxonomyError(f"no class set is called {name!r}; the sets are {', '.join(CLASS_SETS)}")
    mark = f"{name}:"
    synsets = [parse_row(line) for line in _lines().values() if mark in line]
    # The mark may also stand in a definition or end the name of another set: the parsed row decides.
    synsets = [synset for synset in synsets if name in synset.class_sets]
    synsets.sort(key=lambda synset: synset.class_sets[name])
    return [make_class(synset, synset.class_sets[name]) for synset in synsets]


@functools.cache
def class_set_sizes() -> dict[str, int]:
    """Class set -> number of classes."""
    sizes = dict.fromkeys(CLASS_SETS, 0)
    for line in _lines().values():
        for membership in line.rpartition("\t")[2].split():
            sizes[membership.partition(":")[0]] += 1
    return sizes
