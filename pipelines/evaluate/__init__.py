"""Evaluation with a network: forward passes over datasets, and attacks."""

from __future__ import annotations

__all__: list[str] = []
