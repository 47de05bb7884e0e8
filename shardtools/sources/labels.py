"""From the names of class folders to labels.

Owns the order of classes: torchvision's (folders sorted by name), numbers where all folders are numbers, or a class
set's. The price of torchvision's order is that a class without a folder shifts the labels after it;
`--classes` fixes them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from shardtools.errors import SourceError
from shardtools.taxonomy import ImageClass

_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Label:
    """A class: its wnid (or the user's own name) and 0-based index; `None` where unknown."""

    wnid: str | None
    class_index: int | None


def label_folders(
    folders: Iterable[str],
    classes: Sequence[ImageClass] | None,
    *,
    where: str,
    without_images: Collection[str] = (),
) -> dict[str, Label]:
    """A label for each class folder.

    Folders that are all plain integers are labels themselves ("10" is 10, not the third in string order). Otherwise the
    label is the position in `classes`, or in the sorted names as torchvision's ImageFolder counts with `allow_empty`:
    a folder without images is a class too. Beside numbers, or with `classes`, such a folder may be none, and gets no
    label.

    Args:
        folders: Names of the class folders of all splits.
        classes: The class set that the folders belong to, if one was given.
        where: The source, for messages.
        without_images: Those of the folders that hold none.

    Raises:
        SourceError: A folder belongs to no class of the set, or two numbers are the same ("1" and "01").
    """
    names = sorted(set(folders))
    with_images = [name for name in names if name not in without_images]
    if names and all(_NUMBER.fullmatch(name) for name in with_images or names):
        return _label_numbers([name for name in names if _NUMBER.fullmatch(name)], classes, where)
    if classes is None:
        return {name: Label(name, position) for position, name in enumerate(names)}
    known = {one.wnid: Label(one.wnid, one.class_index) for one in classes}
    unknown = [name for name in with_images if name not in known]
    if unknown:
        raise SourceError(
            f"{where} has {len(unknown)} of {len(names)} class folders outside the {len(known)} classes given by "
            "--classes "
            f"({', '.join(unknown[:3])}): give the set they belong to, or drop --classes"
        )
    return {name: known[name] for name in names if name in known}


def _label_numbers(names: Sequence[str], classes: Sequence[ImageClass] | None, where: str) -> dict[str, Label]:
    by_number: dict[int, str] = {}
    for name in names:
        twin = by_number.setdefault(int(name), name)
        if twin != name:
            raise SourceError(f"{where} has folders {twin!r} and {name!r} for class {int(name)}: merge them")
    if classes is None:
        return {name: Label(name, number) for number, name in by_number.items()}
    last = max(by_number)
    if last >= len(classes):
        raise SourceError(
            f"{where} has a folder {by_number[last]!r}, --classes has indexes 0 to {len(classes) - 1}: give the set "
            "it belongs to"
        )
    return {name: Label(classes[number].wnid, number) for number, name in by_number.items()}


def labels_digest(labels: Mapping[str, Label] | Sequence[ImageClass]) -> str:
    """sha256 over names and indexes, for the plan's fingerprint."""
    if isinstance(labels, Mapping):
        facts = [(name, label.wnid, label.class_index) for name, label in sorted(labels.items())]
    else:
        facts = [(one.wnid, one.wnid, one.class_index) for one in labels]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
