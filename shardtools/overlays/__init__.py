"""Overlays: named tables of facts about samples, beside a manifest that never changes."""

from typing import TYPE_CHECKING

from shardtools.on_demand import on_demand

if TYPE_CHECKING:
    from shardtools.overlays.accepting import accept_overlay
    from shardtools.overlays.checking import KeyChecker
    from shardtools.overlays.importing import import_overlay
    from shardtools.overlays.opening import (
        Overlay,
        find_overlay,
        list_overlays,
        open_overlay,
        open_overlay_at,
        overlay_names,
        remove_overlay,
    )
    from shardtools.overlays.overlay_file import (
        OVERLAY_FILE,
        OVERLAY_VERSION,
        OverlayColumn,
        OverlayInfo,
        OverlayPart,
        check_name,
        is_name,
        overlay_folder,
    )
    from shardtools.overlays.versions import check_fits, fits
    from shardtools.overlays.writer import ROWS_PER_PART, OverlayWriter, write_overlay
else:
    __getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "OVERLAY_FILE",
    "OVERLAY_VERSION",
    "ROWS_PER_PART",
    "KeyChecker",
    "Overlay",
    "OverlayColumn",
    "OverlayInfo",
    "OverlayPart",
    "OverlayWriter",
    "accept_overlay",
    "check_fits",
    "check_name",
    "find_overlay",
    "fits",
    "import_overlay",
    "is_name",
    "list_overlays",
    "open_overlay",
    "open_overlay_at",
    "overlay_folder",
    "overlay_names",
    "remove_overlay",
    "write_overlay",
]
