"""Reading: from rows of the table to the bytes of batches, ahead of time."""

from __future__ import annotations

__all__: list[str] = []
