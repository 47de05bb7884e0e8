"""The table of samples that a loader reads, and what it is made of: datasets, or a SQL view."""

from __future__ import annotations

__all__: list[str] = []
