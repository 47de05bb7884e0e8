"""MDS and LitData datasets as sources: files with an index beside them."""

from __future__ import annotations

__all__: list[str] = []
