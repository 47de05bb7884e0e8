"""Names that the options of `write` and `convert` offer; the library's own tables would take long to import.

A test compares them with the library's.
"""

from __future__ import annotations

SOURCE_KINDS = (
    "auto",
    "dataset",
    "imagefolder",
    "archive",
    "ilsvrc2012",
    "webdataset",
    "parquet",
    "beton",
    "mds",
    "litdata",
    "idx",
)
LAYOUT_NAMES = ("tar", "beton", "mds", "litdata", "imagefolder")
