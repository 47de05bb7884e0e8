"""MDS shards and LitData chunks: files of samples behind a table of offsets."""

from __future__ import annotations

__all__: list[str] = []
