"""From what a user writes after `--classes` to a list of classes.

Owns the order in which a specification is tried: a class set, a .txt or .csv file, a comma-separated list of wnids and
synset names. The price: a file of classes must carry one of the two suffixes.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from shardtools.errors import TaxonomyError
from shardtools.taxonomy.csv_classes import read_csv_classes, read_text
from shardtools.taxonomy.finding import suggest
from shardtools.taxonomy.image_class import ImageClass
from shardtools.taxonomy.table import (
    CLASS_SETS,
    Synset,
    find_synset,
    find_synset_by_name,
    load_class_set,
    make_class,
)

_WNID = re.compile(r"n\d{8}")
_SYNSET_NAME = re.compile(r"(?P<lemma>\S(?:.*\S)?)\.n\.(?P<sense>\d{1,3})", re.IGNORECASE)


def load_classes(spec: str) -> list[ImageClass]:
    """The classes that a specification names, `class_index` counting from 0 in its order.

    Args:
        spec: A class set ("imagenet-100"); wnids and synset names joined by commas ("n03595614,sandal.n.01"); a .txt
            file with one of those a line, blank lines and lines that start with `#` left out; or a .csv file of classes
            outside WordNet (columns name, definition, and where wanted hypernym and id).

    Raises:
        TaxonomyError: A set, synset or file that is not there, a class named twice, a malformed file; or a synset
            outside the shipped table on a machine without WordNet 3.0.
    """
    spec = spec.strip()
    if spec in CLASS_SETS:
        return load_class_set(spec)
    suffix = Path(spec).suffix.lower()
    if suffix == ".csv":
        return read_csv_classes(spec)
    if suffix == ".txt":
        return _load_identifiers(_read_list(spec), f"{spec}: expected a wnid or synset name a line, found none")
    identifiers = [(identifier.strip(), "") for identifier in spec.split(",")]
    return _load_identifiers(
        [entry for entry in identifiers if entry[0]],
        f"expected a class set ({', '.join(CLASS_SETS)}) or classes, found {spec!r}",
    )


def load_synset(identifier: str) -> Synset:
    """A noun synset by wnid or name, of the shipped table or, where that lacks it, of WordNet 3.0.

    Raises:
        TaxonomyError: There is no such synset, or WordNet is needed and not on this machine.
    """
    known = find_synset(identifier) or find_synset_by_name(identifier)
    if known is not None:
        return known
    from shardtools.taxonomy.wordnet import read_synset

    try:
        synset = read_synset(identifier)
    except TaxonomyError as error:
        raise TaxonomyError(f"synset {identifier!r} is not in the shipped table, and {error}") from error
    if synset is None:
        raise TaxonomyError(f"WordNet 3.0 has no noun synset {identifier!r}{_did_you_mean(identifier)}")
    return synset


def is_identifier(text: str) -> bool:
    """Whether a text has the form of a wnid ("n03595614") or of a noun's synset name ("jersey.n.03")."""
    return bool(_WNID.fullmatch(text) or _SYNSET_NAME.fullmatch(text))


def _read_list(path: str) -> list[tuple[str, str]]:
    lines = enumerate(read_text(path).splitlines(), start=1)
    stripped = ((line.strip(), f"{path}, line {number}: ") for number, line in lines)
    return [(line, where) for line, where in stripped if line and not line.startswith("#")]


def _load_identifiers(identifiers: list[tuple[str, str]], nothing: str) -> list[ImageClass]:
    """Classes of (identifier, "file, line: " or "") pairs; `nothing` is the message for an empty list."""
    if not identifiers:
        raise TaxonomyError(nothing)
    classes: list[ImageClass] = []
    wnid_to_given: dict[str, str] = {}
    for identifier, where in identifiers:
        image_class = _load_class(identifier, where)
        earlier = wnid_to_given.get(image_class.wnid)
        if earlier is not None:
            raise TaxonomyError(
                f"{where}class {identifier!r} ({image_class.wnid}) is already in the list as {earlier!r}; name it once"
            )
        wnid_to_given[image_class.wnid] = identifier
        classes.append(dataclasses.replace(image_class, class_index=len(classes)))
    return classes


def _load_class(identifier: str, where: str) -> ImageClass:
    if identifier in CLASS_SETS:
        raise TaxonomyError(f"{where}the class set {identifier!r} cannot stand in a list of classes; give it alone")
    if not is_identifier(identifier):
        raise TaxonomyError(
            f"{where}expected a class set, a wnid (n03595614), a synset name (jersey.n.03) or a .txt or .csv file, "
            f"found {identifier!r}{_did_you_mean(identifier) or '; `shardtools classes` lists the sets'}"
        )
    named = _SYNSET_NAME.fullmatch(identifier)
    if named:
        lemma = "_".join(named["lemma"].lower().split())
        identifier = f"{lemma}.n.{int(named['sense']):02d}"
        synset = find_synset_by_name(identifier)
    else:
        synset = find_synset(identifier)
    if synset is not None:
        return make_class(synset, 0)
    return _load_from_wordnet(identifier, where)


def _load_from_wordnet(identifier: str, where: str) -> ImageClass:
    try:
        synset = load_synset(identifier)
    except TaxonomyError as error:
        raise TaxonomyError(f"{where}{error}") from error
    parents = [load_synset(wnid) for wnid in synset.hypernym_wnids]
    return ImageClass(
        wnid=synset.wnid,
        class_index=0,
        lemmas=synset.lemmas,
        definition=synset.definition or None,
        hypernyms=tuple(parent.lemmas for parent in parents),
        hypernym_wnids=synset.hypernym_wnids,
    )


def _did_you_mean(name: str) -> str:
    near = suggest(name)
    return f"; did you mean {' or '.join(near)}?" if near else ""
