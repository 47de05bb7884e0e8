"""The training of classifiers: `shardtools train`."""

from __future__ import annotations

__all__: list[str] = []
