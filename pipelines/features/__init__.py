"""Features of images and texts by networks: `shardtools features`, `text-features`, `index`."""

from __future__ import annotations

__all__: list[str] = []
