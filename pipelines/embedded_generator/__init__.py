"""The embedded generator: a tiny Stable Diffusion pipeline, trained from the idx files up."""

from __future__ import annotations

__all__: list[str] = []
