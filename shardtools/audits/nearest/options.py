"""What a user may ask about nearest classes, and what came of it.

Owns the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shardtools.errors import OptionError
from shardtools.options import option
from shardtools.overlays import check_name


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestOptions:
    """Whose nearest classes, among which.

    Attributes:
        dataset: Folder or address of a finished dataset with features.
        features: Their name, or the folder where they lie; `None` takes the only ones.
        reference: Dataset whose classes are compared with (a real one, say); `None` compares a dataset with itself.
        reference_features: Its features' name; `None` takes those of the same name as `features`.
        k: Neighbours that vote.
        top: Nearest classes that are listed for each class.
        overlay: Name of the overlay that is written.
        out: Folder for the overlay, where the dataset cannot be written.
        replace: Whether an overlay of that name is written anew.
        allow_small: Whether classes with one sample may be there; their own distances are then empty.
        allow_missing: Whether the reference may lack classes of the dataset; their own distances are then empty.

    Raises:
        OptionError: A value is out of range.
    """

    dataset: str
    features: str | None = field(default=None, metadata=option("Name of the features.", unset="the only ones"))
    reference: str | None = field(
        default=None,
        metadata=option("Dataset whose classes are compared with.", metavar="REAL", unset="DATASET itself"),
    )
    reference_features: str | None = field(
        default=None, metadata=option("Name of its features.", unset="as --features")
    )
    k: int = field(default=20, metadata=option("Neighbours that vote.", flag="-k"))
    top: int = field(default=5, metadata=option("Nearest classes that are listed for each class."))
    overlay: str = field(default="nearest_class", metadata=option("Name of the overlay that is written."))
    out: str | None = field(
        default=None, metadata=option("Write the overlay there, where DATASET cannot be written.", metavar="FOLDER")
    )
    replace: bool = field(default=False, metadata=option("Write anew an overlay that is there."))
    allow_small: bool = field(
        default=False, metadata=option("Go on where a class has one sample; its own distances stay empty.")
    )
    allow_missing: bool = field(
        default=False, metadata=option("Go on where REAL lacks a class; its own distances stay empty.")
    )

    def __post_init__(self) -> None:
        check_name(self.overlay)
        for name in ("k", "top"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is at least 1, found {getattr(self, name)}")
        if self.reference_features is not None and self.reference is None:
            raise OptionError("reference_features are of a reference: give reference (--reference) too")


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestResult:
    """What came of it.

    Attributes:
        dataset: As given.
        reference: As given.
        overlay: Address of the overlay.
        classes_file: Path of the table with a row a class.
        confusion_file: Path of the table of given and nearest classes.
        num_samples: Rows of the overlay.
        num_own: Samples whose nearest class is their own.
        missed: Classes whose nearest class is not their own (with a reference), worst first: "class_index", "wnid",
            "nearest_wnid", "share_own", "own_distance".
    """

    dataset: str
    reference: str | None
    overlay: str
    classes_file: str
    confusion_file: str
    num_samples: int
    num_own: int
    missed: tuple[Mapping[str, Any], ...]
