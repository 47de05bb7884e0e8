"""The micro study of ImageNet-SD: chapter 5 of the thesis in small."""

from __future__ import annotations

__all__: list[str] = []
