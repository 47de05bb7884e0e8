"""The generation of images: `shardtools gen-sd`, and images made again for `verify`."""

from __future__ import annotations

__all__: list[str] = []
