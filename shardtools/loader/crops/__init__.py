"""Crops: from options and draws to decoded pixels."""

from __future__ import annotations

__all__: list[str] = []
