"""Search over the shipped table, and suggestions for names that are not there.

Owns the ranking. The price of a plain scan: each search reads the lemmas of all rows (about 20 ms), so no index is
stored.
"""

from __future__ import annotations

import difflib
import re

from shardtools.taxonomy.table import CLASS_SETS, Synset, find_synset, find_synset_by_name, lemma_columns, synset_names


def find_classes(words: str) -> list[Synset]:
    """The synsets of the shipped table that a wnid, a synset name or words of a lemma name, best first.

    An exact wnid or synset name gives that one. Else lemmas that equal the words come before lemmas that hold them as
    whole words; only where there is neither, lemmas that hold them inside a word ("sneak") count. Among equals, synsets
    in more class sets come first, then the lower wnid. Case, underscores and runs of spaces make no difference. Nothing
    found gives an empty list (`suggest` then has near matches).
    """
    sought = " ".join(words.replace("_", " ").split()).casefold()
    if not sought:
        return []
    exact = find_synset(sought) or find_synset_by_name(sought.replace(" ", "_"))
    if exact is not None:
        return [exact]
    whole_words = re.compile(rf"(?<!\w){re.escape(sought)}(?!\w)")
    ranked: list[tuple[int, int, Synset]] = []
    for wnid, column in lemma_columns():
        folded = column.casefold()
        if sought not in folded:
            continue
        lemmas = folded.split("|")
        rank = 0 if sought in lemmas else 1 if any(map(whole_words.search, lemmas)) else 2
        synset = find_synset(wnid)
        if synset is not None:
            ranked.append((rank, -len(synset.class_sets), synset))
    ranked.sort(key=lambda entry: (entry[0], entry[1], entry[2].wnid))
    # Sorted, so the first one tells whether there is anything better.
    inside_words = bool(ranked) and ranked[0][0] == 2
    return [synset for rank, _, synset in ranked if rank < 2 or inside_words]


def suggest(name: str, limit: int = 3) -> list[str]:
    """Class sets, synset names and lemmas near a name that was not found, as they may be typed; at most `limit`."""
    sought = name.strip().casefold()
    by_lemma = [synset.name for synset in find_classes(sought)[:limit]]
    sets = difflib.get_close_matches(sought, list(CLASS_SETS), n=limit, cutoff=0.6)
    near: list[str] = []
    if not by_lemma and not sets:
        stem = sought.partition(".")[0].replace(" ", "_")
        stems = {synset_name.partition(".")[0]: synset_name for synset_name in reversed(synset_names())}
        near = [stems[match] for match in difflib.get_close_matches(stem, list(stems), n=limit, cutoff=0.75)]
    return (sets + by_lemma + near)[:limit]
