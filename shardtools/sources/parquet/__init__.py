"""Parquet files with image bytes as a source."""

from __future__ import annotations

__all__: list[str] = []
