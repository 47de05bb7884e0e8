"""Encoders: networks that turn images into features, and how those of this machine are loaded."""

from __future__ import annotations

__all__: list[str] = []
