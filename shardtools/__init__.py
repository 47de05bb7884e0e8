"""Datasets of real and generated images on sharded storage, with one manifest row an image."""

from __future__ import annotations

__all__: list[str] = []
