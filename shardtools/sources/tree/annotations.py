"""Labels of images that lie in no class folder: Tiny-ImageNet's val_annotations.txt.

Owns the file's lines: the image's name, its class, then a box. Every line and every image is checked, as a label that
is missing would else be an image without one, in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from shardtools.errors import SourceError

_FILE = re.compile(r".*_annotations\.txt", re.IGNORECASE)
_NUM_FIELDS = (2, 6)


@dataclass(frozen=True, slots=True)
class Annotations:
    """File name of an image -> its class, and where that is said."""

    classes: Mapping[str, str]
    where: str

    def class_of(self, name: str) -> str:
        """The class of an image.

        Raises:
            SourceError: No line names it.
        """
        found = self.classes.get(name)
        if found is None:
            raise SourceError(
                f"{self.where}: expected a line for each image, found none for {name!r}: add it, or move the image away"
            )
        return found


def is_annotations(name: str) -> bool:
    """Whether a file is named as such a list."""
    return _FILE.fullmatch(name) is not None


def read_annotations(content: bytes, where: str) -> Annotations:
    """Reads the lines: name, class, and maybe x, y, width and height, separated by tabs or spaces.

    Raises:
        SourceError: A line is none, or an image has two classes.
    """
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SourceError(f"{where}, byte {error.start}: expected text in UTF-8: save it so") from None
    classes: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        fields = line.split("\t") if "\t" in line else line.split()
        if not line.strip():
            continue
        if len(fields) not in _NUM_FIELDS or not all(field.strip() for field in fields[:2]):
            raise SourceError(
                f"{where}, line {number}: expected an image's name, its class and maybe a box of four numbers, found "
                f"{line[:80]!r}: set the line right, or rename the file if it is no list of labels"
            )
        name, found = (field.strip() for field in fields[:2])
        if classes.setdefault(name, found) != found:
            raise SourceError(
                f"{where}, line {number}: {name!r} is {found}, in an earlier line {classes[name]}: keep one"
            )
    return Annotations(classes, where)
