"""Trees of files as sources: class folders, archives of them, ILSVRC2012 as it is published."""

from __future__ import annotations

__all__: list[str] = []
