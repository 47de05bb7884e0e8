"""Catalogues of meshes: outside files become prepared meshes with their classes, licenses and digests."""

from __future__ import annotations

__all__: list[str] = []
