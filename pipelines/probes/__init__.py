"""Linear classifiers on features, many trained together."""

from __future__ import annotations

__all__: list[str] = []
