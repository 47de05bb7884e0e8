"""Evaluation: what a model has learnt, measured on its features and, to come, on its predictions."""

from __future__ import annotations

__all__: list[str] = []
