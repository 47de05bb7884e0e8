"""Judging networks: forward passes over datasets, attacks."""

from __future__ import annotations

__all__: list[str] = []
