"""Published sets of images as sources: their files as they are published, their own splits and labels; a file a set."""

from __future__ import annotations

__all__: list[str] = []
