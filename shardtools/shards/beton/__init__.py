"""FFCV's `.beton`: format, reader, writer, joining."""

from __future__ import annotations

__all__: list[str] = []
