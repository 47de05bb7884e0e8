"""Names of the formats, apart from the code that writes them: a command offers them without loading it."""

from __future__ import annotations

IMAGEFOLDER = "imagefolder"
"""The layout without shards: every image is a file."""

LAYOUT_NAMES = ("tar", "beton", "mds", "litdata", IMAGEFOLDER)
"""The keys of `layouts.LAYOUTS`, and `IMAGEFOLDER`; a test compares them."""
