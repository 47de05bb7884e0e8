"""Keys made from paths.

Owns the two rules: a key says where a file lay, and no two files have one key. The price of keys that say so: those of
a tree with splits begin with the split, and long paths are shortened by a hash.
"""

from __future__ import annotations

import hashlib
import re

from shardtools.shards import check_key
from shardtools.sources.image.check import IMAGE_EXTENSIONS, extension_of
from shardtools.sources.listing import Listing

_NOT_IN_KEYS = re.compile(r"[/\\.\x00-\x1f\x7f]")
_MAX_KEY_BYTES = 80
_KEPT_KEY_BYTES = 63


def make_key(path: str) -> str:
    """A key that says where a file lay: folders and stem joined by "_".

    A folder that the next name repeats is left out (n01440764/n01440764_10026.JPEG gives n01440764_10026), a file that
    is no image by its name keeps its extension (cat/a.txt gives cat_a_txt), characters that keys may not have become
    "_", and what is too long is cut and gets a hash of the path.
    """
    extension = extension_of(path)
    stem = path[: -len(extension) - 1] if extension in IMAGE_EXTENSIONS else path
    names: list[str] = []
    for name in stem.split("/"):
        if names and (name == names[-1] or name.startswith(f"{names[-1]}_")):
            names.pop()
        names.append(name)
    key = _NOT_IN_KEYS.sub("_", "_".join(names))
    if key.startswith("__"):
        key = f"x{key}"
    encoded = key.encode()
    if len(encoded) > _MAX_KEY_BYTES:
        key = f"{encoded[:_KEPT_KEY_BYTES].decode(errors='ignore')}-{hashlib.sha256(path.encode()).hexdigest()[:16]}"
    return check_key(key, where=path)


def rename_repeats(listing: Listing) -> dict[int, str]:
    """New keys for all but the first of the files that share one: "-2", "-3", ... in the order of their paths."""
    if not listing.repeats:
        return {}
    taken = {str(listing.row(group[0])["key"]) for group in listing.repeats}
    wanted = {f"{key}-" for key in taken}
    # Only a key that continues one of the repeated keys with "-" can clash with a new one.
    for split, count in listing.splits.items():
        for _, row in listing.rows(split, 0, count):
            stem, dash, _number = str(row["key"]).rpartition("-")
            if dash and f"{stem}-" in wanted:
                taken.add(str(row["key"]))
    renamed: dict[int, str] = {}
    for group in listing.repeats:
        key = str(listing.row(group[0])["key"])
        number = 2
        for row_number in group[1:]:
            # Numbers that another file's own key has are passed over.
            while f"{key}-{number}" in taken:
                number += 1
            renamed[row_number] = f"{key}-{number}"
            taken.add(renamed[row_number])
    return renamed
