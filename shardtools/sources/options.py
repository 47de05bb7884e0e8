"""What a user may ask of a source."""

from __future__ import annotations

from dataclasses import dataclass, field

from shardtools.errors import OptionError
from shardtools.options import check_options, option
from shardtools.sources.kinds import SOURCE_KINDS

CHECKS = ("decode", "header")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """Which samples to read, and as what.

    Attributes:
        source: A folder, a file, or a pattern of files; local or s3://.
        kind: One of `SOURCE_KINDS`.
        split: For a source without splits the name to give it, for one with several the one to read; `None` for the
            source's own.
        classes: Specification for `taxonomy.load_classes` whose order gives the labels; `None` for the source's own.
        check: "decode" decodes every image in full, "header" only reads what it says it is.
        flatten_keys: Whether "a/b" in a tar becomes "a__b" instead of an error.
        shuffle: Whether samples are put into a fixed random order; `None` for the kind's default (folders, archives and
            published sets yes, others no).
        shuffle_seed: Base of that order, at least 0.
        root: Where the files of a published set are, whose name is the source: its folder, or one that holds it.
        allow_partial: Whether a part of a published set is written, too.

    Raises:
        OptionError: A value is not one of those.
    """

    source: str
    kind: str = field(
        default="auto",
        metadata=option("How SOURCE is laid out; auto looks at its names.", flag="--source-kind", choices=SOURCE_KINDS),
    )
    split: str | None = field(
        default=None,
        metadata=option("Name for a source without splits, or the one to write.", unset="the source's, or train"),
    )
    classes: str | None = field(
        default=None,
        metadata=option("Class set whose order gives the labels (imagenet-1k, ...), wnids, or a .txt/.csv file."),
    )
    check: str = field(
        default="decode",
        metadata=option("Decode every image in full, or read only its header.", choices=CHECKS),
    )
    shuffle: bool | None = field(
        default=None,
        metadata=option(
            "Write samples in a fixed random order.", unset="yes for image folders, archives and sets, no for others"
        ),
    )
    shuffle_seed: int = field(default=0, metadata=option("Another seed gives another order."))
    flatten_keys: bool = field(
        default=False, metadata=option('Write the key "a/b" of a tar as "a__b" instead of refusing it.')
    )

    root: str | None = field(
        default=None,
        metadata=option("Folder with the files of a published set, whose name is SOURCE.", unset="none"),
    )
    allow_partial: bool = field(
        default=False, metadata=option("Write a published set of which images are missing, too.")
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.shuffle_seed < 0:
            raise OptionError(f"--shuffle-seed is at least 0, found {self.shuffle_seed}")
