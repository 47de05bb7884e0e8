"""The study of concept generalization in small: levels of rendered objects, after chapter 3 of the thesis."""

from __future__ import annotations

__all__: list[str] = []
