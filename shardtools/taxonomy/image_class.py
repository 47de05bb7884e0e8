"""One class of images: its id, label, names, definition and parents.

Owns `ImageClass` and the rule for ids. Ids become part of file names and object keys, so they are held to letters,
digits, `_` and `-`; the price is that a class named in another script needs a derived id (see `csv_classes`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shardtools.errors import TaxonomyError

MAX_ID_LENGTH = 80
"""Characters in a class id; leaves room for a replica number and an extension in a 100-byte tar member name."""

_SAFE_ID = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageClass:
    """One class of a class set.

    Attributes:
        wnid: WordNet 3.0 id ("n03595614": "n" and the noun's 8-digit offset), or the user's own id outside WordNet.
        class_index: 0-based position in its class set.
        lemmas: Names in WordNet's order, underscores already spaces; at least one.
        definition: WordNet's gloss without its quoted examples; `None` where the class has none.
        hypernyms: For each direct parent (hypernym or instance hypernym, in WordNet's order) its lemmas.
        hypernym_wnids: The ids of those parents; empty for a class outside WordNet.

    Raises:
        TaxonomyError: The id is not safe in a file name, the index is negative or there is no lemma.
    """

    wnid: str
    class_index: int
    lemmas: tuple[str, ...]
    definition: str | None
    hypernyms: tuple[tuple[str, ...], ...]
    hypernym_wnids: tuple[str, ...]

    def __post_init__(self) -> None:
        check_class_id(self.wnid)
        if self.class_index < 0:
            raise TaxonomyError(f"class {self.wnid}: expected a class index of 0 or more, found {self.class_index}")
        if not self.lemmas or not all(self.lemmas):
            raise TaxonomyError(
                f"class {self.wnid}: expected at least one name and no empty one, found {self.lemmas!r}"
            )


def check_class_id(class_id: str) -> None:
    """Refuse an id that could not be part of a file name.

    Raises:
        TaxonomyError: Empty, longer than `MAX_ID_LENGTH`, or holding anything but letters A-Z, digits, `_` and `-`.
    """
    if not class_id or len(class_id) > MAX_ID_LENGTH:
        raise TaxonomyError(
            f"expected a class id of 1 to {MAX_ID_LENGTH} characters, found {len(class_id)} ({class_id[:40]!r})"
        )
    if not _SAFE_ID.fullmatch(class_id):
        odd = next(character for character in class_id if not _SAFE_ID.fullmatch(character))
        raise TaxonomyError(
            f"class id {class_id!r} holds {odd!r}; ids become file names: use letters A-Z, digits, '_' and '-' only"
        )
