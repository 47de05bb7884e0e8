"""The study of natural variation: objects whose factors are known, after seed 002."""

from __future__ import annotations

__all__: list[str] = []
