"""Order: which row comes when, and in which batch of which rank."""

from __future__ import annotations

__all__: list[str] = []
