"""The study of transfer: does progress in pretraining carry over to other pictures? After seed 003."""

from __future__ import annotations

__all__: list[str] = []
