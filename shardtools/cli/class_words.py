"""A class as people read it."""

from __future__ import annotations


def class_words(wnid: str | None) -> str:
    """The WordNet id with its first lemma, "n04133789 (sandal)"; a name of the user's own as it is; "no class"."""
    from shardtools.taxonomy import find_synset

    if wnid is None:
        return "no class"
    synset = find_synset(wnid)
    return wnid if synset is None else f"{wnid} ({synset.lemmas[0]})"
